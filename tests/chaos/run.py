"""The steps of a seed done to the stage, one after the other, until the time is over."""

import contextlib
import time
from collections.abc import Callable

from tests.chaos.blows import BLOWS
from tests.chaos.plan import Step, steps
from tests.chaos.stage import KINDS, Stage


def run(
    seed: int, seconds: float, *, kind: str | None = None, last: int | None = None, say: Callable[[str], None]
) -> int:
    """Do the steps of a seed for so long, or up to step `last`; returns how many were done.

    Raises AssertionError that names seed and steps where something that must hold does not.
    """
    # Four seeds in a row have each client once; the probe changes after four of them, the gate after eight.
    chosen = kind or KINDS[seed % len(KINDS)]
    probe, closed = seed // 4 % 2 == 1, seed // 8 % 2 == 1
    said = f"{', somebody is asked' if probe else ''}{', the gate closed' if closed else ''}"
    say(f"seed {seed}: {chosen}{said}")
    done: list[Step] = []
    with Stage(chosen, probe=probe, closed=closed, longest=float("inf")) as stage:
        ends = time.monotonic() + seconds
        try:
            for step in steps(seed, list(BLOWS)):
                if time.monotonic() > ends or step.number - 1 == last:
                    break
                done.append(step)
                began = time.monotonic()
                do(stage, step)
                say(
                    f"{step.number}: {step}: well again {time.monotonic() - began:.1f} s after the first blow"
                )
            stage.stop()
        except AssertionError as error:
            again = f"python -m tests.chaos --seed {seed} --client {chosen} --steps {len(done)}"
            told = "\n".join(f"    {step.number}: {step}" for step in done)
            raise AssertionError(f"seed {seed} failed; to replay it: {again}\n{told}\n{error}") from None
    return len(done)


def do(stage: Stage, step: Step) -> None:
    """Let the blows of one step fall, take them back in reverse, and see that all is well again."""
    with contextlib.ExitStack() as stack:
        for blow in step.blows:
            stack.enter_context(BLOWS[blow.name](stage, blow.chance))
        time.sleep(step.hold)  # how long it lasts is part of the blow
    stage.settle()
