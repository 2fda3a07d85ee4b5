from collections.abc import Callable
from pathlib import Path

from tests.container.conftest import HARDENED, wait_until_ready
from tests.lab import udp_service
from tests.lab.addresses import V4
from tests.lab.docker import Container, DockerLab
from tests.lab.docker_image import IMAGE
from tests.lab.openvpn_server import OpenVPNServer
from tests.lab.udp import seen_as

LISTED, OTHER = 5353, 5354


def test_a_published_udp_service_answers_both_ways(
    lab: DockerLab, server: OpenVPNServer, vpn_directory: Path, start_sidecar: Callable[..., Container]
) -> None:
    """Behind the engine's own NAT; control: a port that is not listed is answered by the tunnel alone."""
    server.write_client_config(vpn_directory / "office.ovpn")
    published = (f"--publish={port}:{port}/udp" for port in (LISTED, OTHER))
    sidecar = start_sidecar(*published, f"--env=UDP_REPLY_PORTS={LISTED}", privileges=HARDENED)
    script = Path(udp_service.__file__)
    service = lab.start(
        "udp",
        *("--network=container:vpn", "--volume", f"{script}:/service.py:ro", "--entrypoint=python3", IMAGE),
        *("/service.py", str(LISTED), str(OTHER)),
    )
    service.wait_for_line("^listening$")
    wait_until_ready(sidecar)
    tunnel = sidecar.tunnel_address()
    assert seen_as(lab.laptop, V4.server_a, LISTED) == V4.docker_gateway
    assert seen_as(lab.server_b, tunnel, LISTED) == V4.server_b
    assert seen_as(lab.laptop, V4.server_a, OTHER) is None
    assert seen_as(lab.server_b, tunnel, OTHER) == V4.server_b
    assert any(f"UDP_REPLY_PORTS={OTHER}" in line for line in sidecar.lines)
