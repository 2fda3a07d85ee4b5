"""A server that pushes nonsense: the LAN, the neighbours and open connections never notice."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.openvpn_server import PUSH_VPN
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.waiting import until
from tests.tunnel.product import TUNNEL, Kernel, Product, echoes, kill, programs

ROUTES = 2000

NONSENSE: dict[str, Sequence[str]] = {
    "the-gateway-itself": (PUSH_VPN, f"route {V4.docker_gateway} 255.255.255.255"),
    "half-the-world": ("route 0.0.0.0 128.0.0.0",),
    "the-world-by-halves": ("route 0.0.0.0 128.0.0.0", "route 128.0.0.0 128.0.0.0"),
    "the-world": ("route 0.0.0.0 0.0.0.0",),
    "our-network": (PUSH_VPN, "route 172.30.0.0 255.255.0.0"),
    "a-part-of-our-network": (PUSH_VPN, "route 172.30.0.0 255.255.255.0"),
    "a-neighbour": (PUSH_VPN, f"route {V4.neighbour} 255.255.255.255"),
    "ourselves": (PUSH_VPN, f"route {V4.sidecar} 255.255.255.255"),
    "our-IPv6-network": (f"route-ipv6 {V6.docker}",),
    "a-part-of-our-IPv6-network": (f"route-ipv6 {V6.docker.replace('/64', '/96')}",),
    "an-IPv6-neighbour": (f"route-ipv6 {V6.neighbour}/128", f"route-ipv6 {V6.docker_gateway}/128"),
    "the-IPv6-world": ("route-ipv6 ::/0",),
    "garbage-options": (
        PUSH_VPN,
        "dhcp-option DNS not.an.address",
        "dhcp-option DOMAIN-SEARCH ../../etc/passwd",
        "dhcp-option $(reboot) `id`",
    ),
    "a-resolver-that-is-none": (PUSH_VPN, "dns server 0 address 999.1.1.1"),
    "routes-that-are-none": (PUSH_VPN, "route 300.1.2.3 255.0.0.0", "route 10.0.0.1 255.0.0.0"),
}
# A route to the VPN's own server would cut the client off from it: that is no nonsense about the LAN.


@pytest.mark.parametrize("push", NONSENSE.values(), ids=NONSENSE)
def test_the_lan_never_notices(lab: Lab, make_product: Callable[..., Product], push: Sequence[str]) -> None:
    """Laptop, neighbour and an open connection are answered all along; it becomes ready, or says why not."""
    product = make_product(push=push)
    before = Kernel.of(lab.sidecar)
    with echoes(lab):
        # openvpn tries again without end where it cannot read what is pushed: the attempt's limit tells it.
        sidecar = product.sidecar({"VPN_UP_TIMEOUT": "3s"}).start()
        sidecar.wait_for_line("up: tun0|brought up no tunnel within 3 s .*push.*next attempt")
        for family in (V4, V6):
            assert reaches(lab.laptop, family.server_a, SERVICE_PORT) is None
            assert reaches(lab.neighbour, family.sidecar, SERVICE_PORT) is None
        ready, text = sidecar.readiness()
        assert ready or text.startswith("[-] ")
        assert sidecar.process.running
        assert sidecar.terminate() == 0
    assert Kernel.of(lab.sidecar) == before


@pytest.mark.parametrize(
    "nonsense", ["our-network", "a-part-of-our-network", "a-neighbour", "half-the-world"]
)
def test_it_is_ready_all_the_same(make_product: Callable[..., Product], nonsense: str) -> None:
    """What our table outweighs is no reason to be unready; the VPN's hosts are answered as well."""
    product = make_product(push=(PUSH_VPN, *NONSENSE[nonsense]))
    product.start()
    assert product.unreached(V4) == {}
    # Straight to the neighbour, not there and back by the gateway.
    (path,) = product.host.ip_json("route", "get", V4.neighbour, "from", V4.sidecar)
    assert (path["dev"], path.get("gateway")) == ("eth0", None)


def test_thousands_of_routes_disturb_nobody(lab: Lab, make_product: Callable[..., Product]) -> None:
    """All of them stand, the LAN loses no echo, and all are gone after the stop."""
    many = [f"route 10.{100 + n // 250}.{n % 250}.0 255.255.255.0" for n in range(ROUTES)]
    product = make_product(push=(PUSH_VPN, *many))
    before = Kernel.of(lab.sidecar)
    with echoes(lab):
        sidecar = product.sidecar().start().wait_until_ready(30)
        until(
            lambda: len(lab.sidecar.ip_json("route", "show", "dev", TUNNEL)) >= ROUTES, 10, "all the routes"
        )
        assert product.unreached(V4) == {}
        assert len(sidecar.wait_for_line(" overlap on ")) < 1000
        assert len(sidecar.get("/readyz")[1]) < 4096
        assert sidecar.terminate(30) == 0
    assert Kernel.of(lab.sidecar) == before


@pytest.mark.parametrize(
    "push",
    [
        ("route 0.0.0.0 128.0.0.0", "route 128.0.0.0 128.0.0.0"),
        (PUSH_VPN, "route 198.51.100.0 255.255.255.0"),
    ],
    ids=["the-world-by-halves", "the-server-s-network"],
)
def test_a_server_inside_its_own_pushed_range_is_still_reached(
    make_product: Callable[..., Product], push: Sequence[str]
) -> None:
    """The client's own packets do not go into the tunnel: ready means that the VPN's hosts are answered."""
    product = make_product(push=push)
    sidecar = product.start()
    # Server B's network is behind the server whatever the push says; its way back is the tunnel's.
    assert reaches(product.lab.vpn_server, product.tunnel_address(), SERVICE_PORT) is None
    assert reaches(product.lab.laptop, V4.server_a, SERVICE_PORT) is None
    assert sidecar.ready()


PAST_THE_TUNNEL = (
    PUSH_VPN,
    "route 203.0.113.0 255.255.255.0 net_gateway",
    f"route 0.0.0.0 0.0.0.0 {V4.neighbour}",
)


def test_routes_past_the_tunnel_do_not_outlive_a_killed_client(
    lab: Lab, make_product: Callable[..., Product]
) -> None:
    """A living client deletes them itself. What somebody else set meanwhile stays."""
    product = make_product(push=PAST_THE_TUNNEL)
    theirs = f"203.0.113.128/25 via {V4.docker_gateway} dev eth0"
    before = Kernel.of(lab.sidecar)
    sidecar = product.start()
    assert len(lab.sidecar.ip_json("route", "show", "default")) == 2, "the server has its way"
    lab.sidecar.ip(f"route add {theirs}")
    (client,) = programs(lab.sidecar, "openvpn")
    # Frozen, it cannot delete them when it is asked to end.
    lab.sidecar.run("kill", "-STOP", str(client))
    assert sidecar.terminate(20) == 0
    assert lab.sidecar.ip_json("route", "show", "203.0.113.128/25"), "somebody else's"
    lab.sidecar.ip(f"route del {theirs}")
    assert Kernel.of(lab.sidecar) == before


def test_routes_past_the_tunnel_do_not_hide_the_gateway_from_the_next_run(
    lab: Lab, make_product: Callable[..., Product]
) -> None:
    """Entrypoint and client killed: what was noted is deleted before a gateway is looked for."""
    product = make_product(push=PAST_THE_TUNNEL)
    before = Kernel.of(lab.sidecar)
    first = product.start()
    (client,) = programs(lab.sidecar, "openvpn")
    lab.sidecar.run("kill", "-STOP", str(client))
    first.kill()
    kill(client)
    assert len(lab.sidecar.ip_json("route", "show", "default")) == 2
    second = product.start()
    assert product.unreached(V4) == {}
    assert second.terminate() == 0
    assert Kernel.of(lab.sidecar) == before


TAKEN = {
    "the-laptops": (V4.laptop, "a host that is connected with us"),
    "our-own": (V4.sidecar, "the address of eth0"),
    "the-gateways": (V4.docker_gateway, "the gateway of eth0"),
}


@pytest.mark.parametrize(("address", "whose"), TAKEN.values(), ids=TAKEN)
def test_an_address_that_somebody_has_makes_no_tunnel(
    lab: Lab, tmp_path: Path, make_product: Callable[..., Product], address: str, whose: str
) -> None:
    """It is named, and the LAN is answered again as soon as the attempt has ended."""
    (tmp_path / "ccd").mkdir()
    (tmp_path / "ccd" / "DEFAULT").write_text(f"ifconfig-push {address} 255.255.255.0\n")
    product = make_product(lines=(f"client-config-dir {tmp_path / 'ccd'}",))
    before = Kernel.of(lab.sidecar)
    with lab.laptop.call(lambda: socket.create_connection((V4.server_a, SERVICE_PORT), 5)):
        sidecar = product.sidecar().start()
        for told in ("now", "in 1 s", "in 2 s"):
            line = sidecar.wait_for_line(f"its tunnel was given {address}, .* next attempt {told}$")
            assert whose in line
    assert "ready: " not in "\n".join(sidecar.lines)
    assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
    assert whose in sidecar.readiness()[1]
    assert sidecar.terminate() == 0
    assert Kernel.of(lab.sidecar) == before
