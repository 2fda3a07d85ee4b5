"""The far end of a tun link: what a VPN's server would send through it."""

import fcntl
import socket
import struct
from io import FileIO

from tests.lab.leak_probe import ping

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def attach(link: str) -> FileIO:
    """Open a tun link of the namespace that this is called in; what is written comes in by it."""
    device = FileIO("/dev/net/tun", "r+")
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH14x", link.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def ping_packet(source: str, destination: str) -> bytes:
    """Return an IPv4 packet with an echo request in it (RFC 791, RFC 792)."""
    message = ping(ipv6=False)
    version_and_words, hops = 0x45, 64
    parts = [version_and_words, 0, 20 + len(message), 0, 0, hops, socket.IPPROTO_ICMP]
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    empty = struct.pack("!BBHHHBBH", *parts, 0) + addresses
    total = sum(struct.unpack("!10H", empty))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHHBBH", *parts, ~(total + (total >> 16)) & 0xFFFF) + addresses + message
