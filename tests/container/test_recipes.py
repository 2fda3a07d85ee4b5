"""The README's recipes as they stand, beside compose.example.yml as it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.container.stack import GREETING, Stack, recipe
from tests.lab.addresses import V4
from tests.lab.docker import TUNNEL, DockerLab, fetch
from tests.lab.openvpn_server import OpenVPNServer
from tests.lab.wireguard_server import WireGuardServer


@pytest.fixture
def stack(lab: DockerLab, tmp_path: Path) -> Stack:
    """Give the example in a directory of its own."""
    return Stack(lab, tmp_path / "stack")


def answers_both_ways(lab: DockerLab, stack: Stack, tunnel: str = TUNNEL) -> bool:
    """Tell whether LAN and VPN get the example's greeting from a stack that is up."""
    vpn = stack.container("vpn")
    assert "(healthy)" in vpn.shown_status
    assert fetch(lab.laptop, V4.server_a) == GREETING
    assert fetch(lab.server_b, vpn.tunnel_address(tunnel)) == GREETING
    return True


def test_openvpn(lab: DockerLab, stack: Stack, make_server: Callable[..., OpenVPNServer]) -> None:
    """A provider's file, and the user name and password that its server asks for."""
    server = make_server(login=("alice", "correct horse 7f3a"))
    stack.add("compose.override.yml", recipe("OpenVPN"))
    server.write_client_config(stack.directory / "vpn/provider.ovpn")
    (stack.directory / "vpn_password.txt").write_text("correct horse 7f3a\n")
    stack.up()
    assert answers_both_ways(lab, stack)


def test_wireguard(lab: DockerLab, stack: Stack, tmp_path: Path) -> None:
    """A provider's file alone, with a read-only root and NET_ADMIN; no sysctl can be written there."""
    server = WireGuardServer(lab.vpn_server, tmp_path / "server").start()
    try:
        server.write_client_config(stack.directory / "vpn/wg-office.conf")
        stack.up()
        assert answers_both_ways(lab, stack, "wg-office")
        sysctl = stack.container("vpn").execute(
            "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward", check=False
        )
        assert sysctl.returncode != 0
    finally:
        server.kill()
