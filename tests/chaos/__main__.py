"""`python -m tests.chaos`: the product at work while at random everything around it breaks. As root."""

import argparse
import secrets
import sys
import time

from tests.chaos.run import run
from tests.chaos.stage import KINDS

ROUND_SECONDS = 300.0
"""Some 200 steps: a failure must be worth replaying."""


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser("chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--seed", type=int, help="what happens, and in which order (a new one each time)")
    parser.add_argument("--client", choices=KINDS, help="whose tunnel (by the seed)")
    parser.add_argument("--steps", type=int, help="end after so many steps")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1 << 16) if chosen.seed is None else chosen.seed
    try:
        if chosen.steps is None:
            done = rounds(seed, chosen.seconds, chosen.client)
        else:
            done = run(seed, float("inf"), kind=chosen.client, last=chosen.steps, say=say)
    except AssertionError as error:
        say(str(error))
        return 1
    say(f"{done} steps, and all was well after each")
    return 0


def rounds(seed: int, seconds: float, kind: str | None) -> int:
    """Go on with the next seed, which has another client, each round; returns the number of steps."""
    ends, done = time.monotonic() + seconds, 0
    while (left := ends - time.monotonic()) > 0:
        done += run(seed, min(left, ROUND_SECONDS), kind=kind, say=say)
        seed += 1
    return done


def say(text: str) -> None:
    """Print at once, as somebody waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
