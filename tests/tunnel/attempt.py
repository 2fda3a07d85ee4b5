"""One attempt of a client in the lab's sidecar: the process, what it prints, and what is reported."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from entrypoint.clients.base import Client, Report
from tests.lab.namespaces import Namespace

REPORT_SECONDS = 15.0
"""More than a server's silence and the way back take together."""
END_SECONDS = 10.0
CLIENT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Word:
    """A secret that a test may change."""

    value: str
    name: str = "A_SECRET"

    def reveal(self) -> str:
        """Return it as it is now."""
        return self.value


class Attempt:
    """A client's process, started as its `open` says; a context manager that ends it."""

    def __init__(self, client: Client, host: Namespace) -> None:
        self.client = client
        self.host = host
        self.reports: list[Report] = []
        self.output = b""
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        launch = await self.client.open(self._on_report)
        self.argv = launch.argv
        self.process = await asyncio.create_subprocess_exec(
            *self.host.command(*launch.argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": CLIENT_PATH},
        )
        self._talk = asyncio.create_task(self._converse(launch.stdin))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.ended()

    @property
    def report(self) -> Report:
        """The last report."""
        return self.reports[-1] if self.reports else Report()

    async def until(self, condition: Callable[[Report], bool]) -> Report:
        """Return the first report from now on that fits; AssertionError with all there were, otherwise."""
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                while not condition(self.report):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            text = "\n".join(map(str, self.reports))
            raise AssertionError(f"not reported:\n{text}\n{self.output.decode()}") from None
        return self.report

    async def connected(self) -> Report:
        """Return the report once the client holds its session."""
        return await self.until(lambda report: report.connected)

    async def ended(self) -> int:
        """Return the exit status once the process has ended and all is told."""
        async with asyncio.timeout(END_SECONDS):
            status = await self.process.wait()
            await self._talk
            await self.client.close()
        return status

    def seen_from_outside(self) -> bytes:
        """Return what others may see of the process: arguments, environment, output."""
        folder = f"/proc/{self.process.pid}"
        return b"".join(_read(f"{folder}/{file}") for file in ("cmdline", "environ")) + self.output

    def _on_report(self, report: Report) -> None:
        self.reports.append(report)
        self._changed.set()

    async def _converse(self, stdin: bytes) -> None:
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("both were asked for as pipes")
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(stdin)
            await self.process.stdin.drain()
        self.process.stdin.close()
        async for line in self.process.stdout:
            self.output += line


def _read(file: str) -> bytes:
    # One that has ended shows nothing any more.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        descriptor = os.open(file, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as opened:
            return opened.read()
    return b""
