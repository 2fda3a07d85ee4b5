"""The main table: what it was before the client, and what leads back there. No kernel in here."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from entrypoint.changes import Change
from entrypoint.network import MAIN_TABLE, PROTOCOL, IPAddress, IPNetwork, Link, Route, Snapshot

BOOT_PROTOCOL = 3
"""RTPROT_BOOT of linux/rtnetlink.h: what Docker and iproute2 leave on a route without a word."""


@dataclass(frozen=True, slots=True)
class Before:
    """The main table before the client, by which it is told what a client took away or left behind."""

    routes: tuple[Route, ...] = ()
    """Its routes by container links."""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Traces:
    """What clients may have left in the main table, by container links."""

    servers: frozenset[IPAddress] = frozenset()
    """To each of them a host route."""
    routes: frozenset[tuple[IPNetwork, IPAddress]] = frozenset()
    """Others, with their gateways: a server can push one that leads past its tunnel."""

    def hold(self, route: Route) -> bool:
        """Tell whether a client made this route."""
        # An operator's own route says "static".
        if route.protocol != BOOT_PROTOCOL or route.gateway is None:
            return False
        alone = route.destination.prefixlen == route.destination.max_prefixlen
        to_server = alone and route.destination.network_address in self.servers
        return to_server or (route.destination, route.gateway) in self.routes


def before_client(
    snapshot: Snapshot, traces: Traces, named: Collection[tuple[str, int]]
) -> tuple[Route, ...]:
    """Return the main table's routes as they were before a client whose run noted nothing.

    They are those of now, less what clients made, and with the default routes that clients took away: the
    tables of a killed run still have them. Where the user `named` the gateway of an interface, for an IP
    version, that is where our table has it from, and there was no default route to take.
    """
    now = tuple(route for route in main_routes(snapshot) if not traces.hold(route))
    standing = {route.destination for route in now if route.is_default}
    in_tunnels = {link.name for link in snapshot.links if link.is_tunnel}
    lost = [
        route
        for route in snapshot.routes
        if route.protocol == PROTOCOL
        and route.is_default
        and route.link not in in_tunnels
        and route.destination not in standing
        and (route.link, route.destination.version) not in named
    ]
    back: dict[IPNetwork, Route] = {}
    # The network that leads out is the first to be given a table.
    for route in sorted(lost, key=lambda route: route.table):
        back.setdefault(route.destination, replace(route, table=MAIN_TABLE, protocol=BOOT_PROTOCOL))
    return (*now, *back.values())


def main_routes(snapshot: Snapshot) -> tuple[Route, ...]:
    """Return the main table's routes by container links; those that are ours lead into a tunnel."""
    return tuple(
        route for route in snapshot.routes if route.table == MAIN_TABLE and route.protocol != PROTOCOL
    )


def restored(before: Before, traces: Traces, snapshot: Snapshot, taken: Collection[int] = ()) -> list[Change]:
    """Lead the main table back to what it was before the client.

    A default route that is gone comes back, unless a tunnel has one of its IP version (`taken`), or another
    link bears the name of its link by now: whoever made that one gives it its routes. What clients made and
    left goes.
    """
    now = main_routes(snapshot)
    standing = {(route.destination, route.metric) for route in now if route.is_default}
    same = {(link.index, link.name) for link in before.links}
    up = {link.name for link in snapshot.links if link.up and (link.index, link.name) in same}
    ours = {address.interface.ip for address in snapshot.addresses}
    steps = [
        # The kernel refuses a source that is no address of ours any more.
        Change("add", route if route.source in ours else replace(route, source=None))
        for route in before.routes
        if route.is_default
        and route.link in up
        and (route.destination, route.metric) not in standing
        and route.destination.version not in taken
    ]
    steps += [Change("del", route) for route in now if traces.hold(route) and route not in before.routes]
    return steps
