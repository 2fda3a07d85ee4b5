"""Asks an address whether it forwards, as a router does: by one hop of a datagram, and never beyond it.

A datagram for somebody on no link, with a time to live of 1, ends at the first hop. A router says so by ICMP
(RFC 1812, 5.3.1); a host that does not forward drops it without a word. To read that takes no privilege
(IP_RECVERR, ip(7)).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Collection
from ipaddress import ip_address, ip_network

from entrypoint.network import DISCARD_PORT, IPV6, NOBODY, IPAddress, Route
from entrypoint.rtmessages import family

TRIES_SECONDS = (0.3, 0.7, 2.5, 0.5)
"""How long an answer is awaited at each try. An IPv6 address can be held back for some two seconds, and a
Linux that was asked often answers only after two in which nobody did (ip_error(), icmp_send())."""
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ORIGIN_ICMP = {2, 3}
"""SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6 of linux/errqueue.h."""
_ROUTERS_SAY = {4: {(11, 0), (3, 0), (3, 1)}, 6: {(3, 0)}}
"""ICMP's type and code: time exceeded in transit; in IPv4 also that there is no way, which a Linux that does
not forward never says (ip_error()). In IPv6 it says so in any case (ip6_pkt_discard())."""
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
"""struct sock_extended_err of linux/errqueue.h; the address of who sent it comes after."""


def question(candidate: IPAddress, link: str, table: int) -> Route:
    """Return the route that has to stand while a candidate is asked: to nobody, by the candidate."""
    return Route(ip_network(NOBODY[candidate.version]), link, table, candidate)


async def forwards(source: IPAddress, own: Collection[IPAddress]) -> bool:
    """Tell whether the first hop of the question's route forwards; our rule for `source` leads to it.

    `own` are our own addresses: where nobody is there, the kernel itself says so, from one of them.
    """
    for seconds in TRIES_SECONDS:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _router_answers(source, own)
                return True
    return False


async def _router_answers(source: IPAddress, own: Collection[IPAddress]) -> None:
    """Ask once and return when something comes that only a router says; the caller limits the time."""
    with contextlib.suppress(OSError), socket.socket(family(source.version), socket.SOCK_DGRAM) as sock:
        _send(sock, source)
        while await _answer(sock, source.version) in {None, *own}:
            pass
        return
    # It could not be sent, as our address may be held back yet: the time passes before the next try.
    await asyncio.Event().wait()


def _send(sock: socket.socket, source: IPAddress) -> None:
    sock.settimeout(0)
    if source.version == IPV6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    sock.bind((str(source), 0))
    sock.connect((str(NOBODY[source.version]), DISCARD_PORT))
    sock.send(b"")


async def _answer(sock: socket.socket, version: int) -> IPAddress | None:
    """Wait for an error and return who sent it, None where no router says such a thing."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(sock, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(sock)
    _, told, _, _ = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    for _, _, data in told:
        _, origin, kind, code, _, _ = _EXTENDED_ERROR.unpack_from(data)
        if origin in _ORIGIN_ICMP and (kind, code) in _ROUTERS_SAY[version]:
            # sockaddr_in has the address at 4, sockaddr_in6 at 8.
            start, length = (8, 16) if version == IPV6 else (4, 4)
            rest = data[_EXTENDED_ERROR.size + start :]
            return ip_address(rest[:length])
    return None
