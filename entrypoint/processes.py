"""A client's processes: started so that they end with us, followed and ended as a tree."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

from entrypoint import members
from entrypoint.launch import Launch
from entrypoint.output import LINE_MAX_BYTES, Output

TERM_TIMEOUT_SECONDS = 5.0
"""From the first SIGTERM, or the stop command, to SIGKILL: well inside the 10 s that `docker stop` grants."""
STOP_COMMAND_SECONDS = 4.0
"""The stop command's share of these."""
PIPE_TIMEOUT_SECONDS = 0.5
"""How long the rest of its output is waited for once all of them have ended: another may hold the pipe."""

_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""All that a client inherits: our own environment may hold secrets."""

_UNPRIVILEGED = (sys.executable, "-I", "-S", str(Path(__file__).with_name("unprivileged.py")))


class Tree:
    """A started program and every process that came of it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        launch: Launch,
        mark: int,
        on_line: Callable[[str], None],
    ) -> None:
        self.pid: int | None = process.pid
        """The process that stands for the client; None where it left none."""
        self._process = process
        self._launch = launch
        self._mark = mark
        self._on_line = on_line
        self._output = Output(on_line)
        self._feed = asyncio.create_task(self._feed_input())
        self._relay = asyncio.create_task(self._relay_output())
        self.ended: asyncio.Future[int | None] = asyncio.ensure_future(self._end())
        """The program's exit code, once it has ended; None once the last that it left has."""

    @classmethod
    async def start(cls, launch: Launch, on_line: Callable[[str], None]) -> Self:
        """Start the program in a session of its own; `on_line` takes its output. Raises OSError.

        setpriv has the kernel send SIGTERM should we be killed: no client outlives us unasked, unless it is
        a daemon, which the next run finds.
        """
        mark = members.new_mark()
        # What a vendor's daemon starts as another user may need a set-uid program.
        limits = () if launch.may_daemonise else ("--no-new-privs",)
        group = _joining(launch.group) if launch.group else ()
        through = _UNPRIVILEGED if launch.unprivileged else ()
        process = await asyncio.create_subprocess_exec(
            *(
                *members.marking(mark),
                "setpriv",
                "--pdeathsig",
                "TERM",
                *limits,
                *group,
                "--",
                *through,
                *launch.argv,
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
            | dict(launch.environment),
            limit=LINE_MAX_BYTES,
        )
        return cls(process, launch, mark, on_line)

    @property
    def alive(self) -> bool:
        """Whether the program itself runs, or what it left, or the tunnel alone tells."""
        return not self.ended.done()

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped the program (SIGSTOP): it holds all that it has, and does nothing."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone; one that has ended is left alone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def how_it_ended(self) -> str:
        """Tell exit code or signal and the last lines of output."""
        code = self.ended.result()
        if code is None:
            how = "has lost the last of its processes"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        words = " / ".join(self._output.last_words)
        return f"{how}; its last words: {words}" if words else how

    async def stop(self, patience_seconds: float = TERM_TIMEOUT_SECONDS) -> None:
        """End the whole tree, by its stop command where there is one, and read the last of its output."""
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + patience_seconds
        if self._launch.stop and self.alive:
            await self._ask_to_stop()
        try:
            await members.end(self._members, kill_at - loop.time(), lambda mark: mark == self._mark)
        except OSError:
            # No descriptor left to look at /proc with: its process group is told by the kernel alone.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        # Somebody else may hold the pipe open: what is there is read, then it is left.
        reading = asyncio.gather(self._process.wait(), self._relay, return_exceptions=True)
        await asyncio.wait([reading], timeout=PIPE_TIMEOUT_SECONDS)
        for part in (self._feed, self._relay, self.ended):
            part.cancel()
        # Where another process holds the pipe, asyncio would close its end after the loop's, with an error.
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        self._output.tell_left_out()

    async def _ask_to_stop(self) -> None:
        try:
            asking = await Tree.start(Launch(self._launch.stop, group=self._launch.group), self._on_line)
        except OSError as error:
            self._on_line(f"the stop command cannot be started: {error.strerror}")
            return
        await asyncio.wait([asking.ended], timeout=STOP_COMMAND_SECONDS)
        if asking.alive:
            self._on_line(f"the stop command did not end within {STOP_COMMAND_SECONDS:g} s")
        elif asking.ended.result():
            self._on_line(f"the stop command {asking.how_it_ended()}")
        await asking.stop(patience_seconds=0)

    async def _end(self) -> int | None:
        """Wait for the program's end; where it may leave a daemon, for the end of all that it left."""
        code = await self._process.wait()
        if code or not self._launch.may_daemonise:
            return code
        self.pid = None
        left = self._members()
        told = f"left {len(left)} to follow" if left else "left none: its tunnel alone tells how it fares"
        self._on_line(f"(its command ended with exit code 0; of its processes it {told})")
        if not left:
            # The command had another's daemon make the tunnel: no process is ours to wait for.
            await asyncio.get_running_loop().create_future()
        while left:
            self.pid = left[0].pid
            await members.ended(left, first=True)
            left = self._members()
        return None

    def _members(self) -> list[psutil.Process]:
        session = self._process.pid if self._process.returncode is None else None
        # A process may start another and end while /proc is read: a second look finds that other one.
        return members.of(self._mark, session) or members.of(self._mark, session)

    async def _feed_input(self) -> None:
        # A task of its own, as a program that never reads must not hold up its end.
        stdin = self._process.stdin
        if stdin:
            # A program that ended without reading: its exit code says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stdin.write(self._launch.stdin)
                await stdin.drain()
            stdin.close()

    async def _relay_output(self) -> None:
        if self._process.stdout:
            await self._output.relay(self._process.stdout)


def _joining(group: int) -> tuple[str, ...]:
    """Return setpriv's words for a group, with ours beside it: what they may read stays readable."""
    ours = {os.getegid(), *os.getgroups()}
    return "--regid", str(group), "--groups", ",".join(map(str, ours))


async def end_left_behind() -> int:
    """End what an earlier run of ours that was killed left in this namespace; returns how many there were."""
    found = len(members.left_behind())
    await members.end(members.left_behind, TERM_TIMEOUT_SECONDS, members.is_left_behind)
    return found


def left() -> list[int]:
    """Return the processes of ours that live although all were to be ended."""
    return [process.pid for process in members.left_behind()]
