"""How fast a deleted rule is back, and what a storm of routes costs beside the bare client."""

import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bench import procfs
from bench.clients import Contender
from bench.trial import Stage
from tests.lab.addresses import V4
from tests.lab.namespaces import Namespace
from tests.lab.waiting import until

DELETIONS = 200
PAUSE = 0.15
"""Seconds between two deletions: whoever deletes more often than ten times a second is given pauses."""
ROUTES = 10_000
RULE = f"rule del from {V4.docker} priority 90 protocol 83"
AFTERWARDS = 1.0
"""Seconds after the storm whose work still counts: all must be right by then."""
_EVENT = re.compile(rf"^\[(?P<at>\S+)\] (?P<gone>Deleted )?\d+:\s+from {re.escape(V4.docker)} ")


@dataclass(frozen=True, slots=True)
class Storm:
    """What a contender did in the storm and just after it."""

    seconds: float
    cpu: float
    """Seconds, of all its processes."""
    grown: int
    """Bytes of PSS that it holds more than before, of all its processes."""


def heal_times(stage: Stage, contender: Contender) -> list[float]:
    """Delete our rule again and again; return the seconds from each deletion to the new rule.

    Both are taken by `ip -ts monitor`, so neither the start of `ip` nor our own looking is in it.
    """
    host = stage.lab.sidecar
    with stage.up(contender):
        monitor = host.spawn("ip", "-ts", "monitor", "rule", name="ip monitor")
        try:
            for number in range(DELETIONS):
                # The first may be gone before the monitor listens.
                host.run(*f"ip {RULE}".split())
                until(lambda: _stands(host), 10, f"the rule after deletion {number + 1}")
                time.sleep(PAUSE)
        finally:
            monitor.kill()
        return list(_pairs(monitor.lines))


def storm(stage: Stage, contender: Contender) -> Storm:
    """Make very many routes, delete them, make them again, at each place; then delete our rule as often."""
    host, tunnel = stage.lab.sidecar, stage.match.server.tunnel
    places = (
        f"dev {tunnel} table main",
        "dev eth0 table main",
        "dev eth0 table 9000",
        "dev eth0 proto static table main",
        f"via {V4.docker_gateway} dev eth0 table main",
        f"via {V4.neighbour} dev eth0 table main",
    )
    with stage.up(contender) as process:
        time.sleep(AFTERWARDS)
        before, held = procfs.cpu_of_tree(process.pid), _pss(process.pid)
        began = time.monotonic()
        for number, place in enumerate(places):
            # So many stand at a time, and the last ones while the rule is deleted.
            if number:
                _batch(host, _routes("del", number - 1, places[number - 1]))
            for verb in ("add", "del", "add"):
                _batch(host, _routes(verb, number, place))
        _batch(host, [RULE] * 1000)
        time.sleep(AFTERWARDS)
        seconds = time.monotonic() - began
        spent, grown = procfs.cpu_of_tree(process.pid) - before, _pss(process.pid) - held
        _batch(host, _routes("del", len(places) - 1, places[-1]))
    return Storm(seconds, spent, grown)


def told(times: list[float]) -> str:
    """Return median and worst, in milliseconds."""
    return f"{statistics.median(times) * 1e3:.1f} (worst of {len(times)}: {max(times) * 1e3:.1f})"


def _stands(host: Namespace) -> bool:
    return f"from {V4.docker} iif lo" in host.run("ip", "rule").stdout


def _routes(verb: str, number: int, place: str) -> Iterator[str]:
    """Yield a line of ip for each route at a place; no two places share a destination."""
    return (f"route {verb} {11 + number}.{i >> 8}.{i & 255}.0/24 {place}" for i in range(ROUTES))


def _batch(host: Namespace, lines: Iterator[str] | list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    host.run("ip", "-force", "-batch", "-", stdin=text, check=False, timeout=60)


def _pss(pid: int) -> int:
    return sum(memory.pss for _, memory in procfs.memory_of_tree(pid))


def _pairs(lines: list[str]) -> Iterator[float]:
    gone: datetime | None = None
    for match in filter(None, map(_EVENT.match, lines)):
        at = datetime.fromisoformat(match["at"])
        if match["gone"]:
            gone = at
        elif gone:
            yield (at - gone).total_seconds()
            gone = None
