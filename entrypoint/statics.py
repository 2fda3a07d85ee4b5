"""Routes by another router of a container's network, as its operator set them. No kernel in here."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from entrypoint.network import CONFIGURED, IPV6, PROTOCOL, IPAddress, Route, Snapshot
from entrypoint.policy import Wanted, main_routes


def with_static_routes(
    want: Wanted, snapshot: Snapshot, tables: Mapping[str, int], before: Collection[Route]
) -> Wanted:
    """Copy into our tables what leads to a network by another router than the default's.

    A reply to a LAN behind a second router goes by that one then. Only routes are taken that stood `before`
    the client, or whose protocol says who configures the link: a server can push routes to any neighbour.
    """
    trusted = [
        route
        for route in main_routes(snapshot)
        if route.link in tables
        and route.gateway
        and not route.is_default
        and (route.protocol in CONFIGURED or route in before)
    ]
    copies: dict[tuple[object, int], Route] = {}
    for route in sorted(trusted, key=lambda route: route.metric):
        table = tables[route.link]
        onlink = not _is_reached(route.gateway, route.link, snapshot)
        copy = replace(route, table=table, onlink=onlink, metric=0, protocol=PROTOCOL)
        copies.setdefault((route.destination, table), copy)
    standing = {(route.destination, route.table) for route in want.routes}
    new = [copy for place, copy in copies.items() if place not in standing]
    return replace(want, routes=(*want.routes, *new))


def _is_reached(gateway: IPAddress | None, link: str, snapshot: Snapshot) -> bool:
    """Tell whether our table leads to a gateway without a flag; fe80::/10 is on every link."""
    if gateway is None or (gateway.version == IPV6 and gateway.is_link_local):
        return True
    networks = [interface.network for name, interface in snapshot.named_addresses() if name == link]
    return any(gateway in network for network in networks)
