"""Tells the host's own network namespace from a container's. No IO here."""

from collections.abc import Collection

from entrypoint.network import IPV6, MAIN_TABLE, IPAddress, Link, Snapshot

ENGINES_BRIDGE = "bridge"
"""IFLA_INFO_KIND of docker0, br-…, cni0 and podman0: an engine has an address of its own on each."""
_GIVEN = frozenset({"veth", "macvlan", "ipvlan"})
"""Kinds of links that an engine gives to a container as its way out."""


def why_host(snapshot: Snapshot, hosts: Collection[IPAddress]) -> str | None:
    """Say why this is the host's own network, whose rules are not ours to change; None if it is not.

    `hosts` are the addresses of /etc/hosts: an engine writes the container's own address there, and so a
    container that runs an engine itself is told from the host.
    """
    bridge = next((link for link in snapshot.links if _is_engines(link, snapshot)), None)
    if bridge is None or _is_given(snapshot, hosts):
        return None
    address = snapshot.addresses_of(bridge)[0]
    return (
        f"cannot work in the host's own network: saw the bridge {bridge.name} ({address}), as the host of "
        "containers has it; leave `network_mode: host` out (Kubernetes: `hostNetwork: true`) and give the "
        "container a network"
    )


def _is_engines(link: Link, snapshot: Snapshot) -> bool:
    addresses = snapshot.addresses_of(link)
    return link.kind == ENGINES_BRIDGE and any(a.version != IPV6 or not a.is_link_local for a in addresses)


def _is_given(snapshot: Snapshot, hosts: Collection[IPAddress]) -> bool:
    """Tell whether the way out is a link that an engine gave, with the address that it wrote down."""
    ways = {route.link for route in snapshot.routes if route.is_default and route.table == MAIN_TABLE}
    return any(
        link.name in ways and link.kind in _GIVEN and any(a.ip in hosts for a in snapshot.addresses_of(link))
        for link in snapshot.links
    )
