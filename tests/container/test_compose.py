import shutil
from pathlib import Path

import pytest

from tests.container.conftest import wait_until_ready
from tests.lab.addresses import V4
from tests.lab.docker import Container, DockerLab, fetch
from tests.lab.docker_image import REPOSITORY
from tests.lab.openvpn_server import OpenVPNServer

EXAMPLE = REPOSITORY / "compose.example.yml"
GREETING = "reached by the LAN and by the VPN"
UP_TIMEOUT = 60.0
"""Seconds for `docker compose up`, which returns once the sidecar is healthy and the service runs."""


class Stack:
    """compose.example.yml itself, in a directory where a configuration lies as it says."""

    def __init__(self, lab: DockerLab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def compose(self, *argv: str) -> str:
        """Run `docker compose -f compose.example.yml`."""
        done = self.lab.engine.docker(
            "compose", "--file", EXAMPLE.name, *argv, timeout=UP_TIMEOUT, directory=self.directory
        )
        return done.stdout

    def container(self, service: str) -> Container:
        """Find the container of a service."""
        name = self.compose("ps", "--all", "--format", "{{.Name}}", service).strip()
        return Container(self.lab.engine, name)


@pytest.fixture
def stack(lab: DockerLab, server: OpenVPNServer, tmp_path: Path) -> Stack:
    """Give the stack, up."""
    directory = tmp_path / "stack"
    (directory / "vpn").mkdir(parents=True)
    shutil.copy(EXAMPLE, directory)
    server.write_client_config(directory / "vpn/office.ovpn")
    stack = Stack(lab, directory)
    stack.compose("up", "--detach")
    return stack


def test_the_example_answers_both_ways(lab: DockerLab, stack: Stack) -> None:
    """One configuration beside compose.example.yml, one command: the service answers LAN and VPN."""
    vpn = stack.container("vpn")
    assert "(healthy)" in vpn.shown_status
    assert fetch(lab.laptop, V4.server_a) == GREETING
    assert fetch(lab.server_b, vpn.tunnel_address()) == GREETING


def test_the_service_follows_a_restarted_sidecar(lab: DockerLab, stack: Stack) -> None:
    """After `docker compose restart vpn` the service has moved into the sidecar's new network."""
    web = stack.container("web")
    before = web.state["StartedAt"]
    stack.compose("restart", "vpn")
    assert web.state["StartedAt"] != before
    assert fetch(lab.laptop, V4.server_a) == GREETING
    # Compose waits for health at `up`, not at `restart`.
    vpn = stack.container("vpn")
    wait_until_ready(vpn)
    assert fetch(lab.server_b, vpn.tunnel_address()) == GREETING


def test_a_stopped_stack_has_ended_orderly(stack: Stack) -> None:
    """`docker compose stop` is answered with exit code 0."""
    stack.compose("stop")
    assert stack.container("vpn").state["ExitCode"] == 0
