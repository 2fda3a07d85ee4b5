"""Which of the tunnel's routes cover a network in use on the private side."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from entrypoint.detect import ContainerNetwork
from entrypoint.network import MAIN_TABLE, PROTOCOL, IPAddress, IPNetwork, Route

PRIVATE = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Where LANs live: RFC 1918, RFC 6598 and RFC 4193."""
MAY_BE = "reaches into private address space, where a LAN may be"


@dataclass(frozen=True, slots=True)
class Overlap:
    """A route of the tunnel and the network that it covers, or part of it."""

    route: IPNetwork
    network: IPNetwork
    seen: str
    """How we know that the network is in use."""

    def __str__(self) -> str:
        return (
            f"{self.route} {self.seen}"
            if self.seen == MAY_BE
            else f"{self.route} covers {self.network} ({self.seen})"
        )


def in_use(
    networks: Iterable[ContainerNetwork],
    lan_networks: Iterable[IPNetwork],
    resolvers: Iterable[IPAddress],
    peers: Iterable[IPAddress],
) -> list[tuple[IPNetwork, str]]:
    """List the networks known to be in use on the private side; `peers` hold connections there now."""
    lans = list(lan_networks)
    hint = "the container's resolver: asked through the tunnel from now on, unless LAN_NETWORKS has it"
    outside = [resolver for resolver in resolvers if not any(resolver in lan for lan in lans)]
    return [
        *((network.network, f"the container's network on {network.link}") for network in networks),
        *((lan, "LAN_NETWORKS") for lan in lans),
        *((ip_network(resolver), hint) for resolver in outside),
        *((ip_network(peer), "connected now") for peer in dict.fromkeys(peers)),
    ]


def overlaps(
    tunnel_routes: Iterable[Route],
    tunnel_networks: Iterable[IPNetwork],
    used: Iterable[tuple[IPNetwork, str]],
) -> list[Overlap]:
    """Pair the tunnel's routes with the networks in use that they cover.

    From inside a container the LAN beyond the gateway cannot be seen. So a route that covers no network
    known to be in use, but leads into private address space, counts as one that may cover it.
    """
    beside = set(tunnel_networks)
    # Our own tables are for replies that bear the tunnel's address, and cover nobody.
    theirs = [r for r in tunnel_routes if r.protocol != PROTOCOL or r.table == MAIN_TABLE]
    routes = list(dict.fromkeys(r.destination for r in theirs if r.destination not in beside))
    networks = list(used)
    sure = [Overlap(r, network, seen) for network, seen in networks for r in routes if _meet(r, network)]
    told = {overlap.route for overlap in sure}
    return sure + [
        Overlap(r, r if r.prefixlen >= space.prefixlen else space, MAY_BE)
        for r in routes
        for space in PRIVATE
        if r not in told and _meet(r, space) and r.prefixlen < r.max_prefixlen
    ]


def _meet(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)
