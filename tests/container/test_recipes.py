"""The documents' recipes as they stand, beside compose.example.yml as it stands."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.container.conftest import wait_until_ready
from tests.container.stack import GREETING, Stack, recipe
from tests.lab.addresses import V4
from tests.lab.docker import TUNNEL, Container, DockerLab, fetch
from tests.lab.docker_image import IMAGE, REPOSITORY
from tests.lab.docker_parts import SERVICE_IMAGE
from tests.lab.docker_stand_ins import build, other_image, vendor_package
from tests.lab.ocserv_server import PASSWORD, OcservServer
from tests.lab.openvpn_login import TOTP_SEED
from tests.lab.openvpn_server import OpenVPNServer, with_locked_key
from tests.lab.others import GLUETUN, TAILSCALE, Lines, gluetun, tailscale
from tests.lab.waiting import until
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


def test_the_smallest_thing_that_works(lab: DockerLab, tmp_path: Path, server: OpenVPNServer) -> None:
    """README's first commands, word by word; nginx is a stand-in, and the image was built before."""
    (tmp_path / "nginx").mkdir()
    serves = 'CMD ["httpd", "-f", "-p", "80", "-h", "/srv"]'
    lines = (f"FROM {SERVICE_IMAGE}", f"RUN mkdir /srv && echo '{GREETING}' >/srv/index.html", serves)
    (tmp_path / "nginx/Dockerfile").write_text("\n".join(lines) + "\n")
    build(lab.engine, tmp_path / "nginx", "nginx")
    (tmp_path / "Downloads").mkdir()
    server.write_client_config(tmp_path / "Downloads/provider.ovpn")
    build_line, _, commands = recipe("The smallest thing that works", "sh").partition("\n")
    assert build_line == f"docker build -t {IMAGE} ."
    subprocess.run(
        ["bash", "-euc", commands],
        cwd=tmp_path,
        env=lab.engine.environment | {"HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    vpn = Container(lab.engine, "vpn")
    wait_until_ready(vpn)
    assert fetch(lab.laptop, V4.server_a) == GREETING
    assert fetch(lab.server_b, vpn.tunnel_address()) == GREETING


def test_openvpn(lab: DockerLab, stack: Stack, make_server: Callable[..., OpenVPNServer]) -> None:
    """A provider's file, user name and password as its server asks for them, and a hook."""
    server = make_server(login=("alice", "correct horse 7f3a"))
    stack.add("compose.override.yml", recipe("OpenVPN"))
    stack.add("hook.yml", recipe("A hook in compose"))
    server.write_client_config(stack.directory / "vpn/provider.ovpn")
    (stack.directory / "vpn_password.txt").write_text("correct horse 7f3a\n")
    stack.up()
    assert answers_both_ways(lab, stack)
    vpn = stack.container("vpn")
    until(
        lambda: vpn.tunnel_address() in vpn.execute("sh", "-c", "cat /tmp/vpn", check=False).stdout,
        5,
        "the hook",
    )


def test_openvpn_with_codes(lab: DockerLab, stack: Stack, make_server: Callable[..., OpenVPNServer]) -> None:
    """A server that wants a code each time, and a key that is encrypted."""
    server = make_server(login=("alice", "correct horse 7f3a"), codes="scrv1")
    stack.add("compose.override.yml", recipe("OpenVPN with one-time codes"))
    config = server.client_config('static-challenge "Code of your app" 1')
    (stack.directory / "vpn/company.ovpn").write_text(with_locked_key(config, "open sesame"))
    for name, value in (
        ("password", "correct horse 7f3a"),
        ("totp", TOTP_SEED),
        ("passphrase", "open sesame"),
    ):
        (stack.directory / f"vpn_{name}.txt").write_text(f"{value}\n")
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


def test_a_vendors_program(lab: DockerLab, stack: Stack, server: OpenVPNServer, tmp_path: Path) -> None:
    """The example image with a package that daemonises: healthy, both ways, and an orderly end."""
    shutil.copytree(REPOSITORY / "examples/vendor", tmp_path / "vendor")
    vendor_package(tmp_path / "vendor")
    build(lab.engine, tmp_path / "vendor", "sidegate-vendor")
    assert "docker build -t sidegate-vendor examples/vendor\n" in recipe("A vendor's program", "sh")
    stack.add("compose.override.yml", recipe("A vendor's program"))
    server.write_client_config(stack.directory / "vpn/account.conf")
    stack.up()
    assert answers_both_ways(lab, stack)
    vpn = stack.container("vpn")
    vpn.execute("sh", "-c", "kill -9 $(cat /run/vendor-vpn.pid)")
    vpn.wait_for_line("command: has lost the last of its processes; next attempt now")
    wait_until_ready(vpn)
    assert answers_both_ways(lab, stack)
    assert vpn.stop(10) < 5
    assert vpn.state["ExitCode"] == 0
    assert "stopped: no rule, route or process of ours is left" in vpn.lines[-1]


@pytest.mark.parametrize(
    ("heading", "image", "service", "other", "lines"),
    [
        ("Beside gluetun", "qmcgaw/gluetun", "gluetun", GLUETUN, gluetun),
        ("Beside tailscale", "tailscale/tailscale", "tailscale", TAILSCALE, tailscale),
    ],
    ids=["gluetun", "tailscale"],
)
def test_beside_another_container(
    *,
    lab: DockerLab,
    stack: Stack,
    server: OpenVPNServer,
    tmp_path: Path,
    heading: str,
    image: str,
    service: str,
    other: dict[str, Any],
    lines: Lines,
) -> None:
    """The other's network, its tunnel and its ports; a stand-in leaves its rules and tables in the kernel."""
    other_image(lab.engine, tmp_path / "other", image, other["options"], lines(TUNNEL, V4))
    stack.add("compose.override.yml", recipe(heading))
    server.write_client_config(stack.directory / "vpn/other.conf")
    stack.up()
    assert answers_both_ways(lab, stack)
    assert stack.container(service).tunnel_address(TUNNEL) == stack.container("vpn").tunnel_address(TUNNEL)


def test_anyconnect(lab: DockerLab, stack: Stack) -> None:
    """An authority of the company's own, a user name and a password; hardened as the example is."""
    name = "vpn.example.com"
    server = OcservServer(
        lab.vpn_server, stack.directory.parent / "server", certificate=name, user="alice", ipv6=False
    )
    server.start()
    stack.add("compose.override.yml", recipe("AnyConnect"))
    stack.know_host(name, V4.vpn_endpoint)
    (stack.directory / "vpn/ca.pem").write_text(server.identity.certificate)
    (stack.directory / "vpn_password.txt").write_text(f"{PASSWORD}\n")
    try:
        stack.up()
        assert answers_both_ways(lab, stack)
    finally:
        server.kill()
