"""Ask the endpoint of this network namespace.

Standard library only, and little of it: this is what Docker starts every few seconds. http.client alone
would cost more CPU than all the rest.
"""

import os
import socket
import time

RUN_ROOT = "/run/sidegate"
ENDPOINT_FILE = "endpoint"
"""In the run directory: `address:port`, `[address]:port` or `off`, as the running entrypoint listens."""
DEFAULT_LISTEN = "127.0.0.1:9797"
OFF = "off"
TIMEOUT_SECONDS = 3.0

_ANSWER_BYTES_MAX = 4 * 1024 * 1024
_SHOWN = 60


class AskError(Exception):
    """No answer could be had; the text is one line of what was tried, what was seen and what to do."""


class EndpointOffError(AskError):
    """Nobody will ever answer: the endpoint is switched off."""


class Answer:
    """What the endpoint said."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        """The HTTP status code."""
        self.body = body


def run_dir() -> str:
    """Name the directory for what belongs to a run in this network namespace.

    Several namespaces can share one file system, so the directory bears the inode number of ours
    (namespaces(7)). Raises OSError where /proc is not mounted.
    """
    return f"{RUN_ROOT}/{os.stat('/proc/self/ns/net').st_ino}"  # noqa: PTH116 - pathlib takes 10 ms to import


def ask(path: str, *, directory: str | None = None, timeout: float = TIMEOUT_SECONDS) -> Answer:
    """Get `path` from the endpoint; it is looked for in `directory`, or else in `run_dir()`.

    `timeout` is in seconds, for all of it. Raises AskError.
    """
    listen, named_by = _listen(directory)
    if listen == OFF:
        raise EndpointOffError(
            f"cannot ask for health: saw the endpoint off ({named_by}); "
            "set HEALTH_LISTEN to an address, or switch the health check off as well"
        )
    sockaddr = _sockaddr(listen, named_by)
    what = f"cannot ask {listen} ({named_by})"
    try:
        raw = _exchange(path, listen, sockaddr, time.monotonic() + timeout)
    except ConnectionRefusedError:
        raise AskError(
            f"{what}: saw the connection refused; is sidegate running in this network namespace?"
        ) from None
    except TimeoutError:
        raise AskError(
            f"{what}: saw no whole answer in {timeout:g} s; if that lasts, restart the container"
        ) from None
    except OSError as error:
        raise AskError(
            f"{what}: saw {error.strerror or error}; check that HEALTH_LISTEN is an address of this container"
        ) from None
    return _parse(raw, what)


def _listen(directory: str | None) -> tuple[str, str]:
    """Find where the entrypoint listens, and what says so."""
    try:
        file = f"{directory or run_dir()}/{ENDPOINT_FILE}"
        with open(file, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123 - see run_dir()
            return stream.readline(256).strip(), f"named by {file}"
    except FileNotFoundError:
        pass
    except OSError as error:
        raise AskError(
            f"cannot learn where sidegate listens: saw {error}; run this as the user that sidegate runs as"
        ) from None
    if listen := os.environ.get("HEALTH_LISTEN", "").strip():
        return listen, "named by HEALTH_LISTEN"
    return DEFAULT_LISTEN, "the default"


def _sockaddr(listen: str, named_by: str) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """Give the address to connect to.

    A wildcard stays as it is: Linux connects it to the loopback (tcp_v6_connect() and
    ip_route_output_key_hash_rcu() of the kernel).
    """
    host, colon, port = listen.rpartition(":")
    family = socket.AF_INET
    if host.startswith("[") and host.endswith("]"):
        family, host = socket.AF_INET6, host[1:-1]
    try:
        if not colon or not port.isascii() or not port.isdigit():
            raise ValueError  # noqa: TRY301 - one text for every shape that does not fit
        # Bytes, since text would make Python import its IDNA codec; numeric, since a name may take
        # longer to resolve than any time limit here.
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        name = host.encode("ascii")
        info = socket.getaddrinfo(name, port.encode(), family, socket.SOCK_STREAM, flags=flags)
    except (ValueError, OSError):
        raise AskError(
            f"cannot ask for health: saw {listen[:_SHOWN]!r} ({named_by}) where an address has to be; "
            "write it like 127.0.0.1:9797, [::1]:9797 or off"
        ) from None
    return family, info[0][4]


def _exchange(
    path: str, host: str, to: tuple[socket.AddressFamily, tuple[object, ...]], deadline: float
) -> bytes:
    family, sockaddr = to
    raw = bytearray()
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(_left(deadline))
        sock.connect(sockaddr)
        # HTTP/1.0: the answer ends with the connection and is never chunked.
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        while len(raw) <= _ANSWER_BYTES_MAX:
            sock.settimeout(_left(deadline))
            if not (part := sock.recv(65536)):
                break
            raw += part
    return bytes(raw)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parse(raw: bytes, what: str) -> Answer:
    head, blank, body = raw.partition(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    code = rest[:3]
    if not (blank and version.startswith("HTTP/1.") and len(code) == 3 and code.isascii() and code.isdigit()):  # noqa: PLR2004 - a status code's length
        raise AskError(
            f"{what}: saw {raw[:_SHOWN]!r} where an HTTP answer has to be; "
            "another program holds the port: set HEALTH_LISTEN to a free one"
        )
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "content-length" and value.strip() != str(len(body)):
            raise AskError(
                f"{what}: saw {len(body)} of {value.strip()} bytes; sidegate ended meanwhile, ask again"
            )
    return Answer(int(code), body.decode("utf-8", "replace"))
