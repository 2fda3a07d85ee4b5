"""Shapes that networks have elsewhere: routers that announce themselves, clouds, pods, one family alone."""

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import ours, routes, rules, way
from tests.kernel.test_standing import DOCKER
from tests.kernel.test_watching import quiet
from tests.lab.addresses import V6
from tests.lab.router_advertisement import advertise
from tests.lab.waiting import until

FIRST, SECOND = "fe80::aa", "fe80::bb"
IPV4 = {line for line in DOCKER if "fd00:" not in line and "::/0" not in line}


@pytest.fixture
def announced(bare: Container) -> Container:
    """Give a container whose IPv6 comes from the routers of its link, and its IPv4 from Docker."""
    bare.connect("eth0", "172.30.0.2/16")
    bare.host.ip("route add default via 172.30.0.1")
    for address in (FIRST, SECOND):
        bare.router.ip(f"address add {address}/64 dev to-eth0 nodad")
    return bare


def announce(container: Container, router: str, lifetime: int = 600) -> None:
    """Let a router speak."""
    advertise(container.router, "to-eth0", router, V6.docker, lifetime=lifetime)


def main_defaults(container: Container) -> list[str]:
    """Return the gateways of the main table's IPv6 default routes."""
    lines = [line for line in routes(container.host) if line.startswith("default") and "proto ra" in line]
    return sorted(line.split()[2] for line in lines)


def gateway(container: Container) -> str | None:
    """Return the gateway of our table's IPv6 default."""
    for line in ours(container.host):
        if line.startswith("default via fe80::") and "table 7100" in line:
            return line.split()[2]
    return None


def test_a_router_that_announces_itself_is_followed(announced: Container) -> None:
    """Its offer while we run, the next router's in its place, and the time when there is none."""
    keeper = announced.keep().watching()
    assert ours(announced.host) == IPV4
    announce(announced, FIRST)
    until(lambda: gateway(announced) == FIRST, LIMIT_SECONDS, "the first router")
    until(lambda: "90: from fd00:30::/64 iif lo lookup 7100 proto 83" in rules(announced.host), 5, "the rule")
    announce(announced, FIRST, lifetime=0)
    until(lambda: main_defaults(announced) == [], LIMIT_SECONDS, "the end of the offer")
    quiet(keeper)
    # Nobody has said who else: replies try the one that was there.
    assert gateway(announced) == FIRST
    announce(announced, SECOND)
    until(lambda: gateway(announced) == SECOND, LIMIT_SECONDS, "the second router")
    assert keeper.passes[-1]["problem"] is None


def test_of_two_routers_that_announce_themselves_the_one_in_use_is_kept(announced: Container) -> None:
    """Both are right: a change would only break what is under way."""
    keeper = announced.keep().watching()
    announce(announced, SECOND)
    until(lambda: gateway(announced) == SECOND, LIMIT_SECONDS, "the first to speak")
    announce(announced, FIRST)
    until(lambda: main_defaults(announced) == [FIRST, SECOND], LIMIT_SECONDS, "both")
    quiet(keeper)
    assert gateway(announced) == SECOND
    assert keeper.passes[-1]["networks"]["fd00:30::/64"] is None


def test_who_announces_itself_takes_nothing_from_dockers_gateway(container: Container) -> None:
    """The kernel goes on by the route that was set, and so do replies, also of a run that starts then."""
    container.router.ip(f"address add {FIRST}/64 dev to-eth0 nodad")
    keeper = container.keep().watching()
    announce(container, FIRST)
    until(lambda: main_defaults(container) == [FIRST], LIMIT_SECONDS, "the offer")
    quiet(keeper)
    assert ours(container.host) == DOCKER
    assert way(container.host, V6.laptop) == f"dev eth0 via {V6.docker_gateway}"
    keeper.process.terminate()
    container.keep().watching()
    assert ours(container.host) == DOCKER


def test_a_network_that_is_announced_to_be_everything_is_no_way_out(container: Container) -> None:
    """The kernel makes a default route without a gateway of it, and prefers that."""
    container.router.ip(f"address add {FIRST}/64 dev to-eth0 nodad")
    advertise(container.router, "to-eth0", FIRST, "::/0", lifetime=0)
    until(lambda: way(container.host, V6.laptop) == "dev eth0", LIMIT_SECONDS, "the kernel to believe it")
    status, planned = container.plan()
    assert status == 0
    assert f"ip -6 route add default via {V6.docker_gateway} dev eth0 table 7100 proto 83" in planned


def test_a_container_of_ipv6_alone_is_served(bare: Container) -> None:
    """No IPv4 address, so no IPv4 rule."""
    bare.connect("eth0", "fd00:30::2/64")
    bare.host.ip("-6 route add default via fe80::1 dev eth0")
    bare.tunnel("10.0.0.0/8", "fd00::/16")
    assert way(bare.host, "fd00:20::5", "from", "fd00:30::2") == "dev tun0"
    keeper = bare.keep().watching()
    assert way(bare.host, "fd00:20::5", "from", "fd00:30::2") == "dev eth0 via fe80::1"
    assert keeper.passes[-1]["problem"] is None
    assert not [line for line in ours(bare.host) if "172.30" in line]


def test_two_interfaces_in_one_subnet_answer_each_by_its_own(bare: Container) -> None:
    """A cloud's second network card, with several addresses and a link route to the metadata service."""
    bare.connect("eth0", "10.0.1.5/24", "10.0.1.6/24", "10.0.1.32/32")
    bare.connect("eth1", "10.0.1.7/24")
    bare.host.ip(
        "route add default via 10.0.1.1 dev eth0 metric 100",
        "route add default via 10.0.1.1 dev eth1 metric 200",
        "route add 169.254.169.254 dev eth0",
    )
    bare.tunnel("10.0.0.0/8", "172.16.0.0/12")
    keeper = bare.keep().watching()
    for address, link in (
        ("10.0.1.5", "eth0"),
        ("10.0.1.6", "eth0"),
        ("10.0.1.32", "eth0"),
        ("10.0.1.7", "eth1"),
    ):
        assert way(bare.host, "10.20.0.5", "from", address) == f"dev {link} via 10.0.1.1"
        assert way(bare.host, "10.0.1.99", "from", address) == f"dev {link}"
    assert way(bare.host, "10.77.0.1", "mark", "0x5347") == "dev eth0 via 10.0.1.1"
    assert way(bare.host, "169.254.169.254") == "dev eth0"
    assert not any(keeper.passes[-1]["replies"].values())


def test_several_single_addresses_share_their_gateway(bare: Container) -> None:
    """A pod with more than one, as of delegated prefixes: all by the link's one gateway."""
    bare.connect("eth0", "10.244.1.5/32", "10.244.1.6/32", "fd00:244::5/128", "fd00:244::6/128")
    bare.host.ip(
        "route add 169.254.1.1 dev eth0",
        "route add default via 169.254.1.1 dev eth0",
        "-6 route add default via fe80::1 dev eth0",
    )
    bare.tunnel("10.0.0.0/8", "fd00::/16")
    keeper = bare.keep().watching()
    for address in ("10.244.1.5", "10.244.1.6"):
        assert way(bare.host, "10.20.0.5", "from", address) == "dev eth0 via 169.254.1.1"
    for address in ("fd00:244::5", "fd00:244::6"):
        assert way(bare.host, "fd00:20::5", "from", address) == "dev eth0 via fe80::1"
    assert keeper.passes[-1]["problem"] is None


@pytest.mark.parametrize("settings", [{}, {"LAN_NETWORKS": "10.20.0.0/24 fd00:20::/64"}], ids=["-", "lan"])
@pytest.mark.parametrize(
    ("neighbour", "source", "laptop"),
    [("172.30.0.3", "172.30.0.2", "10.20.0.5"), ("fd00:30::3", "fd00:30::2", "fd00:20::5")],
    ids=["IPv4", "IPv6"],
)
def test_what_is_forwarded_for_a_neighbour_is_not_caught(
    container: Container, settings: dict[str, str], neighbour: str, source: str, laptop: str
) -> None:
    """It goes by the main table, into the tunnel; the control is the same rule without `iif lo`."""
    for sysctl in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        container.host.sysctl(sysctl, 1)
    container.tunnel("10.0.0.0/8", "fd00::/16")
    container.keep(settings).watching()
    forwarded = (laptop, "from", neighbour, "iif", "eth0")
    assert way(container.host, *forwarded) == "dev tun0"
    assert way(container.host, laptop, "from", source).startswith("dev eth0 via ")
    option = "-6 " if ":" in neighbour else ""
    container.host.ip(f"{option}rule add from {neighbour} lookup 7100 priority 10")
    assert way(container.host, *forwarded).startswith("dev eth0 via ")
