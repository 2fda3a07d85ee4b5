"""The one line that says what the tunnel's routes cover, and LAN_NETWORKS."""

from collections.abc import Callable

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.openvpn_server import PUSH_VPN
from tests.lab.sidecar import Sidecar
from tests.lab.traffic import Capture, MillisecondEcho, reaches, serve
from tests.lab.waiting import until
from tests.tunnel.product import TUNNEL, Product, kill

KEPT = f"replies are kept on the gateway: eth0 via {V4.docker_gateway}"


@pytest.fixture
def v4(make_product: Callable[..., Product]) -> Product:
    """Give the product beside a server that pushes the picture's route, and nothing of IPv6."""
    return make_product(ipv6=False, push=(PUSH_VPN,))


def overlap_lines(sidecar: Sidecar) -> list[str]:
    """Return the log's lines about overlaps."""
    return [line for line in sidecar.lines if " overlap on " in line]


def settled(sidecar: Sidecar, times: int = 1) -> None:
    """Wait until the line that follows on the overlaps was logged for the given number of times."""
    until(
        lambda: sum("test replies the right way" in line for line in sidecar.lines) >= times,
        10,
        "the tunnel to be told up",
    )


def test_the_route_of_the_picture_is_told_once_for_each_tunnel(v4: Product) -> None:
    """From inside a container the LAN cannot be seen: the route is told as one that may cover it."""
    sidecar = v4.start()
    settled(sidecar)
    (line,) = overlap_lines(sidecar)
    assert f"overlap on {TUNNEL}: {V4.vpn_network} reaches into private address space" in line
    assert KEPT in line
    kill(sidecar.status()["client"]["pid"])
    settled(sidecar, 2)
    assert len(overlap_lines(sidecar)) == 2
    (overlap,) = sidecar.status()["overlaps"]
    assert overlap["route"] == V4.vpn_network
    v4.server.stop()
    kill(sidecar.status()["client"]["pid"])
    until(lambda: sidecar.status()["tunnel"] is None, 10, "the tunnel to go")
    # What no tunnel covers is told no more, nor what no session means.
    told = sidecar.status()
    assert (told["overlaps"], told["client"]["stands"]) == ([], "")


def test_the_routes_of_both_families_are_told(product: Product) -> None:
    """A sure overlap in one family does not hide what the other's route may cover."""
    sidecar = product.start()
    settled(sidecar)
    routes = {overlap["route"] for overlap in sidecar.status()["overlaps"]}
    assert routes == {V4.vpn_network, V6.vpn_network}


def test_a_lan_that_was_named_is_told_as_covered(v4: Product) -> None:
    """LAN_NETWORKS makes it sure."""
    sidecar = v4.start(LAN_NETWORKS=V4.lan)
    settled(sidecar)
    (line,) = overlap_lines(sidecar)
    assert f"{V4.vpn_network} covers {V4.lan} (LAN_NETWORKS)" in line
    assert KEPT in line


def test_a_connection_that_is_open_is_told_as_covered(v4: Product) -> None:
    """Who is connected from the LAN at that moment is seen, also by a socket of both families."""
    echo = MillisecondEcho(v4.lab.laptop, V4.server_a)
    sidecar = v4.start()
    settled(sidecar)
    (line,) = overlap_lines(sidecar)
    assert f"{V4.vpn_network} covers {V4.laptop}/32 (connected now)" in line
    assert echo.stop().lost == 0


@pytest.mark.parametrize("push", [(), ("route 203.0.113.0 255.255.255.0",)], ids=["nothing", "public"])
def test_nothing_is_told_where_nothing_is_covered(
    make_product: Callable[..., Product], push: tuple[str, ...]
) -> None:
    """A tunnel's own network and routes to public addresses are no overlap."""
    sidecar = make_product(ipv6=False, push=push).start()
    settled(sidecar)
    assert overlap_lines(sidecar) == []
    assert sidecar.status()["overlaps"] == []


@pytest.mark.parametrize("named", [True, False], ids=["named", "control"])
def test_what_is_opened_from_inside_to_a_named_lan_goes_by_the_gateway(v4: Product, *, named: bool) -> None:
    """With LAN_NETWORKS the laptop is reached from inside; without, the VPN has its addresses."""
    serve(v4.lab.laptop)
    sidecar = v4.start(**({"LAN_NETWORKS": V4.lan} if named else {}))
    # Server A routes for its containers, as Docker's host does.
    with Capture(v4.host, TUNNEL, f"dst host {V4.laptop}") as by_tunnel:
        answer = reaches(v4.host, V4.laptop, SERVICE_PORT, timeout=1)
    if named:
        assert answer is None
        assert by_tunnel.packets == []
    else:
        # The twin has the laptop's address and would answer, but no service listens there.
        assert answer is not None
        assert by_tunnel.packets
    assert v4.unreached() == {}
    assert sidecar.terminate() == 0
    assert "lookup 7100" not in v4.host.run("ip", "rule").stdout
