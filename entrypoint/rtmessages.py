"""Netlink's messages read as our values. Knows neither socket nor kernel."""

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, NamedTuple, TypeVar

from entrypoint.network import (
    ANNOUNCED,
    CONFIGURED,
    IPV6,
    LAST_METRIC,
    MAIN_TABLE,
    PROTOCOL,
    Address,
    IPAddress,
    IPNetwork,
    LastResort,
    Link,
    Lookup,
    Route,
    Rule,
)

T = TypeVar("T")

_RTN_UNICAST = 1
_RTPROT_KERNEL = 2
RTA_TABLE = 15
_RTA_DST, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA = 1, 5, 9, 18
LEADS_BY_A_ROUTER = (_RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA)
"""A route that has one of these attributes goes by a router."""
RTN_UNREACHABLE = 7
_FR_ACT_TO_TBL = 1
RTNH_F_ONLINK = 4
_IFA_F_PERMANENT = 0x80
_IFF_UP, _IFF_LOOPBACK, _IFF_POINTOPOINT, _IFF_LOWER_UP = 0x1, 0x8, 0x10, 0x10000
_ARPHRD_PPP = 512

_ROUTE_BYTES = 28
"""Those of struct nlmsghdr (16) and struct rtmsg (12) of linux/rtnetlink.h."""
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
"""What a reader meets where a field is missing, or is no such thing."""

# Attributes that every rule may carry without being another kind of rule than ours.
_PLAIN_RULE = {
    "FRA_TABLE",
    "FRA_PRIORITY",
    "FRA_PROTOCOL",
    "FRA_SRC",
    "FRA_DST",
    "FRA_FWMARK",
    "FRA_FWMASK",
    "FRA_IIFNAME",
    "FRA_SUPPRESS_PREFIXLEN",
}
_SUPPRESS_NOTHING = 0xFFFFFFFF
_WHOLE_MARK = 0xFFFFFFFF


def family(version: int) -> socket.AddressFamily:
    """Return the address family of an IP version."""
    return socket.AF_INET6 if version == IPV6 else socket.AF_INET


def read(reader: Callable[[Any], T | None], messages: Iterable[Any]) -> Iterator[T]:
    """Yield what a reader makes of messages, but None; all readers below are called by this.

    A message that cannot be read is left out: no single one may end a pass.
    """
    for message in messages:
        try:
            found = reader(message)
        except _UNREADABLE:
            continue
        if found is not None:
            yield found


def link(message: Any) -> Link | None:
    """Read RTM_NEWLINK; None for a link whose name is no text: nobody can write it in a setting."""
    name = message.get("ifname")
    if not isinstance(name, str):
        return None  # pyroute2 leaves as bytes what is not UTF-8
    kind = message.get(("linkinfo", "kind")) or ("ppp" if message["ifi_type"] == _ARPHRD_PPP else "")
    flags = message["flags"]
    return Link(
        message["index"],
        name,
        kind,
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        carrier=bool(flags & _IFF_LOWER_UP),
        mtu=message.get("mtu") or 0,
        point_to_point=bool(flags & _IFF_POINTOPOINT),
    )


def address(message: Any) -> Address:
    """Read RTM_NEWADDR."""
    # On a point-to-point link IFA_ADDRESS is the peer; IFA_LOCAL is missing in IPv6 without one.
    local = message.get("local") or message.get("address")
    permanent = bool(message["flags"] & _IFA_F_PERMANENT)
    return Address(message["index"], ip_interface(f"{local}/{message['prefixlen']}"), permanent)


class Way(NamedTuple):
    """Where a route leads by a router, in the kernel's bytes; no gateway where it names several hops."""

    bits: int
    destination: bytes
    gateway: bytes


def is_cut_short(data: bytes, offset: int) -> bool:
    """Tell from the bytes of RTM_NEWROUTE whether its head is not all there, which the readers below need."""
    return len(data) < offset + _ROUTE_BYTES


def is_ours(data: bytes, offset: int) -> bool:
    """Tell from the bytes of RTM_NEWROUTE whether it has our tag.

    Offsets, here and below, are those of struct nlmsghdr (16 bytes), struct rtmsg (12) and struct rtattr of
    linux/rtnetlink.h.
    """
    return data[offset + 21] == PROTOCOL


def is_default(data: bytes, offset: int) -> bool:
    """Tell of RTM_NEWROUTE whether it takes every destination."""
    return not data[offset + 17]


def stands_in(data: bytes, offset: int, tables: range) -> bool:
    """Tell of RTM_NEWROUTE whether it stands in one of these tables, of which main is none."""
    if is_of_main(data, offset):
        return False
    first = offset + _ROUTE_BYTES
    if len(data) < first + 8:
        return False
    _, attribute, number = struct.unpack_from("HHI", data, first)
    return attribute == RTA_TABLE and number in tables


def is_the_kernels(data: bytes, offset: int) -> bool:
    """Tell of RTM_NEWROUTE whether the kernel made it.

    Such a route is by no router; a neighbour can announce thousands of networks to be on the link.
    """
    return data[offset + 21] == _RTPROT_KERNEL


def is_of_main(data: bytes, offset: int) -> bool:
    """Tell of RTM_NEWROUTE whether it stands in the main table, whose number the header has room for."""
    return data[offset + 20] == MAIN_TABLE


def is_configured(data: bytes, offset: int) -> bool:
    """Tell of RTM_NEWROUTE whether who is in charge of the link made it."""
    return data[offset + 21] in CONFIGURED


def way_by_router(data: bytes, offset: int) -> Way | None:
    """Read from the bytes of RTM_NEWROUTE where it leads by a router; None where it leads by none."""
    (length,) = struct.unpack_from("I", data, offset)
    place, end, destination = offset + _ROUTE_BYTES, min(offset + length, len(data)), b""
    while place + 4 <= end:
        size, attribute = struct.unpack_from("HH", data, place)
        if attribute == _RTA_DST:
            destination = data[place + 4 : place + size]
        elif attribute in LEADS_BY_A_ROUTER:
            # RTA_VIA begins with the family, RTA_MULTIPATH is many of them.
            start = {_RTA_GATEWAY: 4, _RTA_VIA: 6}.get(attribute, size)
            return Way(data[offset + 17], destination, data[place + start : place + size])
        place += max(size + 3 & ~3, 4)
    return None


def ways_by_router(routes: Iterable[Route]) -> frozenset[Way]:
    """Return how `way_by_router` reads routes, each of which may be one hop of several."""
    by_router = [(route.destination, route.gateway) for route in routes if route.gateway]
    return frozenset(
        Way(to.prefixlen, to.network_address.packed, hop)
        for to, gateway in by_router
        for hop in (gateway.packed, b"")
    )


def announces_a_router(data: bytes, offset: int) -> bool:
    """Tell from the bytes of RTM_NEWROUTE whether it is the default route of a router that said so itself."""
    return len(data) > offset + 21 and data[offset + 17] == 0 and data[offset + 21] == ANNOUNCED


def unicast_routes(message: Any, names: dict[int, str]) -> list[Route]:
    """Read RTM_NEWROUTE: a route for each next hop by the links in `names` (index -> name)."""
    if message["type"] != _RTN_UNICAST:
        return []
    destination = _network(message, "dst", message["dst_len"])
    source = message.get("prefsrc")
    hops = [
        (hop, names.get(hop["oif"] if hop is not message else hop.get("oif")))
        for hop in message.get("multipath") or (message,)
    ]
    return [
        Route(
            destination,
            link,
            table(message),
            gateway(hop),
            onlink=bool(hop["flags"] & RTNH_F_ONLINK),
            metric=message.get("priority") or 0,
            protocol=message["proto"],
            source=ip_address(source) if source else None,
            mtu=message.get(("metrics", "mtu")) or 0,
        )
        for hop, link in hops
        if link
    ]


def table(message: Any) -> int:
    """Read the table of a route or a rule: the header has room for a number up to 255 only."""
    return int(message.get("table") or message["table"])


def gateway(hop: Any) -> IPAddress | None:
    """Read the gateway of a route or of one next hop."""
    # An IPv4 route by an IPv6 gateway names it in RTA_VIA.
    text = hop.get("gateway") or (hop.get("via") or {}).get("addr")
    return ip_address(text) if text else None


def way(message: Any, names: dict[int, str]) -> Lookup:
    """Read the kernel's answer to which way a packet would leave."""
    index = message.get("oif")
    return Lookup(names.get(index, f"link {index}"), gateway(message), table(message))


def default_link(message: Any) -> int | None:
    """Return the index of a default route's link; None for another route."""
    return None if message["dst_len"] else message.get("oif")


def rule(message: Any) -> Rule | None:
    """Take a rule of our shape, and None for any other: the kernel also lists multicast families."""
    if message["family"] not in {socket.AF_INET, socket.AF_INET6} or message["action"] != _FR_ACT_TO_TBL:
        return None
    names = {name for name, _ in message["attrs"]}
    if (
        not names <= _PLAIN_RULE
        or message["flags"]
        or message["tos"]
        or message.get("iifname") != "lo"
        or message.get("FRA_SUPPRESS_PREFIXLEN", _SUPPRESS_NOTHING) != _SUPPRESS_NOTHING
        or message.get("FRA_FWMASK", _WHOLE_MARK) != _WHOLE_MARK
        or not (message["src_len"] or message["dst_len"] or message.get("FRA_FWMARK"))
    ):
        return None
    return Rule(
        _network(message, "src", message["src_len"]),
        table(message),
        message.get("priority") or 0,
        _network(message, "dst", message["dst_len"]) if message["dst_len"] else None,
        message.get("FRA_FWMARK") or 0,
        message.get("protocol") or 0,
    )


def foreign_place(message: Any) -> tuple[int, int] | None:
    """Return IP version and priority of a rule that does not carry our tag; None for ours."""
    version = {socket.AF_INET: 4, socket.AF_INET6: IPV6}.get(message["family"])
    if version is None or message.get("protocol") == PROTOCOL:
        return None
    return version, message.get("priority") or 0


def _network(message: Any, attribute: str, bits: int) -> IPNetwork:
    nothing = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - no bind here
    return ip_network(f"{message.get(attribute) or nothing}/{bits}", strict=False)


def last_resort(message: Any) -> LastResort | None:
    """Read RTM_NEWROUTE of an unreachable route; None where it does not end a table as ours do."""
    if message["dst_len"] or message.get("priority") != LAST_METRIC:
        return None
    version = IPV6 if message["family"] == socket.AF_INET6 else 4
    return LastResort(version, table(message), message["proto"])
