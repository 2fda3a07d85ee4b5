"""What a killed run leaves to the next one: what it noted of the main table, and what it did not."""

from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Container
from tests.kernel.held import FAMILIES, everything, ours, routes
from tests.lab.waiting import until

INTERNAL = {"GATEWAYS": "eth0=172.30.0.1"}


def main_routes(container: Container) -> list[str]:
    """Return the main table's routes that somebody set."""
    return [line for line in routes(container.host) if " table main " in line]


@pytest.mark.parametrize("noting", [True, False], ids=["noted", "nothing-noted"])
def test_an_internal_network_is_given_no_default_route(
    bare: Container, tmp_path: Path, *, noting: bool
) -> None:
    """`internal: true` means that nothing leads out; our table has a default because the user named one."""
    run_dir = tmp_path if noting else None
    bare.connect("eth0", "172.30.0.2/16")
    bare.keep(INTERNAL, run_dir=run_dir).watching().process.kill()
    assert "default via 172.30.0.1 dev eth0 table 7100 proto 83" in ours(bare.host)
    again = bare.keep(INTERNAL, run_dir=run_dir).watching()
    assert main_routes(bare) == []
    assert again.process.terminate() == 0
    assert everything(bare.host) == set()


def test_the_noted_main_table_comes_back_with_its_metrics_and_links(bare: Container, tmp_path: Path) -> None:
    """Our tables know gateways, but neither metrics nor which of two links led out first."""
    bare.connect("eth0", "172.30.0.2/16")
    bare.connect("eth1", "172.31.0.2/16")
    defaults = [
        "default via 172.31.0.1 dev eth1 metric 50",
        "default via 172.30.0.1 dev eth0 metric 100",
        "default via 172.30.0.254 dev eth0 metric 200",
    ]
    bare.host.ip(*(f"route add {line}" for line in defaults))
    before = main_routes(bare)
    assert len(before) == len(defaults)
    bare.keep(run_dir=tmp_path).watching().process.kill()
    bare.host.ip(*(f"route del {line}" for line in defaults), "route add 198.51.100.10 via 172.30.0.1")
    again = bare.keep({}, "198.51.100.10", run_dir=tmp_path).watching()
    assert sorted(main_routes(bare)) == sorted(before)
    assert again.process.terminate() == 0
    assert sorted(main_routes(bare)) == sorted(before)
    assert not ours(bare.host)


def test_of_two_default_routes_the_one_that_was_taken_comes_back(bare: Container) -> None:
    """The one that stands, of another metric, does not stand for it."""
    bare.connect("eth0", "172.30.0.2/16")
    bare.host.ip(
        "route add default via 172.30.0.1 metric 10", "route add default via 172.30.0.254 metric 100"
    )
    before = main_routes(bare)
    keeper = bare.keep().watching()
    bare.host.ip("route del default via 172.30.0.1 metric 10")
    assert keeper.process.terminate() == 0
    assert sorted(main_routes(bare)) == sorted(before)


def test_an_operators_route_to_the_server_stays_and_a_clients_goes(container: Container) -> None:
    """Both were made while we ran; the operator's says "static"."""
    keeper = container.keep({}, "198.51.100.10", "198.51.100.11").watching()
    before = main_routes(container)
    container.host.ip(
        "route add 198.51.100.10 via 172.30.0.1 proto static", "route add 198.51.100.11 via 172.30.0.1"
    )
    assert keeper.process.terminate() == 0
    stays = "198.51.100.10 via 172.30.0.1 dev eth0 table main proto static"
    assert sorted(main_routes(container)) == sorted([*before, stays])


def test_a_link_of_the_same_name_gets_no_route_of_the_one_before_it(
    container: Container, tmp_path: Path
) -> None:
    """Who made it anew gives it its routes; the note tells links by their index."""
    container.keep(run_dir=tmp_path).watching().process.kill()
    container.host.ip("link delete eth0")
    container.connect("eth0", "172.30.0.2/16")
    again = container.keep({"GATEWAYS": "eth0=172.30.0.9"}, run_dir=tmp_path).watching()
    assert "default via 172.30.0.9 dev eth0 table 7100 proto 83" in ours(container.host)
    assert main_routes(container) == []
    assert again.process.terminate() == 0
    assert main_routes(container) == []


def test_no_default_is_put_beside_a_tunnels(container: Container) -> None:
    """The tunnel's is another VPN's, or the living client's: ours would take traffic out of it."""
    keeper = container.keep().watching()
    container.tunnel()
    # Of another metric: the kernel would refuse a second one of the same.
    container.host.ip("route del default via 172.30.0.1", "route add default dev tun0 metric 7")
    before = main_routes(container)
    container.host.ip("link set eth0 down", "link set eth0 up")
    back = "default via 172.30.0.1 dev eth0 table 7100 proto 83"
    until(lambda: back in ours(container.host), 5, "our table's default")
    assert keeper.process.terminate() == 0
    of_ipv4 = [line for line in main_routes(container) if ":" not in line]
    assert of_ipv4 == [line for line in before if ":" not in line]
    assert of_ipv4 == ["default dev tun0 scope link metric 7 table main proto boot"]


def defaults(container: Container) -> list[dict[str, Any]]:
    """Return the main table's default routes with all that the kernel knows of them."""
    return [
        route for option in FAMILIES for route in container.host.ip_json(option, "route", "show", "default")
    ]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "link down and up"])
def test_a_default_route_comes_back_with_its_source_and_mtu(
    container: Container, tmp_path: Path, *, killed: bool
) -> None:
    """Some engines give it both: without them packets are too large, or come from another address."""
    container.host.ip(
        "address add 172.30.0.7/16 dev eth0",
        "route replace default via 172.30.0.1 dev eth0 src 172.30.0.7 mtu 1400",
        "route replace default via fd00:30::1 dev eth0 src fd00:30::2 mtu 1400",
    )
    before = defaults(container)
    assert [(route["prefsrc"], route["metrics"]) for route in before] == [
        ("172.30.0.7", [{"mtu": 1400}]),
        ("fd00:30::2", [{"mtu": 1400}]),
    ]
    keeper = container.keep(run_dir=tmp_path).watching()
    if killed:
        keeper.process.kill()
        container.host.ip("route del default via 172.30.0.1", "route del default via fd00:30::1")
        container.keep(run_dir=tmp_path).watching()
    else:
        container.host.ip("link set eth0 down", "link set eth0 up")
    until(lambda: defaults(container) == before, 5, "both default routes")


def test_a_default_route_comes_back_without_a_source_that_is_gone(
    container: Container, tmp_path: Path
) -> None:
    """The kernel would refuse it, and the client could not reach its server."""
    container.host.ip(
        "address add 172.30.0.7/16 dev eth0", "route replace default via 172.30.0.1 dev eth0 src 172.30.0.7"
    )
    container.keep(run_dir=tmp_path).watching().process.kill()
    container.host.ip("address del 172.30.0.7/16 dev eth0")  # and the route with it
    container.keep(run_dir=tmp_path).watching()
    way_out = {"dst": "default", "gateway": "172.30.0.1", "dev": "eth0", "flags": []}
    until(lambda: {**defaults(container)[0], **way_out} == defaults(container)[0], 5, "the default route")
    assert "prefsrc" not in defaults(container)[0]
