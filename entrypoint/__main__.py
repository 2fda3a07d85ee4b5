"""The command line: `sidegate [run|plan|status|wait|version]`, signals before all else, exit codes."""

import gc
import signal
import sys

# The imports make nothing but what stays: looking for garbage there costs 15 ms of each start.
gc.disable()

# SIGTERM must end the start of `run` as cleanly as the run, and the imports below take most of it. Any
# other command that is ended has not done what it was asked for.
_RUNS = sys.argv[1:] in ([], ["run"])
_ended = 0 if _RUNS else 128
for _number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_number, lambda number, _frame: sys.exit(_ended and _ended + number))
if not _ended:
    # Their default is the end. A handler, as what is ignored would be handed on to the client.
    for _number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(_number, lambda _number, _frame: None)

import argparse  # noqa: E402 - see above
import asyncio  # noqa: E402
import os  # noqa: E402
import traceback  # noqa: E402

from entrypoint import commands, log, machine, settings  # noqa: E402
from entrypoint.faults import EXIT_INTERNAL, Fault  # noqa: E402
from entrypoint.run import run  # noqa: E402

_HELP = {
    "run": "keep the VPN client up and replies on their side (the default)",
    "plan": "print what run would do to rules and routes as iproute2 lines; touches nothing",
    "status": "print the state of the running sidegate as JSON",
    "wait": "return when the running sidegate is ready",
    "version": "print the version",
}


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        "sidegate", description="A VPN sidecar that keeps replies on their side."
    )
    subparsers = parser.add_subparsers(dest="command")
    made = {name: subparsers.add_parser(name, help=text) for name, text in _HELP.items()}
    made["wait"].add_argument("--timeout", type=seconds, metavar="SECONDS", help="give up after so long")
    arguments = parser.parse_args()
    machine.forbid_core_dumps()
    loaded = None
    try:
        match arguments.command:
            case "version":
                _say(commands.version())
            case "status":
                text, had = commands.status()
                _say(text)
                return 0 if had else 1
            case "wait":
                return 0 if commands.wait(arguments.timeout) else 1
            case "plan":
                loaded, _ = settings.load(os.environ)
                log.hide.know(loaded.secrets)
                _say(asyncio.run(commands.plan(loaded)))
            case _:
                loaded, warnings = settings.load(os.environ)
                log.set_up(loaded)
                gc.freeze()
                gc.enable()
                asyncio.run(run(loaded, warnings))
    except Fault as fault:
        # Where the settings are bad, the environment is all there is.
        as_json = _RUNS and (loaded.log_format if loaded else os.environ.get("LOG_FORMAT")) == "json"
        sys.stderr.write(log.faults(fault.texts, as_json=as_json))
        return fault.exit_code
    except Exception:  # noqa: BLE001 - whatever it is, it is told and has its own exit code
        sys.stderr.write(log.hide(traceback.format_exc()))
        return EXIT_INTERNAL
    return 0


def seconds(text: str) -> float:
    """Take a number of seconds that a clock can wait."""
    if not 0 <= (number := float(text)) < float("inf"):
        raise ValueError(text)
    return number


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
