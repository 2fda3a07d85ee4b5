"""A LAN behind a second router of the container's network."""

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import Monitor, everything, ours, routes, way
from tests.kernel.test_standing import DOCKER
from tests.kernel.test_watching import quiet
from tests.lab.waiting import until

SECOND_ROUTER = ("route add 10.20.0.0/24 via 172.30.0.254", "route add fd00:20::/64 via fd00:30::ff")
COPIES = {
    "10.20.0.0/24 via 172.30.0.254 dev eth0 table 7100 proto 83",
    "fd00:20::/64 via fd00:30::ff dev eth0 table 7100 proto 83",
}
WAYS = pytest.mark.parametrize(
    ("laptop", "own", "router"),
    [("10.20.0.5", "172.30.0.2", "172.30.0.254"), ("fd00:20::5", "fd00:30::2", "fd00:30::ff")],
    ids=["IPv4", "IPv6"],
)


@WAYS
def test_a_lan_behind_a_second_router_is_answered_by_that_one(
    container: Container, laptop: str, own: str, router: str
) -> None:
    """As it was before the VPN; the control is the same LAN without the operator's route."""
    container.tunnel("10.20.0.0/25", "fd00:20::/65")
    container.host.ip(*SECOND_ROUTER)
    assert way(container.host, laptop, "from", own) == "dev tun0"
    keeper = container.keep().watching()
    assert ours(container.host) >= DOCKER | COPIES
    assert way(container.host, laptop, "from", own) == f"dev eth0 via {router}"
    assert keeper.passes[-1]["repairs"] == 0
    container.host.ip("route flush table 7100", "-6 route flush table 7100")
    until(lambda: ours(container.host) >= COPIES, LIMIT_SECONDS, "the copies")
    keeper.process.terminate()
    assert not ours(container.host)


def test_a_route_that_a_server_pushes_to_a_neighbour_is_not_copied(container: Container) -> None:
    """Else whoever controls the VPN's server and a neighbour has all replies to the LAN."""
    keeper = container.keep().watching()
    before = ours(container.host)
    container.host.ip("route add 10.20.0.0/24 via 172.30.0.66", "link set eth0 alias wake")
    quiet(keeper)
    assert ours(container.host) == before
    assert way(container.host, "10.20.0.5", "from", "172.30.0.2") == "dev eth0 via 172.30.0.1"


def test_an_operators_route_is_followed_while_we_run(container: Container) -> None:
    """Its protocol says whose it is: made, moved and taken away."""
    container.keep().watching()
    container.host.ip("route add 10.20.0.0/24 via 172.30.0.254 proto static")
    until(lambda: COPIES & ours(container.host), LIMIT_SECONDS, "the copy")
    container.host.ip("route replace 10.20.0.0/24 via 172.30.0.253 proto static")
    moved = "10.20.0.0/24 via 172.30.0.253 dev eth0 table 7100 proto 83"
    until(lambda: ours(container.host) == DOCKER | {moved}, LIMIT_SECONDS, "the copy by the other router")
    container.host.ip("route del 10.20.0.0/24 proto static")
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "the end of the copy")


def test_thousands_of_other_routes_take_no_place_from_the_copies(container: Container) -> None:
    """Neither those that a server pushes, to a neighbour or the gateway, nor an operator's by the gateway."""
    by_ipv6 = "route add 192.168.0.0/24 via inet6 fd00:30::ff"
    container.host.ip("route add 192.168.1.0/24 via 172.30.0.254", by_ipv6)
    container.keep().watching()
    copies = ours(container.host)
    assert len(copies) == len(DOCKER) + 2
    for number, where in enumerate(("via 172.30.0.9", "via 172.30.0.1", "via 172.30.0.1 proto static")):
        lines = [f"route add {11 + number}.0.{i // 250}.{i % 250}/32 {where} dev eth0\n" for i in range(1000)]
        container.host.run("ip", "-batch", "-", stdin="".join(lines))
    container.host.ip("route flush table 7100")
    until(lambda: ours(container.host) == copies, LIMIT_SECONDS, "the copies")


def test_a_killed_runs_client_left_no_route_to_copy(container: Container) -> None:
    """The host route to its server was the client's own, and what is copied already stays as it is."""
    container.host.ip(*SECOND_ROUTER)
    container.keep().watching().process.kill()
    before = ours(container.host)
    assert before == DOCKER | COPIES
    container.host.ip("route add 198.51.100.10 via 172.30.0.1")
    monitor = Monitor(container.host)
    keeper = container.keep({}, "198.51.100.10").watching()
    assert ours(container.host) == before
    # The stray route goes, and nothing else.
    assert [line for line in monitor.changes() if "198.51" not in line] == []
    keeper.process.terminate()


def test_the_plan_copies_what_a_run_copies(container: Container) -> None:
    """And has nothing to say of it beside a run."""
    container.host.ip(*SECOND_ROUTER)
    _, text = container.plan()
    assert "ip route add 10.20.0.0/24 via 172.30.0.254 dev eth0 table 7100 proto 83" in text.splitlines()
    container.host.run("sh", "-e", stdin=text)
    planned = everything(container.host)
    assert container.plan()[1].splitlines()[-1] == "# nothing to change"
    container.keep().watching()
    assert everything(container.host) == planned
    assert [line for line in routes(container.host) if "7100" in line]
