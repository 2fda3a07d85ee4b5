"""Which networks the container is in, and which gateway leads out of each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface

from entrypoint.network import (
    CONFIGURED,
    IPV6,
    MAIN_TABLE,
    PROTOCOL,
    IPAddress,
    IPInterface,
    IPNetwork,
    Link,
    Route,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a default route of a container network leads."""

    address: IPAddress | None
    """The gateway's; None where the link itself is the way (a default route without a gateway)."""
    leads_out: bool = field(default=False, compare=False)
    """Whether the main table's default route goes there, or went when there was one."""

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
    def key(self) -> tuple[str, IPNetwork]:
        """What stays the same while its link goes down and up."""
        return self.link, self.network


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel that stands: its link, and the addresses that came by the VPN, one at least."""

    link: Link
    addresses: tuple[IPInterface, ...]

    @property
    def ips(self) -> frozenset[IPAddress]:
        """The addresses without their prefix lengths."""
        return frozenset(interface.ip for interface in self.addresses)


_NO_ROUTE = "no route that names one"
_ROOM_FOR_A_ROUTER = 2
"""Bits of a network's addresses: a shorter one has no first address that could be another's."""

Gateways = Mapping[tuple[str, int], IPAddress]
"""(interface, IP version) -> the gateway that the user named."""


def container_networks(
    snapshot: Snapshot,
    named: Gateways,
    remembered: Mapping[tuple[str, IPNetwork], NextHop],
    silent: Collection[tuple[str, IPNetwork]] = (),
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


def tunnels(snapshot: Snapshot) -> tuple[Tunnel, ...]:
    """Return the tunnels that stand: links that are up and have an address.

    An IPv6 link-local address is none: the kernel gives it to every link, and nothing came by the VPN.
    """
    found = []
    for link in snapshot.links:
        if link.is_tunnel and link.up:
            addresses = tuple(
                interface
                for interface in snapshot.addresses_of(link)
                if interface.version != IPV6 or not interface.is_link_local
            )
            if addresses:
                found.append(Tunnel(link, addresses))
    return tuple(found)


def _with_gateway(
    network: ContainerNetwork,
    snapshot: Snapshot,
    named: Gateways,
    remembered: Mapping[tuple[str, IPNetwork], NextHop],
) -> ContainerNetwork:
    version = network.interface.version
    if gateway := named.get((network.link, version)):
        if any(gateway == address.interface.ip for address in snapshot.addresses):
            problem = f"cannot use GATEWAYS={network.link}={gateway}: saw our own address; name the router's"
            return replace(network, problem=problem)
        return replace(network, gateway=NextHop(gateway))
    routes = [
        route
        for route in snapshot.routes
        if route.link == network.link and route.destination.version == version
    ]
    theirs = [route for route in routes if route.is_default and route.protocol != PROTOCOL]
    main = [route for route in theirs if route.table == MAIN_TABLE]
    if network.key in remembered:
        # A server can push routes to any neighbour. So while we run, only who is in charge of the link's own
        # configuration moves its gateway.
        kept = remembered[network.key]
        # While an address is being changed, the new network is seen with the old one's gateway.
        within = [] if _is_near(kept.address, network.link, snapshot) else main
        hops = (
            _best([route for route in main if route.protocol in CONFIGURED])
            or _best([route for route in within if _is_near(route.gateway, network.link, snapshot)])
            or {kept}
        )
        # Two routers may both announce themselves.
        hops = {kept} if kept in hops else hops
    else:
        # A killed run's table still knows the gateway that its client may have taken from the main table.
        ours = [route for route in routes if route.is_default and route.protocol == PROTOCOL]
        # Beside a VPN that took the default route away, the host route to its server names the gateway.
        others = [route for route in routes if route.gateway and route.protocol != PROTOCOL]
        hops = _best(main) or _best(theirs) or _best(ours) or _best(others)
        # It also knows which of several is no stray of that client's.
        if len(hops) > 1:
            hops = hops & _best(ours) or hops
    if len(hops) == 1:
        return replace(network, gateway=hops.pop())
    where = f"{network.link} ({network.network})"
    if hops:
        several = sorted(str(hop) for hop in hops)
        problem = (
            f"cannot choose the gateway of {where}: saw {' and '.join(several)}; "
            f"set GATEWAYS={network.link}={several[0]} or the one that leads to your LAN"
        )
    else:
        problem = _no_gateway(network)
    return replace(network, problem=problem)


def _leading_out(
    network: ContainerNetwork,
    defaults: Collection[tuple[str, int]],
    remembered: Mapping[tuple[str, IPNetwork], NextHop],
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
    silent: Collection[tuple[str, IPNetwork]],
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
    return {NextHop(route.gateway) for route in routes if route.metric == lowest}


def _described(link: Link, snapshot: Snapshot) -> str:
    addresses = " ".join(str(interface) for interface in snapshot.addresses_of(link)) or "no address"
    return f"{link.name} ({addresses}{'' if link.up else ', down'}{', a tunnel' if link.is_tunnel else ''})"
