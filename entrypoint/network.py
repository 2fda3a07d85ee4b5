"""Links, addresses, routes and rules as frozen values, printed as iproute2 would take them."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

PROTOCOL = 83
"""Our tag on rules and routes: free in iproute2's rt_protos, so that ours are told from all others."""

COPIED_MAX = 512
"""So many routes by other routers are copied for replies, and so many are read of a link: each is a change at
the start, and whoever has more has a routing daemon."""

MARK = 0x5347
"""SO_MARK of a client's own packets ("SG"): they leave by the gateway, whatever the tunnel covers."""

GROUP = 0x5347
"""The group of a client that cannot mark its packets, while the gate is closed: services mostly run as root,
too, and are not let through with it."""

TABLES_HELD = 64
"""How many tables are ours from ROUTE_TABLE on: one per interface, tunnels from the last one down."""

NOBODY: dict[int, IPAddress] = {4: IPv4Address("192.0.2.83"), 6: IPv6Address("2001:db8::83")}
"""Whom a router is asked about: of the networks for documentation (RFC 5737, RFC 3849), where nobody is."""

DOCKER_RESOLVER = IPv4Address("127.0.0.11")
"""Where Docker's own resolver is found in each container of a network that was made."""

DNS_PORT = 53
"""Of RFC 1035, by UDP and TCP: no resolv.conf can name another."""

DISCARD_PORT = 9
"""Of RFC 863, for a question that nobody gets."""

IPV6 = 6
"""What `version` says of an IPv6 address."""

ANYWHERE: dict[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
"""By IP version: the destination of a default route, the source of a rule for all."""

ANNOUNCED = 9
"""RTPROT_RA of linux/rtnetlink.h: what an IPv6 router says of itself, and anybody on the link may say."""

CONFIGURED = frozenset({4, ANNOUNCED, 16})
"""RTPROT_STATIC and RTPROT_DHCP beside it: routes of who is in charge of a link."""

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

LAST_METRIC = 2**32 - 1
"""RTA_PRIORITY of the route that every other one goes before."""

TUNNEL_KINDS = frozenset({"tun", "wireguard", "ppp", "ovpn", "ovpn-dco"})
"""IFLA_INFO_KIND of links that VPN clients make; a tap link is of kind tun, too."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    name: str
    kind: str
    """IFLA_INFO_KIND; empty for a link without one (lo, hardware)."""
    up: bool
    """IFF_UP: administratively up. The kernel keeps no IPv4 route on a link without it."""
    loopback: bool = False
    carrier: bool = True
    """IFF_LOWER_UP: there is a signal, or the other end of the pair is up."""
    mtu: int = 0
    """IFLA_MTU, in bytes; 0 where nobody asked."""
    point_to_point: bool = False
    """IFF_POINTOPOINT: all that leaves reaches the one other end, whatever the next hop; not so for tap."""

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
    permanent: bool = True
    """Set by who is in charge of the link, and not, for a while, by what somebody on it says."""


class Flow(NamedTuple):
    """A connected UDP socket."""

    peer: IPAddress
    peer_port: int
    port: int
    """That of the socket itself."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """That a link is up and has an MTU, printed as the arguments of `ip link set`."""

    link: str
    mtu: int | None = None
    """In bytes; None for any."""

    def __str__(self) -> str:
        """Read as the arguments of `ip link set`."""
        return f"dev {self.link}{f' mtu {self.mtu}' if self.mtu else ''} up"


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address on a link named by its name, printed as the arguments of `ip address add`."""

    link: str
    interface: IPInterface
    nodad: bool = False
    """Nobody is asked whether he has it (IFA_F_NODAD): it is there at once, as Docker sets those of IPv6."""

    def __str__(self) -> str:
        """Read as the arguments of `ip address add`."""
        return f"{self.interface} dev {self.link}{' nodad' if self.nodad else ''}"


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route by one gateway; two are equal that lead the same way, whosever they are."""

    destination: IPNetwork
    link: str
    """Name of the outgoing link."""
    table: int
    gateway: IPAddress | None = None
    onlink: bool = False
    """The gateway is reached on the link although no route says so (RTNH_F_ONLINK)."""
    metric: int = field(default=0, compare=False)
    """RTA_PRIORITY; the kernel gives IPv6 routes 1024 where none is named."""
    protocol: int = field(default=PROTOCOL, compare=False)
    """Who made it (RTA_PROTOCOL)."""
    source: IPAddress | None = field(default=None, compare=False)
    """The address of ours that packets without one are given (RTA_PREFSRC); None for the kernel's choice."""
    mtu: int = field(default=0, compare=False)
    """The largest packet by this way, in bytes (RTAX_MTU); 0 where the link alone says it."""

    @property
    def is_default(self) -> bool:
        """Whether it takes every destination that no longer prefix takes."""
        return not self.destination.prefixlen

    def _family_named(self) -> tuple[str, ...]:
        # An IPv4 route may lead to an IPv6 gateway (RFC 5549).
        other = self.gateway is not None and self.gateway.version != self.destination.version
        return ("inet6",) if other else ()

    def __str__(self) -> str:
        """Read as the arguments of `ip route add`."""
        # IPv6 has no scope: a route without a gateway is on-link there anyhow.
        connected = self.gateway is None and isinstance(self.destination, IPv4Network)
        # iproute2 takes "default" to be of the gateway's family.
        default = self.is_default and not self._family_named()
        parts = [
            "default" if default else str(self.destination),
            *(("via", *self._family_named(), str(self.gateway)) if self.gateway else ()),
            *("dev", self.link),
            *(("onlink",) if self.onlink else ()),
            *(("scope", "link") if connected else ()),
            *(("src", str(self.source)) if self.source else ()),
            *(("mtu", str(self.mtu)) if self.mtu else ()),
            *(("metric", str(self.metric)) if self.metric else ()),
            *(("table", str(self.table)) if self.table != MAIN_TABLE else ()),
            *("proto", str(self.protocol)),
        ]
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class LastResort:
    """The end of a table: what no other route of it takes goes nowhere, and not on to the next rule.

    It has no link, so that it outlives every link's routes.
    """

    version: int
    """Of IP."""
    table: int
    protocol: int = field(default=PROTOCOL, compare=False)

    def __str__(self) -> str:
        """Read as the arguments of `ip route add`."""
        return f"unreachable default metric {LAST_METRIC} table {self.table} proto {self.protocol}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule for packets that this namespace sends itself (`iif lo`)."""

    source: IPNetwork
    table: int
    priority: int
    destination: IPNetwork | None = None
    mark: int = 0
    """FRA_FWMARK with a full mask; 0 for a rule that does not look at it."""
    protocol: int = field(default=PROTOCOL, compare=False)
    """Who made it (FRA_PROTOCOL)."""

    def __str__(self) -> str:
        """Read as the arguments of `ip rule add`."""
        source = self.source if self.source.prefixlen else "all"
        to = f" to {self.destination}" if self.destination else ""
        mark = f" fwmark {self.mark:#x}" if self.mark else ""
        tail = f"iif lo lookup {self.table} priority {self.priority} protocol {self.protocol}"
        return f"from {source}{to}{mark} {tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSetup:
    """What a tunnel's link must be like, for clients that leave it to us; kept as our rules are."""

    link: str
    """Name of the link, which the client makes."""
    mtu: int | None = None
    """In bytes; None leaves the link's own."""
    addresses: tuple[IPInterface, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    """What the tunnel takes, in the main table; a whole family is taken in halves, so that the default route
    of the container stays where it is."""
    excluded: tuple[IPNetwork, ...] = ()
    """What inside these routes stays on the gateway."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the kernel held at one moment, as far as it concerns us."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    """Unicast routes by links other than loopback, as far as they matter; of those by tunnels, ours alone."""
    last_resorts: tuple[LastResort, ...] = ()
    """Ours alone."""
    rules: tuple[Rule, ...] = ()
    """Rules of the shape that ours have, whosever they are."""
    places: frozenset[tuple[int, int]] = frozenset()
    """IP version and priority of every rule without our tag, whatever its shape."""
    crowded: frozenset[str] = frozenset()
    """Links with more routes by other routers than are copied."""

    def named_addresses(self) -> list[tuple[str, IPInterface]]:
        """Return every address with its link's name."""
        return [(link.name, interface) for link in self.links for interface in self.addresses_of(link)]

    def networks_on(self, link: str) -> list[IPNetwork]:
        """Return the networks that a link of this name has addresses in."""
        return [interface.network for name, interface in self.named_addresses() if name == link]

    def addresses_of(self, link: Link) -> tuple[IPInterface, ...]:
        """Return the addresses on a link, in the kernel's order."""
        return tuple(address.interface for address in self.addresses if address.link == link.index)


@dataclass(frozen=True, slots=True)
class Lookup:
    """The kernel's answer to which way a packet would leave."""

    link: str
    gateway: IPAddress | None
    table: int
