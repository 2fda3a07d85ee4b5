"""Which networks the container is in, and which gateway leads out of each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface

from entrypoint.network import (
    ANNOUNCED,
    CONFIGURED,
    IPV6,
    LAST_METRIC,
    MAIN_TABLE,
    PROTOCOL,
    IPAddress,
    IPInterface,
    IPNetwork,
    Link,
    Route,
    Snapshot,
)

Key = tuple[str, IPNetwork]
"""What tells a network: its link's name, and the network itself."""
Gateways = Mapping[tuple[str, int], IPAddress]
"""(interface, IP version) -> the gateway that the user named."""

_NO_ROUTE = "no route that names one"
_ROOM_FOR_A_ROUTER = 2
"""Bits of a network's addresses: a shorter one has no first address that could be another's."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a default route of a container network leads."""

    address: IPAddress | None
    """The gateway's; None where the link itself is the way (a default route without a gateway)."""
    leads_out: bool = field(default=False, compare=False)
    """Whether the main table's default route goes there, or went when there was one."""
    mtu: int = field(default=0, compare=False)
    """The largest packet by this way, in bytes, where its route says so, as Cilium's does; else 0."""

    def __str__(self) -> str:
        return str(self.address or "the link itself")


@dataclass(frozen=True, slots=True)
class ContainerNetwork:
    """One network on the private side."""

    link: str
    up: bool
    carrier: bool
    interface: IPInterface
    """Our first address in it, with its prefix length."""
    gateway: NextHop | None = None
    problem: str | None = None
    """Why it has no gateway: what was seen and what to set."""
    candidate: IPAddress | None = None
    """Who is likely to be its router, where nothing tells: by custom the first address."""

    @property
    def network(self) -> IPNetwork:
        """The network in canonical form: the kernel stores 172.30.0.5/16 as it is given."""
        return self.interface.network

    @property
    def fault(self) -> str | None:
        """Why nothing passes by its link now; None where something may."""
        if not self.up:
            return "its link is down"
        return None if self.carrier else "its link has no carrier: the other end is down"

    @property
    def key(self) -> Key:
        """What stays the same while its link goes down and up."""
        return self.link, self.network


Remembered = Mapping[Key, NextHop]
"""Gateways that were found earlier."""


def container_networks(
    snapshot: Snapshot,
    named: Gateways,
    remembered: Remembered,
    silent: Collection[Key] = (),
) -> tuple[ContainerNetwork, ...]:
    """Find the container's networks, those that lead out first, those without a gateway last.

    A tunnel link is none of them, nor is a link-local IPv6 network: its replies never leave the link.
    `remembered` are gateways found earlier: a link that went down loses its routes, not its router.
    `silent` are networks whose candidate was asked and did not answer as a router does.
    """
    defaults = {
        (route.link, route.destination.version)
        for route in snapshot.routes
        if route.is_default and route.table == MAIN_TABLE and route.protocol != PROTOCOL
    }
    own = {address.interface.ip for address in snapshot.addresses}
    found: dict[tuple[str, IPNetwork], ContainerNetwork] = {}
    for link in snapshot.links:
        if link.loopback or link.is_tunnel:
            continue
        for interface in snapshot.addresses_of(link):
            if interface.version == IPV6 and interface.is_link_local:
                continue
            if not interface.network.prefixlen:
                continue  # "from 0.0.0.0/0" would be everybody's rule
            network = ContainerNetwork(link.name, link.up, link.carrier, interface)
            if network.key not in found:
                network = _with_gateway(network, snapshot, named, remembered)
                found[network.key] = _with_candidate(_leading_out(network, defaults, remembered), own, silent)
        # A link that goes down loses its IPv6 addresses, and what is sent from them would enter the tunnel.
        for name, prefix in remembered:
            if name == link.name and not link.up and prefix.version == IPV6 and (name, prefix) not in found:
                network = ContainerNetwork(name, link.up, link.carrier, ip_interface(prefix))
                found[network.key] = replace(network, gateway=remembered[network.key])
    return tuple(
        sorted(found.values(), key=lambda n: 2 if n.gateway is None else 0 if n.gateway.leads_out else 1)
    )


def why_none(snapshot: Snapshot, networks: tuple[ContainerNetwork, ...]) -> str | None:
    """Say why no network can be served; None if one can."""
    if any(network.gateway for network in networks):
        return None
    if networks:
        return "\n".join(network.problem for network in networks if network.problem)
    seen = ", ".join(_described(link, snapshot) for link in snapshot.links) or "nothing"
    return (
        f"cannot find a container network: saw {seen}; "
        "attach the container to a network (compose: `networks:`, not `network_mode: none`)"
    )


def _with_gateway(
    network: ContainerNetwork, snapshot: Snapshot, named: Gateways, remembered: Remembered
) -> ContainerNetwork:
    """Note the network's gateway, or why it has none."""
    if network.key in remembered:
        hops = _hops_since(remembered[network.key], network, snapshot)
    else:
        hops = _hops_at_first(network, snapshot)
    if gateway := named.get((network.link, network.interface.version)):
        if any(gateway == address.interface.ip for address in snapshot.addresses):
            problem = f"cannot use GATEWAYS={network.link}={gateway}: saw our own address; name the router's"
            return replace(network, problem=problem)
        return replace(
            network, gateway=next((hop for hop in hops if hop.address == gateway), NextHop(gateway))
        )
    if len(hops) == 1:
        return replace(network, gateway=hops.pop())
    if not hops:
        return replace(network, problem=_no_gateway(network))
    several = sorted(str(hop) for hop in hops)
    problem = (
        f"cannot choose the gateway of {network.link} ({network.network}): saw {' and '.join(several)}; "
        f"set GATEWAYS={network.link}={several[0]} or the one that leads to your LAN"
    )
    return replace(network, problem=problem)


def _hops_at_first(network: ContainerNetwork, snapshot: Snapshot) -> set[NextHop]:
    """Return who may be the gateway of a network that we see for the first time, from the surest sign on."""
    routes = _routes_of(network, snapshot)
    theirs = [route for route in routes if route.protocol != PROTOCOL]
    defaults = [route for route in theirs if route.is_default]
    # A killed run's table still knows the gateway that its client may have taken from the main table.
    ours = [route for route in routes if route.is_default and route.protocol == PROTOCOL]
    hops = (
        _best([route for route in defaults if route.table == MAIN_TABLE])
        or _best(defaults)
        or _best(ours)
        # Beside a VPN that took the default route away, the host route to its server names the gateway.
        or _best([route for route in theirs if route.gateway])
    )
    # Of several, one may be a stray of the killed run's client, and its table knows which is not.
    return hops & _best(ours) or hops


def _hops_since(kept: NextHop, network: ContainerNetwork, snapshot: Snapshot) -> set[NextHop]:
    """Return who may be the gateway of a network by now that has had one while we run.

    A server can push a default route to any neighbour. So only who is in charge of the link moves its
    gateway: a route that says so by its protocol does, and any that leads into the link's networks where the
    gateway that we know does not lie in them: while an address is being changed, the new network is seen
    with the old one's gateway.
    """
    main = [
        route
        for route in _routes_of(network, snapshot)
        if route.is_default and route.protocol != PROTOCOL and route.table == MAIN_TABLE
    ]
    # Anybody on the link may announce itself, and takes nothing from a gateway that still has its route.
    still = min((route.metric for route in main if NextHop(route.gateway) == kept), default=LAST_METRIC)
    hops = _best(
        [r for r in main if r.protocol in CONFIGURED and (r.protocol != ANNOUNCED or r.metric < still)]
    )
    if not hops and not _is_near(kept.address, network.link, snapshot):
        hops = _best([route for route in main if _is_near(route.gateway, network.link, snapshot)])
    # Two routers may both announce themselves.
    return {kept} if not hops or kept in hops else hops


def _routes_of(network: ContainerNetwork, snapshot: Snapshot) -> list[Route]:
    """Return the routes by the network's link, of its IP version."""
    version = network.interface.version
    return [r for r in snapshot.routes if r.link == network.link and r.destination.version == version]


def _leading_out(
    network: ContainerNetwork,
    defaults: Collection[tuple[str, int]],
    remembered: Remembered,
) -> ContainerNetwork:
    """Note whether the network's gateway is where the main table leads, by its default routes' links."""
    if not network.gateway:
        return network
    version = network.interface.version
    if any(version == other for _, other in defaults):
        leads_out = (network.link, version) in defaults
    else:  # a client took it
        leads_out = network.key in remembered and remembered[network.key].leads_out
    return replace(network, gateway=replace(network.gateway, leads_out=leads_out))


def _with_candidate(
    network: ContainerNetwork,
    own: Collection[IPAddress],
    silent: Collection[Key],
) -> ContainerNetwork:
    """Name who is likely to be the router, where nothing does, or tell that it is none."""
    room = network.interface.max_prefixlen - network.network.prefixlen
    if network.gateway or network.problem != _no_gateway(network) or room < _ROOM_FOR_A_ROUTER:
        return network
    first = network.network[1]
    if first in own:
        return network
    saw = f"{_NO_ROUTE}, and {first} does not answer as a router does"
    problem = _no_gateway(network, saw) if network.key in silent else network.problem
    return replace(network, candidate=first, problem=problem)


def _no_gateway(network: ContainerNetwork, saw: str = _NO_ROUTE) -> str:
    return (
        f"cannot find the gateway of {network.link} ({network.network}): saw {saw}; "
        f"set GATEWAYS={network.link}=<address of its router>"
    )


def _is_near(gateway: IPAddress | None, link: str, snapshot: Snapshot) -> bool:
    """Tell whether a gateway lies in one of a link's networks."""
    return gateway is not None and any(gateway in network for network in snapshot.networks_on(link))


def _best(routes: list[Route]) -> set[NextHop]:
    lowest = min((route.metric for route in routes), default=0)
    best = [route for route in routes if route.metric == lowest]
    # What somebody set goes before what anybody on the link may announce.
    best = [route for route in best if route.protocol != ANNOUNCED] or best
    return {NextHop(route.gateway, mtu=route.mtu) for route in best}


def _described(link: Link, snapshot: Snapshot) -> str:
    addresses = " ".join(str(interface) for interface in snapshot.addresses_of(link)) or "no address"
    return f"{link.name} ({addresses}{'' if link.up else ', down'}{', a tunnel' if link.is_tunnel else ''})"
