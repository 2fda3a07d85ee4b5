"""What the demo plays on: the lab, a VPN server, a service, a bare client or the sidecar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.openvpn_server import PUSH_VPN, PUSH_VPN_V6, READY, OpenVPNServer
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import EchoResult, MillisecondEcho, reaches, serve

TUNNEL = "tun0"
PATIENCE = 2.0
"""Seconds that a host waits for its answer."""


class Stage:
    """The lab with a VPN server that pushes a route over the LAN, and a service to be reached."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        """Start server and service; files go below `directory`."""
        self.lab = lab
        self.server = OpenVPNServer(
            lab.vpn_server, directory / "server", push=(PUSH_VPN, PUSH_VPN_V6), ipv6=True
        ).start()
        serve(lab.sidecar)
        self.config = self.server.write_client_config(directory / "client.ovpn")
        self.sidecar = Sidecar(lab.sidecar, directory / "container", {"VPN_CONFIG": str(self.config)})

    @contextmanager
    def bare_client(self) -> Iterator[None]:
        """Connect plain openvpn, as if there were no sidecar, and disconnect it."""
        client = self.lab.sidecar.spawn("openvpn", "--config", str(self.config), name="openvpn")
        client.wait_for_line(READY)
        try:
            yield
        finally:
            client.terminate()

    @contextmanager
    def sidegate(self) -> Iterator[None]:
        """Run the sidecar from its start to its orderly stop."""
        self.sidecar.start().wait_until_ready()
        try:
            yield
        finally:
            if status := self.sidecar.terminate():
                raise AssertionError(f"the sidecar ended with {status}\n{self.sidecar.process.tail()}")


@dataclass(frozen=True, slots=True)
class Row:
    """One question of the table, and its answer: None means that all was well."""

    question: str
    ask: Callable[[Stage], str | None]
    breaks: bool = False
    """Whether it must go wrong without the rule."""


def _from_laptop(address: str) -> Callable[[Stage], str | None]:
    return lambda stage: reaches(stage.lab.laptop, address, SERVICE_PORT, timeout=PATIENCE)


def _from_server_b(stage: Stage) -> str | None:
    return reaches(stage.lab.server_b, vpn_address(stage), SERVICE_PORT, timeout=PATIENCE)


def _from_twin(address: str) -> Callable[[Stage], str | None]:
    return lambda stage: reaches(
        stage.lab.twin, vpn_address(stage), SERVICE_PORT, source=address, timeout=PATIENCE
    )


def vpn_address(stage: Stage) -> str:
    """Return the tunnel's address in the shared namespace."""
    return stage.lab.sidecar.addresses(TUNNEL)[0]


ROWS = (
    Row(f"laptop {V4.laptop} -> server A's {V4.server_a}:80", _from_laptop(V4.server_a), breaks=True),
    Row(f"laptop {V6.laptop} -> [{V6.server_a}]:80", _from_laptop(V6.server_a), breaks=True),
    Row(f"server B {V4.server_b} -> VPN address, port 80", _from_server_b),
    Row(f"VPN host {V4.twin}, in the LAN's range -> the same", _from_twin(V4.twin)),
    Row(f"VPN host {V4.laptop}, the laptop's double -> the same", _from_twin(V4.laptop)),
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What one of the table's columns says."""

    answers: tuple[str | None, ...]
    """One for each of ROWS."""
    echo: EchoResult
    """A LAN connection that was there before the tunnel."""


def ask_all(stage: Stage, echo: MillisecondEcho) -> Findings:
    """Fill one column; the echo was begun before the tunnel."""
    return Findings(tuple(row.ask(stage) for row in ROWS), echo.stop())


def begin_echo(stage: Stage) -> MillisecondEcho:
    """Open a LAN connection with an echo every millisecond."""
    return MillisecondEcho(stage.lab.laptop, V4.server_a)


def is_true(without: Findings, with_rule: Findings) -> bool:
    """Whether everything came out as it must."""
    broken_without = tuple(answer is not None for answer in without.answers)
    return (
        broken_without == tuple(row.breaks for row in ROWS)
        and not any(with_rule.answers)
        and without.echo.lost > 0
        and with_rule.echo.lost == with_rule.echo.resent == 0
        and with_rule.echo.answered == with_rule.echo.sent > 0
    )
