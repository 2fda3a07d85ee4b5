"""Promise 1 with the whole product: the LAN and the VPN are answered, each by its own way."""

from collections.abc import Callable

import pytest

from tests.lab.addresses import SECOND_PORT, SERVICE_PORT, V4, V6, Family
from tests.lab.topology import Lab
from tests.lab.traffic import connects, reaches
from tests.lab.waiting import until
from tests.tunnel.product import TUNNEL, Product, our_rules

both_families = pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])

PICTURES = {
    "loose": {"rp_filter": 0},
    "strict": {"rp_filter": 1},
    "redirect-def1": {"server": {"push": ("redirect-gateway def1 ipv6",)}},
    "redirect": {"server": {"push": ("redirect-gateway ipv6",)}},
}


@pytest.fixture(scope="module")
def up(standing: Product) -> Product:
    """Give the standing product, ready."""
    standing.start()
    return standing


@pytest.mark.parametrize("standing", PICTURES.values(), ids=PICTURES, indirect=True)
@both_families
def test_lan_and_vpn_are_both_answered(up: Product, family: Family) -> None:
    """The laptop, the neighbour, server B, its twin in the LAN's range, and one with the laptop's address."""
    # The two are in conflict: the main table leads to the laptop by the tunnel.
    to_laptop = up.host.ip_json(family.option, "route", "get", family.laptop)
    assert to_laptop[0]["dev"] == TUNNEL
    assert up.unreached(family) == {}


@pytest.mark.parametrize("push", ["redirect-gateway def1 ipv6", "redirect-gateway ipv6"])
def test_the_service_itself_leaves_by_the_tunnel(make_product: Callable[..., Product], push: str) -> None:
    """What is opened from inside takes the VPN's way, as without us; only replies are kept back."""
    product = make_product(push=(push,))
    product.start()
    for option, somewhere in (("-4", "203.0.113.1"), ("-6", "2001:db8:ffff::1")):
        assert product.host.ip_json(option, "route", "get", somewhere)[0]["dev"] == TUNNEL


@pytest.mark.parametrize("lab", [{"pod": True}], ids=["pod"], indirect=True)
@both_families
def test_a_pod_is_answered_both_ways(product: Product, family: Family) -> None:
    """A single address with an on-link gateway works as a Docker network does."""
    product.start()
    address = product.tunnel_address(family)
    assert reaches(product.lab.laptop, family.server_a, SERVICE_PORT) is None
    assert reaches(product.lab.server_b, address, SERVICE_PORT) is None


@pytest.mark.parametrize("lab", [{"sidecar_ipv6": False}], ids=["no-ipv6"], indirect=True)
def test_a_container_without_ipv6_gets_its_tunnel(product: Product) -> None:
    """IPv6 options of the server neither end the client nor make the sidecar unready."""
    product.start()
    assert product.unreached(V4) == {}
    assert our_rules(product.host, V6) == []


def test_a_second_network_joins_while_up(lab: Lab, product: Product) -> None:
    """A network that comes at run time is served by the gateway named for it, and goes without a trace."""
    sidecar = product.start(GATEWAYS=f"eth1={V4.second_gateway} eth1={V6.second_gateway}")
    lab.connect_second_network()
    for family in (V4, V6):
        until(
            lambda f=family: connects(lab.laptop, f.server_a, SECOND_PORT, timeout=0.3),  # type: ignore[misc]
            3,
            "answers from the second network",
        )
        assert product.unreached(family) == {}
    assert sidecar.ready()
    lab.disconnect_second_network()
    until(lambda: "eth1" not in sidecar.readiness()[1], 2, "the second network to be forgotten")
    until(lambda: not lab.sidecar.ip_json("rule", "show", "lookup", "7101"), 2, "its rule to be gone")
    assert product.unreached(V4) == {}
    assert sidecar.ready()


@pytest.mark.parametrize("kill_switch", ["off", "on"])
def test_a_gateway_that_no_route_tells_is_found_or_named(
    lab: Lab, product: Product, kill_switch: str
) -> None:
    """The second network's router answers as one in IPv4; without a route of its own in IPv6 it does not."""
    sidecar = product.start(KILL_SWITCH=kill_switch)
    lab.connect_second_network()
    until(lambda: connects(lab.laptop, V4.server_a, SECOND_PORT, timeout=0.3), 3, "the second network")
    sidecar.wait_for_line(r"cannot find the gateway of eth1 \(fd00:31::/64\): .*set GATEWAYS=eth1=")
    assert sidecar.ready()
    assert product.unreached(V4) == {}


@both_families
def test_peers_with_an_address_of_the_containers_side_are_answered(
    lab: Lab, product: Product, family: Family
) -> None:
    """One behind the VPN has an address of the Docker network, another one of LAN_NETWORKS."""
    stranger = {V4: "172.30.5.5", V6: "fd00:30::55"}[family]
    lab.twin.ip(f"address add {stranger}{family.host_length} dev eth0{' nodad' if family is V6 else ''}")
    lab.vpn_server.ip(f"route add {stranger} dev twin")
    product.start(LAN_NETWORKS=f"{V4.lan} {V6.lan}")
    address = product.tunnel_address(family)
    assert product.unreached(family) == {}
    assert reaches(lab.twin, address, SERVICE_PORT, source=stranger) is None
    # And what is opened from inside goes to the LAN, and not to the twin.
    (way,) = product.host.ip_json(family.option, "route", "get", family.laptop)
    assert way["gateway"] == family.docker_gateway


def test_only_net_admin_and_the_tun_device_are_needed(product: Product) -> None:
    """With every other capability taken away both ways work, as in the documented `docker run`."""
    sidecar = product.sidecar(capabilities=["net_admin"]).start().wait_until_ready()
    assert product.unreached(V4) == {}
    assert sidecar.terminate() == 0
