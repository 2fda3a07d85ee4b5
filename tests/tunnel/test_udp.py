"""UDP services on wildcard sockets, which choose no source: UDP_REPLY_PORTS has them answer both ways."""

import signal
from collections.abc import Callable

import pytest

from tests.lab.addresses import V4, V6, Family
from tests.lab.namespaces import Namespace
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.udp import seen_as, serve_udp
from tests.lab.waiting import until
from tests.tunnel.product import BACK_WITHIN, PUSH, AnyProduct, Product

LISTED, RANGED, OTHER, LATE = 53, 5005, 6000, 6001
PORTS = f"{LISTED} 5000-5100,5050-5200"
BOTH = (V4, V6)


def publish(lab: Lab, *ports: int) -> None:
    """Have server A publish UDP ports, as Docker does."""
    for family, nf, word in ((V4, "ipv4", "ip"), (V6, "ipv6", "ip6")):
        for port in ports:
            to = family.sidecar if family is V4 else f"[{family.sidecar}]"
            rule = f"meta nfproto {nf} fib daddr type local udp dport {port} dnat {word} to {to}:{port}"
            lab.server_a.run("nft", f"add rule inet docker prerouting {rule}")


def table(product: AnyProduct) -> str:
    """Return our table as nft lists it; empty where there is none."""
    return product.host.run("nft", "list", "table", "inet", "sidegate", check=False).stdout


@pytest.fixture(scope="module")
def up(standing: Product) -> Sidecar:
    """Give the standing product's program with UDP services beside it, published."""
    publish(standing.lab, LISTED, RANGED, OTHER)
    serve_udp(standing.host, LISTED, RANGED, OTHER)
    return standing.start(UDP_REPLY_PORTS=PORTS)


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("port", [LISTED, RANGED])
def test_a_wildcard_socket_answers_both_ways(standing: Product, family: Family, port: int) -> None:
    """The LAN is seen as the gateway; neighbours and the VPN's peers, the LAN's twin too, as themselves."""
    lab, tunnel = standing.lab, standing.tunnel_address(family)
    assert seen_as(lab.laptop, family.server_a, port) == family.docker_gateway
    assert seen_as(lab.neighbour, family.sidecar, port) == family.neighbour
    assert seen_as(lab.server_b, tunnel, port) == family.server_b
    assert seen_as(lab.twin, tunnel, port, source=family.twin) == family.twin
    assert seen_as(lab.twin, tunnel, port, source=family.laptop) == family.laptop


@pytest.mark.usefixtures("up")
def test_every_neighbour_on_the_link_is_answered_as_itself(standing: Product) -> None:
    """Those in a second network of the link, and those that ask by link-local IPv6."""
    lab = standing.lab
    for host, number in ((lab.sidecar, 2), (lab.neighbour, 3)):
        host.ip(
            f"address add 172.40.0.{number}/16 dev eth0", f"address add fd00:40::{number}/64 dev eth0 nodad"
        )
    until(lambda: "172.40.0.0/16" in table(standing) and "fd00:40::/64" in table(standing), 3, "the networks")
    for source, address in (("172.40.0.3", "172.40.0.2"), ("fd00:40::3", "fd00:40::2")):
        assert seen_as(lab.neighbour, address, LISTED, source=source) == source
    ours, theirs = map(link_local_address, (lab.sidecar, lab.neighbour))
    assert seen_as(lab.neighbour, f"{ours}%eth0", LISTED) == theirs
    for host, number in ((lab.sidecar, 2), (lab.neighbour, 3)):
        host.ip(f"address del 172.40.0.{number}/16 dev eth0", f"address del fd00:40::{number}/64 dev eth0")


def link_local_address(host: Namespace) -> str:
    """Return the address that the kernel gave to eth0 by itself."""
    (entry,) = host.ip_json("-6", "address", "show", "dev", "eth0", "scope", "link")
    return str(next(info["local"] for info in entry["addr_info"] if info))


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("family", BOTH)
def test_a_port_that_is_not_listed_is_answered_by_the_tunnel(standing: Product, family: Family) -> None:
    """The control: without the chain the LAN waits in vain, and the VPN's peers are answered."""
    assert seen_as(standing.lab.laptop, family.server_a, OTHER) is None
    assert seen_as(standing.lab.server_b, standing.tunnel_address(family), OTHER) == family.server_b


def test_services_that_would_need_it_are_told_once(standing: Product, up: Sidecar) -> None:
    """The log names the ports that are not listed, ours and the client's not among them."""
    line = up.wait_for_line("UDP services on every address")
    assert line.endswith(f"set UDP_REPLY_PORTS={OTHER}")
    assert len([line for line in up.lines if line.endswith(f"set UDP_REPLY_PORTS={OTHER}")]) == 1
    assert standing.host.run("ss", "-Hulnp").stdout.count("openvpn") >= 1


def test_a_service_that_starts_after_the_tunnel_is_told_of(standing: Product, up: Sidecar) -> None:
    """As most do: compose starts them once the sidecar is healthy."""
    up.wait_for_line("UDP services on every address")
    serve_udp(standing.host, LATE)
    up.wait_for_line(f"set UDP_REPLY_PORTS={OTHER},{LATE}$", 15)


def test_all_ports_the_second_network_and_the_end(lab: Lab, product: Product) -> None:
    """`all` covers every port and network but the tunnel's own flow; nothing is left after the stop."""
    publish(lab, OTHER)
    serve_udp(product.host, OTHER)
    sidecar = product.start(UDP_REPLY_PORTS="all")
    lab.connect_second_network()
    until(lambda: 'iifname "eth1"' in table(product), 3, "the second network")
    assert seen_as(lab.laptop, V4.server_a, OTHER) == V4.docker_gateway
    assert seen_as(lab.server_b, product.tunnel_address(), OTHER) == V4.server_b
    product.host.run("nft", "flush chain inet sidegate udp_replies")
    until(lambda: seen_as(lab.laptop, V4.server_a, OTHER), 3 * BACK_WITHIN, "the chain to be back")
    assert not any("no known" in line or "rejected from" in line for line in sidecar.lines)
    assert sidecar.terminate() == 0
    assert table(product) == ""


def test_a_route_pushed_onto_the_gateway_takes_no_reply(make_product: Callable[..., Product]) -> None:
    """Whom the service answers is the gateway, and that one stays where it is."""
    product = make_product(push=(*PUSH, "route 172.30.0.0 255.255.255.0"))
    publish(product.lab, LISTED)
    serve_udp(product.host, LISTED)
    product.start(UDP_REPLY_PORTS=str(LISTED))
    assert seen_as(product.lab.laptop, V4.server_a, LISTED) == V4.docker_gateway


def test_a_client_that_is_started_again_is_not_mistaken(product: Product) -> None:
    """Late packets of the client's own flow are no visitor's, although every port is covered."""
    sidecar = product.start(UDP_REPLY_PORTS="all")
    until(sidecar.ready, 5, "readiness")
    for _ in range(2):
        product.host.run("kill", f"-{signal.SIGKILL.value}", str(sidecar.status()["client"]["pid"]))
        sidecar.wait_until_unready()
        sidecar.wait_until_ready()


def test_both_the_kill_switch_and_udp_share_the_table(product: Product) -> None:
    """The gate lets the replies pass, and outlives the chain."""
    publish(product.lab, LISTED)
    serve_udp(product.host, LISTED)
    sidecar = product.start(UDP_REPLY_PORTS=str(LISTED), KILL_SWITCH="on")
    assert seen_as(product.lab.laptop, V4.server_a, LISTED) == V4.docker_gateway
    assert seen_as(product.lab.server_b, product.tunnel_address(), LISTED) == V4.server_b
    assert sidecar.terminate() == 0
    assert "chain output" in table(product)
    assert "udp_replies" not in table(product)
