"""Which rules and routes are wanted, and what changes lead there. No kernel in here."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from entrypoint.detect import ContainerNetwork
from entrypoint.network import (
    IPV6,
    MAIN_TABLE,
    MARK,
    PROTOCOL,
    IPAddress,
    IPInterface,
    IPNetwork,
    LastResort,
    Link,
    LinkAddress,
    LinkState,
    Route,
    Rule,
    Snapshot,
    TunnelSetup,
)

PLACES_AHEAD = 64
"""wg-quick takes two for each tunnel, and each time ours is moved it takes one more."""
BOOT_PROTOCOL = 3
"""RTPROT_BOOT of linux/rtnetlink.h: what Docker and iproute2 leave on a route without a word."""
ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
NO_SOURCE = ip_network("0.0.0.0/32")
"""Matches a packet whose source the kernel has yet to choose: a connection opened from inside.

There is no such thing in IPv6: fib6_rule_match() passes over a rule with a source where a packet has none.
"""


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must stand, in the order in which it can be made."""

    links: tuple[LinkState, ...] = ()
    addresses: tuple[LinkAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    last_resorts: tuple[LastResort, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Brought:
    """What the client's tunnel brings with it."""

    setup: TunnelSetup | None = None
    pinned: tuple[IPAddress, ...] = ()
    """Servers whose packets carry no mark of ours."""

    @property
    def beside(self) -> tuple[IPNetwork, ...]:
        """What connections opened from inside reach by the gateway, whatever the tunnel covers."""
        servers = tuple(ip_network(address) for address in self.pinned)
        return (*servers, *(self.setup.excluded if self.setup else ()))


def assign_tables(
    networks: Iterable[ContainerNetwork], held: Mapping[str, int], first_table: int
) -> dict[str, int]:
    """Give each interface a table: the one that it holds, else the lowest that is free."""
    names = list(dict.fromkeys(network.link for network in networks))
    tables = {name: held[name] for name in names if name in held}
    for name in names:
        if name not in tables:
            tables[name] = next(
                table
                for table in range(first_table, first_table + len(names))
                if table not in tables.values()
            )
    return tables


def wanted(
    networks: Iterable[ContainerNetwork],
    tables: Mapping[str, int],
    priority: int,
    beside: Iterable[IPNetwork] = (),
    addresses: Collection[tuple[str, IPInterface]] = (),
) -> Wanted:
    """Say which rules and routes keep replies of these networks on their side, and the client's own packets.

    `beside` is what connections opened from inside reach by the gateway as well; `addresses` are all of
    ours, with the names of their links.

    The connected route is as needed as the default: without it, neighbours in the same network are
    reached by the gateway, and a pushed route narrower than the network captures them. So is the last
    resort: a link that is down has no routes, and what our rules take would go on to the tunnel's.
    """
    connected: dict[Route, None] = {}
    defaults: dict[tuple[str, int], Route] = {}
    rules: dict[Rule, None] = {}
    serving = list(networks)
    for network in serving:
        table = tables[network.link]
        rules |= dict.fromkeys(Rule(source, table, priority) for source in _sources(network, addresses))
        # On a link that is down the kernel takes no route; its event brings us back here.
        if network.up:
            connected[Route(network.network, network.link, table)] = None
    for network in serving:
        if network.up and network.gateway:
            table, gateway = tables[network.link], network.gateway.address
            reached = any(
                route.table == table and gateway in route.destination for route in connected if gateway
            )
            # fe80::/10 is on every link; 169.254.0.0/16, where pods have their gateway, needs the flag.
            on_every_link = gateway is not None and gateway.version == IPV6 and gateway.is_link_local
            default = Route(
                ANYWHERE[network.interface.version],
                network.link,
                table,
                gateway,
                onlink=gateway is not None and not on_every_link and not reached,
            )
            defaults.setdefault((network.link, network.interface.version), default)
    out: dict[int, int] = {}
    """IP version -> the table whose default leads out."""
    # Of several networks one whose link is up: the others' tables lead nowhere now.
    for network in sorted(serving, key=lambda network: not network.up):
        if network.gateway:
            out.setdefault(network.interface.version, tables[network.link])
    # The client's server may lie in a range that the tunnel takes.
    for version, table in out.items():
        rules[Rule(ANYWHERE[version], table, priority, mark=MARK)] = None
    for network_beside in beside:
        if network_beside.version in out:
            rules[_beside(network_beside, out[network_beside.version], priority)] = None
    ends = {
        LastResort(network.interface.version, tables[network.link]): None
        for network in serving
        if network.gateway
    }
    return Wanted(routes=(*connected, *defaults.values()), last_resorts=tuple(ends), rules=tuple(rules))


def with_tunnel(want: Wanted, setup: TunnelSetup | None, snapshot: Snapshot) -> Wanted:
    """Add what a tunnel's link must be like, once the client has made that link."""
    if setup is None or setup.link not in {link.name for link in snapshot.links}:
        return want
    # The kernel takes no second route to a network that a link is in, and neighbours are nearer.
    connected = {interface.network for _, interface in snapshot.named_addresses()}
    connected |= {interface.network for interface in setup.addresses}
    taken = dict.fromkeys(half for route in setup.routes for half in _halves(route))
    return replace(
        want,
        links=(LinkState(setup.link, setup.mtu),),
        addresses=tuple(LinkAddress(setup.link, interface) for interface in setup.addresses),
        routes=(
            *want.routes,
            *(Route(network, setup.link, MAIN_TABLE) for network in taken if network not in connected),
        ),
    )


def _beside(network: IPNetwork, table: int, priority: int) -> Rule:
    """Return the rule for what has no source yet, and goes to a network by the gateway."""
    if network.version == IPV6:
        # In IPv6 that is what no rule by source took: those stand before.
        return Rule(ANYWHERE[IPV6], table, priority + 1, network)
    return Rule(NO_SOURCE, table, priority, network)


def in_front(want: Wanted, places: Collection[tuple[int, int]]) -> Wanted:
    """Move our rules before those that took a place right before ours without asking for one.

    The kernel puts a rule that names no priority before the first one behind `local` (fib_default_rule_pref),
    so what wg-quick adds while we run would take our replies. A place further ahead was meant.
    """

    def moved(rule: Rule) -> Rule:
        version = rule.source.version
        held = [each.priority for each in want.rules if each.source.version == version]
        first, length = min(held), max(held) - min(held) + 1
        ahead = range(max(first - PLACES_AHEAD, 1), first)
        taken = [place for other, place in places if other == version and place in ahead]
        # All of a family move together: those by source stay before those by destination.
        start = max(min(taken) - length, 1) if taken else first
        return replace(rule, priority=rule.priority - first + start)

    return replace(want, rules=tuple(map(moved, want.rules)))


def _halves(network: IPNetwork) -> Iterable[IPNetwork]:
    """Split a whole family: two halves take everything, and the default route stays where it is."""
    return (network,) if network.prefixlen else network.subnets()


def changes(want: Wanted, snapshot: Snapshot) -> list[Change]:
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


def _sources(network: ContainerNetwork, addresses: Collection[tuple[str, IPInterface]]) -> list[IPNetwork]:
    """Return what replies from a network bear as their source: the network, or our addresses alone.

    Where the tunnel's address, or another network's, lies in this network as well, its replies are not ours.
    """
    within = [(link, interface.ip) for link, interface in addresses if interface.ip in network.network]
    if all(link == network.link for link, _ in within):
        return [network.network]
    return [ip_network(address) for link, address in within if link == network.link]


@dataclass(frozen=True, slots=True)
class Before:
    """The main table before the client: what a client may take away or leave behind is told by it."""

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

    That is what is there, less what clients made, and the default routes that it took away:
    the tables of a killed run still know them. But where the user `named` the gateway of an interface (by
    IP version), there was no default route to take.
    """
    now = tuple(route for route in main_routes(snapshot) if not traces.hold(route))
    with_default = {route.destination for route in now if route.is_default}
    taken: dict[IPNetwork, Route] = {}
    in_tunnels = {link.name for link in snapshot.links if link.is_tunnel}
    for route in sorted(snapshot.routes, key=lambda route: route.table):
        ours = route.protocol == PROTOCOL and route.is_default and route.link not in in_tunnels
        if ours and route.destination not in with_default and not _is_named(route, named):
            taken.setdefault(route.destination, replace(route, table=MAIN_TABLE, protocol=BOOT_PROTOCOL))
    return (*now, *taken.values())


def main_routes(snapshot: Snapshot) -> tuple[Route, ...]:
    """Return the main table's routes by container links; those that are ours lead into a tunnel."""
    return tuple(
        route for route in snapshot.routes if route.table == MAIN_TABLE and route.protocol != PROTOCOL
    )


def restored(before: Before, traces: Traces, snapshot: Snapshot, taken: Collection[int] = ()) -> list[Change]:
    """Lead the main table back to what it was before the client.

    A default route that is gone comes back, unless a tunnel has one of its IP version (`taken`), or its
    link is another by now: who makes a link anew under its name gives it its routes. What clients made
    and left goes.
    """
    now = main_routes(snapshot)
    standing = {(route.destination, route.metric) for route in now if route.is_default}
    same = {(link.index, link.name) for link in before.links}
    up = {link.name for link in snapshot.links if link.up and (link.index, link.name) in same}
    steps = [
        Change("add", route)
        for route in before.routes
        if route.is_default
        and route.link in up
        and (route.destination, route.metric) not in standing
        and route.destination.version not in taken
    ]
    steps += [Change("del", route) for route in now if route not in before.routes and traces.hold(route)]
    return steps


def _is_named(route: Route, named: Collection[tuple[str, int]]) -> bool:
    return (route.link, route.destination.version) in named
