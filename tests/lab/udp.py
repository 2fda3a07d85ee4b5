"""Asks the UDP service, and starts it."""

import socket
import sys

from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.traffic import ROOT

PATIENCE_SECONDS = 0.7
_QUESTION = b"who am I?"


def serve_udp(host: Namespace, *ports: int) -> LoggedProcess:
    """Start it; it answers when this returns."""
    service = host.spawn(
        *(sys.executable, "-m", "tests.lab.udp_service", *map(str, ports)),
        directory=ROOT,
        name="UDP service",
    )
    service.wait_for_line("^listening$")
    return service


def seen_as(host: Namespace, address: str, port: int, *, source: str | None = None) -> str | None:
    """Ask the service from a host; return the address that it saw, or None where no answer came."""

    def ask() -> str | None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE_SECONDS)
            if source:
                asking.bind((source, 0))
            # A link-local one names its link: fe80::1%eth0.
            asking.connect(socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4])
            asking.send(_QUESTION)
            try:
                return asking.recv(100).decode()
            except OSError:
                return None

    return host.call(ask)
