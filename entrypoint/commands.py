"""The commands beside `run`: each asks the kernel or the health endpoint and ends."""

import json
import re
import time

from entrypoint import __version__, machine
from entrypoint.reconcile import Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.view import refuse_what_cannot_be_served
from healthcheck.ask import TIMEOUT_SECONDS, AskError, EndpointOffError, ask

_COUNTDOWN = re.compile(r"; next attempt in \d+ s")
ASK_AGAIN_SECONDS = 0.2
OK = 200


async def plan(settings: Settings) -> str:
    """Return what `run` would change now as iproute2 lines, notes behind `#`; touches nothing.

    Raises BadSettings where no network can be served.
    """
    async with Rtnl(settings.route_table) as rtnl:
        steps, view = await Reconciler(rtnl, settings).plan()
    if machine.one_runs():
        # What its client's tunnel brought, and what stood before, is known to it alone.
        steps = [step for step in steps if not (step.takes_from_tunnel or step.copies)]
    refuse_what_cannot_be_served(view, settings)
    notes = [
        f"# {network.link} {network.interface}: table {view.tables[network.link]}, gateway {network.gateway}"
        if network.gateway
        else f"# {network.problem}"
        for network in view.networks
    ]
    return "\n".join([*notes, *(str(step) for step in steps), *([] if steps else ["# nothing to change"])])


def status() -> tuple[str, bool]:
    """Return the endpoint's /status, readable, and whether it could be had."""
    try:
        answer = ask("/status")
        return json.dumps(json.loads(answer.body), indent=2, ensure_ascii=False), answer.status == OK
    except (AskError, ValueError) as error:
        return str(error), False


def wait(timeout_seconds: float | None) -> bool:
    """Return True once /readyz says ready, False when the time is up; tells each new reason on the way."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    told = ""
    while True:
        left = TIMEOUT_SECONDS if deadline is None else max(deadline - time.monotonic(), ASK_AGAIN_SECONDS)
        try:
            answer = ask("/readyz", timeout=min(left, TIMEOUT_SECONDS))
            reason = answer.body.split("\n", 1)[0]
            if answer.status == OK:
                return True
        except EndpointOffError as error:
            print(error, flush=True)  # noqa: T201 - a command's output
            return False
        except AskError as error:
            reason = str(error)
        # Less the countdown to the next attempt, which would be news each second.
        if (news := _COUNTDOWN.sub("", reason)) != told:
            told = news
            print(reason, flush=True)  # noqa: T201 - a command's output
        if deadline is not None and time.monotonic() > deadline:
            return False
        time.sleep(ASK_AGAIN_SECONDS)


def version() -> str:
    """Return name and version."""
    return f"sidegate {__version__}"
