"""One Docker lab for all tests here; each test has its own containers and its own OpenVPN server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.docker import NETWORK, Container, DockerLab
from tests.lab.docker_image import IMAGE
from tests.lab.openvpn_server import OpenVPNServer

PRIVILEGES = ("--cap-add=NET_ADMIN", "--device=/dev/net/tun")
"""What the documents ask for, and no more."""

HARDENED = (
    *("--cap-drop=ALL", *PRIVILEGES),
    *("--read-only", "--tmpfs=/run", "--tmpfs=/tmp", "--security-opt=no-new-privileges"),
)
"""Everything else taken away."""

FIRST_HEALTHY = 20.0
"""Seconds to the first "healthy": the tunnel takes one, the check comes every five."""


@pytest.fixture(scope="session")
def docker_lab() -> Iterator[DockerLab]:
    """Give the lab with server A's real engine and the image under test."""
    with DockerLab() as lab:
        yield lab


@pytest.fixture
def lab(docker_lab: DockerLab) -> Iterator[DockerLab]:
    """Give that lab, and remove the test's containers afterwards."""
    yield docker_lab
    docker_lab.remove_containers()


@pytest.fixture
def make_server(lab: DockerLab, tmp_path: Path) -> Iterator[Callable[..., OpenVPNServer]]:
    """Give a starter of OpenVPN servers, with the keywords of `OpenVPNServer`."""
    started: list[OpenVPNServer] = []

    def make(**options: object) -> OpenVPNServer:
        server = OpenVPNServer(lab.vpn_server, tmp_path / f"server{len(started)}", **options)  # type: ignore[arg-type]
        started.append(server.start())
        return server

    yield make
    for server in started:
        if server.process.running:
            server.kill()


@pytest.fixture
def vpn_directory(tmp_path: Path) -> Path:
    """Give the directory that is mounted at /vpn."""
    directory = tmp_path / "vpn"
    directory.mkdir()
    return directory


@pytest.fixture
def start_sidecar(lab: DockerLab, vpn_directory: Path) -> Callable[..., Container]:
    """Give a starter of the sidecar, as the README's shortest command does it, with more options."""

    def start(*options: str, privileges: tuple[str, ...] = PRIVILEGES) -> Container:
        return lab.start(
            "vpn",
            *("--network", NETWORK, "--publish", "80:80", "--volume", f"{vpn_directory}:/vpn:ro"),
            *(*privileges, *options, IMAGE),
        )

    return start


@pytest.fixture
def ready_sidecar(
    server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> Container:
    """Give a sidecar that says it is ready."""
    server.write_client_config(vpn_directory / "office.ovpn")
    sidecar = start_sidecar()
    wait_until_ready(sidecar)
    return sidecar


def wait_until_ready(sidecar: Container) -> None:
    """Wait as its own command does it, sooner than Docker's health check."""
    waited = sidecar.execute("sidegate", "wait", check=False)
    assert waited.returncode == 0, f"{waited.stdout}{waited.stderr}\n" + "\n".join(sidecar.lines)
