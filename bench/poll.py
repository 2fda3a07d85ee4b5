"""Asks until an answer comes, and tells when it came; started before what it waits for.

`python -m bench.poll connect ADDRESS PORT LONGEST` or `... ready ADDRESS PORT LONGEST` prints `polling`,
then `came MONOTONIC`. The monotonic clock is one for the whole machine. After LONGEST seconds it gives up
with exit status 1.
"""

import http
import http.client
import selectors
import socket
import sys
import time
from collections import deque

CONNECT_PERIOD = 0.005
CONNECT_PATIENCE = 0.2
"""Seconds until an attempt is given up: its SYN was lost, and the kernel repeats it only after a second."""
READY_PERIOD = 0.01


def connect(address: str, port: int, end: float) -> float | None:
    """Open a new connection every few milliseconds; return when the first one stood, None at `end`."""
    pending: deque[tuple[float, socket.socket]] = deque()
    due = time.monotonic()
    with selectors.DefaultSelector() as selector:
        try:
            while (now := time.monotonic()) < end:
                while pending and pending[0][0] <= now:
                    _, late = pending.popleft()
                    if late in selector.get_map():
                        selector.unregister(late)
                    late.close()
                if now >= due:
                    attempt = socket.socket()
                    attempt.settimeout(0)
                    attempt.connect_ex((address, port))
                    selector.register(attempt, selectors.EVENT_WRITE)
                    pending.append((now + CONNECT_PATIENCE, attempt))
                    due = now + CONNECT_PERIOD
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    answered = key.fileobj
                    if not isinstance(answered, socket.socket):
                        raise TypeError(f"{answered!r} was never registered")
                    if not answered.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        return time.monotonic()
                    selector.unregister(answered)
        finally:
            for _, attempt in pending:
                attempt.close()
    return None


def ready(address: str, port: int, end: float) -> float | None:
    """Ask /readyz on one connection that is kept; return when it first said 200, None at `end`."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        while time.monotonic() < end:
            try:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                answer.read()
                if answer.status == http.HTTPStatus.OK:
                    return time.monotonic()
            except (OSError, http.client.HTTPException):
                connection.close()
            time.sleep(READY_PERIOD)
    finally:
        connection.close()
    return None


def main() -> int:
    """Poll to the answer; returns the exit status."""
    kind, address, port, longest = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    poll = {"connect": connect, "ready": ready}[kind]
    print("polling", flush=True)
    came = poll(address, port, time.monotonic() + longest)
    if came is None:
        return 1
    print("came", came, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
