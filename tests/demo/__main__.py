"""`python -m tests.demo [run|up|down]`: the main job, shown without Sidegate and with it.

`run` ends by itself in under a minute; its exit status is 0 only when all came out as it must. `up`
leaves the lab standing, `down` takes it away. Needs root; nothing leaves the lab's own namespaces.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from tests.demo.show import PICTURE, Progress, indent, kernel_lines, say, table
from tests.demo.stage import Findings, Stage, ask_all, begin_echo, is_true
from tests.demo.standing import NAME, Standing
from tests.lab.topology import Lab
from tests.lab.waiting import until

LONGEST = 55
"""Seconds after which the demo gives up: it promises to end within a minute."""
PRIORITY = 90


def run() -> int:
    """Show both columns, the kernel changes and the health; return the exit status of the truth."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST)
    progress = Progress()
    say(PICTURE)
    with tempfile.TemporaryDirectory(prefix="sidegate-demo-") as directory, Lab() as lab:
        stage = Stage(lab, Path(directory))
        progress("the lab stands, with a real OpenVPN server; the service listens on port 80")
        without = _without(stage, progress)
        with_rule, mended = _with(stage, progress)
        say("\n" + table(without, with_rule))
        leftovers = _left_behind(stage)
        say("\nchanges to the kernel, from the sidecar's log:")
        say(indent("\n".join(kernel_lines(stage.sidecar.lines))))
    true = is_true(without, with_rule) and mended and not leftovers
    progress(
        "all as it must be: without the rule the LAN is lost, with it everybody is answered"
        if true
        else f"NOT as it must be{': left behind: ' + leftovers if leftovers else ''}"
    )
    return 0 if true else 1


def _without(stage: Stage, progress: Progress) -> Findings:
    echo = begin_echo(stage)
    with stage.bare_client():
        progress("plain openvpn is connected; asking from everywhere (the lost ones take their time)")
        return ask_all(stage, echo)


def _with(stage: Stage, progress: Progress) -> tuple[Findings, bool]:
    echo = begin_echo(stage)
    progress("starting the sidecar: python -m entrypoint run")
    with stage.sidegate():
        progress("it says that it is ready; asking again")
        found = ask_all(stage, echo)
        ready, text = stage.sidecar.readiness()
        say("\n/readyz:")
        say(indent(text))
        status, said = stage.sidecar.healthcheck()
        say(f"\nHEALTHCHECK (python -m healthcheck), exit status {status}:")
        say(indent(said))
        seconds = _mend(stage)
        say()
        progress(f"deleted the rule by hand: back after {seconds * 1000:.0f} ms")
    progress("stopped the sidecar with SIGTERM: exit status 0")
    return found, ready and status == 0


def _mend(stage: Stage) -> float:
    """Delete the rule and return the seconds until it is back."""
    host = stage.lab.sidecar
    host.ip(f"rule del priority {PRIORITY}")
    begin = time.monotonic()
    until(
        lambda: any(rule["priority"] == PRIORITY for rule in host.ip_json("-4", "rule")),
        5,
        "the rule's return",
    )
    return time.monotonic() - begin


def _left_behind(stage: Stage) -> str:
    """Return rules, routes and links that are still there after the stop; nothing, as it should be."""
    host = stage.lab.sidecar
    rules = [rule for option in ("-4", "-6") for rule in host.ip_json(option, "rule")]
    left = [str(rule) for rule in rules if rule["priority"] == PRIORITY]
    left += [link["ifname"] for link in host.ip_json("link") if link["ifname"] not in {"lo", "eth0"}]
    return ", ".join(left)


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise AssertionError(f"it took more than {LONGEST} s")


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    # `keep` is what `up` starts to hold the lab: no command for people.
    choices = ("run", "up", "down", "keep")
    parser.add_argument("command", nargs="?", default="run", choices=choices, metavar="run|up|down")
    parser.add_argument("--name", default=NAME, help="up and down: prefix of the hosts' names")
    chosen = parser.parse_args()
    standing = Standing(chosen.name)
    commands = {"run": run, "up": standing.up, "down": standing.down, "keep": standing.keep}
    if os.geteuid():
        say("cannot make network namespaces: this is not root; run it with sudo")
        return 1
    signal.signal(signal.SIGTERM, _end)
    try:
        return commands[chosen.command]()
    except KeyboardInterrupt:
        say("\ninterrupted; everything is taken away")
        return 128 + signal.SIGINT
    except AssertionError as error:
        # The lab says in words what did not come true.
        say(f"\nfailed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
