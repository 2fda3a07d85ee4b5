"""The difference between what is wanted and what is seen, as steps. No kernel in here."""

from collections.abc import Iterator
from dataclasses import dataclass

from entrypoint.network import (
    IPV6,
    MAIN_TABLE,
    PROTOCOL,
    IPNetwork,
    LastResort,
    LinkAddress,
    LinkState,
    Route,
    Rule,
    Snapshot,
)
from entrypoint.policy import Wanted


@dataclass(frozen=True, slots=True)
class Change:
    """One step, printed as the iproute2 line that would do the same."""

    verb: str
    """add, replace, del or set."""
    item: Rule | Route | LastResort | LinkAddress | LinkState

    @property
    def sets_default(self) -> bool:
        """Whether it makes a default route that was not there."""
        return self.verb == "add" and isinstance(self.item, Route) and self.item.is_default

    @property
    def is_of_main(self) -> bool:
        """Whether it is about a route of the main table. Of ours, only routes into a tunnel stand there."""
        return isinstance(self.item, Route) and self.item.table == MAIN_TABLE

    @property
    def takes_from_tunnel(self) -> bool:
        """Whether it deletes what a client's tunnel brought.

        That is a route into the tunnel, or a rule by destination, which keeps something past the tunnel.
        """
        if isinstance(self.item, Rule):
            return self.verb == "del" and self.item.destination is not None
        return self.verb == "del" and self.is_of_main

    @property
    def copies(self) -> bool:
        """Whether it sets a route by another router than the default's, copied from the main table."""
        if not isinstance(self.item, Route) or self.verb == "del":
            return False
        return self.item.gateway is not None and not self.item.is_default

    def __str__(self) -> str:
        match self.item:
            case LinkState():
                return f"ip link {self.verb} {self.item}"
            case LinkAddress():
                return f"ip address {self.verb} {self.item}"
            case Rule(source=of):
                kind, version = "rule", of.version
            case Route(destination=of):
                kind, version = "route", of.version
            case LastResort(version=version):
                kind = "route"
        return f"ip {'-6 ' if version == IPV6 else ''}{kind} {self.verb} {self.item}"


def difference(want: Wanted, snapshot: Snapshot) -> list[Change]:
    """Lead from what is seen to what is wanted: add before delete, and touch only what is ours.

    What stands already counts, whoever made it. Routes into a tunnel come last: they may be thousands.
    """
    steps = [*_additions(want, snapshot), *_deletions(want, snapshot)]
    return sorted(steps, key=lambda step: step.is_of_main)


def _additions(want: Wanted, snapshot: Snapshot) -> Iterator[Change]:
    """Yield what makes all that is wanted, each step once all stands that the kernel asks for."""
    links = {link.name: link for link in snapshot.links}
    for state in want.links:
        link = links[state.link]
        if not link.up or (state.mtu and state.mtu != link.mtu):
            yield Change("set", state)
    addresses = set(snapshot.named_addresses())
    for address in want.addresses:
        if (address.link, address.interface) not in addresses:
            yield Change("add", address)
    routes = set(snapshot.routes)
    # The kernel refuses a second route to one destination in one table, so another way is set in place.
    taken = {_place(route): route.mtu for route in _ours(snapshot)}
    for route in want.routes:
        place = _place(route)
        if route not in routes or taken.get(place, route.mtu) != route.mtu:
            yield Change("replace" if place in taken else "add", route)
    ends = set(snapshot.last_resorts)
    yield from (Change("add", end) for end in want.last_resorts if end not in ends)
    rules = set(snapshot.rules)
    yield from (Change("add", rule) for rule in want.rules if rule not in rules)


def _deletions(want: Wanted, snapshot: Snapshot) -> Iterator[Change]:
    """Yield what takes all of ours that is not wanted, each step before what it needs is gone."""
    rules = set(want.rules)
    for rule in snapshot.rules:
        if rule.protocol == PROTOCOL and rule not in rules:
            yield Change("del", rule)
    wanted, seen = set(want.routes), set(snapshot.routes)
    replaced = {_place(route) for route in wanted - seen}
    gone = [route for route in _ours(snapshot) if route not in wanted and _place(route) not in replaced]
    # The default goes before the connected route that leads to its gateway.
    for route in sorted(gone, key=lambda route: route.gateway is None):
        yield Change("del", route)
    for end in snapshot.last_resorts:
        if end not in want.last_resorts:
            yield Change("del", end)


def _ours(snapshot: Snapshot) -> list[Route]:
    return [route for route in snapshot.routes if route.protocol == PROTOCOL]


def _place(route: Route) -> tuple[IPNetwork, int]:
    """Return what no two of our routes share: the destination and the table."""
    return route.destination, route.table
