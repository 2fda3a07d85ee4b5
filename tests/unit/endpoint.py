"""A real health endpoint in the test's own loop, and a client that is no more than a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from healthcheck.facts import Facts
from healthcheck.server import listen, serve
from tests.unit.facts import facts as healthy

PATIENCE_SECONDS = 10.0


@asynccontextmanager
async def serving(facts: Callable[[], Facts] = healthy) -> AsyncIterator[int]:
    """Serve on a free port of the loopback; gives the port."""
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    task = asyncio.create_task(serve(sock, facts))
    try:
        yield port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass(frozen=True)
class Response:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: str


async def receive(reader: asyncio.StreamReader, *, head: bool = False) -> Response:
    """Read one answer, whose length its header tells."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        top = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in top[1:] if f)}
        length = headers.get("content-length")
        if head:
            body = await reader.read() if headers.get("connection") == "close" else b""
        else:
            body = await (reader.read() if length is None else reader.readexactly(int(length)))
    return Response(int(top[0].split()[1]), headers, body.decode())


async def send(port: int, request: bytes) -> Response:
    """Send bytes on a new connection and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await receive(reader, head=request.startswith(b"HEAD "))
    finally:
        writer.close()


async def get(port: int, path: str, *, method: str = "GET", accept: str = "*/*") -> Response:
    """Ask for a path with a well-formed request."""
    request = f"{method} {path} HTTP/1.1\r\nhost: test\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    return await send(port, request.encode())
