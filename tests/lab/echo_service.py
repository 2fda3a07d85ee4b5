"""A TCP service that answers on every address, as a program.

What comes in goes back, in frames of eight bytes. A frame of ones asks how many segments the service
had to send again and how many of those were superfluous (TCP_INFO): it is answered by those two
numbers. `GET` is answered as HTTP, so that curl can ask too. It is started
as `python -m tests.lab.echo_service PORT`.
"""

import contextlib
import socket
import struct
import sys
import threading

FRAME = struct.Struct("!Q")
COUNTS = struct.Struct("!II")
ASK_COUNTS = b"\xff" * FRAME.size

TCP_INFO_SIZE = 220
TOTAL_RETRANS = 100
"""Offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)."""
DSACK_DUPS = 216
"""Offset of tcpi_dsack_dups there: what was sent again although it had arrived."""


def resent(connection: socket.socket) -> tuple[int, int]:
    """Return how many segments were sent again, and how many of them in vain."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
    return struct.unpack_from("=I", info, TOTAL_RETRANS)[0], struct.unpack_from("=I", info, DSACK_DUPS)[0]


def answer(connection: socket.socket) -> None:
    """Serve one connection to its end."""
    pending = b""
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(65536):
            pending += data
            if pending.startswith(b"GET "):
                here, peer = connection.getsockname()[0], connection.getpeername()[0]
                body = f"{here} answers {peer}\n".encode()
                head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                connection.sendall(head + body)
                return
            whole = len(pending) - len(pending) % FRAME.size
            frames, pending = pending[:whole], pending[whole:]
            if frames.endswith(ASK_COUNTS):
                frames = frames[: -FRAME.size] + COUNTS.pack(*resent(connection))
            connection.sendall(frames)


def serve(listener: socket.socket) -> None:
    """Accept for ever."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def listen(family: socket.AddressFamily, port: int) -> socket.socket:
    """Listen on the family's wildcard address alone."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("", port))
    listener.listen(128)
    return listener


def main() -> None:
    """Listen on both families and say so."""
    port = int(sys.argv[1])
    listeners = [listen(family, port) for family in (socket.AF_INET, socket.AF_INET6)]
    print("listening", flush=True)  # noqa: T201 - a line that the lab waits for
    for listener in listeners[1:]:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    serve(listeners[0])


if __name__ == "__main__":
    main()
