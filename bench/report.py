"""The figures as one table in Markdown, each beside its target."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.image import PYTHON
from bench.packets import Cost
from bench.procfs import Memory, Work
from bench.steady import Probe
from bench.storm import Storm, told
from bench.throughput import Run, Way
from bench.trial import Trial

START_EXTRA_MAX = 0.35
"""Seconds from the bare client's usable tunnel to Sidegate's readiness."""
PSS_MAX = 40e6
"""Bytes, of the entrypoint alone."""
IDLE_MAX = 0.001
"""Seconds of CPU in a minute: so little that one wake-up in a second would already be seen."""
PROBE_CPU_MAX = 0.06
"""Seconds of CPU of one HEALTHCHECK."""

HEAL_MAX = 0.1
"""Seconds from the deletion of our rule to the new one."""
STORM_EXTRA_MAX = 5.0
"""Percent of a processor beyond what the bare client takes."""

ENTRYPOINT = Path(PYTHON[0]).name
"""The name of the entrypoint's process."""
NONE = "-"
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    figure: str
    bare: str = NONE
    sidegate: str = NONE
    ratio: str = NONE
    target: str = NONE
    met: bool | None = None
    """None where there is no target."""

    def __str__(self) -> str:
        verdict = {None: NONE, True: "yes", False: "**no**"}[self.met]
        return f"| {self.figure} | {self.bare} | {self.sidegate} | {self.ratio} | {self.target} | {verdict} |"


def table(rows: Sequence[Row]) -> str:
    """Return the rows under their head."""
    head = "| figure | bare | Sidegate | ratio | target | met |"
    return "\n".join([head, "| --- | ---: | ---: | ---: | --- | --- |", *map(str, rows)])


def storm_rows(heal: list[float], bare: Storm, sidegate: Storm) -> list[Row]:
    """Return how fast a deleted rule is back, and what a storm of routes costs."""
    shares = [100 * storm.cpu / storm.seconds for storm in (bare, sidegate)]
    return [
        Row(
            "a deleted rule is back, ms",
            sidegate=told(heal),
            target=f"worst ≤ {HEAL_MAX * 1e3:.0f}",
            met=max(heal) <= HEAL_MAX,
        ),
        Row(
            "storm of 230,000 changes: CPU, %",
            f"{shares[0]:.1f}",
            f"{shares[1]:.1f}",
            target=f"≤ {STORM_EXTRA_MAX:g} more",
            met=shares[1] - shares[0] <= STORM_EXTRA_MAX,
        ),
        Row("... PSS afterwards, MB more", f"{bare.grown / 1e6:.1f}", f"{sidegate.grown / 1e6:.1f}"),
    ]


def throughput_rows(ways: Sequence[Way], costs: Sequence[Cost]) -> list[Row]:
    """Return what TCP gets each way, and what a packet pays for our chains."""
    rows = []
    for way in ways:
        rows += _compare_three(f"{way.name}, Mbit/s", way, lambda run: run.rate / 1e6, "{:.0f}")
        if way.tunnel:
            rows += _compare_three(
                "... CPU of client and sidecar, s/GB", way, lambda run: run.cpu * 1e9, "{:.2f}"
            )
    for cost in costs:
        without, ours = ([seconds * 1e6 for seconds in each] for each in (cost.without, cost.ours))
        rows.append(_pair(f"CPU of {cost.name}, µs", without, ours, "{:.2f}"))
    return rows


def trial_rows(bare: Sequence[Trial], sidegate: Sequence[Trial], *, ours_first: bool) -> list[Row]:
    """Return what starts, lives and stops showed. `ours_first`: Sidegate stands before the tunnel is made."""
    usable = [trial.usable for trial in bare]
    ready = [trial.ready for trial in sidegate]
    extra = statistics.median(ready) - statistics.median(usable)
    extra_least = min(ready) - min(usable)
    lost = sum(trial.echo.lost for trial in sidegate)
    own = [_entrypoint(trial, "pss") for trial in sidegate]
    return [
        _compare("start: VPN peer connects, s", bare, sidegate, lambda trial: trial.usable, "{:.3f}"),
        Row(
            "start: ready, s",
            _cell(usable, "{:.3f}"),
            _cell(ready, "{:.3f}"),
            _ratio(usable, ready),
            f"≤ {START_EXTRA_MAX} more (median {extra:+.3f}, least {extra_least:+.3f})",
            extra <= START_EXTRA_MAX,
        ),
        _compare("start: CPU until then, ms", bare, sidegate, lambda trial: trial.cpu * 1e3, "{:.0f}"),
        Row(
            "LAN echoes lost during the start",
            _of(bare, lambda trial: trial.echo.lost),
            _of(sidegate, lambda trial: trial.echo.lost),
            target="0" if ours_first else NONE,
            met=lost == 0 if ours_first else None,
        ),
        _compare("... segments sent again", bare, sidegate, lambda trial: trial.echo.resent, "{:.0f}"),
        _compare(
            "... longest silence, ms", bare, sidegate, lambda trial: trial.echo.longest_gap * 1e3, "{:.0f}"
        ),
        Row("LAN connects while the tunnel stands", *_yes(bare, sidegate, lambda trial: trial.lan_while_up)),
        Row("LAN connects after the stop", *_yes(bare, sidegate, lambda trial: trial.lan_after)),
        Row(
            "PSS of the entrypoint, MB",
            sidegate=_cell([value / 1e6 for value in own], "{:.1f}"),
            target=f"≤ {PSS_MAX / 1e6:.0f}",
            met=max(own) <= PSS_MAX,
        ),
        Row(
            "... its RSS, MB", sidegate=_cell([_entrypoint(each, "rss") / 1e6 for each in sidegate], "{:.1f}")
        ),
        _compare("PSS of all processes, MB", bare, sidegate, _all_pss, "{:.1f}"),
        _compare("stop: SIGTERM to the end, s", bare, sidegate, lambda trial: trial.stop, "{:.3f}"),
    ]


def idle_rows(seconds: float, bare: dict[str, Work], sidegate: dict[str, Work]) -> list[Row]:
    """Return what the processes did while nothing went on, as of a minute."""
    per_minute = _MINUTE / seconds
    own = sidegate[ENTRYPOINT]
    cpu = own.cpu * per_minute
    return [
        Row(
            "idle: CPU of the entrypoint, ms/min",
            sidegate=f"{cpu * 1e3:.2f}, woken {own.wakes * per_minute:.0f} times",
            target=f"none (≤ {IDLE_MAX * 1e3:g})",
            met=cpu <= IDLE_MAX,
        ),
        Row("idle: CPU of openvpn, ms/min", _openvpn(bare, per_minute), _openvpn(sidegate, per_minute)),
    ]


def scraped_row(memory: Memory) -> Row:
    """Return what the entrypoint takes where it is watched by Prometheus."""
    return Row("PSS of the entrypoint after a scrape of /metrics, MB", sidegate=f"{memory.pss / 1e6:.1f}")


def probe_rows(probes: Sequence[Probe]) -> list[Row]:
    """Return what a health check takes."""
    rows = []
    for probe in probes:
        ours = probe is probes[0]
        rows += [
            Row(
                f"{probe.name}: CPU, ms",
                sidegate=_cell([value * 1e3 for value in probe.cpu], "{:.1f}"),
                target=f"≤ {PROBE_CPU_MAX * 1e3:g}" if ours else NONE,
                met=statistics.median(probe.cpu) <= PROBE_CPU_MAX if ours else None,
            ),
            Row(f"{probe.name}: wall, ms", sidegate=_cell([value * 1e3 for value in probe.wall], "{:.1f}")),
        ]
    return rows


def _entrypoint(trial: Trial, kind: str) -> int:
    return sum(int(getattr(memory, kind)) for name, memory in trial.memory if name == ENTRYPOINT)


def _all_pss(trial: Trial) -> float:
    return sum(memory.pss for _, memory in trial.memory) / 1e6


def _compare(
    figure: str, bare: Sequence[Trial], sidegate: Sequence[Trial], of: Callable[[Trial], float], form: str
) -> Row:
    return _pair(figure, [of(trial) for trial in bare], [of(trial) for trial in sidegate], form)


def _compare_three(figure: str, way: Way, of: Callable[[Run], float], form: str) -> list[Row]:
    bare, sidegate, closed = ([of(run) for run in runs] for runs in way.runs)
    third = Row("... with KILL_SWITCH=on", sidegate=_cell(closed, form), ratio=_ratio(bare, closed))
    return [_pair(figure, bare, sidegate, form), third]


def _pair(figure: str, bare: Sequence[float], sidegate: Sequence[float], form: str) -> Row:
    return Row(figure, _cell(bare, form), _cell(sidegate, form), _ratio(bare, sidegate))


def _cell(values: Sequence[float], form: str) -> str:
    median, least, most = (form.format(f(values)) for f in (statistics.median, min, max))
    return median if least == most else f"{median} ({least} to {most})"


def _ratio(bare: Sequence[float], sidegate: Sequence[float]) -> str:
    base = statistics.median(bare)
    return f"{statistics.median(sidegate) / base:.2f}" if base else NONE


def _of(trials: Sequence[Trial], count: Callable[[Trial], int]) -> str:
    return f"{sum(map(count, trials))} of {sum(trial.echo.sent for trial in trials)}"


def _yes(bare: Sequence[Trial], sidegate: Sequence[Trial], holds: Callable[[Trial], bool]) -> tuple[str, str]:
    first, second = (f"{sum(map(holds, each))} of {len(each)}" for each in (bare, sidegate))
    return first, second


def _openvpn(processes: dict[str, Work], per_minute: float) -> str:
    work = processes["openvpn"]
    return f"{work.cpu * per_minute * 1e3:.2f}, woken {work.wakes * per_minute:.0f} times"
