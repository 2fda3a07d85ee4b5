"""The socket at which openconnect's script tells what becomes of the tunnel."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

READ_SECONDS = 5.0
"""How long the script may take to hand over what it was told: it sends all at once."""
READ_MAX_BYTES = 4 * 1024 * 1024
"""The kernel gives a program less environment than this: a quarter of its stack, which mostly has 8 MiB."""
_TAKEN = b"\n"


class ScriptChannel:
    """Listens at a path for the script; each call of it is taken in before it is answered."""

    def __init__(self, path: Path, take: Callable[[Mapping[str, str]], Awaitable[None]]) -> None:
        """`take` is given what openconnect told its script, by name; openconnect waits until it returns."""
        self._path = path
        self._take = take
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Begin to listen; raises OSError."""
        # A run that was killed may have left its socket behind.
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._on_call, self._path, start_serving=False)
        self._path.chmod(0o600)
        await self._server.start_serving()

    async def close(self) -> None:
        """Stop listening, and drop a call that is still being taken in: openconnect has ended."""
        if self._server:
            self._server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _on_call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if call := asyncio.current_task():
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        try:
            # A script that hangs up too early has been ended, with openconnect.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    told = await _read_all(reader)
                await self._take(_environment(told))
                writer.write(_TAKEN)
                await writer.drain()
        finally:
            writer.close()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    told = bytearray()
    while len(told) <= READ_MAX_BYTES and (part := await reader.read(READ_MAX_BYTES)):
        told += part
    return bytes(told)


def _environment(told: bytes) -> dict[str, str]:
    variables = (os.fsdecode(variable).partition("=") for variable in told.split(b"\0"))
    return {name: value for name, separator, value in variables if separator}
