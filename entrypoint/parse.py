"""Parsers of setting values: text in, value out; ValueError says what was expected.

Each message completes the sentence "NAME='text' ...".
"""

import re
import shlex
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TypeVar

from entrypoint.network import IPV6, IPAddress, IPNetwork, Target

T = TypeVar("T")
Parser = Callable[[str], T]

SHOWN_MAX = 60
"""Characters of a value that an error shows."""
LINK_NAME_MAX = 15
"""IFNAMSIZ of linux/if.h, less its terminating zero."""
TABLES_HELD = 64
"""How many tables are ours from ROUTE_TABLE on: one per interface, tunnels from the last one down."""
RULE_PRIORITY_LAST = 32764
"""The last priority that leaves room for the one after it before the kernel's rule for the main table."""
TABLE_LAST = 2**32 - 1 - TABLES_HELD
DURATION_MAX_SECONDS = 24 * 3600.0
INTERVAL_MIN_SECONDS = 1.0
"""Of HEALTH_INTERVAL: somebody else's machine is asked, for as long as we run."""

_RESERVED_TABLES = range(252, 256)  # compat, default, main, local: linux/rtnetlink.h
_DURATION = re.compile(r"(\d{1,8})(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")  # RFC 1123, and the underscore that many use
_HOST_MAX = 253
_BROADCAST = ip_address("255.255.255.255")
_LINK_NAME = re.compile(rf"[!-.0-9;-~]{{1,{LINK_NAME_MAX}}}")  # dev_valid_name(): no blank, slash or colon


def shown(value: str) -> str:
    """Show a value in one line of bounded length."""
    return repr(value if len(value) <= SHOWN_MAX else value[:SHOWN_MAX] + "…")


def text(value: str) -> str:
    """Take the value as it is."""
    return value


def absolute(example: str) -> Parser[Path]:
    """Take an absolute path; `example` is one that would do."""

    def parse(value: str) -> Path:
        if not value.startswith("/") or "\0" in value:
            raise ValueError(f"is not an absolute path; write it from the root, like {example}")
        return Path(value)

    return parse


def quoted(value: str) -> bool:
    """Tell whether a value begins and ends with the same quotation mark, as lists of compose keep them."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def auto_or(parser: Parser[T]) -> Parser[T | None]:
    """Take `auto` as None and all else by `parser`."""
    return lambda value: None if value == "auto" else parser(value)


def choice(*names: str) -> Parser[str]:
    """Take one of the names."""

    def parse(value: str) -> str:
        if value not in names:
            raise ValueError(f"is not known; take one of {', '.join(names)}")
        return value

    return parse


def duration(value: str) -> float:
    """Take `500ms`, `30s`, `2m` or `1h`; returns seconds, more than zero and at most a day."""
    match = _DURATION.fullmatch(value)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= DURATION_MAX_SECONDS:
        raise ValueError("is no duration; write a whole number and its unit, like 500ms, 30s or 2m")
    return seconds


def interval(value: str) -> float:
    """Take a duration in which something of others is asked again and again; returns seconds."""
    seconds = duration(value)
    if seconds < INTERVAL_MIN_SECONDS:
        raise ValueError(f"asks too often; take {INTERVAL_MIN_SECONDS:g}s or more")
    return seconds


def number(first: int, last: int) -> Parser[int]:
    """Take a whole number from `first` to `last`."""

    def parse(value: str) -> int:
        # At most ten digits: int() of a text of thousands of digits raises an error of its own.
        if not re.fullmatch(r"[0-9]{1,10}", value) or not first <= int(value) <= last:
            raise ValueError(f"is no whole number from {first} to {last}")
        return int(value)

    return parse


def first_table(value: str) -> int:
    """Take the first of our routing tables; none of ours may be one of the kernel's own."""
    table = number(1, TABLE_LAST)(value)
    if table < _RESERVED_TABLES.stop and table + TABLES_HELD > _RESERVED_TABLES.start:
        held = f"we hold {TABLES_HELD} from it on"
        raise ValueError(f"would take the kernel's own tables 252 to 255 ({held}); take 256 or more")
    return table


def words(value: str) -> tuple[str, ...]:
    """Take words quoted as in a shell."""
    if "\0" in value:
        raise ValueError("has a null byte, which no program can be given; write text")
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"is not quoted as in a shell ({error}); close the quote") from None


def command(value: str) -> tuple[str, ...]:
    """Take a program and its arguments, quoted as in a shell."""
    found = words(value)
    if not found or not found[0]:
        raise ValueError("names no program; write it with its arguments, quoted as in a shell")
    return found


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
    for item in _items(value):
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
    for item in _items(value):
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
        labels = text.removesuffix(".").split(".")
        # A last label of digits alone makes resolvers read an address: 10.1 is 10.0.0.1.
        if len(text) > _HOST_MAX or labels[-1].isdigit() or not all(map(_HOST_LABEL.fullmatch, labels)):
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
    for item in _items(value):
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
        found = [(item, ip_address(item)) for item in _items(value)]
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


def _items(value: str) -> list[str]:
    items = re.split(r"[,\s]+", value.strip(", \t\n"))
    if not items[0]:
        raise ValueError("names nothing; leave it empty or list what is meant")
    return items
