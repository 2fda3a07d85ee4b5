"""Waiting for something to become true, never for time to pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.01
"""Seconds between two looks: short beside any limit a test sets, long beside the cost of a look."""


def until(condition: Callable[[], T | None], timeout: float, what: str) -> T:
    """Return the condition's first true value.

    The condition is looked at once more after `timeout` seconds have passed, so that a starved
    machine does not fail what has come true meanwhile.

    Raises AssertionError with `what` was awaited and the last value seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        last_look = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if last_look:
            raise AssertionError(f"waited {timeout:g} s for {what}: saw {value!r} to the end")
        time.sleep(INTERVAL)
