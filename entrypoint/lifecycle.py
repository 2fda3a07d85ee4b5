"""The states of a client's life, and how long to wait between two attempts. No process in here."""

import enum

FIRST_DELAY_SECONDS = 1.0
"""The second restart waits so long, each further one twice as long as the one before."""


class State(enum.StrEnum):
    """Where the client's life stands."""

    STARTING = enum.auto()
    CONNECTING = enum.auto()
    UP = enum.auto()
    RECONNECTING = enum.auto()
    FAILED = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()


TRANSITIONS: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.CONNECTING, State.STOPPING}),
    State.CONNECTING: frozenset({State.UP, State.FAILED, State.STOPPING}),
    State.UP: frozenset({State.RECONNECTING, State.STOPPING}),
    # A tunnel that was up is made again, by the client alone or by our immediate restart.
    State.RECONNECTING: frozenset({State.UP, State.FAILED, State.STOPPING}),
    # The last attempt came to nothing; the back-off runs.
    State.FAILED: frozenset({State.CONNECTING, State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


def restart_delay(failures: int, longest: float, *, rejected: bool) -> float:
    """Return the seconds to wait after so many failures in a row (one or more).

    The first restart is immediate, unless the server refused the credentials: some lock an account after
    a few tries.
    """
    step = failures - 1 + rejected
    if not step:
        return 0.0
    # Bounded, as 2.0 to the power of days of failures is no float any more.
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(step - 1, 32), longest)


def told(delay_seconds: float) -> str:
    """Say when that is, for the log."""
    return f"in {delay_seconds:g} s" if delay_seconds else "now"
