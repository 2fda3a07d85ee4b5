"""Which rules and routes are wanted, and what changes lead there. No kernel in here."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from entrypoint.detect import ContainerNetwork
from entrypoint.network import (
    IPV6,
    MAIN_TABLE,
    MARK,
    IPAddress,
    IPInterface,
    IPNetwork,
    LastResort,
    LinkAddress,
    LinkState,
    Route,
    Rule,
    Snapshot,
    TunnelSetup,
)

PLACES_AHEAD = 64
"""wg-quick takes two for each tunnel, and each time ours is moved it takes one more."""
ANYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
NO_SOURCE = ip_network("0.0.0.0/32")
"""Matches a packet whose source the kernel has yet to choose: a connection opened from inside.

There is no such thing in IPv6: fib6_rule_match() passes over a rule with a source where a packet has none.
"""


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


def _sources(network: ContainerNetwork, addresses: Collection[tuple[str, IPInterface]]) -> list[IPNetwork]:
    """Return what replies from a network bear as their source: the network, or our addresses alone.

    Where the tunnel's address, or another network's, lies in this network as well, its replies are not ours.
    """
    within = [(link, interface.ip) for link, interface in addresses if interface.ip in network.network]
    if all(link == network.link for link, _ in within):
        return [network.network]
    return [ip_network(address) for link, address in within if link == network.link]
