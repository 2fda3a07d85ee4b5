"""What a client started is ended with it, wherever it hides, and is followed where it may be a daemon."""

import asyncio
import os
from pathlib import Path

from entrypoint.lifecycle import State
from entrypoint.members import KILL_TIMEOUT_SECONDS
from entrypoint.processes import TERM_TIMEOUT_SECONDS
from entrypoint.settings import load
from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.scripted import comes, inside, supervised, tunnel_lines
from tests.lab.processes import lives

# What ignores a signal goes on doing so over exec; `( ... & )` leaves its child to process 1.
SCRIPT = """
{tunnel}
sh -c 'trap "" TERM; echo $$ > child; exec sleep 300' &
( sh -c 'echo $$ > grandchild; exec sleep 300' & )
( sh -c 'trap "" TERM; echo $$ > deaf-grandchild; exec sleep 300' & )
( setsid sh -c '( setsid env -i sh -c "echo \\$\\$ > daemon; exec sleep 300" & )' & )
( setsid sh -c 'trap "" TERM; echo $$ > deaf-daemon; exec sleep 300' & )
wait
"""
NAMES = ("child", "grandchild", "deaf-grandchild")
DAEMONS = ("daemon", "deaf-daemon")
ALL = (*NAMES, *DAEMONS)


def test_the_whole_tree_is_gone_after_the_stop(container: Container, tmp_path: Path) -> None:
    """A child that ignores SIGTERM, and daemons whose parent has ended."""
    settings, _ = load({})
    pids: dict[str, int] = {}

    async def work() -> None:
        # A member that lives on holds the client's output open, and the stop would wait for it.
        async with asyncio.timeout(TERM_TIMEOUT_SECONDS + 2 * KILL_TIMEOUT_SECONDS + LIMIT_SECONDS):
            await stop_it()

    async def stop_it() -> None:
        script = f"cd {tmp_path}; {SCRIPT.format(tunnel=tunnel_lines('tun0', '10.99.0.2/24'))}"
        async with supervised(settings, script, tmp_path) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            await comes(lambda: all((tmp_path / name).exists() for name in ALL))
            await comes(lambda: all((tmp_path / name).read_text() for name in ALL))
            pids.update({name: int((tmp_path / name).read_text()) for name in ALL})
            assert all(lives(pid) for pid in pids.values())
            assert len({os.getsid(pids[name]) for name in NAMES}) == 1
            assert len({os.getsid(pid) for pid in pids.values()}) == 1 + len(DAEMONS)
            assert supervisor.tree is not None
            assert supervisor.tree.pid is not None
            pids["client"] = supervisor.tree.pid
            began = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - began
        # `docker stop` grants 10 s.
        assert took < TERM_TIMEOUT_SECONDS + KILL_TIMEOUT_SECONDS

    inside(container, work)
    assert [name for name, pid in pids.items() if lives(pid)] == []
    assert len(pids) == len(ALL) + 1


def test_a_client_that_does_not_read_is_given_up_and_stopped(container: Container, tmp_path: Path) -> None:
    """A configuration that fills the pipe: the time limit ends the attempt, and the stop is no slower."""
    settings, _ = load({"VPN_UP_TIMEOUT": "200ms"})

    async def work() -> None:
        async with supervised(settings, "sleep 300", tmp_path, stdin=b"x" * 2**20) as supervisor:
            await comes(lambda: supervisor.restarts)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < LIMIT_SECONDS

    inside(container, work)
