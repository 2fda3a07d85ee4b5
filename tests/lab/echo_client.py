"""An echo every millisecond over one established connection, as a program.

`python -m tests.lab.echo_client ADDRESS PORT LONGEST` sends until its standard input is closed,
LONGEST seconds at most, waits for what is outstanding and prints its findings as JSON.
"""

import json
import selectors
import socket
import sys
import time

from tests.lab.echo_service import ASK_COUNTS, COUNTS, FRAME, resent

PERIOD = 0.001
DEADLINE = 0.15
"""Seconds after which an echo counts as lost: the kernel repeats what was lost only after 200 ms
(TCP_RTO_MIN), so nothing lost can look like something answered."""
LAST_WORDS = 1.0
"""Seconds to wait for outstanding echoes in the end."""


class Echo:
    """One connection and what was seen on it; times in seconds."""

    def __init__(self, address: str, port: int) -> None:
        """Connect."""
        self.connection = socket.create_connection((address, port), 3)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.settimeout(0)
        self.started = time.monotonic()
        self.sent: list[float] = []
        self.lost = 0
        self.answered = 0
        self.last_answer = self.started
        self.longest_gap = 0.0
        self.slowest = 0.0
        self._pending = b""
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self.connection, selectors.EVENT_READ)

    def run(self, longest: float) -> None:
        """Send and receive until the input is closed or `longest` has passed."""
        self._waiting.register(sys.stdin, selectors.EVENT_READ)
        end = self.started + longest
        due = self.started
        while (now := time.monotonic()) < end:
            if now >= due:
                self._send(now)
                due = max(due + PERIOD, now)
            for key, _ in self._waiting.select(max(0.0, due - time.monotonic())):
                if key.fileobj is sys.stdin:
                    self._waiting.unregister(sys.stdin)
                    return
                self._receive()

    def finish(self) -> dict[str, float]:
        """Wait for what is outstanding and tell the findings."""
        end = time.monotonic() + LAST_WORDS
        while self.answered < len(self.sent) and (left := end - time.monotonic()) > 0:
            if self._waiting.select(left):
                self._receive()
        unanswered = len(self.sent) - self.answered
        here = resent(self.connection)
        there = (0, 0) if unanswered else self._counts_of_service()
        if unanswered:
            self.longest_gap = max(self.longest_gap, end - self.last_answer)
        return {
            "sent": len(self.sent),
            "answered": self.answered,
            "lost": self.lost + unanswered,
            "resent": sum(max(0, again - superfluous) for again, superfluous in (here, there)),
            "longest_gap": self.longest_gap,
            "slowest": self.slowest,
            "seconds": time.monotonic() - self.started,
        }

    def _counts_of_service(self) -> tuple[int, int]:
        self.connection.settimeout(LAST_WORDS)
        self.connection.sendall(ASK_COUNTS)
        counts = self.connection.recv(COUNTS.size, socket.MSG_WAITALL)
        again, superfluous = COUNTS.unpack(counts)
        return again, superfluous

    def _send(self, now: float) -> None:
        try:
            self.connection.send(FRAME.pack(len(self.sent)))
        except BlockingIOError:
            # The buffer is full of what nobody answers: those are counted already.
            return
        self.sent.append(now)

    def _receive(self) -> None:
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("the service closed the connection")
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self.last_answer)
        self.last_answer = now
        self._pending += data
        whole = len(self._pending) - len(self._pending) % FRAME.size
        for (number,) in FRAME.iter_unpack(self._pending[:whole]):
            if number != self.answered:
                raise ValueError(f"echo {number} came where {self.answered} was due")
            took = now - self.sent[number]
            self.slowest = max(self.slowest, took)
            self.lost += took > DEADLINE
            self.answered += 1
        self._pending = self._pending[whole:]


def main() -> None:
    """Run to the end and print the findings as one line of JSON."""
    address, port, longest = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    echo = Echo(address, port)
    print("connected", flush=True)  # noqa: T201 - a line that the lab waits for
    echo.run(longest)
    print(json.dumps(echo.finish()))  # noqa: T201 - the findings, read by the lab


if __name__ == "__main__":
    main()
