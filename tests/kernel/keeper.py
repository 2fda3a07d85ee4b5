"""The reconciler as a program of its own: what `run` does to rules and routes, without a VPN client.

Settings come from the environment, the servers of its client as arguments. With `--run-dir` it takes what a
killed run noted there, and notes what it found itself, as the supervisor does for its client. Each pass is
told as `pass {JSON}`; SIGTERM removes what is ours.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

from entrypoint import leftovers, log
from entrypoint.faults import Fault
from entrypoint.main_table import Traces
from entrypoint.network import IPAddress
from entrypoint.reconcile import Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings, load


async def keep(settings: Settings, servers: Collection[IPAddress], run_dir: Path | None) -> None:
    """Make the first pass, put back what a dead client took, and reconcile until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Rtnl(settings.route_table) as rtnl:
        reconciler = Reconciler(rtnl, settings)
        reconciler.on_pass = lambda: tell(reconciler)
        left = leftovers.find(run_dir) if run_dir else leftovers.Leftovers()
        every = Traces(frozenset({*servers, *left.traces.servers}), left.traces.routes)
        try:
            await reconciler.begin(left.before, every)
            await reconciler.restore(every)
            if run_dir:
                leftovers.note(run_dir, every, reconciler.before)
            keeping = asyncio.create_task(reconciler.keep())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({keeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await reconciler.restore(every)
        finally:
            await reconciler.remove()


def tell(reconciler: Reconciler) -> None:
    """Write what the last pass left behind."""
    view = reconciler.view
    said = {
        "problem": view.problem,
        "networks": {str(network.network): network.problem for network in view.networks},
        "replies": {f"{reply.source} {reply.destination}": reply.problem for reply in view.replies},
        "repairs": reconciler.repairs,
    }
    sys.stdout.write(f"pass {json.dumps(said)}\n")
    sys.stdout.flush()


def main() -> int:
    """Run; returns the exit code that `sidegate` would have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("servers", nargs="*", type=ip_address)
    arguments = parser.parse_args()
    settings, _ = load(os.environ)
    log.set_up(settings)
    try:
        asyncio.run(keep(settings, arguments.servers, arguments.run_dir))
    except Fault as fault:
        sys.stdout.writelines(f"fault: {line}\n" for text in fault.texts for line in text.splitlines())
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
