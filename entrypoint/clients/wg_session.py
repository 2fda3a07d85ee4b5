"""Whether a peer holds its session, told by its handshakes alone. No IO here.

WireGuard makes a new handshake some two minutes after the last one (REKEY_AFTER_TIME), as soon as there is
something to send. Keys that are three minutes old (REJECT_AFTER_TIME) encrypt nothing any more. Where we
were called last, or nothing keeps the tunnel awake, nobody has had a reason to renew them: so before a peer
is called dead, it is asked for a handshake.
"""

REJECT_AFTER_SECONDS = 180.0
"""REJECT_AFTER_TIME of the WireGuard paper, 6.1."""
ANSWER_SECONDS = 6.0
"""How long a handshake may take: one retry (REKEY_TIMEOUT, 5 s) is within."""


class Session:
    """One peer's; all times but `told` and `wall` are of a monotonic clock, in seconds."""

    def __init__(self, began: float) -> None:
        self._told = 0
        self._born: float | None = None
        self._looked = began
        self._asked: float | None = None

    def look(self, told: int, wall: float, now: float) -> None:
        """Take in what `wg show latest-handshakes` says: Unix time in seconds, 0 for never.

        The wall clock may have jumped, so an age is at most the time since the look before.
        """
        if told != self._told:
            age = min(max(wall - told, 0.0), now - self._looked)
            # A peer that is called anew begins at 0.
            self._told, self._born, self._asked = told, now - age if told else None, None
        self._looked = now

    def asked(self, now: float) -> None:
        """Note that the peer was asked for a handshake."""
        self._asked = now

    @property
    def is_asked(self) -> bool:
        """Whether it has not answered yet."""
        return self._asked is not None

    def stale(self, now: float) -> bool:
        """Tell whether the keys are too old and the peer has not been asked for new ones."""
        return self._born is not None and self._asked is None and now >= self._born + REJECT_AFTER_SECONDS

    def held(self, now: float) -> bool:
        """Tell whether the session stands, as far as can be known."""
        return now < self.until()

    def until(self) -> float:
        """Return when the session will have to be looked at again."""
        if self._asked is not None:
            return self._asked + ANSWER_SECONDS
        return float("-inf") if self._born is None else self._born + REJECT_AFTER_SECONDS
