"""Which tunnels stand. No kernel in here."""

from dataclasses import dataclass

from entrypoint.network import IPV6, IPAddress, IPInterface, Link, Snapshot


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel that stands: its link, and the addresses that came by the VPN, one at least."""

    link: Link
    addresses: tuple[IPInterface, ...]

    @property
    def ips(self) -> frozenset[IPAddress]:
        """The addresses without their prefix lengths."""
        return frozenset(interface.ip for interface in self.addresses)


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
