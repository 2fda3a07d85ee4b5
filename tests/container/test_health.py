import time
from collections.abc import Callable
from pathlib import Path

from tests.container.conftest import FIRST_HEALTHY
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
