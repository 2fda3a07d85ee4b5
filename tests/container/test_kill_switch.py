"""KILL_SWITCH=on in a real container, hardened as documented, beside the engine's own resolver."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.conftest import HARDENED, wait_until_ready
from tests.lab.addresses import SERVICE_PORT, V4
from tests.lab.dns_server import DnsServer
from tests.lab.docker import NETWORK, Container, DockerLab
from tests.lab.docker_parts import SERVICE_IMAGE
from tests.lab.openvpn_server import OpenVPNServer
from tests.lab.traffic import Capture, reaches
from tests.lab.waiting import until

ENDPOINT, SECRET = "vpn.example.com", "leak.example"
TRY = f"""
for i in 1 2 3 4 5 6 7 8 9 10; do
    wget -q -T 1 -O - http://{V4.vpn_endpoint}:4444/
    wget -q -T 1 -O - http://{SECRET}/
    echo tried
done
"""


@pytest.fixture
def resolver(lab: DockerLab) -> Iterator[DnsServer]:
    """Give the resolver that Docker's own asks for what it does not know."""
    started = DnsServer(lab.server_a, V4.docker_gateway, {ENDPOINT: V4.vpn_endpoint}).start()
    yield started
    started.process.terminate()


@pytest.mark.parametrize("switch", ["on", "off"])
def test_only_the_servers_name_is_asked_and_nothing_else_gets_out(
    lab: DockerLab,
    make_server: Callable[..., OpenVPNServer],
    vpn_directory: Path,
    start_sidecar: Callable[..., Container],
    resolver: DnsServer,
    *,
    switch: str,
) -> None:
    """It connects by name with the gate closed, and serves the LAN; without the switch the leak is seen."""
    config = make_server().client_config().replace(f"remote {V4.vpn_endpoint}", f"remote {ENDPOINT}")
    (vpn_directory / "office.ovpn").write_text(config)
    bridge = f"br-{lab.engine.inspect(NETWORK)['Id'][:12]}"
    leaks = Capture(lab.server_a, bridge, "tcp dst port 4444")
    with leaks:
        sidecar = start_sidecar(
            f"--env=KILL_SWITCH={switch}", f"--dns={V4.docker_gateway}", privileges=HARDENED
        )
        sidecar.wait_for_line("nft 'add rule inet sidegate output" if switch == "on" else "health at")
        tries = lab.start("tries", "--network=container:vpn", SERVICE_IMAGE, "sh", "-c", TRY)
        wait_until_ready(sidecar)
        lab.start_service("vpn")
        tries.wait_for_line("^tried$")
        assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
        if switch == "off":
            until(lambda: leaks.packets and SECRET in resolver.asked, 10, "the leaks")
    if switch == "on":
        assert leaks.packets == []
        assert set(resolver.asked) == {ENDPOINT}
