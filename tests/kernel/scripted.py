"""The supervisor over a client that is a shell script, in a loop inside a namespace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from entrypoint.clients.base import Client, Report
from entrypoint.launch import Launch
from entrypoint.reconcile import Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.supervisor import Supervisor
from tests.kernel.conftest import LIMIT_SECONDS, Container

CONNECTED = Report(connected=True)


class Scripted:
    """A client that is a shell script, none where it is empty, and reports one thing at its start."""

    name: ClassVar[str] = "scripted"
    device: str | None = None
    title = "a script"
    hosts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, script: str, report: Report, *, makes_tunnel: bool, stdin: bytes = b"") -> None:
        self.makes_tunnel = makes_tunnel
        self._stdin = stdin
        self._script = script
        self._report = report

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Report at once: what the tests wait for is the tunnel."""
        report(self._report)
        return Launch(("sh", "-c", self._script) if self._script else (), stdin=self._stdin)

    async def mends_itself(self) -> bool:
        """Only who makes no tunnel waits for the next."""
        return not self.makes_tunnel

    async def close(self) -> None:
        """Nothing was taken."""


@contextlib.asynccontextmanager
async def supervised(
    settings: Settings,
    script: str,
    run_dir: Path,
    report: Report = CONNECTED,
    *,
    makes_tunnel: bool = True,
    stdin: bytes = b"",
) -> AsyncIterator[Supervisor]:
    """Run a supervisor over the script in this namespace, as `run` wires it."""
    client = Scripted(script, report, makes_tunnel=makes_tunnel, stdin=stdin)
    async with supervising(settings, client, run_dir) as supervisor:
        yield supervisor


@contextlib.asynccontextmanager
async def supervising(settings: Settings, client: Client, run_dir: Path) -> AsyncIterator[Supervisor]:
    """Run a supervisor over a client in this namespace, as `run` wires it."""
    async with Rtnl(settings.route_table) as rtnl:
        reconciler = Reconciler(rtnl, settings)
        supervisor = Supervisor(client, reconciler, settings, run_dir)
        reconciler.on_pass = supervisor.kernel_changed
        await reconciler.begin(remember_main=client.makes_tunnel)
        running = asyncio.create_task(supervisor.run())
        keeping = asyncio.create_task(reconciler.keep())
        try:
            yield supervisor
        finally:
            supervisor.stop()
            await running
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await reconciler.remove()


def tunnel_lines(name: str, address: str) -> str:
    """Return the shell's lines that make a tunnel."""
    return f"ip tuntap add {name} mode tun; ip address add {address} dev {name}; ip link set {name} up"


async def comes(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - nothing tells of what is seen from outside
            await asyncio.sleep(0.005)


def inside(container: Container, work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine in a loop of its own in the container."""

    async def whole() -> None:
        await work()

    container.host.call(lambda: asyncio.run(whole()))
