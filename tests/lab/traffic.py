"""Who reaches whom, what is lost on the way, and what passes a link."""

import json
import re
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.addresses import SERVICE_PORT
from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.waiting import until

ROOT = Path(__file__).parents[2]
"""The directory that `python -m` is to be started in."""

_PROBE = b"anybody?"
"""One frame of the echo service."""
_SHOWN_BYTES = 1024
"""Of each packet: with whole ones tcpdump's buffer holds 32, and some are lost when it waits for a CPU."""


def serve(host: Namespace, port: int = SERVICE_PORT) -> LoggedProcess:
    """Start the echo service on every address of a host; it listens when this returns."""
    service = host.spawn(
        sys.executable, "-m", "tests.lab.echo_service", str(port), directory=ROOT, name="echo service"
    )
    service.wait_for_line("^listening$")
    return service


def reaches(
    host: Namespace, address: str, port: int, *, source: str | None = None, timeout: float = 2.0
) -> str | None:
    """Ask the echo service from a host; return None when it answered, else what happened instead.

    `source` chooses one of the host's addresses. `timeout` is in seconds, for each step.
    """

    def ask() -> str | None:
        try:
            start = (source, 0) if source else None
            with socket.create_connection((address, port), timeout, start) as connection:
                connection.sendall(_PROBE)
                answer = connection.recv(len(_PROBE), socket.MSG_WAITALL)
        except TimeoutError:
            return "timed out"
        except OSError as error:
            return str(error.strerror or error)
        return None if answer == _PROBE else f"answered {answer!r}"

    return host.call(ask)


def connects(
    host: Namespace, address: str, port: int, timeout: float = 2.0, *, source: str | None = None
) -> bool:
    """Whether the echo service at an address answers a host within `timeout` seconds."""
    return reaches(host, address, port, source=source, timeout=timeout) is None


@dataclass(frozen=True, slots=True)
class EchoResult:
    """What one connection with an echo every millisecond saw; times in seconds."""

    sent: int
    answered: int
    lost: int
    """Echoes that came after 150 ms or never; the kernel mends no loss of an answer sooner."""
    resent: int
    """Segments that either end had to send again because they had not arrived."""
    longest_gap: float
    """Between two answers."""
    slowest: float
    """From an echo to its answer."""
    seconds: float
    """From the connection to the end."""


class MillisecondEcho:
    """An established connection from a host to an echo service; it ends by itself after `longest` seconds."""

    def __init__(
        self, host: Namespace, address: str, port: int = SERVICE_PORT, *, longest: float = 30.0
    ) -> None:
        """Connect and begin."""
        self._process = host.spawn(
            sys.executable,
            *("-m", "tests.lab.echo_client", address, str(port), str(longest)),
            directory=ROOT,
            name="echo client",
        )
        self._process.wait_for_line("^connected$")
        self._longest = longest

    def stop(self) -> EchoResult:
        """End the sending, wait for what is outstanding, and return the findings."""
        self._process.end_input()
        return self.stop_at_its_end()

    def stop_at_its_end(self) -> EchoResult:
        """Wait for the end after `longest` seconds, and return the findings."""
        if self._process.wait(self._longest + 5):
            raise AssertionError(f"the echo client failed\n{self._process.tail()}")
        return EchoResult(**json.loads(self._process.wait_for_line("^{")))


class Capture:
    """tcpdump on a link while the context lasts: `filter_` as in pcap-filter(7).

    Not on the loopback link, where the kernel counts for tcpdump what that does not show.
    """

    def __init__(self, host: Namespace, link: str, filter_: str) -> None:
        """Describe it; the context starts it."""
        self._host = host
        self._link = link
        self._filter = filter_

    def __enter__(self) -> Self:
        self._process = self._host.spawn(
            *("tcpdump", "--immediate-mode", f"--snapshot-length={_SHOWN_BYTES}"),
            *("-l", "-n", "-i", self._link, self._filter),
        )
        self._process.wait_for_line("^listening on ")
        self._strange = self._unread()
        return self

    @property
    def packets(self) -> list[str]:
        """A line for each packet that has passed by now; AssertionError if one was lost."""
        if self._process.running:
            until(lambda: self._unread() <= self._strange, 5, f"tcpdump to read what passed {self._link}")
        return [line for line in self._process.lines if re.match(r"\d\d:\d\d:\d\d\.", line)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ = self.packets
        self._process.signal(signal.SIGINT)
        self._process.wait()
        self._process.wait_for_line(r"^\d+ packets? received by filter")

    def _unread(self) -> int:
        """Return how many packets the kernel took for tcpdump that it has not read yet.

        Those are counted as well that came before the filter was set: tcpdump throws them away.
        """
        told = len(self._process.lines)
        self._process.signal(signal.SIGUSR1)
        line = self._process.wait_for_line("packets? dropped by kernel", after=told)
        read, received, dropped = map(int, re.findall(r"(\d+) packet", line))
        assert not dropped, f"tcpdump lost packets: {line}"
        return received - read
