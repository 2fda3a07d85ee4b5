"""One start, life and stop of a contender, measured from outside."""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import procfs
from bench.clients import Contender, Match
from bench.container import Container
from tests.lab.addresses import SERVICE_PORT, V4
from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.sidecar import HEALTH
from tests.lab.topology import Lab
from tests.lab.traffic import ROOT, EchoResult, MillisecondEcho, connects, serve
from tests.lab.waiting import until

START_MAX = 30.0
"""Seconds that a start may take before the bench gives up."""
AFTERWARDS = 1.0
"""Seconds that the echo goes on once the tunnel is usable."""
STOP_MAX = 15.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What one start, life and stop showed; times in seconds."""

    usable: float
    """From exec to the first connection from the VPN."""
    ready: float
    """To that, and to the first 200 of /readyz where there is one."""
    cpu: float
    """CPU time of all its processes until then, those that have ended included."""
    echo: EchoResult
    lan_while_up: bool
    lan_after: bool
    memory: list[tuple[str, procfs.Memory]]
    """Of each process, with its name."""
    stop: float


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that is up."""

    process: LoggedProcess
    usable: float
    ready: float
    cpu: float


class Stage:
    """The lab with a service in the shared namespace; the VPN server is started for each run."""

    def __init__(self, lab: Lab, match: Match, directory: Path) -> None:
        """Start the service. `directory` holds what both contenders' containers would have."""
        self.lab = lab
        self.match = match
        self._container = Container(directory)
        self.address = ""
        """The client's in the tunnel, the same in each run; learned by `learn_address`."""
        serve(lab.sidecar)

    def warm_up(self) -> None:
        """Run each contender once, to learn the tunnel's address and which files are mapped."""
        self.learn_address()
        for contender in (self.match.bare, self.match.sidegate):
            with self.up(contender) as process:
                self._container.own_files_of(procfs.tree(process.pid))

    def learn_address(self) -> None:
        """Run the bare client once."""
        with self._server(), self._spawned(self.match.bare) as process:
            self.address = until(lambda: self._tunnel_address(process), START_MAX, "the tunnel's address")

    def trial(self, contender: Contender) -> Trial:
        """Run a contender once from start to stop, with a LAN connection open beside it."""
        with self._server():
            echo = MillisecondEcho(self.lab.laptop, V4.server_a, longest=START_MAX + 10)
            with self._up(contender) as up:
                time.sleep(AFTERWARDS)
                memory = procfs.memory_of_tree(up.process.pid)
                result = echo.stop()
                lan_while_up = self._lan()
                stop = _stop(up.process)
            return Trial(up.usable, up.ready, up.cpu, result, lan_while_up, self._lan(), memory, stop)

    @contextmanager
    def up(self, contender: Contender) -> Iterator[LoggedProcess]:
        """Have a contender up, and nothing else going on."""
        with self._server(), self._up(contender) as up:
            yield up.process

    def _lan(self) -> bool:
        return connects(self.lab.laptop, V4.server_a, SERVICE_PORT)

    @contextmanager
    def _server(self) -> Iterator[None]:
        self.match.server.start()
        try:
            yield
        finally:
            self.match.server.stop()

    @contextmanager
    def _up(self, contender: Contender) -> Iterator[Running]:
        host = self.lab.sidecar
        usable_poll = _poll(self.lab.server_b, "connect", self.address, SERVICE_PORT)
        ready_poll = _poll(host, "ready", *HEALTH) if contender.has_readiness else None
        with self._spawned(contender) as process:
            _, started, spent = process.wait_for_line("^gate ").split()
            usable = _came(usable_poll, process) - float(started)
            ready = max(usable, _came(ready_poll, process) - float(started)) if ready_poll else usable
            cpu = procfs.cpu_of_tree(process.pid) - float(spent)
            yield Running(process, usable, ready, cpu)

    @contextmanager
    def _spawned(self, contender: Contender) -> Iterator[LoggedProcess]:
        process = self._container.spawn(
            self.lab.sidecar, contender.argv, contender.environment, contender.name
        )
        try:
            yield process
        finally:
            with contextlib.suppress(AssertionError):
                process.terminate(STOP_MAX)
            process.kill()
            until(lambda: not self._has_tunnel(), 5, f"the end of the tunnel of {contender.name}")

    def _has_tunnel(self) -> bool:
        return any(link["ifname"] == self.match.server.tunnel for link in self.lab.sidecar.ip_json("link"))

    def _tunnel_address(self, process: LoggedProcess) -> str:
        if not process.running:
            raise AssertionError(f"{process.name} has ended; it says:\n{process.tail()}")
        if not self._has_tunnel():
            return ""
        return next(iter(self.lab.sidecar.addresses(self.match.server.tunnel)), "")


def _poll(host: Namespace, kind: str, address: str, port: int) -> LoggedProcess:
    poll = host.spawn(
        *(sys.executable, "-m", "bench.poll", kind, address, str(port), str(START_MAX)),
        directory=ROOT,
        name=f"{kind} poll",
    )
    poll.wait_for_line("^polling$")
    return poll


def _came(poll: LoggedProcess, contender: LoggedProcess) -> float:
    until(lambda: not (poll.running and contender.running), START_MAX + 5, f"the {poll.name}")
    if not contender.running or poll.wait():
        raise AssertionError(f"the {poll.name} saw nothing; {contender.name} says:\n{contender.tail()}")
    return float(poll.wait_for_line("^came ").split()[1])


def _stop(process: LoggedProcess) -> float:
    """SIGTERM; return the seconds to the end of the process."""
    # A process descriptor tells the end at once, where waiting for the child looks every 50 ms.
    descriptor = os.pidfd_open(process.pid)
    try:
        asked = time.monotonic()
        process.signal(signal.SIGTERM)
        ended, _, _ = select.select([descriptor], [], [], STOP_MAX)
        took = time.monotonic() - asked
    finally:
        os.close(descriptor)
    if not ended:
        raise AssertionError(f"{process.name} did not end in {STOP_MAX:g} s\n{process.tail()}")
    process.wait()
    return took
