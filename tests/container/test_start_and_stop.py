from collections.abc import Callable
from pathlib import Path

import pytest

from tests.container.conftest import wait_until_ready
from tests.lab.addresses import V4
from tests.lab.docker import NETWORK, Container, DockerLab
from tests.lab.docker_image import IMAGE
from tests.lab.openvpn_server import OpenVPNServer

GRACE = 10
"""Seconds that `docker stop` gives by default."""

NET_ADMIN = "--cap-add=NET_ADMIN"
TUN = "--device=/dev/net/tun"


def test_docker_stop_is_an_orderly_end(ready_sidecar: Container) -> None:
    """SIGTERM ends it with exit code 0, long before the grace period does it with SIGKILL."""
    assert ready_sidecar.stop(GRACE) < GRACE / 2
    state = ready_sidecar.state
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_docker_stop_while_it_connects(
    lab: DockerLab, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """Where no server answers, the end is as orderly."""
    never_started = OpenVPNServer(lab.vpn_server, vpn_directory)
    never_started.write_client_config(vpn_directory / "office.ovpn")
    sidecar = start_sidecar()
    sidecar.wait_for_line("ip rule add")
    assert sidecar.stop(GRACE) < GRACE / 2
    assert sidecar.state["ExitCode"] == 0


def test_it_starts_again_after_a_stop(
    server: OpenVPNServer, ready_sidecar: Container, lab: DockerLab
) -> None:
    """`docker start` of the same container comes to the same end."""
    ready_sidecar.stop(GRACE)
    assert server.process.running
    lab.engine.docker("start", "vpn")
    wait_until_ready(ready_sidecar)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        pytest.param((TUN,), 77, ("NET_ADMIN", "cap_add"), id="no-NET_ADMIN"),
        pytest.param((NET_ADMIN,), 77, ("/dev/net/tun", "devices"), id="no-device"),
        pytest.param(("--cap-drop=ALL",), 77, ("NET_ADMIN", "/dev/net/tun"), id="neither"),
        pytest.param(
            (NET_ADMIN, TUN, "--env=VPN_CLIENT=opnvpn", "--env=VPN_UP_TIMEOUT=soon", "--env=HEALTH_LISTEN=x"),
            78,
            ("VPN_CLIENT", "openvpn", "VPN_UP_TIMEOUT", "HEALTH_LISTEN"),
            id="bad-settings",
        ),
        pytest.param(
            (NET_ADMIN, TUN, "--env=VPN_CONFIG=/vpn/none.ovpn"),
            78,
            ("/vpn/none.ovpn",),
            id="no-configuration",
        ),
    ],
)
def test_what_is_missing_is_named(
    *,
    lab: DockerLab,
    server: OpenVPNServer,
    vpn_directory: Path,
    options: tuple[str, ...],
    code: int,
    words: tuple[str, ...],
) -> None:
    """The exit code tells the kind of fault, the text names each cause, and there is no traceback."""
    server.write_client_config(vpn_directory / "office.ovpn")
    done = lab.run("--network", NETWORK, "--volume", f"{vpn_directory}:/vpn:ro", *options, IMAGE)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert [word for word in words if word not in said] == [], said
    assert "Traceback" not in said


def test_the_hosts_own_network_is_refused(lab: DockerLab, server: OpenVPNServer, vpn_directory: Path) -> None:
    """`network_mode: host`: nothing of the host is changed, least of all is its gate closed."""
    server.write_client_config(vpn_directory / "office.ovpn")
    before = [lab.server_a.run(*told).stdout for told in (("ip", "rule"), ("nft", "list", "tables"))]
    done = lab.run(
        *("--network", "host", "--volume", f"{vpn_directory}:/vpn:ro", "--env", f"GATEWAYS=lan={V4.laptop}"),
        *("--env", "KILL_SWITCH=on", NET_ADMIN, TUN, IMAGE),
    )
    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    assert "leave `network_mode: host` out" in said
    after = [lab.server_a.run(*told).stdout for told in (("ip", "rule"), ("nft", "list", "tables"))]
    assert after == before
