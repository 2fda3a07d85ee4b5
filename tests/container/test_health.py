import time
from collections.abc import Callable
from pathlib import Path

from tests.container.conftest import FIRST_HEALTHY, HARDENED, wait_until_ready
from tests.lab.addresses import V4
from tests.lab.docker import Container
from tests.lab.openvpn_server import OpenVPNServer

FLIP = 20.0
"""Seconds: the server's silence is noticed after four, and two checks five seconds apart have to fail."""


def test_docker_ps_shows_the_truth(
    server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """Healthy, then unhealthy with the cause while the server is gone, then healthy again."""
    server.write_client_config(vpn_directory / "office.ovpn")
    began = time.time()
    sidecar = start_sidecar()
    sidecar.wait_for_health("healthy", FIRST_HEALTHY, since=began)
    assert "(healthy)" in sidecar.shown_status
    assert sidecar.health_said().startswith("ready: ")

    began = time.time()
    server.kill()
    sidecar.wait_for_health("unhealthy", FLIP, since=began)
    assert "(unhealthy)" in sidecar.shown_status
    said = sidecar.health_said()
    assert said.startswith("not ready: ")
    assert "openvpn" in said or "tunnel" in said

    began = time.time()
    server.start()
    sidecar.wait_for_health("healthy", FIRST_HEALTHY, since=began)
    assert "(healthy)" in sidecar.shown_status
    assert len(sidecar.health_said().splitlines()) == 1


def test_the_health_check_asks_the_port_that_is_set(
    server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """Another HEALTH_LISTEN needs no other HEALTHCHECK."""
    server.write_client_config(vpn_directory / "office.ovpn")
    began = time.time()
    sidecar = start_sidecar("--env=HEALTH_LISTEN=0.0.0.0:9100")
    sidecar.wait_for_health("healthy", FIRST_HEALTHY, since=began)
    assert sidecar.health_said().startswith("ready: ")


def test_a_hardened_container_pings_through_the_tunnel_and_runs_hooks(
    server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """Without NET_RAW, as Docker lets every group ping; nothing in it can leave a core dump."""
    server.write_client_config(vpn_directory / "office.ovpn")
    sidecar = start_sidecar(
        f"--env=HEALTH_TARGET={V4.server_b}",
        "--env=ON_UP=sh -c 'echo this is $SIDEGATE_EVENT on $SIDEGATE_INTERFACE; exit 3'",
        privileges=HARDENED,
    )
    wait_until_ready(sidecar)
    sidecar.wait_for_line("ON_UP: this is up on tun0")
    sidecar.wait_for_line("ON_UP failed: it ended with exit code 3")
    said = sidecar.execute("python3", "-m", "healthcheck").stdout
    assert f"probe: {V4.server_b} answers through the tunnel in " in said
    assert "warning: on_up: ON_UP failed" in said
    limits = sidecar.execute("sh", "-c", "grep 'core file' /proc/$(pidof openvpn)/limits").stdout
    assert limits.split()[4:6] == ["1", "1"]
