"""Addresses that stand for two hosts, one on the LAN's side and one behind the tunnel."""

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import ours, routes, way
from tests.kernel.test_standing import DOCKER
from tests.lab.addresses import V4, V6, Family
from tests.lab.waiting import until

PRIVATE = ("10.0.0.0/8", "fd00::/16")
LAN = {"LAN_NETWORKS": "10.20.0.0/24 fd00:20::/64"}
TUNNEL_ADDRESS = {V4: "10.99.0.2", V6: "fd00:99::2"}
FAMILIES = pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
TUNNEL = {
    "90: from 10.99.0.2 iif lo lookup 7163 proto 83",
    "default dev tun0 scope link table 7163 proto 83",
    "90: from fd00:99::2 iif lo lookup 7163 proto 83",
    "default dev tun0 table 7163 proto 83",
}


@FAMILIES
def test_replies_follow_the_address_they_were_asked_at(container: Container, family: Family) -> None:
    """LAN_NETWORKS is for connections opened from inside; a peer of the VPN may share the LAN's range."""
    container.keep(LAN).watching()
    container.tunnel(*PRIVATE)
    until(lambda: ours(container.host) >= TUNNEL, LIMIT_SECONDS, "the tunnel's own side")
    tunnel, gateway = TUNNEL_ADDRESS[family], f"dev eth0 via {family.docker_gateway}"
    assert way(container.host, family.laptop) == gateway
    assert way(container.host, family.laptop, "from", family.sidecar) == gateway
    assert way(container.host, family.laptop, "from", tunnel) == "dev tun0"
    # The same for who has an address of the container's own network.
    assert way(container.host, family.neighbour) == "dev eth0"
    assert way(container.host, family.neighbour, "from", tunnel) == "dev tun0"


@FAMILIES
def test_without_us_the_destination_alone_counts(container: Container, family: Family) -> None:
    """Control: the tunnel takes the LAN's replies, and the container's network takes the tunnel's."""
    container.tunnel(*PRIVATE)
    assert way(container.host, family.laptop, "from", family.sidecar) == "dev tun0"
    assert way(container.host, family.neighbour, "from", TUNNEL_ADDRESS[family]) == "dev eth0"


def test_the_tunnels_side_comes_and_goes_with_the_tunnel(container: Container) -> None:
    """Nothing of it is left, and a tunnel under another name is another one."""
    container.keep().watching()
    container.tunnel()
    until(lambda: ours(container.host) == DOCKER | TUNNEL, LIMIT_SECONDS, "the tunnel's own side")
    container.host.ip("link delete tun0")
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "its end")


def test_a_killed_runs_tunnel_is_no_default_of_the_main_table(container: Container) -> None:
    """The kernel's WireGuard outlives a kill, and its table's default was never the container's."""
    container.host.ip("address del fd00:30::2/64 dev eth0")
    container.tunnel()
    container.keep().watching().process.kill()
    assert ours(container.host) >= TUNNEL
    container.keep().watching().process.terminate()
    assert not [line for line in routes(container.host) if "default dev tun0" in line]


def test_behind_a_tap_link_the_main_table_knows_the_way(container: Container) -> None:
    """It has neighbours and perhaps a router; without a rule the LAN's would take its IPv6 replies."""
    container.host.ip(
        "tuntap add tap0 mode tap",
        "address add 10.99.0.2/24 dev tap0",
        "address add fd00:99::2/64 dev tap0 nodad",
        "link set tap0 up",
        "route add 10.0.0.0/8 via 10.99.0.1",
        "route add fd00::/16 via fd00:99::1",
    )
    container.keep(LAN).watching()
    assert way(container.host, "fd00:20::5") == "dev eth0 via fd00:30::1"
    assert way(container.host, "fd00:20::5", "from", "fd00:99::2") == "dev tap0 via fd00:99::1"
    assert way(container.host, "10.20.0.5", "from", "10.99.0.2") == "dev tap0 via 10.99.0.1"


def test_a_rule_that_came_before_ours_moves_both_kinds(container: Container) -> None:
    """By source before by destination, wherever they stand."""
    container.tunnel(*PRIVATE)
    container.keep(LAN).watching()
    container.host.ip("-6 rule add from all lookup 300 priority 89 protocol static")
    moved = {
        "87: from fd00:99::2 iif lo lookup 7163 proto 83",
        "88: from ::/0 to fd00:20::/64 iif lo lookup 7100 proto 83",
    }
    until(lambda: moved <= ours(container.host), LIMIT_SECONDS, "our rules before the new one")
    assert way(container.host, "fd00:20::5", "from", "fd00:99::2") == "dev tun0"
