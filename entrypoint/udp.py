"""UDP services on wildcard sockets: which rules make their replies leave the side they came from. Pure.

Such a socket sends with no source yet, so no rule by source helps: the route is chosen by the destination
alone. Therefore the destination is changed: what comes by a container's link from beyond its network seems to
come from that network's gateway, and connection tracking turns the reply back.
"""

from collections.abc import Iterable, Sequence
from ipaddress import collapse_addresses, ip_network

from entrypoint.chains import Chain, Place
from entrypoint.detect import ContainerNetwork
from entrypoint.network import IPV6, IPAddress, IPNetwork

SOURCE_NAT = 100
"""NF_IP_PRI_NAT_SRC of linux/netfilter_ipv4.h."""
_WORDS = {4: "ip", IPV6: "ip6"}
"""What nft calls each IP version."""
_EVERY = range(1, 65536)
_LINK_LOCAL = ip_network("fe80::/10")

Ports = Sequence[range]


def chains(networks: Iterable[ContainerNetwork], ports: Ports) -> tuple[Chain, ...]:
    """Return the chain; it stands with no network, too, so that connections are tracked from the start.

    Else a packet of the client's own flow would be taken for somebody's first one.
    """
    seen = list(networks)
    # Networks of one link share their gateway.
    ways = {(network.link, gateway.version): gateway for network, gateway in _served(seen)}
    rules = tuple(
        f'iifname "{link}" {_WORDS[version]} saddr != {{ {_neighbours(seen, link, version)} }} '
        f"{matching(ports)} snat {_WORDS[version]} to {gateway}"
        for (link, version), gateway in ways.items()
    )
    return (Chain("udp_replies", Place("nat", "input", SOURCE_NAT), "accept", rules),)


def gateways(networks: Iterable[ContainerNetwork]) -> tuple[IPNetwork, ...]:
    """Return the addresses to which the services then send their replies.

    They have to be kept on the gateway by a rule, as a server may push a route that covers them.
    """
    return tuple(ip_network(gateway) for _, gateway in _served(networks))


def not_served(networks: Iterable[ContainerNetwork]) -> list[ContainerNetwork]:
    """Return the networks whose gateway has no address of its own network.

    From a link-local gateway a service would answer with its own link-local address.
    """
    served = {network.key for network, _ in _served(networks)}
    return [network for network in networks if network.gateway and network.key not in served]


def unheard(wildcard: Iterable[int], ports: Ports) -> list[int]:
    """Return the ports of wildcard sockets that are not among these."""
    return sorted({port for port in wildcard if not any(port in span for span in ports)})


def _neighbours(networks: Iterable[ContainerNetwork], link: str, version: int) -> str:
    """Return whom a service reaches on the link itself, as nft takes the elements of a set.

    To them it answers with its address in their network, which is not the one that it has for the gateway.
    """
    near = [n.network for n in networks if n.link == link and n.network.version == version]
    if version == IPV6:
        near.append(_LINK_LOCAL)
    return ", ".join(map(str, collapse_addresses(near)))  # type: ignore[type-var]


def _served(networks: Iterable[ContainerNetwork]) -> Iterable[tuple[ContainerNetwork, IPAddress]]:
    """Yield the networks whose gateway can stand for their visitors, each with its gateway's address."""
    for network in networks:
        address = network.gateway.address if network.gateway else None
        if address is None or address.version != network.interface.version:
            continue
        if address.version != IPV6 or not address.is_link_local:
            yield network, address


def matching(ports: Ports) -> str:
    """Write what matches these ports in nft's words; the intervals of a set must not overlap."""
    merged: list[range] = []
    for span in sorted(ports, key=lambda span: span.start):
        if merged and span.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    if merged == [_EVERY]:
        return "meta l4proto udp"
    written = (f"{span.start}-{span[-1]}" if len(span) > 1 else str(span.start) for span in merged)
    return f"udp dport {{ {', '.join(written)} }}"
