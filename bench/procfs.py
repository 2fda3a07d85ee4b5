"""What /proc says of processes: memory, CPU time, wake-ups (proc(5))."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes."""

    pss: int
    """Pages shared with others are divided among those who map them."""
    rss: int


@dataclass(frozen=True, slots=True)
class Work:
    """What one process did up to now."""

    cpu: float
    """Seconds."""
    wakes: int
    """Voluntary context switches: as often it had slept."""

    def __sub__(self, earlier: "Work") -> "Work":
        return Work(self.cpu - earlier.cpu, self.wakes - earlier.wakes)


def tree(pid: int) -> dict[int, str]:
    """Return a process and all below it: id and name. What ends meanwhile is left out."""
    found = {}
    with contextlib.suppress(OSError):
        found[pid] = (PROC / str(pid) / "comm").read_text().strip()
        for children in (PROC / str(pid) / "task").glob("*/children"):
            for child in children.read_text().split():
                found |= tree(int(child))
    return found


def memory_of_tree(pid: int) -> list[tuple[str, Memory]]:
    """Return the name and the memory of a process and of all below it."""
    found = []
    for each, name in tree(pid).items():
        with contextlib.suppress(OSError):
            found.append((name, memory(each)))
    return found


def cpu_of_tree(pid: int) -> float:
    """Return the seconds of CPU of a process and of all below it, children that have ended included.

    The kernel tells the latter in hundredths of a second, and adds them when the parent learns of the end.
    """
    total = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            # Behind the name, which may hold blanks: cutime and cstime are fields 16 and 17.
            fields = (PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
            total += work(each).cpu + sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
    return total


def memory(pid: int) -> Memory:
    """Read smaps_rollup; raises OSError where the process is gone."""
    text = (PROC / str(pid) / "smaps_rollup").read_text()
    values = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
    return Memory(values["Pss"], values["Rss"])


def work(pid: int) -> Work:
    """Sum over the threads; the time of threads that have ended is not in it."""
    nanoseconds = wakes = 0
    for thread in (PROC / str(pid) / "task").iterdir():
        # The first field is the time spent on a CPU (Documentation/scheduler/sched-stats.rst).
        nanoseconds += int((thread / "schedstat").read_text().split()[0])
        switches = re.search(
            r"^voluntary_ctxt_switches:\s+(\d+)$", (thread / "status").read_text(), re.MULTILINE
        )
        if switches is None:
            raise ValueError(f"cannot count the wake-ups of {thread}: saw no voluntary_ctxt_switches")
        wakes += int(switches[1])
    return Work(nanoseconds / 1e9, wakes)


def loadavg() -> str:
    """Return the load averages of 1, 5 and 15 minutes, and runnable/all tasks."""
    return " ".join((PROC / "loadavg").read_text().split()[:4])
