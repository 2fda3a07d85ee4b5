"""The user's commands as processes: one at a time, in order, limited, and never the tunnel's trouble."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from entrypoint import hooks
from entrypoint.hooks import Hooks, TunnelEvent
from entrypoint.settings import load
from tests.lab.processes import lives
from tests.lab.waiting import until

TUN0, TUN1 = (TunnelEvent(client="openvpn", interface=name) for name in ("tun0", "tun1"))
DIARY = "echo $SIDEGATE_EVENT $SIDEGATE_INTERFACE begins >>{file}; {body}; echo $SIDEGATE_EVENT ends >>{file}"


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Name the file in which the hooks of `made` write when they begin and end."""
    return tmp_path / "diary"


def made(diary: Path, *, up: str = ":", down: str = ":") -> Hooks:
    """Make hooks that keep a diary around what a shell does."""
    commands = {
        f"ON_{event.upper()}": f"sh -c '{DIARY.format(file=diary, body=body)}'"
        for event, body in (("up", up), ("down", down))
    }
    return Hooks(load(commands)[0])


def entries(diary: Path) -> list[str]:
    """Return what was written so far."""
    return diary.read_text().splitlines() if diary.exists() else []


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run it in a loop of its own, with a limit."""

    async def limited() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(limited())


async def written(diary: Path, *lines: str) -> None:
    """Wait until the diary has exactly these lines."""
    await asyncio.to_thread(until, lambda: entries(diary) == list(lines), 10, f"{lines} in {diary}")


def test_a_tunnel_that_goes_while_its_hook_runs_is_told_afterwards(diary: Path) -> None:
    """Down waits for the end of up, and up for the end of down: no two run at once."""

    async def work() -> None:
        both = made(diary, up="sleep 0.2", down="sleep 0.2")
        both.up(TUN0)
        await written(diary, "up tun0 begins")
        both.down()
        both.up(TUN1)
        await both.ended()
        assert entries(diary) == [
            *("up tun0 begins", "up ends", "down tun0 begins", "down ends", "up tun1 begins", "up ends")
        ]
        assert both.failures == {}

    run(work)


def test_a_tunnel_that_was_gone_before_its_hook_could_run_is_not_told(diary: Path) -> None:
    """One that flaps while a hook runs costs no hook for each flap; the last state is told."""

    async def work() -> None:
        both = made(diary, up="sleep 0.3")
        both.up(TUN0)
        await written(diary, "up tun0 begins")
        for _ in range(50):
            both.down()
            both.up(TUN1)
        both.down()
        await both.ended()
        assert entries(diary) == ["up tun0 begins", "up ends", "down tun0 begins", "down ends"]

    run(work)


def test_a_hook_that_takes_too_long_is_ended_with_all_that_it_started(
    diary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ignores SIGTERM as well; the failure names the limit."""
    monkeypatch.setattr(hooks, "LIMIT_SECONDS", 0.3)
    pids = tmp_path / "pids"

    async def work() -> None:
        both = made(diary, up=f"trap : TERM; sleep 300 & echo $$ $! >{pids}; wait; sleep 301")
        both.up(TUN0)
        await both.ended()
        assert both.failures == {"ON_UP": "it still ran after 0.3 s and was ended"}

    run(work)
    assert [pid for pid in map(int, pids.read_text().split()) if lives(pid)] == []


def test_what_a_hook_leaves_in_the_background_goes_with_it(diary: Path, tmp_path: Path) -> None:
    """Nothing that it started in its session outlives it."""
    pid = tmp_path / "pid"

    async def work() -> None:
        both = made(diary, up=f"sleep 300 >/dev/null 2>&1 & echo $! >{pid}")
        both.up(TUN0)
        await both.ended()
        assert both.failures == {}

    run(work)
    assert not lives(int(pid.read_text()))


def test_a_hook_is_in_a_session_of_its_own(diary: Path, tmp_path: Path) -> None:
    """Neither our terminal nor our process group can be touched by it."""
    seen = tmp_path / "seen"

    async def work() -> None:
        both = made(diary, up=f"ps -o sid= -p $$ >{seen}")
        both.up(TUN0)
        await both.ended()

    run(work)
    assert int(seen.read_text()) not in {0, os.getsid(0)}


def test_without_a_command_nothing_is_run(diary: Path) -> None:
    """One of the two may be set alone."""

    async def work() -> None:
        only = Hooks(load({"ON_DOWN": f"sh -c 'echo down >>{diary}'"})[0])
        only.up(TUN0)
        await only.ended()
        assert entries(diary) == []
        only.down()
        only.down()
        await only.ended()
        assert entries(diary) == ["down"]

    run(work)


def test_what_a_server_says_cannot_break_the_start(diary: Path) -> None:
    """A null byte in a search domain is no reason for a hook not to run."""

    async def work() -> None:
        both = made(diary)
        both.up(TunnelEvent(client="openvpn", interface="tun0", search=("a\0b",)))
        await both.ended()
        assert both.failures == {}

    run(work)
    assert entries(diary) == ["up tun0 begins", "up ends"]
