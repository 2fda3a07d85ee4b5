"""`python -m bench`: measure, print the table on standard output and the progress on standard error."""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import image, packets, procfs, report, steady, storm, throughput
from bench.clients import CLIENTS, Contender
from bench.trial import Stage, Trial
from tests.lab.topology import Lab
from tests.lab.traffic import ROOT

RUNS_MAX = 100
IDLE_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured."""

    runs: int
    """Of each contender."""
    idle: float
    """Seconds beside openvpn."""
    throughput: int
    """Rounds beside openvpn."""


def main() -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(
        "bench", description="Sidegate beside the bare client, in the lab. As root."
    )
    parser.add_argument(
        "--client",
        action="append",
        choices=list(CLIENTS),
        help="one of them, may be repeated; all, when it is left out",
    )
    parser.add_argument("--runs", type=_within(int, 1, RUNS_MAX), default=5, metavar="N", help="of each (5)")
    parser.add_argument(
        "--idle",
        type=_within(float, 0, IDLE_MAX),
        default=30.0,
        metavar="SECONDS",
        help="how long openvpn's idle CPU is watched (30); 0 leaves it out",
    )
    parser.add_argument(
        "--throughput",
        type=_within(int, 0, RUNS_MAX),
        default=5,
        metavar="N",
        help="rounds of iperf3 beside openvpn (5), 14 seconds each; 0 leaves out single packets, too",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    chosen = parser.parse_args()
    if os.geteuid():
        _say("cannot make network namespaces: this is not root; run it with sudo")
        return 1
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        missed = _measure(chosen.client or list(CLIENTS), Amount(chosen.runs, chosen.idle, chosen.throughput))
    except KeyboardInterrupt:
        _say("interrupted; everything is taken away")
        return 128 + signal.SIGINT
    except AssertionError as error:
        # The lab says in words what did not come true.
        _say(f"failed: {error}")
        return 1
    print(f"\ntargets missed: {'; '.join(missed) or 'none'}")
    return 1 if missed and chosen.strict else 0


def _measure(clients: list[str], amount: Amount) -> list[str]:
    """Measure these clients and print their tables; return the targets that were missed."""
    how = image.read()
    # The image's bytecode is complete, and a first start here must not be the one that writes it.
    _output(*image.PYTHON, "-m", "compileall", "-q", "entrypoint", "healthcheck", "bench")
    _print_facts(amount)
    missed = []
    for client in clients:
        before = procfs.loadavg()
        rows = _rows(client, how, amount)
        print(f"\n### VPN_CLIENT={client}\n\n{report.table(rows)}\n")
        print(f"load average before: {before}; after: {procfs.loadavg()}", flush=True)
        missed += [f"{client}: {row.figure}" for row in rows if row.met is False]
    return missed


@contextmanager
def _stage(client: str, how: image.Image) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="sidegate-bench-") as directory, Lab() as lab:
        match = CLIENTS[client](lab.vpn_server, Path(directory), how)
        yield Stage(lab, match, Path(directory) / "container")


def _rows(client: str, how: image.Image, amount: Amount) -> list[report.Row]:
    with _stage(client, how) as stage:
        contenders = (stage.match.bare, stage.match.sidegate)
        trials: dict[str, list[Trial]] = {contender.name: [] for contender in contenders}
        _say(f"{client}: warm-up")
        stage.warm_up()
        for number in range(1, amount.runs + 1):
            for contender in contenders:
                _say(f"{client}, {contender.name}: run {number} of {amount.runs}")
                trial = stage.trial(contender)
                _say(f"    peer {trial.usable:.3f} s, ready {trial.ready:.3f} s, {trial.echo.lost} lost")
                trials[contender.name].append(trial)
        rows = report.trial_rows(*trials.values(), ours_first=client != "none")
        if client == "openvpn":
            rows += _steady_rows(stage, how, amount.idle) + _throughput_rows(stage, how, amount.throughput)
        return rows


def _steady_rows(stage: Stage, how: image.Image, idle: float) -> list[report.Row]:
    """Measure what no client has a part in, beside one."""
    bare, sidegate = stage.match.bare, stage.match.sidegate
    _say(f"{sidegate.name}: a scrape of /metrics")
    rows = [report.scraped_row(steady.scraped(stage, sidegate))]
    if idle:
        rows += report.idle_rows(idle, *(_idle(stage, each, idle) for each in (bare, sidegate)))
    _say(f"{storm.DELETIONS} deletions of the rule, and a storm of routes beside each")
    heal = storm.heal_times(stage, sidegate)
    rows += report.storm_rows(heal, *(storm.storm(stage, each) for each in (bare, sidegate)))
    _say(f"HEALTHCHECK and its alternatives: {steady.PROBES} runs of each")
    return rows + report.probe_rows(steady.health_checks(stage, sidegate, how))


def _throughput_rows(stage: Stage, how: image.Image, rounds: int) -> list[report.Row]:
    if not rounds:
        return []
    _say(f"iperf3: {rounds} times each way; then the CPU of single packets")
    with _stage("openvpn", how) as untouched:
        untouched.learn_address()
        for each in (untouched, stage):
            throughput.publish(each.lab)
        return report.throughput_rows(
            throughput.measure(untouched, stage, rounds), packets.measure(untouched, stage)
        )


def _idle(stage: Stage, contender: Contender, seconds: float) -> dict[str, procfs.Work]:
    _say(f"{contender.name}: idle for {seconds:g} s")
    return steady.idle(stage, contender, seconds)


def _print_facts(amount: Amount) -> None:
    python = _output(*image.PYTHON, "--version").split()[1]
    cores = len(os.sched_getaffinity(0))
    print(f"Linux {platform.release()} {platform.machine()}, {cores} cores, Python {python}")
    print(
        f"OpenVPN {_output('openvpn', '--version').split()[1]}, "
        f"OpenConnect {_output('openconnect', '--version').split()[2]}, "
        f"wireguard-go {_output('wireguard-go', '--version').split()[1]}"
    )
    if amount.throughput:
        print(f"iperf3 {_output('iperf3', '--version').split()[1]}")
    print(f"{amount.runs} runs of each, {amount.idle:g} s idle; cells: median (least to most)")


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        raise AssertionError(f"cannot run {argv[0]}: saw no such program; tests/setup installs it") from None
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
