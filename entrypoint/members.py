"""Which processes came of a program that we started, and their end.

Each carries a mark: its soft limit of file locks (RLIMIT_LOCKS), which Linux has not looked at since 2.4.25
(getrlimit(2)). fork and exec hand it on, so it tells a daemon that has left its parent and its session,
whatever user it became, also once we were killed.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

ASKED_AGAIN_SECONDS = 1.0
"""OpenVPN 2.6 forgets a SIGTERM that reaches it in its first milliseconds, so all are asked again."""
KILL_TIMEOUT_SECONDS = 2.0
"""From the first SIGKILL to giving up: it takes milliseconds, unless a process hangs in the kernel."""
SURE_TIMEOUT_SECONDS = 0.2
"""How long nobody is looked for until that is sure, where others never cease to start processes."""

_OURS = 0x5347
"""The highest bits of each mark ("SG")."""
_SERIAL_BITS = 16
_numbers = itertools.count()


def new_mark() -> int:
    """Return a mark that no other program of this network namespace has."""
    return _namespace() << _SERIAL_BITS | next(_numbers) % (1 << _SERIAL_BITS)


def marking(mark: int) -> tuple[str, ...]:
    """Return the words before a command that give it the mark; none where a hard limit is in the way.

    Then only the living program's session and descendants are found.
    """
    _, hard = _limits("self")
    # The soft limit alone is set: all may lower that.
    return ("prlimit", f"--locks={mark}:", "--") if hard is None else ()


def of(mark: int, session: int | None) -> list[psutil.Process]:
    """Find the living that carry the mark, are in the session, or have a parent that does.

    A `session` may be named as long as its leader's number cannot have become another's.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            ours = _limits(process.pid)[0] == mark or os.getsid(process.pid) == session
            if (ours or process.ppid() in found) and _lives(process):
                found[process.pid] = process
    return list(found.values())


def left_behind() -> list[psutil.Process]:
    """Find the living that an earlier run started in this network namespace; ours has started none yet."""
    marks = [(process, _limits(process.pid)[0]) for process in psutil.process_iter()]
    return [process for process, mark in marks if mark and is_left_behind(mark) and _lives(process)]


def is_left_behind(mark: int) -> bool:
    """Tell whether a run of ours gave this mark, in this network namespace."""
    return mark >> _SERIAL_BITS == _namespace()


async def end(
    find: Callable[[], Iterable[psutil.Process]], patience_seconds: float, is_ours: Callable[[int], bool]
) -> None:
    """End all that `find` returns, again and again: SIGTERM as long as patience lasts, then SIGKILL.

    What ends may leave or start another, so it is looked for anew until nothing is left. `is_ours` tells
    whether a mark is one of theirs. Raises OSError where there is no descriptor left to look with.
    """
    loop = asyncio.get_running_loop()
    kill_at = loop.time() + patience_seconds
    refused: set[int] = set()
    while (now := loop.time()) < kill_at + KILL_TIMEOUT_SECONDS:
        members = list(find())
        if not members:
            # What only this look finds forks faster than the other one reads: no SIGTERM would reach it.
            if not await _end_unseen(is_ours):
                break
            continue
        number, until = (signal.SIGTERM, kill_at) if now < kill_at else (signal.SIGKILL, now + 1)
        again = {process.pid for process in members} <= refused
        for process in members:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied:
                if process.pid not in refused:
                    log.warning(
                        "cannot end process %d: saw no permission, it is another user's; add "
                        "`cap_add: [KILL]`",
                        process.pid,
                    )
                refused.add(process.pid)
        if again:
            break
        await ended(members, min(ASKED_AGAIN_SECONDS, until - now))


async def _end_unseen(is_ours: Callable[[int], bool]) -> bool:
    """Kill what forks and ends faster than /proc is read, where there is any; returns whether there was.

    That there is none is sure once all of /proc was looked at while no number was given (proc_loadavg(5)):
    whoever lives was there throughout. As long as numbers are given, the newest are looked at first.
    """
    end = _end_of_numbers()
    give_up_at = time.monotonic() + SURE_TIMEOUT_SECONDS
    last = _last_number()
    while True:
        await asyncio.sleep(0)
        if _kill_theirs(newest_first(psutil.pids(), last, end), is_ours):
            return True
        before, last = last, _last_number()
        if before == last:
            return False
        while before != last:
            given = ((last - age) % end for age in range((last - before) % end))
            if _kill_theirs(given, is_ours):
                return True
            if time.monotonic() > give_up_at:
                return False
            before, last = last, _last_number()


def _kill_theirs(pids: Iterable[int], is_ours: Callable[[int], bool]) -> bool:
    """Kill each of theirs with its process group, as soon as it is found; returns whether any was found.

    A group is killed as a whole: no fork gets away from that (copy_process() asks for signals under the
    same lock).
    """
    found = False
    for pid in pids:
        with contextlib.suppress(OSError):
            mark = _limits(pid)[0]
            if mark is None or not is_ours(mark):
                continue
            state, _, group = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:3]
            if state == b"Z":
                continue
            found = True
            # 0: a group whose leader is outside of this process namespace; it would stand for our own.
            if int(group) in {0, os.getpgrp()}:
                os.kill(pid, signal.SIGKILL)
            else:
                os.killpg(int(group), signal.SIGKILL)
    return found


def _last_number() -> int:
    """Return the number that the kernel gave last to a process or thread (proc_loadavg(5))."""
    return int(Path("/proc/loadavg").read_text().split()[-1])


def _end_of_numbers() -> int:
    """Return where the kernel begins anew with its numbers."""
    return int(Path("/proc/sys/kernel/pid_max").read_text())


def newest_first(pids: Iterable[int], last: int, end: int) -> list[int]:
    """Sort by age: the kernel counts on from the `last` number, and wraps at `end`."""
    return sorted(pids, key=lambda pid: (last - pid) % end)


async def ended(
    processes: Iterable[psutil.Process], timeout_seconds: float | None = None, *, first: bool = False
) -> None:
    """Wait until all have ended, or the `first` has, whosever children they are: the kernel tells."""
    waiting = [asyncio.create_task(_end_of(process)) for process in processes]
    when = asyncio.FIRST_COMPLETED if first else asyncio.ALL_COMPLETED
    try:
        done, _ = await asyncio.wait(waiting, timeout=timeout_seconds, return_when=when)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()


async def _end_of(process: psutil.Process) -> None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, told.set)
    try:
        # By the time it was opened, the number may have been a later process's.
        if _lives(process):
            await told.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _namespace() -> int:
    """Return what all marks in this network namespace begin with."""
    return _OURS << 32 | Path("/proc/thread-self/ns/net").stat().st_ino & 0xFFFFFFFF


def _limits(pid: int | str) -> tuple[int | None, int | None]:
    """Return the soft and the hard limit of file locks; None for unlimited, or where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None, None
    # One that has just ended has an empty file.
    words = next((line.split()[3:5] for line in lines if line.startswith("Max file locks ")), ["", ""])
    soft, hard = (int(word) if word.isdecimal() else None for word in words)
    return soft, hard
