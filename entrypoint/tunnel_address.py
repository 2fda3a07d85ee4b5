"""Whether a tunnel may have the address that its server gave it. No kernel in here."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from entrypoint.detect import ContainerNetwork
from entrypoint.network import IPAddress, IPNetwork, Snapshot

LISTED = "in LAN_NETWORKS"


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Who has an address on the container's side."""

    snapshot: Snapshot
    networks: Collection[ContainerNetwork] = ()
    lan_networks: Collection[IPNetwork] = ()
    resolvers: Collection[IPAddress] = ()
    peers: Collection[IPAddress] = ()
    """Who is or was connected with us."""


def refusal(addresses: Iterable[IPAddress], around: Neighbourhood) -> str | None:
    """Say why a tunnel may not have one of these addresses; None where it may have them all.

    The kernel delivers what goes to an address of ours to ourselves, whichever link it is on: a host of the
    LAN that has the same one would never be answered. Link-local addresses may be on every link.
    """
    for address in addresses:
        if (whose := _whose(address, around)) and not address.is_link_local:
            listed = ", or take it out of LAN_NETWORKS" if LISTED in whose else ""
            return (
                f"its tunnel was given {address}, which is {whose}: who has it would never be answered; "
                f"have the VPN give another address{listed}"
            )
    return None


def _whose(address: IPAddress, around: Neighbourhood) -> str | None:
    for link in around.snapshot.links:
        held = (interface.ip for interface in around.snapshot.addresses_of(link))
        if not link.is_tunnel and address in held:
            return f"the address of {link.name}"
    for network in around.networks:
        if network.gateway and network.gateway.address == address:
            return f"the gateway of {network.link}"
    if address in around.resolvers:
        return "a resolver of the container"
    for lan in around.lan_networks:
        if address in lan:
            return f"{LISTED} ({lan})"
    if address in around.peers:
        return "the address of a host that is connected with us"
    return None
