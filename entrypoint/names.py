"""What is a name of a host or of a domain, and what it looks like in a question. Pure.

Names come from settings, from configurations and from servers, and end up in files whose lines mean
something, in rules of nftables and in the resolver: one check for all of them.
"""

import re
import struct
from ipaddress import ip_address

NAME_MAX = 253
"""Bytes of a name as text; in a question two more, a length before it and a zero behind (RFC 1035, 2.3.4)."""

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
"""Of RFC 1123, at most 63 bytes, and with the underscore that many use."""


def is_domain(text: str) -> bool:
    """Tell whether a text is the name of a domain or a host, with or without a last dot."""
    name = text.removesuffix(".")
    return len(name) <= NAME_MAX and all(map(_LABEL.fullmatch, name.split(".")))


def is_host(text: str) -> bool:
    """Tell whether a text is a name that is looked up.

    Where the last label is a number, resolvers read an address: 10.1 is 10.0.0.1.
    """
    return is_domain(text) and not text.removesuffix(".").rpartition(".")[2].isdigit()


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def wire(name: str) -> bytes | None:
    """Write a name as a DNS question holds it: each label behind its length, then a zero (RFC 1035, 4.1.2).

    None for what no resolver can be asked for.
    """
    try:
        labels = [label.encode("idna") for label in name.split(".")]
    except UnicodeError:
        return None  # a label that is too long included
    written = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return written if all(labels) and len(written) <= NAME_MAX + 2 else None


def question(name: str) -> bytes:
    """Write the question for a name's IPv4 address (RFC 1035, 4.1); raises ValueError for what is no name."""
    asked = wire(name)
    if asked is None:
        raise ValueError(name)
    recursion_desired, address, internet = 0x0100, 1, 1
    return (
        struct.pack("!6H", 0x5347, recursion_desired, 1, 0, 0, 0)
        + asked
        + struct.pack("!2H", address, internet)
    )
