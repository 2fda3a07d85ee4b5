"""Parsers of what names a part of the network: text in, value out; ValueError says what was expected.

Each message completes the sentence "NAME='text' ...".
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from entrypoint.names import is_host
from entrypoint.network import IPV6, TABLES_HELD, IPAddress, IPNetwork
from entrypoint.parse import items, number, shown

LINK_NAME_MAX = 15
"""IFNAMSIZ of linux/if.h, less its terminating zero."""
RULE_PRIORITY_LAST = 32764
"""The last priority that leaves room for the one after it before the kernel's rule for the main table."""
TABLE_LAST = 2**32 - 1 - TABLES_HELD

_RESERVED_TABLES = range(252, 256)  # compat, default, main, local: linux/rtnetlink.h
_BROADCAST = ip_address("255.255.255.255")
_LINK_NAME = re.compile(rf"[!-.0-9;-~]{{1,{LINK_NAME_MAX}}}")  # dev_valid_name(): no blank, slash or colon


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked through the tunnel whether it is there."""

    host: IPAddress | str
    """An address, or a name that has to be looked up."""
    port: int | None = None
    """Of TCP; None asks by ICMP."""

    def __str__(self) -> str:
        """Read as HEALTH_TARGET takes it."""
        if self.port is None:
            return str(self.host)
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return f"{host}:{self.port}"


def first_table(value: str) -> int:
    """Take the first of our routing tables; none of ours may be one of the kernel's own."""
    table = number(1, TABLE_LAST)(value)
    if table < _RESERVED_TABLES.stop and table + TABLES_HELD > _RESERVED_TABLES.start:
        held = f"we hold {TABLES_HELD} from it on"
        raise ValueError(f"would take the kernel's own tables 252 to 255 ({held}); take 256 or more")
    return table


def link_name(value: str) -> str:
    """Take the name of a network interface."""
    if not _LINK_NAME.fullmatch(value) or value in {".", ".."}:
        raise ValueError(
            f"is no interface name; take at most {LINK_NAME_MAX} characters without blank, / and :"
        )
    return value


def networks(value: str) -> tuple[IPNetwork, ...]:
    """Take CIDRs; host bits are cleared, as the kernel would store them otherwise."""
    found = []
    for item in items(value):
        try:
            network = ip_network(item, strict=False)
            if "%" in item:
                raise ValueError  # noqa: TRY301 - a zone names a link, and no rule can hold one
        except ValueError:
            raise ValueError(
                f"has {shown(item)}, which is no network; write it like 10.20.0.0/24 or fd00:20::/64"
            ) from None
        if not network.prefixlen:
            raise ValueError(
                f"has {shown(item)}, which would take everything past the VPN; name the LAN alone"
            )
        if network.version == IPV6 and network.is_link_local:
            raise ValueError(f"has {shown(item)}, which is on every link and behind no gateway; leave it out")
        found.append(network)
    return tuple(dict.fromkeys(found))


def gateways(value: str) -> tuple[tuple[str, IPAddress], ...]:
    """Take `interface=address` pairs; at most one gateway for each interface and family."""
    found: dict[tuple[str, int], IPAddress] = {}
    for item in items(value):
        name, _, gateway_text = item.partition("=")
        try:
            gateway = ip_address(gateway_text)
            key = link_name(name), gateway.version
        except ValueError:
            raise ValueError(f"has {shown(item)}; write interface=address, like eth1=172.31.0.1") from None
        if gateway.is_unspecified or gateway.is_multicast or gateway.is_loopback or "%" in gateway_text:
            raise ValueError(
                f"has {shown(item)}, whose address can be no gateway; take the router's own address"
            )
        if found.setdefault(key, gateway) != gateway:
            raise ValueError(f"has two IPv{key[1]} gateways for {name}; leave one")
    return tuple((name, gateway) for (name, _), gateway in found.items())


def listen(value: str) -> tuple[str, int] | None:
    """Take `address:port`, `[address]:port` or `off` (None)."""
    if value == "off":
        return None
    host, colon, port = value.rpartition(":")
    try:
        bracketed = host.startswith("[") and host.endswith("]")
        address = ip_address(host[1:-1] if bracketed else host)
        if not colon or bracketed != (address.version == 6):  # noqa: PLR2004 - the family's name
            raise ValueError  # noqa: TRY301 - one text for every shape that does not fit
        return str(address), number(1, 65535)(port)
    except ValueError:
        raise ValueError(
            "is no place to listen; write 127.0.0.1:9797, 0.0.0.0:9797, [::]:9797 or off"
        ) from None


def target(value: str) -> Target:
    """Take `host:port` (TCP) or `host` (ICMP); the host is a name or an address, IPv6 in brackets."""
    host, colon, port = value.rpartition(":")
    try:
        if value.endswith("]") or not colon or (value.count(":") > 1 and not host.endswith("]")):
            return Target(_host(value))
        return Target(_host(host), number(1, 65535)(port))
    except ValueError:
        raise ValueError(
            "is no target; write host:port (TCP) or host (ICMP), with an address or a name that lies behind "
            "the tunnel, like 10.50.0.1:443, [fd00:50::1]:443 or intranet.example"
        ) from None


def _host(text: str) -> IPAddress | str:
    """Take an address that a packet can be sent to, or a name; raises ValueError."""
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        if not is_host(text):
            raise
        return text
    nobody = address.is_unspecified or address.is_multicast or address.is_loopback
    # fe80::/10 is on every link: it takes a zone to name one.
    nowhere = address.version == IPV6 and address.is_link_local
    if nobody or nowhere or "%" in text or (bracketed and address.version != IPV6):
        raise ValueError
    return address


def ports(value: str) -> tuple[range, ...]:
    """Take ports and ranges of ports, or `all`."""
    if value == "all":
        return (range(1, 65536),)
    found = []
    for item in items(value):
        first, dash, last = item.partition("-")
        try:
            low = number(1, 65535)(first)
            high = number(low, 65535)(last) if dash else low
        except ValueError:
            raise ValueError(
                f"has {shown(item)}; write ports or ranges, like 53, 5000-5100, or all"
            ) from None
        found.append(range(low, high + 1))
    return tuple(found)


def dns(value: str) -> str | tuple[IPAddress, ...]:
    """Take `keep`, `vpn` or addresses of resolvers."""
    if value in {"keep", "vpn"}:
        return value
    try:
        found = [(item, ip_address(item)) for item in items(value)]
    except ValueError:
        raise ValueError("is neither keep nor vpn nor addresses of resolvers, like 10.0.0.53") from None
    for item, address in found:
        nobody = address.is_unspecified or address.is_multicast or address == _BROADCAST
        if nobody or address.is_loopback:
            own = ", where our own resolver listens" if address.is_loopback else ""
            raise ValueError(
                f"has {shown(item)}, which can be no resolver of a VPN{own}; "
                "name the VPN's, like 10.0.0.53, or take keep for the container's own"
            )
    return tuple(address for _, address in found)
