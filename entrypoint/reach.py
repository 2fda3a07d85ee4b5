"""Asks one address through the tunnel: by a TCP connection, or by an ICMP echo (a ping)."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Collection

from entrypoint.faults import MissingPrivilege
from entrypoint.network import IPV6, IPAddress, Link
from entrypoint.parse_network import Target
from entrypoint.ways import source_towards

_ECHO = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}
"""Family, protocol, types of request and reply (RFC 792, RFC 4443)."""
_TOKEN_BYTES = 16
"""Random ones, so that no reply to somebody else is taken for ours."""
_PACKET_BYTES_MAX = 2048
"""More than a reply to so short a request can have, headers included."""
_HEADER = struct.Struct("!BBHHH")
_WORDS = struct.Struct("!12H")
"""A whole request: the header, and the token behind it."""


def check(target: Target | None) -> None:
    """See that the target can be asked; raises MissingPrivilege where it is to be pinged and we may not."""
    if target is None or target.port is not None:
        return
    version = 4 if isinstance(target.host, str) else target.host.version
    try:
        _ping_socket(version).close()
    except PermissionError:
        raise MissingPrivilege(
            f"cannot ping HEALTH_TARGET={target}: saw no ping socket allowed (net.ipv4.ping_group_range), "
            "and no NET_RAW among our capabilities; name a TCP port (HEALTH_TARGET=host:port), or allow "
            "pings (docker run --sysctl net.ipv4.ping_group_range='0 0')"
        ) from None
    except OSError:
        return  # a kernel without IPv6: each ask will say that the tunnel has no address of that family


async def round_trip(address: IPAddress, port: int | None, link: Link, ours: Collection[IPAddress]) -> float:
    """Ask an address once, at a TCP port or by a ping; returns the seconds until it answered.

    `link` is the tunnel's and `ours` are its addresses. Raises OSError. It waits as long as it is let: the
    caller sets the limit.
    """
    _check_way(address, link, ours)
    loop = asyncio.get_running_loop()
    began = loop.time()
    if port is None:
        await _ping(address, link)
    else:
        await _connect(address, port, link)
    return loop.time() - began


def _check_way(address: IPAddress, link: Link, ours: Collection[IPAddress]) -> None:
    """See by which way the kernel would send to an address; raises OSError where not by the tunnel.

    A socket that is bound to a link sends by it without any route (ip_route_output_key_hash_rcu() takes the
    destination to be on-link), so it would not notice that the tunnel lost its routes.
    """
    source = source_towards(address)
    if source is None:
        raise OSError(None, "no route leads there")
    if source not in ours:
        raise OSError(None, f"it would be sent from {source} and not by {link.name}: no route leads there")


def _bind_to_link(sock: socket.socket, link: Link) -> None:
    # Before Linux 5.7 that takes NET_RAW; the way was checked anyhow.
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())


async def _connect(address: IPAddress, port: int, link: Link) -> None:
    """Open a TCP connection and close it."""
    with socket.socket(_ECHO[address.version][0], socket.SOCK_STREAM) as sock:
        sock.setblocking(False)  # noqa: FBT003 - the call of the library
        _bind_to_link(sock, link)
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))


async def _ping(address: IPAddress, link: Link) -> None:
    """Send an echo request and wait for its reply."""
    _, _, request, reply = _ECHO[address.version]
    token = os.urandom(_TOKEN_BYTES)
    loop = asyncio.get_running_loop()
    with _ping_socket(address.version) as sock:
        sock.setblocking(False)  # noqa: FBT003 - as above
        _bind_to_link(sock, link)
        sock.connect((str(address), 0))
        raw = sock.type == socket.SOCK_RAW
        await loop.sock_sendall(sock, _echo_request(request, token, checksum=raw and address.version != IPV6))
        while True:
            packet = await loop.sock_recv(sock, _PACKET_BYTES_MAX)
            # A raw socket of IPv4 gives the IP header as well, and both kinds of raw ones others' replies.
            begin = (packet[0] & 0x0F) * 4 if raw and address.version != IPV6 else 0
            if packet[begin] == reply and packet.endswith(token):
                return


def _ping_socket(version: int) -> socket.socket:
    """Make a socket that pings: an unprivileged one (icmp(7), ping_group_range), or a raw one."""
    family, protocol, _, _ = _ECHO[version]
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        return socket.socket(family, socket.SOCK_RAW, protocol)


def _echo_request(kind: int, token: bytes, *, checksum: bool) -> bytes:
    """Return the message; the kernel makes its checksum but for a raw socket of IPv4."""
    empty = _HEADER.pack(kind, 0, 0, 0, 1) + token
    return _HEADER.pack(kind, 0, _checksum(empty), 0, 1) + token if checksum else empty


def _checksum(message: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(_WORDS.unpack(message))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
