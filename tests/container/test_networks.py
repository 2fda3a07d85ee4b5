"""Networks that come and go under a real engine, and the published port that moves with the default route.

Docker gives one network of a container the default route and the published ports: the first one by name,
unless told otherwise.
"""

from collections.abc import Iterator

import pytest

from tests.container.conftest import wait_until_ready
from tests.lab.addresses import V4
from tests.lab.docker import NETWORK, Container, DockerLab, fetch
from tests.lab.waiting import until

BEFORE, AFTER = "another", "third"
"""Networks whose names stand before and after that of the picture's own."""
BACK_SECONDS = 2.0
"""0.1 s when nothing else runs; the limit leaves room for a busy machine."""


def served(container: Container, subnet: str) -> str | None:
    """Return the gateway of the table that replies of a network are looked up in."""
    network, _, length = subnet.partition("/")
    for rule in container.ip_json("-4", "rule"):
        if (rule["src"], str(rule.get("srclen"))) == (network, length):
            for route in container.ip_json("-4", "route", "show", "default", "table", str(rule["table"])):
                return str(route["gateway"])
    return None


@pytest.fixture
def second(lab: DockerLab, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a second network of the name that the test wants."""
    name = str(request.param)
    lab.engine.docker("network", "create", "--subnet", V4.second, "--gateway", V4.second_gateway, name)
    yield name
    lab.remove_containers()


@pytest.mark.parametrize("second", [AFTER], indirect=True)
def test_a_second_networks_gateway_is_found(lab: DockerLab, ready_sidecar: Container, second: str) -> None:
    """The engine names none; the bridge answers as a router does."""
    lab.start_service(beside="vpn")
    lab.engine.docker("network", "connect", second, "vpn")
    until(lambda: served(ready_sidecar, V4.second) == V4.second_gateway, BACK_SECONDS, "the gateway")
    assert fetch(lab.laptop, V4.server_a) == f"{V4.sidecar} answers {V4.laptop}"
    lab.engine.docker("network", "disconnect", second, "vpn")
    until(lambda: not served(ready_sidecar, V4.second), BACK_SECONDS, "the end of its rule")
    assert fetch(lab.laptop, V4.server_a) == f"{V4.sidecar} answers {V4.laptop}"


@pytest.mark.parametrize("second", [BEFORE], indirect=True)
def test_the_published_port_moves_with_the_default_route(
    lab: DockerLab, ready_sidecar: Container, second: str
) -> None:
    """To the network that came, and back when it goes; LAN and VPN are answered after each move."""
    lab.start_service(beside="vpn")
    address = ready_sidecar.tunnel_address()

    def answered(by: str) -> None:
        answer = f"{by} answers {V4.laptop}"
        until(lambda: fetch(lab.laptop, V4.server_a, timeout=0.5) == answer, BACK_SECONDS, answer)
        until(lambda: fetch(lab.server_b, address) == f"{address} answers {V4.server_b}", 10, "the VPN")

    answered(V4.sidecar)
    for _ in range(2):
        lab.engine.docker("network", "connect", "--ip", V4.second_sidecar, second, "vpn")
        answered(V4.second_sidecar)
        lab.engine.docker("network", "disconnect", second, "vpn")
        answered(V4.sidecar)
    assert lab.engine.inspect("vpn")["RestartCount"] == 0


@pytest.mark.parametrize("second", [BEFORE], indirect=True)
def test_all_networks_may_go_and_come_back(lab: DockerLab, ready_sidecar: Container, second: str) -> None:
    """Under its old name the link is in another network, and then in the first one again."""
    lab.start_service(beside="vpn")
    lab.engine.docker("network", "disconnect", NETWORK, "vpn")
    lab.engine.docker("network", "connect", "--ip", V4.second_sidecar, second, "vpn")
    answer = f"{V4.second_sidecar} answers {V4.laptop}"
    until(lambda: fetch(lab.laptop, V4.server_a, timeout=0.5) == answer, BACK_SECONDS, answer)
    lab.engine.docker("network", "disconnect", second, "vpn")
    lab.engine.docker("network", "connect", "--ip", V4.sidecar, NETWORK, "vpn")
    answer = f"{V4.sidecar} answers {V4.laptop}"
    until(lambda: fetch(lab.laptop, V4.server_a, timeout=0.5) == answer, BACK_SECONDS, answer)
    wait_until_ready(ready_sidecar)
