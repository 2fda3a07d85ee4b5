"""uvicorn as this process needs it: no signals, no log, no polling, and an end within milliseconds."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from ipaddress import ip_address, ip_network
from weakref import WeakKeyDictionary

import h11
import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from healthcheck.facts import Facts
from healthcheck.pages import PAGES, Page, text_page
from healthcheck.server import BACKLOG
from healthcheck.threads import off_loop

CONNECTIONS_MAX = 64
"""Where one more comes, the oldest goes of whoever holds the most: probes need a handful, and no crowd may
keep them out."""
SPARED = CONNECTIONS_MAX // 2
"""So many of the loopback's stay while others hold any: each of a crowd's many addresses may hold but one."""
KEEP_ALIVE_SECONDS = 5
CONNECTION_LIFE_SECONDS = 30.0
"""Every connection ends by then: uvicorn itself waits forever for a request that never ends."""
HEADER_BYTES_MAX = 8192
READ_BYTES_MAX = HEADER_BYTES_MAX
"""What is taken of a connection at a time, and of a body, which nobody reads, before the answer: by itself
asyncio takes a quarter of a megabyte from each."""
PAUSE_SECONDS = 0.005
"""From one answer to the next, whoever asks: the loop that answers is the one that mends rules."""
ACCEPTED_AT_ONCE = 8
"""New connections that are taken in one turn of that loop; the others wait in the kernel."""

_METHODS = ("GET", "HEAD")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Application:
    """The ASGI application."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts
        self._metrics: Callable[[str], Page] | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request when its turn has come; its body, if any, is left unread."""
        if scope["type"] != "http":
            raise NotImplementedError(f"cannot serve ASGI scope {scope['type']!r}: only http is set up")
        # The end of the connection or of the loop cancels this, and uvicorn would log it as a fault.
        with suppress(asyncio.CancelledError):
            if cycle := _cycle(receive):
                _asking[cycle] = asyncio.current_task()
            async with self._turn:
                # One that has left before its task began was not cancelled.
                if not (cycle and cycle.disconnected):
                    await self._answer(scope, send)
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(self, scope: HTTPScope, send: ASGISendCallable) -> None:
        page = await self._page(scope["method"], scope["path"], scope["headers"])
        headers = [
            ("content-type", page.content_type),
            ("content-length", str(len(page.body))),
            ("cache-control", "no-store"),
            ("date", formatdate(usegmt=True)),
            *page.headers,
        ]
        await send(
            {
                "type": "http.response.start",
                "status": page.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers],
                "trailers": False,
            }
        )
        await send({"type": "http.response.body", "body": page.body, "more_body": False})

    async def _page(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Page:
        answer = PAGES.get(path)
        if answer is None and path != "/metrics":
            known = ", ".join([*PAGES, "/metrics"])
            return text_page(404, f"cannot answer this path; ask for one of {known}")
        if method not in _METHODS:
            return text_page(405, "cannot take this method; use GET or HEAD", ("allow", ", ".join(_METHODS)))
        if answer:
            return answer(self._facts)
        return await self._scrape(headers)

    async def _scrape(self, headers: Iterable[tuple[bytes, bytes]]) -> Page:
        if self._metrics is None:
            renderer = await off_loop(_import_renderer, "import of the metrics")  # 20 to 40 ms
            self._metrics = renderer(self._facts)
        accept = next((value.decode("latin-1") for name, value in headers if name == b"accept"), "")
        return self._metrics(accept)


def _cycle(receive: ASGIReceiveCallable) -> RequestResponseCycle | None:
    """Return what uvicorn holds of the request; None where another server calls."""
    cycle = getattr(receive, "__self__", None)
    return cycle if isinstance(cycle, RequestResponseCycle) else None


_asking: WeakKeyDictionary[RequestResponseCycle, asyncio.Task[None] | None] = WeakKeyDictionary()
"""Who answers what: a crowd that is thrown out and comes back at once would leave thousands waiting."""


def _import_renderer() -> Callable[[Callable[[], Facts]], Callable[[str], Page]]:
    from healthcheck.metrics import renderer  # noqa: PLC0415 - 3 MB that only a scraped container pays

    return renderer


def holder(peer: str) -> str:
    """Return whom a connection counts for: in IPv6 a network, in which anybody has many addresses."""
    address = ip_address(peer.partition("%")[0])
    if address.version == 4 or address.is_loopback:  # noqa: PLR2004 - the family's name
        return peer
    if mapped := address.ipv4_mapped:
        return str(mapped)
    return str(ip_network((int(address) >> 64 << 64, 64)))


_buffer = bytearray(READ_BYTES_MAX)
"""One for all connections: what was read is taken out of it in the same turn of the loop."""


class _Connection(H11Protocol, asyncio.BufferedProtocol):
    """One connection, whose time and memory are limited whatever the other side does."""

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - of asyncio's
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_buffer[:nbytes]))
        if self.cycle and self.cycle.body and not self.cycle.response_complete:
            self.flow.pause_reading()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.made_at = self.loop.time()
        self.peer = holder(self.client[0]) if self.client else ""
        # One that was ended a moment ago is still in the set: a crowd comes in one turn of the loop.
        others = [other for other in self.connections if isinstance(other, _Connection)]
        others = [other for other in others if not other.transport.is_closing()]
        if len(others) > CONNECTIONS_MAX:
            held = Counter(other.peer for other in others)
            spared = {peer for peer in held if peer in _LOOPBACK and held[peer] <= SPARED}
            first = min(others, key=lambda other: (other.peer in spared, -held[other.peer], other.made_at))
            first.transport.abort()
        self._end_of_life = self.loop.call_later(CONNECTION_LIFE_SECONDS, transport.abort)

    def send_400_response(self, msg: str) -> None:
        # A request that was begun well waits for its turn: nobody takes its answer any more.
        if self.cycle:
            self.cycle.disconnected = True
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:  # it has its answer: the body behind it is what was spoiled
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_life.cancel()
        super().connection_lost(exc)
        if self.cycle and not self.cycle.response_complete and (task := _asking.get(self.cycle)):
            task.cancel()


class _Server(uvicorn.Server):
    """The server as a guest in a loop whose signals are somebody else's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGINT and SIGTERM to the entrypoint."""
        yield

    async def main_loop(self) -> None:
        """Wait until cancelled, where uvicorn wakes ten times a second to look at its flags."""
        await asyncio.get_running_loop().create_future()


async def serve(sock: socket.socket, facts: Callable[[], Facts]) -> None:
    """Answer on a listening socket until cancelled; then end every connection and close the socket."""
    config = uvicorn.Config(
        Application(facts),
        http=_Connection,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",  # else whoever sends nonsense writes a line of our log with each
        access_log=False,
        workers=1,
        backlog=ACCEPTED_AT_ONCE,
        proxy_headers=False,
        server_header=False,
        date_header=False,  # set from uvicorn's tick, which does not run here
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
    )
    server = _Server(config)
    server.servers = []
    # asyncio takes the length of the kernel's queue for how many it accepts in one turn, and sets both.
    asyncio.get_running_loop().call_soon(sock.listen, BACKLOG)
    try:
        await server.serve(sockets=[sock])
    finally:
        await _end(server)


async def _end(server: _Server) -> None:
    """End at once: uvicorn's own shutdown waits for other sides that may never close."""
    for listener in server.servers:
        listener.close()
    connections = list(server.server_state.connections)
    for connection in connections:
        connection.shutdown()
    await asyncio.sleep(0)  # one turn, in which an answer that is due is written
    for connection in connections:
        connection.transport.abort()
    await asyncio.sleep(0)  # and one in which those whose turn had not come are told
