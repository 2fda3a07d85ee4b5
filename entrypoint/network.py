"""Links, addresses, routes and rules as frozen values, printed as iproute2 would take them."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

PROTOCOL = 83
"""Our tag on rules and routes: free in iproute2's rt_protos, so that ours are told from all others."""

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

TUNNEL_KINDS = frozenset({"tun", "wireguard", "ppp", "ovpn", "ovpn-dco"})
"""IFLA_INFO_KIND of links that VPN clients make; a tap link is of kind tun, too."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    name: str
    kind: str
    """IFLA_INFO_KIND, or an empty text for a link without one (lo, hardware)."""
    up: bool
    """IFF_UP: administratively up. The kernel keeps no IPv4 route on a link without it."""
    loopback: bool = False

    @property
    def is_tunnel(self) -> bool:
        """Whether a VPN client made this link."""
        return self.kind in TUNNEL_KINDS


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix length on a link."""

    link: int
    """Index of the link."""
    interface: IPInterface


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route; compared without its protocol tag, which says only whose it is."""

    destination: IPNetwork
    link: str
    """Name of the outgoing link."""
    table: int
    gateway: IPAddress | None = None
    onlink: bool = False
    """The gateway is reached on the link although no route says so (RTNH_F_ONLINK)."""

    def __str__(self) -> str:
        """Read as the arguments of `ip [-6] route add`."""
        via = f" via {self.gateway}" if self.gateway else ""
        onlink = " onlink" if self.onlink else ""
        # IPv6 has no scope on routes: every route without a gateway is on-link.
        scope = "" if self.gateway or self.destination.version == 6 else " scope link"
        target = self.destination if self.destination.prefixlen else "default"
        return f"{target}{via} dev {self.link}{onlink}{scope} table {self.table}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule for packets that this namespace sends itself (`iif lo`)."""

    source: IPNetwork
    table: int
    priority: int
    destination: IPNetwork | None = None

    def __str__(self) -> str:
        """Read as the arguments of `ip [-6] rule add`."""
        to = f" to {self.destination}" if self.destination else ""
        return f"from {self.source}{to} iif lo lookup {self.table} priority {self.priority}"
