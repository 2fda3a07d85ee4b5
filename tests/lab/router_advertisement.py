"""A router's advertisement (RFC 4861, 4.2), sent as a router sends it."""

import socket
import struct
from ipaddress import IPv6Network

from tests.lab.namespaces import Namespace

ALL_NODES = "ff02::1"
_HEADER = struct.Struct("!BBHBBHII")
_PREFIX = struct.Struct("!BBBBIII16s")
_VALID_SECONDS = 3600


def advertise(router: Namespace, link: str, source: str, prefix: str, *, lifetime: int) -> None:
    """Offer a prefix to make addresses of, and this router as the default for `lifetime` seconds.

    `source` is one of the link's own link-local addresses; a lifetime of 0 takes the offer back.
    """
    network = IPv6Network(prefix)
    header = _HEADER.pack(134, 0, 0, 64, 0, lifetime, 0, 0)
    # On the link, and to make addresses of.
    flags, words = 0xC0, 4
    option = _PREFIX.pack(
        *(3, words, network.prefixlen, flags, _VALID_SECONDS, _VALID_SECONDS, 0),
        network.network_address.packed,
    )

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            scope = socket.if_nametoindex(link)
            # Others are not believed: a router is one hop away.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sock.bind((source, 0, 0, scope))
            sock.sendto(header + option, (ALL_NODES, 0, 0, scope))

    router.call(send)
