"""Asks somebody through the tunnel, again and again: a tunnel that looks alive can be dead all the same.

Nobody is asked unless HEALTH_TARGET names him.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Collection

from entrypoint.faults import MissingPrivilege
from entrypoint.lookup import look_up
from entrypoint.network import IPV6, IPAddress, IPInterface, Link, Target
from entrypoint.ways import source_towards

log = logging.getLogger(__name__)

FAILURES_MAX = 3
"""So many failures in a row mean that the tunnel is dead; a lost packet or two do not."""
ASK_SECONDS = 3.0
"""How long one ask may take, the look-up of a name included."""
AGAIN_SECONDS = 5.0
"""From a failure to the next ask: a dead tunnel is known within a quarter of a minute after the first."""

_ECHO = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}
"""Family, protocol, types of request and reply (RFC 792, RFC 4443)."""
_TOKEN_BYTES = 16
_PACKET_BYTES_MAX = 2048
_HEADER = struct.Struct("!BBHHH")
_WORDS = struct.Struct("!12H")
"""A whole request: the header, and the token behind it."""

Tunnel = tuple[Link, tuple[IPInterface, ...]]


class Probe:
    """Asks one target through the tunnel while that is up."""

    def __init__(self, target: Target, interval_seconds: float, tunnel: Callable[[], Tunnel | None]) -> None:
        """Describe it; `tunnel` gives the tunnel as the kernel last showed it."""
        self.target = target
        self.answered = False
        """Whether the target answered since the tunnel came up."""
        self.failures = 0
        """In a row."""
        self.problem: str | None = None
        """Why the last ask failed; None where it was answered."""
        self.round_trip: float | None = None
        """Seconds from the last ask that was answered to its answer."""
        self.asks = self.failed = 0
        """Since the start."""
        self.first = asyncio.Event()
        """Set once it is known how the first ask since the tunnel came up went."""
        self.on_dead: Callable[[str], None] = lambda _: None
        """Called with the reason when the tunnel turns out to be dead, once each time that it is."""
        self._interval = interval_seconds
        self._tunnel = tunnel
        self._addresses: tuple[IPAddress, ...] = ()
        """What a name last stood for."""
        self._asking: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the tunnel was seen alive, and does not count as dead by now."""
        return self.answered and self.failures < FAILURES_MAX

    def begin(self) -> None:
        """Ask from now on: the tunnel has come up, and nothing is known of it."""
        self.end()
        self.answered, self.failures, self.problem = False, 0, None
        self.first.clear()
        self._asking = asyncio.create_task(self._ask_again_and_again())
        self._asking.add_done_callback(self._ended)

    def end(self) -> None:
        """Ask no more: the tunnel is gone."""
        if self._asking:
            self._asking.cancel()
            self._asking = None
        self.answered = False
        self.first.set()

    def _ended(self, asking: asyncio.Task[None]) -> None:
        """Tell of a fault of ours, which is not to leave health with what was known before."""
        if not asking.cancelled() and (error := asking.exception()):
            self.answered, self.problem = False, f"a fault of sidegate ended the probe: {error!r}"
            self.first.set()
            log.error("%s", self.problem)

    async def _ask_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    round_trip = await self._ask()
            except TimeoutError:
                self._note_failure(f"no answer within {ASK_SECONDS:g} s")
            except OSError as error:
                # asyncio has words of its own for what the kernel said.
                self._note_failure(os.strerror(error.errno) if error.errno else str(error.strerror))
            else:
                self._note_answer(round_trip)
            self.first.set()
            pause = min(self._interval, AGAIN_SECONDS) if self.failures else self._interval
            await asyncio.sleep(began + pause - loop.time())

    def _note_answer(self, round_trip: float) -> None:
        if self.failures:
            log.info("%s answers through the tunnel again", self.target)
        self.asks += 1
        self.answered, self.failures, self.problem, self.round_trip = True, 0, None, round_trip

    def _note_failure(self, problem: str) -> None:
        self.asks += 1
        self.failed += 1
        self.failures += 1
        self.problem = problem
        if self.failures <= FAILURES_MAX:
            log.warning(
                "%s did not answer through the tunnel (%d of %d): %s",
                *(self.target, self.failures, FAILURES_MAX, problem),
            )
        if self.failures == FAILURES_MAX:
            self.on_dead(f"its tunnel is dead: {self.target} did not answer {FAILURES_MAX} times: {problem}")

    async def _ask(self) -> float:
        """Ask once; returns the seconds until the answer. Raises OSError."""
        tunnel = self._tunnel()
        if tunnel is None:
            raise OSError(None, "the tunnel has no link any more")
        link, interfaces = tunnel
        versions = {interface.version for interface in interfaces}
        able = [address for address in await self._found() if address.version in versions]
        if not able:
            raise OSError(None, f"{link.name} has no address of the target's family")
        # The next one after a failure: of several addresses one may be out of reach.
        address = able[self.failures % len(able)]
        _check_way(address, link, {interface.ip for interface in interfaces})
        began = asyncio.get_running_loop().time()
        if self.target.port is None:
            await _ping(address, link)
        else:
            await _connect(address, self.target.port, link)
        return asyncio.get_running_loop().time() - began

    async def _found(self) -> tuple[IPAddress, ...]:
        """Return the target's addresses; a name is looked up when the tunnel came up, and after a failure."""
        if not isinstance(self.target.host, str):
            return (self.target.host,)
        if self.failures or not self.answered:
            try:
                self._addresses = tuple(dict.fromkeys(await look_up(self.target.host)))
            except OSError as error:
                raise OSError(None, f"its name cannot be looked up: {error.strerror}") from None
        return self._addresses


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


def _echo_request(kind: int, token: bytes, *, checksum: bool) -> bytes:
    """Return the message; the kernel makes its checksum but for a raw socket of IPv4."""
    empty = _HEADER.pack(kind, 0, 0, 0, 1) + token
    return _HEADER.pack(kind, 0, _checksum(empty), 0, 1) + token if checksum else empty


def _checksum(message: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(_WORDS.unpack(message))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
