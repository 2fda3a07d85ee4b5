from pathlib import Path

import pytest

from tests.container.conftest import wait_until_ready
from tests.container.stack import GREETING, Stack
from tests.lab.addresses import V4
from tests.lab.docker import DockerLab, fetch
from tests.lab.openvpn_server import OpenVPNServer


@pytest.fixture
def stack(lab: DockerLab, server: OpenVPNServer, tmp_path: Path) -> Stack:
    """Give the stack, up."""
    stack = Stack(lab, tmp_path / "stack")
    server.write_client_config(stack.directory / "vpn/office.ovpn")
    return stack.up()


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
