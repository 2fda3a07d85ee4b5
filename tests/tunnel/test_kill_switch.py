"""KILL_SWITCH=on beside real servers: what is opened from inside never leaves past the tunnel."""

import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.dns_server import DnsServer
from tests.lab.leak_probe import NAME, PORT
from tests.lab.leaks import LeakProbe, outward, track_connections
from tests.lab.topology import Lab
from tests.lab.traffic import Capture, connects, reaches, serve
from tests.lab.waiting import until
from tests.tunnel.product import AnyProduct, Product, echoes, kill
from tests.tunnel.test_every_client import VPNS

ON = {"KILL_SWITCH": "on"}
OUTSIDE = (V4.vpn_endpoint, V6.vpn_endpoint, V4.laptop, V6.laptop)
"""The VPN server itself, by other ports than its own, and hosts of the LAN."""
ENDPOINT = "VPN.corp-1.example"
RESOLV_CONF = f"nameserver {V4.internet_a}\nsearch side.example\noptions ndots:5\n"
"""As in Kubernetes: names with few dots are tried with the search domain first."""
SESSIONS = {
    "openvpn": f"host {V4.vpn_endpoint} and udp port 1194",
    "wireguard": f"host {V4.vpn_endpoint} and udp port 51820",
    "openconnect": f"host {V4.vpn_endpoint}",
    "command": f"host {V4.vpn_endpoint}",
}
"""What the client's own packets are; those that carry no mark are told by address and user."""


@contextmanager
def guarded(lab: Lab, session: str, *, outside: tuple[str, ...] = OUTSIDE) -> Iterator[Capture]:
    """Try to get out all the time, and see that nothing does."""
    with (
        outward(lab.server_a, "veth-sidecar", lab.sidecar, session) as capture,
        LeakProbe(lab.sidecar, outside),
    ):
        yield capture
    assert capture.packets == []


def test_without_it_the_leak_is_seen(lab: Lab, product: Product) -> None:
    """The control: each protocol and both families are caught by the same probe and the same capture."""
    with outward(lab.server_a, "veth-sidecar", lab.sidecar, SESSIONS["openvpn"]) as capture:
        product.start()
        with LeakProbe(lab.sidecar, OUTSIDE[:2]):
            until(lambda: len(capture.packets) > 40, 10, "leaks")
    for family, address in (("IP ", V4.vpn_endpoint), ("IP6 ", V6.vpn_endpoint)):
        seen = [line for line in capture.packets if f" {family}" in line and address in line]
        for what in (f".{PORT}: Flags [S]", f".{PORT}: UDP", NAME, "echo request"):
            assert [line for line in seen if what in line], (family, what)


@pytest.mark.parametrize("kind", SESSIONS)
def test_nothing_leaks_whatever_happens(lab: Lab, tmp_path: Path, kind: str) -> None:
    """It connects, stands, is killed, and its client too, and stops: closed, and no LAN echo is lost."""
    product = AnyProduct(lab, tmp_path, VPNS[kind](lab, tmp_path))
    environment = {**ON, "VPN_SERVER": V4.vpn_endpoint} if kind == "command" else ON
    outside = OUTSIDE if kind in {"openvpn", "wireguard"} else OUTSIDE[1:]
    track_connections(lab.sidecar)
    with echoes(lab), ExitStack() as stack:
        sidecar = product.sidecar(environment).start()
        sidecar.wait_for_line("nft 'add rule inet sidegate output")
        stack.enter_context(guarded(lab, f"({SESSIONS[kind]}) or dst {V4.neighbour}", outside=outside))
        sidecar.wait_until_ready()
        assert product.unreached(V4) == product.unreached(V6) == {}
        assert reaches(lab.sidecar, V4.neighbour, SERVICE_PORT) == "Connection refused"
        (pid,) = {sidecar.status()["client"]["pid"]} - {None}
        kill(pid)
        until(lambda: sidecar.status()["client"]["pid"] not in {None, pid}, 5, "a new client")
        sidecar.wait_until_ready(30)
        sidecar.kill()
        assert not connects(lab.sidecar, V4.laptop, PORT, 0.3)
        second = product.sidecar(environment).start()
        assert second.wait_for_line("adopting the closed gate")
        second.wait_until_ready()
        assert product.unreached(V4) == {}
        assert second.terminate() == 0
        assert not connects(lab.sidecar, V4.laptop, PORT, 0.3)


@pytest.mark.parametrize("kind", ["openvpn", "wireguard", "openconnect"])
def test_the_endpoint_is_found_by_name_and_no_other_name_gets_out(
    lab: Lab, tmp_path: Path, kind: str
) -> None:
    """At the start and at a reconnection its name is asked for, with search domains; nobody else's is."""
    product = AnyProduct(lab, tmp_path, VPNS[kind](lab, tmp_path))
    resolver = DnsServer(lab.server_a, V4.internet_a, {ENDPOINT.lower(): V4.vpn_endpoint}).start()
    _call_by_name(product.settings)
    sidecar = product.sidecar(ON)
    sidecar.directory.mkdir(parents=True)
    (sidecar.directory / "resolv.conf").write_text(RESOLV_CONF)
    asking = Capture(lab.server_a, "veth-sidecar", f"src host {V4.sidecar} and dst port 53")
    sidecar.start().wait_for_line("nft 'add rule inet sidegate output")
    with (
        guarded(lab, f"({SESSIONS[kind]}) or (dst host {V4.internet_a} and udp port 53)"),
        asking,
        LeakProbe(lab.sidecar, [V4.internet_a]),
    ):
        sidecar.wait_until_ready()
        before = len(asking.packets)
        pid = sidecar.status()["client"]["pid"]
        kill(pid)
        until(lambda: len(asking.packets) > before, 10, "a second question")
        sidecar.wait_until_ready(30)
    assert asking.packets
    assert [line for line in asking.packets if ENDPOINT.lower() not in line.lower()] == []
    assert {name.lower() for name in resolver.asked} == {
        ENDPOINT.lower(),
        f"{ENDPOINT}.side.example".lower(),
    }


def test_control_another_name_is_asked_without_it(lab: Lab) -> None:
    """The control: the same probe asks the same resolver where no gate stands."""
    resolver = DnsServer(lab.server_a, V4.internet_a, {}).start()
    with LeakProbe(lab.sidecar, [V4.internet_a]):
        until(lambda: NAME in resolver.asked, 10, "the question")


def test_a_full_tunnel_takes_all_and_nothing_beside_it_while_its_server_is_away(
    lab: Lab, make_product: Callable[..., Product]
) -> None:
    """What is opened from inside reaches the world by the tunnel, and nobody while that is gone."""
    product = make_product(push=("redirect-gateway def1 ipv6",))
    track_connections(lab.sidecar)
    serve(lab.server_b, PORT)
    with echoes(lab):
        sidecar = product.start(**ON)
        with guarded(lab, f"({SESSIONS['openvpn']})"):
            assert connects(lab.sidecar, V4.server_b, PORT)
            assert connects(lab.sidecar, V6.server_b, PORT)
            product.vpn.stop()
            sidecar.wait_until_unready(30)
            assert not connects(lab.sidecar, V4.server_b, PORT, 0.3)
            product.vpn.start()
            sidecar.wait_until_ready(30)
            assert connects(lab.sidecar, V4.server_b, PORT)


def test_what_is_owed_to_the_vpn_does_not_leave_by_the_gateway(lab: Lab, product: Product) -> None:
    """The service's part of connections that VPN peers opened, when the tunnel's link is down."""
    service = serve(lab.sidecar, PORT)
    product.start(**ON)
    peers = []
    for family in (V4, V6):
        where = product.tunnel_address(family), PORT
        peers.append(lab.server_b.call(functools.partial(socket.create_connection, where, 2)))
        peers[-1].sendall(b"anybody?")
        assert peers[-1].recv(8) == b"anybody?"
    with Capture(lab.server_a, "veth-sidecar", f"tcp src port {PORT}") as capture:
        lab.sidecar.ip(f"link set {product.vpn.tunnel} down")
        service.kill()
    assert capture.packets == []
    for peer in peers:
        peer.close()


def _call_by_name(settings: dict[str, str]) -> None:
    """Write the server's name where its address stood."""
    if "VPN_SERVER" in settings:
        settings["VPN_SERVER"] = settings["VPN_SERVER"].replace(V4.vpn_endpoint, ENDPOINT)
    else:
        config = Path(settings["VPN_CONFIG"])
        config.write_text(config.read_text().replace(V4.vpn_endpoint, ENDPOINT))
