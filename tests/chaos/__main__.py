"""`python -m tests.chaos`: the product at work while at random everything around it breaks. As root."""

import argparse
import secrets
import sys

from tests.chaos.run import run
from tests.chaos.stage import KINDS


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser("chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--seed", type=int, help="what happens, and in which order (a new one each time)")
    parser.add_argument("--client", choices=KINDS, help="whose tunnel (by the seed)")
    parser.add_argument("--steps", type=int, help="end after so many steps")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1 << 16) if chosen.seed is None else chosen.seed
    seconds = chosen.seconds if chosen.steps is None else float("inf")
    try:
        done = run(seed, seconds, kind=chosen.client, last=chosen.steps, say=say)
    except AssertionError as error:
        say(str(error))
        return 1
    say(f"seed {seed}: {done} steps, and all was well after each")
    return 0


def say(text: str) -> None:
    """Print at once, as somebody waits for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
