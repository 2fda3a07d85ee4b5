"""The difference between what is wanted and what is seen, as steps. No kernel in here."""

from dataclasses import dataclass

from entrypoint.network import (
    IPV6,
    MAIN_TABLE,
    PROTOCOL,
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
        """Whether it is about a route of the main table: where a pass has any, they lead into a tunnel."""
        return isinstance(self.item, Route) and self.item.table == MAIN_TABLE

    @property
    def takes_from_tunnel(self) -> bool:
        """Whether it deletes what a client's tunnel brought: a route into it, a rule beside it."""
        if isinstance(self.item, Rule):
            return self.verb == "del" and self.item.destination is not None
        return self.verb == "del" and self.is_of_main

    @property
    def copies(self) -> bool:
        """Whether it makes a route of our tables out of one of the main table."""
        route = isinstance(self.item, Route) and self.item.gateway and not self.item.is_default
        return self.verb != "del" and bool(route)

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
    want_routes, want_rules = set(want.routes), set(want.rules)
    seen_routes, seen_rules = set(snapshot.routes), set(snapshot.rules)
    our_routes = [route for route in snapshot.routes if route.protocol == PROTOCOL]
    # A second route to one destination in one table is refused, so another way is set in place.
    taken = {(route.destination, route.table) for route in our_routes}
    replaced = set()
    states = {link.name: (link.up, link.mtu) for link in snapshot.links}
    on_links = set(snapshot.named_addresses())
    steps = [
        Change("set", state)
        for state in want.links
        if states[state.link] != (True, state.mtu or states[state.link][1])
    ]
    steps += [
        Change("add", address)
        for address in want.addresses
        if (address.link, address.interface) not in on_links
    ]
    for route in want.routes:
        if route not in seen_routes:
            place = route.destination, route.table
            steps.append(Change("replace" if place in taken else "add", route))
            replaced.add(place)
    steps += [Change("add", end) for end in want.last_resorts if end not in snapshot.last_resorts]
    steps += [Change("add", rule) for rule in want.rules if rule not in seen_rules]
    steps += [
        Change("del", rule) for rule in snapshot.rules if rule.protocol == PROTOCOL and rule not in want_rules
    ]
    gone = [
        route
        for route in our_routes
        if route not in want_routes and (route.destination, route.table) not in replaced
    ]
    # The default goes before the connected route that leads to its gateway.
    steps += [Change("del", route) for route in sorted(gone, key=lambda route: route.gateway is None)]
    steps += [Change("del", end) for end in snapshot.last_resorts if end not in want.last_resorts]
    return sorted(steps, key=lambda step: step.is_of_main)
