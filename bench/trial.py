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
from ipaddress import ip_network
from pathlib import Path

from bench import procfs
from bench.container import Container
from bench.image import Image
from tests.lab.addresses import SERVICE_PORT, V4
from tests.lab.namespaces import Namespace
from tests.lab.openvpn_server import OpenVPNServer
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

TUNNEL_ADDRESS = str(ip_network(V4.tunnel)[2])
"""What a server that was just started gives its first client."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that makes the tunnel."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    has_readiness: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """What one start, life and stop showed; times in seconds."""

    usable: float
    """From exec to the first connection from the VPN."""
    ready: float
    """To that, and to the first 200 of /readyz where there is one."""
    cpu: float
    """CPU time of all its processes until then."""
    echo: EchoResult
    lan_while_up: bool
    lan_after: bool
    memory: dict[str, procfs.Memory]
    """By the name of the process."""
    stop: float


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that is up."""

    process: LoggedProcess
    usable: float
    ready: float
    cpu: float


class Stage:
    """The lab with a service in the shared namespace; a VPN server is started for each run."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.server = OpenVPNServer(lab.vpn_server, directory / "server")
        self.config = self.server.write_client_config(directory / "client.ovpn")
        self.container = Container(directory / "container")
        serve(lab.sidecar)

    def contenders(self, image: Image) -> tuple[Contender, Contender]:
        """Return bare openvpn, and Sidegate."""
        path = {"PATH": os.environ["PATH"]}
        bare = ("openvpn", "--config", str(self.config))
        return (
            Contender("openvpn", bare, path, has_readiness=False),
            Contender(
                "Sidegate",
                image.entrypoint,
                {**path, **image.environment, "VPN_CONFIG": str(self.config)},
                has_readiness=True,
            ),
        )

    def warm_up(self, contender: Contender) -> None:
        """Run a contender once, to learn which files it maps."""
        with self.up(contender) as process:
            self.container.own_files_of(procfs.tree(process.pid))

    def trial(self, contender: Contender) -> Trial:
        """Run a contender once from start to stop, with a LAN connection open beside it."""
        with self._server():
            echo = MillisecondEcho(self.lab.laptop, V4.server_a, longest=START_MAX + 10)
            with self._up(contender) as up:
                time.sleep(AFTERWARDS)
                processes = procfs.tree(up.process.pid)
                memory = {name: procfs.memory(pid) for pid, name in processes.items()}
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
        self.server.start()
        try:
            yield
        finally:
            self.server.stop()

    @contextmanager
    def _up(self, contender: Contender) -> Iterator[Running]:
        host = self.lab.sidecar
        usable_poll = _poll(self.lab.server_b, "connect", TUNNEL_ADDRESS, SERVICE_PORT)
        ready_poll = _poll(host, "ready", *HEALTH) if contender.has_readiness else None
        process = self.container.spawn(host, contender.argv, contender.environment, contender.name)
        try:
            _, started, spent = process.wait_for_line("^gate ").split()
            usable = _came(usable_poll, process) - float(started)
            ready = max(usable, _came(ready_poll, process) - float(started)) if ready_poll else usable
            cpu = sum(procfs.work(pid).cpu for pid in procfs.tree(process.pid)) - float(spent)
            yield Running(process, usable, ready, cpu)
        finally:
            with contextlib.suppress(AssertionError):
                process.terminate(STOP_MAX)
            process.kill()
            until(lambda: not self._tunnels(), 5, f"the end of the tunnel of {contender.name}")

    def _tunnels(self) -> list[str]:
        return [link["ifname"] for link in self.lab.sidecar.ip_json("link", "show", "type", "tun")]


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
