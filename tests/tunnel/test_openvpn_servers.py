"""Several servers: which has its turn, what takes over, and how the packets to each of them leave."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.addresses import V4, V6
from tests.lab.dns_server import DnsServer
from tests.lab.openvpn_server import PORT, PUSH_VPN, OpenVPNServer
from tests.lab.topology import Lab
from tests.lab.traffic import Capture
from tests.tunnel.product import Product, echoes

FIRST, SECOND = V4.vpn_endpoint, "198.51.100.11"
PUSH_SERVERS = "route 198.51.100.0 255.255.255.0"
"""The servers themselves lie inside."""
NAME = "vpn.example.com"


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> tuple[Product, OpenVPNServer]:
    """Give the product with two servers of one provider, at two addresses of one port."""
    push = (PUSH_VPN, PUSH_SERVERS)
    product = Product(lab, tmp_path, push=push, address=FIRST, keepalive=(1, 2))
    second = OpenVPNServer(
        lab.vpn_server, tmp_path / "second", push=push, address=SECOND, number=1, ipv6=False
    ).start()
    return product, second


def rewrite(product: Product, remotes: str) -> None:
    """Write other lines in the place of `remote`."""
    text = product.server.client_config()
    # Blocks take what stands before them.
    product.config.write_text(text.replace(f"remote {FIRST} {PORT}", f"server-poll-timeout 2\n{remotes}"))


def takes_over(lab: Lab, product: Product, timeout: float = 30) -> None:
    """See the first server die and the second take over: no echo lost, and all encrypted packets by eth0."""
    sidecar = product.sidecar({}).start().wait_until_ready(timeout)
    assert sidecar.status()["client"]["server"] == FIRST
    with echoes(lab), Capture(lab.sidecar, "eth0", f"udp and dst host {SECOND} and dst port {PORT}") as seen:
        product.server.kill()
        sidecar.wait_until_unready(timeout)
        sidecar.wait_until_ready(timeout)
        assert product.unreached() == {}
    assert seen.packets
    status = sidecar.status()
    assert (status["client"]["server"], status["restarts"]) == (SECOND, 0)


def test_the_next_remote_takes_over(lab: Lab, pair: tuple[Product, OpenVPNServer]) -> None:
    """The server at one address dies, the other line's takes over; the tunnel covers both, and stays."""
    rewrite(pair[0], f"persist-key\npersist-tun\nremote {FIRST} {PORT}\nremote {SECOND} {PORT}")
    takes_over(lab, pair[0])


def test_connection_blocks_have_their_turn(pair: tuple[Product, OpenVPNServer]) -> None:
    """Some providers write so: the first block's server is silent, the second's answers."""
    product, second = pair
    block = "<connection>\nremote {} {} udp\n</connection>"
    rewrite(product, "\n".join(block.format(address, PORT) for address in ("198.51.100.77", SECOND)))
    sidecar = product.start()
    assert sidecar.status()["client"]["server"] == second.address
    assert product.unreached() == {}


def test_the_next_address_of_a_name_takes_over(lab: Lab, pair: tuple[Product, OpenVPNServer]) -> None:
    """One line, one name, two addresses."""
    product, _ = pair
    rewrite(product, f"remote {NAME} {PORT}")
    DnsServer(lab.neighbour, V4.neighbour, {NAME: f"{FIRST} {SECOND}"}).start()
    (product.directory / "container").mkdir()
    (product.directory / "container/resolv.conf").write_text(f"nameserver {V4.neighbour}\n")
    takes_over(lab, product)


def test_a_random_server_of_many_is_one_that_is_there(make_product: Callable[..., Product]) -> None:
    """`remote-random` with lines that nobody answers: whichever comes first, the tunnel comes."""
    product = make_product()
    product.config.write_text(
        product.server.client_config(f"remote 198.51.100.77 {PORT}", "remote-random", "server-poll-timeout 1")
    )
    product.start()
    assert product.unreached() == {}


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_packets_themselves_may_be_of_ipv6(make_product: Callable[..., Product], protocol: str) -> None:
    """A server's IPv6 address that lies inside the pushed range is still reached past the tunnel."""
    push = (PUSH_VPN, "route-ipv6 2001:db8:100::/64", f"route-ipv6 {V6.vpn_network}")
    product = make_product(address=V6.vpn_endpoint, protocol=protocol, push=push)
    sidecar = product.start()
    assert sidecar.status()["client"]["server"] == V6.vpn_endpoint
    for family in (V4, V6):
        assert product.unreached(family) == {}
