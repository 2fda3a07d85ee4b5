"""`python -m bench`: measure, print the table on standard output and the progress on standard error."""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import image, procfs, report, steady
from bench.trial import Contender, Stage, Trial
from tests.lab.topology import Lab
from tests.lab.traffic import ROOT

RUNS_MAX = 100
IDLE_MAX = 3600.0


def main() -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(
        "bench", description="Sidegate beside bare openvpn, in the lab. As root."
    )
    parser.add_argument("--runs", type=_within(int, 1, RUNS_MAX), default=5, metavar="N", help="of each (5)")
    parser.add_argument(
        "--idle",
        type=_within(float, 0, IDLE_MAX),
        default=60.0,
        metavar="SECONDS",
        help="how long idle CPU is watched (60); 0 leaves it out",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    chosen = parser.parse_args()
    if os.geteuid():
        _say("cannot make network namespaces: this is not root; run it with sudo")
        return 1
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        rows = _measure(chosen.runs, chosen.idle)
    except KeyboardInterrupt:
        _say("interrupted; everything is taken away")
        return 128 + signal.SIGINT
    except AssertionError as error:
        # The lab says in words what did not come true.
        _say(f"failed: {error}")
        return 1
    print(report.table(rows))
    missed = [row.figure for row in rows if row.met is False]
    print(f"\ntargets missed: {', '.join(missed) or 'none'}")
    return 1 if missed and chosen.strict else 0


def _measure(runs: int, idle: float) -> list[report.Row]:
    how = image.read()
    # The image's bytecode is complete, and a first start here must not be the one that writes it.
    _output(*image.PYTHON, "-m", "compileall", "-q", "entrypoint", "healthcheck", "bench")
    before = procfs.loadavg()
    with tempfile.TemporaryDirectory(prefix="sidegate-bench-") as directory, Lab() as lab:
        stage = Stage(lab, Path(directory))
        bare, sidegate = stage.contenders(how)
        trials: dict[str, list[Trial]] = {bare.name: [], sidegate.name: []}
        for contender in (bare, sidegate):
            _say(f"{contender.name}: warm-up")
            stage.warm_up(contender)
        for number in range(1, runs + 1):
            for contender in (bare, sidegate):
                _say(f"{contender.name}: run {number} of {runs}")
                trial = stage.trial(contender)
                _say(f"    peer {trial.usable:.3f} s, ready {trial.ready:.3f} s, {trial.echo.lost} lost")
                trials[contender.name].append(trial)
        rows = report.trial_rows(trials[bare.name], trials[sidegate.name])
        _say(f"{sidegate.name}: a scrape of /metrics")
        rows.append(report.scraped_row(steady.scraped(stage, sidegate)))
        if idle:
            rows += report.idle_rows(idle, *(_idle(stage, each, idle) for each in (bare, sidegate)))
        _say(f"HEALTHCHECK and its alternatives: {steady.PROBES} runs of each")
        rows += report.probe_rows(steady.health_checks(stage, sidegate, how))
    _print_facts(runs, idle, before)
    return rows


def _idle(stage: Stage, contender: Contender, seconds: float) -> dict[str, procfs.Work]:
    _say(f"{contender.name}: idle for {seconds:g} s")
    return steady.idle(stage, contender, seconds)


def _print_facts(runs: int, idle: float, load_before: str) -> None:
    openvpn = _output("openvpn", "--version").split()[1]
    python = _output(*image.PYTHON, "--version").split()[1]
    cores = len(os.sched_getaffinity(0))
    print(
        f"Linux {platform.release()} {platform.machine()}, {cores} cores, OpenVPN {openvpn}, Python {python}"
    )
    print(f"load average before: {load_before}; after: {procfs.loadavg()}")
    print(f"{runs} runs of each, {idle:g} s idle; cells: median (least to worst)\n")


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise AssertionError(f"cannot run {' '.join(argv)}: saw {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _within(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not within {least:g} and {most:g}")
        return value

    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
