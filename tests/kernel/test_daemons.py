"""A command that daemonises is followed by what it left: processes, tunnel, or the tunnel alone."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entrypoint.clients.command import Command
from entrypoint.lifecycle import State
from entrypoint.settings import load
from entrypoint.supervisor import Supervisor
from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.scripted import comes, inside, supervising, tunnel_lines
from tests.lab.processes import lives

TUNNEL = f"ip link delete tun0 2>/dev/null; {tunnel_lines('tun0', '10.99.0.2/24')}"
# It forks twice, leads a session of its own and keeps neither environment nor output.
DAEMON = """rm -f daemon
( setsid sh -c '( exec env -i sh -c "echo \\$\\$ > daemon; exec sleep 300" >/dev/null 2>&1 & )' &)
while ! test -s daemon; do :; done"""


@asynccontextmanager
async def started(directory: Path, script: str, *stop: str) -> AsyncIterator[Supervisor]:
    """Supervise a command that is a shell script in a directory."""
    settings, _ = load({})
    client = Command(("sh", "-c", f"cd {directory}; {script}"), stop, args=(), servers=None, group=None)
    async with supervising(settings, client, directory) as supervisor:
        yield supervisor


def daemon(directory: Path) -> int:
    """Return the daemon's number, which stands there before its tunnel does."""
    return int((directory / "daemon").read_text())


async def comes_up_again(supervisor: Supervisor, restarts: int = 1) -> None:
    """Wait for the tunnel of a later attempt."""
    await comes(lambda: supervisor.restarts == restarts and supervisor.state is State.UP)


def work(container: Container, play: Callable[[], Awaitable[None]]) -> None:
    """Play a scene in the container, within bounds."""

    async def bounded() -> None:
        async with asyncio.timeout(6 * LIMIT_SECONDS):
            await play()

    inside(container, bounded)


def test_a_daemon_stands_for_its_client(container: Container, tmp_path: Path) -> None:
    """The command has ended, its daemon runs: up. The daemon is killed: a new one within a second."""

    async def play() -> None:
        async with started(tmp_path, f"{DAEMON}; {TUNNEL}") as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            first = daemon(tmp_path)
            await comes(lambda: supervisor.tree and supervisor.tree.pid == first)
            began = asyncio.get_running_loop().time()
            os.kill(first, signal.SIGKILL)
            await comes(lambda: not supervisor.alive or supervisor.restarts)
            assert asyncio.get_running_loop().time() - began < 1
            await comes_up_again(supervisor)
            assert daemon(tmp_path) != first
        assert not lives(daemon(tmp_path))

    work(container, play)


def test_a_daemon_without_its_tunnel_is_replaced(container: Container, tmp_path: Path) -> None:
    """It lives and knows of nothing: it is ended, and the command is run again."""

    async def play() -> None:
        async with started(tmp_path, f"{DAEMON}; {TUNNEL}") as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            first = daemon(tmp_path)
            await run("ip", "link", "delete", "tun0")
            await comes_up_again(supervisor)
            assert not lives(first)
            assert lives(daemon(tmp_path))

    work(container, play)


def test_where_no_process_is_left_the_tunnel_alone_counts(container: Container, tmp_path: Path) -> None:
    """The command told somebody else's daemon what to do."""

    async def play() -> None:
        async with started(tmp_path, TUNNEL) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            await comes(lambda: supervisor.tree and supervisor.tree.pid is None)
            assert supervisor.alive
            await run("ip", "link", "delete", "tun0")
            await comes_up_again(supervisor)

    work(container, play)


def test_a_command_that_fails_takes_its_daemon_along(container: Container, tmp_path: Path) -> None:
    """An exit code says that it did not work, whatever it left."""

    async def play() -> None:
        # The next attempt, which comes at once, has a daemon of its own.
        async with started(tmp_path, f"{DAEMON}; cat daemon >> daemons; exit 3") as supervisor:
            await comes(lambda: supervisor.failure)
            assert supervisor.failure == "ended with exit code 3"
            assert not lives(int((tmp_path / "daemons").read_text().splitlines()[0]))

    work(container, play)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("kill $(cat daemon); echo bye", []),
        ("trap '' TERM; sleep 300", ["the stop command did not end within 4 s"]),
        ("exit 5", ["the stop command ended with exit code 5"]),
    ],
    ids=["works", "hangs", "fails"],
)
def test_the_stop_command_comes_first(
    container: Container,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    script: str,
    told: list[str],
) -> None:
    """It is asked before the daemon is ended, has a limit, and what it does is told."""
    caplog.set_level("INFO")
    seen: list[str] = []

    async def play() -> None:
        stop = f"cd {tmp_path}; test -d /proc/$(cat daemon) && echo $$ > asked; {script}"
        async with started(tmp_path, f"{DAEMON}; {TUNNEL}", "sh", "-c", stop) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            began = asyncio.get_running_loop().time()
        # `docker stop` grants 10 s.
        assert asyncio.get_running_loop().time() - began < 7
        assert not lives(daemon(tmp_path))
        assert not lives(int((tmp_path / "asked").read_text()))
        seen.extend(line for line in caplog.messages if "stop command" in line or "bye" in line)

    work(container, play)
    assert [line.removeprefix("command: ") for line in seen] == (told or ["bye"])


async def run(*argv: str) -> None:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == 0


ENDS = """
import asyncio
from entrypoint.launch import Launch
from entrypoint.processes import Tree

async def work():
    lines = asyncio.Queue()
    script = "( sleep 300 & ); echo on; exec sleep 300"
    tree = await Tree.start(Launch(("sh", "-c", script)), lines.put_nowait)
    assert await lines.get() == "on"
    await tree.stop()

asyncio.run(work())
"""


def test_where_no_mark_can_be_set_the_session_is_ended(container: Container) -> None:
    """A container with a hard limit of file locks (`ulimits`): the client runs all the same."""
    began = time.monotonic()
    container.host.run("prlimit", "--locks=9:9", "--", sys.executable, "-c", ENDS)
    assert time.monotonic() - began < LIMIT_SECONDS
    assert container.host.pids() == []
