"""A client's processes: started so that they end with us, followed and ended as a tree."""

import asyncio
import collections
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from typing import Self

import psutil

from entrypoint.clients.base import Launch

TERM_AGAIN_SECONDS = 1.0
"""OpenVPN 2.6 forgets a SIGTERM that reaches it in its first milliseconds, so it is asked again."""
TERM_TIMEOUT_SECONDS = 5.0
"""From the first SIGTERM to SIGKILL: well inside the 10 s that `docker stop` grants."""
KILL_TIMEOUT_SECONDS = 2.0
PIPE_TIMEOUT_SECONDS = 0.5
LAST_WORDS = 3
"""Lines of output that are told when a client ends by itself."""
LINE_MAX_BYTES = 4096
LINES_PER_SECOND = 100
"""A client's start takes some 40. OpenVPN whose link was deleted writes thousands, all the same."""

_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""All that a client inherits: our own environment may hold secrets."""


class Tree:
    """A started program and every process that came of it."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self.pid = process.pid
        self.last_words: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)
        self._process = process
        self._on_line = on_line
        self._second_began = 0.0
        self._told = self._untold = 0
        self._last = ""
        self._relay = asyncio.create_task(self._relay_output())
        self.ended: asyncio.Future[int] = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, launch: Launch, on_line: Callable[[str], None]) -> Self:
        """Start the program in a session of its own; `on_line` takes its output. Raises OSError.

        setpriv has the kernel send SIGTERM should we be killed: no client outlives us unasked.
        """
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "--", *launch.argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
            | dict(launch.environment),
            limit=LINE_MAX_BYTES,
        )
        tree = cls(process, on_line)
        if process.stdin:
            # A program that ended before it read is told by its end.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(launch.stdin)
                await process.stdin.drain()
            process.stdin.close()
        return tree

    @property
    def alive(self) -> bool:
        """Whether the program itself runs."""
        return not self.ended.done()

    def how_it_ended(self) -> str:
        """Tell exit code or signal and the last lines of output."""
        code = self.ended.result()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{how}; its last words: {' / '.join(self.last_words)}" if self.last_words else how

    async def stop(self, patience_seconds: float = TERM_TIMEOUT_SECONDS) -> None:
        """End the whole tree, see `end_tree`, and read the last of its output."""
        await end_tree(self.pid, patience_seconds)
        # Somebody else may hold the pipe open: what is there is read, then it is left.
        reading = asyncio.gather(self.ended, self._relay, return_exceptions=True)
        await asyncio.wait([reading], timeout=PIPE_TIMEOUT_SECONDS)
        self._relay.cancel()
        self._tell_untold()

    async def _relay_output(self) -> None:
        output = self._process.stdout
        while output:
            try:
                line = await output.readuntil()
            except asyncio.LimitOverrunError:
                line = await output.read(LINE_MAX_BYTES)
            except asyncio.IncompleteReadError as end:
                line, output = end.partial, None
            # A server has its say in here: no control character of its may steer a terminal.
            text = "".join(c if c.isprintable() else " " for c in line.decode(errors="replace")).strip()
            if text:
                self.last_words.append(text)
                self._tell(text)

    def _tell(self, text: str) -> None:
        """Pass a line on, unless it is the last one again, or the second has had its share.

        What is left out is counted and told.
        """
        now = asyncio.get_running_loop().time()
        if now - self._second_began >= 1:
            self._tell_untold()
            self._second_began, self._told = now, 0
        if text == self._last or self._told >= LINES_PER_SECOND:
            self._untold += 1
            return
        if self._told < LINES_PER_SECOND:
            self._tell_untold()
        self._told += 1
        self._last = text
        self._on_line(text)

    def _tell_untold(self) -> None:
        if self._untold:
            self._on_line(f"({self._untold} more such lines)")
            self._untold = 0


async def end_tree(pid: int, patience_seconds: float = TERM_TIMEOUT_SECONDS) -> None:
    """End a program and what came of it: SIGTERM, once more, and SIGKILL for what is left after so long."""
    try:
        await _end_all(pid, patience_seconds)
    except OSError:
        # No descriptor left to look at /proc with: its process group is told by the kernel alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


async def _end_all(pid: int, patience_seconds: float) -> None:
    members = _members(pid)
    _signal(members, signal.SIGTERM)
    left = await _gone(members, TERM_AGAIN_SECONDS)
    _signal(left, signal.SIGTERM)
    left = await _gone(left, patience_seconds - TERM_AGAIN_SECONDS)
    left = list({*left, *_members(pid)})
    _signal(left, signal.SIGKILL)
    await _gone(left, KILL_TIMEOUT_SECONDS)


def _members(pid: int) -> list[psutil.Process]:
    """Find the program, its descendants, and those of its session whose parent is gone already."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if process.pid == pid:
                found |= {child.pid: child for child in process.children(recursive=True)}
            if os.getsid(process.pid) == pid:
                found[process.pid] = process
    return list(found.values())


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def _gone(processes: Iterable[psutil.Process], timeout_seconds: float) -> list[psutil.Process]:
    """Wait until all have ended; returns those that have not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    left = list(processes)
    while left := [process for process in left if _lives(process)]:
        if loop.time() >= deadline:
            break
        # Not every member is our child, so no event tells its end.
        await asyncio.sleep(0.02)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
