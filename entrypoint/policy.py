"""Which rules and routes are wanted. No kernel in here."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TypeVar

from entrypoint.detect import ContainerNetwork, NextHop
from entrypoint.network import (
    ANYWHERE,
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

T = TypeVar("T")

PLACES_AHEAD = 64
"""Within so many priorities before ours a rule counts as put there by the kernel: wg-quick adds two a tunnel,
and each move of ours leaves one more place between."""
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

    `tables` holds a table for each network's link. `beside` is what connections opened from inside reach by
    the gateway as well; `addresses` are all of ours, with the names of their links.

    Each link's table has three kinds of routes:
    - its networks. With a default route alone, neighbours would be reached by the gateway, and a route that a
      server pushes could take them: one narrower than the network goes before the main table's.
    - the default route by the gateway.
    - the last resort. A link that is down has no routes, and without any the next rule would send what ours
      took into the tunnel.
    """
    serving = list(networks)
    with_gateway = [network for network in serving if network.gateway]
    # On a link that is down the kernel takes no route; the event of its coming up brings us back here.
    connected = [Route(n.network, n.link, tables[n.link]) for n in serving if n.up]
    defaults: dict[tuple[str, int], Route] = {}
    for network in with_gateway:
        if network.up:
            place = network.link, network.interface.version
            defaults.setdefault(place, _default(network, tables[network.link], connected))
    ends = [LastResort(n.interface.version, tables[n.link]) for n in with_gateway]
    by_source = [Rule(source, tables[n.link], priority) for n in serving for source in _sources(n, addresses)]
    out: dict[int, int] = {}
    """IP version -> the table by whose default route our own connections leave past the tunnel."""
    # A network whose link is up goes first: the tables of the others lead nowhere now.
    for network in sorted(with_gateway, key=lambda network: not network.up):
        out.setdefault(network.interface.version, tables[network.link])
    # The client's server may lie in a range that the tunnel takes.
    by_mark = [Rule(ANYWHERE[version], table, priority, mark=MARK) for version, table in out.items()]
    by_destination = [_beside(n, out[n.version], priority) for n in beside if n.version in out]
    return Wanted(
        routes=_once(connected) + tuple(defaults.values()),
        last_resorts=_once(ends),
        rules=_once((*by_source, *by_mark, *by_destination)),
    )


def _sources(network: ContainerNetwork, addresses: Collection[tuple[str, IPInterface]]) -> list[IPNetwork]:
    """Return what replies from a network bear as their source: the network, or our addresses alone.

    Where the tunnel's address, or another network's, lies in this network as well, its replies are not ours.
    """
    within = [(link, interface.ip) for link, interface in addresses if interface.ip in network.network]
    if all(link == network.link for link, _ in within):
        return [network.network]
    return [ip_network(address) for link, address in within if link == network.link]


def _beside(network: IPNetwork, table: int, priority: int) -> Rule:
    """Return the rule by which connections opened from inside reach a network by the gateway.

    Their packets have no source yet when their way is looked up. Replies have one, and are left alone.
    """
    if network.version == IPV6:
        # No rule can say "no source" in IPv6 (NO_SOURCE). There this one comes after all rules by source, by
        # the next priority, and replies were taken by those.
        return Rule(ANYWHERE[IPV6], table, priority + 1, network)
    return Rule(NO_SOURCE, table, priority, network)


def _once(items: Iterable[T]) -> tuple[T, ...]:
    """Drop what stands twice: networks share links, and so tables; addresses share networks."""
    return tuple(dict.fromkeys(items))


def _default(network: ContainerNetwork, table: int, connected: Iterable[Route]) -> Route:
    hop = network.gateway or NextHop(None)
    near = [route.destination for route in connected if route.table == table]
    everything = ANYWHERE[network.interface.version]
    onlink = needs_onlink(hop.address, near)
    return Route(everything, network.link, table, hop.address, onlink=onlink, mtu=hop.mtu)


def needs_onlink(gateway: IPAddress | None, near: Iterable[IPNetwork]) -> bool:
    """Tell whether a route by this gateway needs the flag `onlink`: it lies in no network of the link's.

    Without the flag the kernel then says "Nexthop has invalid gateway". A pod's 169.254.1.1 needs it;
    fe80::/10, which is on every link, does not.
    """
    if gateway is None or (gateway.version == IPV6 and gateway.is_link_local):
        return False
    return not any(gateway in network for network in near)


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


def _halves(network: IPNetwork) -> Iterable[IPNetwork]:
    """Split a whole family: two halves take everything, and the default route stays where it is."""
    return (network,) if network.prefixlen else network.subnets()


def in_front(want: Wanted, places: Collection[tuple[int, int]]) -> Wanted:
    """Move our rules before those of others that the kernel itself put right before ours.

    `places` are IP version and priority of every rule that is not ours. Where a rule is added without a
    priority, the kernel gives it the place before the first one behind `local` (fib_default_rule_pref), and
    that one is ours: what wg-quick adds while we run would take our replies. A rule that stands further
    ahead than PLACES_AHEAD was put there by somebody who meant it, and stays before ours.
    """
    shift = {
        version: _shift(
            [rule.priority for rule in want.rules if rule.source.version == version],
            [priority for other, priority in places if other == version],
        )
        for version in ANYWHERE
    }
    moved = (replace(rule, priority=rule.priority - shift[rule.source.version]) for rule in want.rules)
    return replace(want, rules=tuple(moved))


def _shift(ours: Collection[int], others: Iterable[int]) -> int:
    """Return by how many places the rules of one IP version, which have these priorities, go to the front.

    They move together: those by source stay before those by destination.
    """
    if not ours:
        return 0
    first, length = min(ours), max(ours) - min(ours) + 1
    # Priority 0 is that of the kernel's rule for `local`; no place is before it.
    ahead = range(max(first - PLACES_AHEAD, 1), first)
    in_our_way = [priority for priority in others if priority in ahead]
    return first - max(min(in_our_way) - length, 1) if in_our_way else 0
