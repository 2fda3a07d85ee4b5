"""The README's recipes as they stand, beside compose.example.yml as it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.container.stack import GREETING, Stack, recipe
from tests.lab.addresses import V4
from tests.lab.docker import DockerLab, fetch
from tests.lab.openvpn_server import OpenVPNServer


@pytest.fixture
def stack(lab: DockerLab, tmp_path: Path) -> Stack:
    """Give the example in a directory of its own."""
    return Stack(lab, tmp_path / "stack")


def answers_both_ways(lab: DockerLab, stack: Stack) -> bool:
    """Tell whether LAN and VPN get the example's greeting from a stack that is up."""
    vpn = stack.container("vpn")
    assert "(healthy)" in vpn.shown_status
    assert fetch(lab.laptop, V4.server_a) == GREETING
    assert fetch(lab.server_b, vpn.tunnel_address()) == GREETING
    return True


def test_openvpn(lab: DockerLab, stack: Stack, make_server: Callable[..., OpenVPNServer]) -> None:
    """A provider's file, and the user name and password that its server asks for."""
    server = make_server(login=("alice", "correct horse 7f3a"))
    stack.add("compose.override.yml", recipe("OpenVPN"))
    server.write_client_config(stack.directory / "vpn/provider.ovpn")
    (stack.directory / "vpn_password.txt").write_text("correct horse 7f3a\n")
    stack.up()
    assert answers_both_ways(lab, stack)
