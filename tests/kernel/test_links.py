"""Links that come, go and share addresses with tunnels; gateways that move, or only seem to."""

import os

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import Monitor, ours, rules, way
from tests.kernel.test_standing import DOCKER
from tests.kernel.test_watching import quiet
from tests.lab.waiting import until

BOTH = {"GATEWAYS": "eth1=172.31.0.1,eth2=172.29.0.1"}


def tables(container: Container) -> dict[str, set[str]]:
    """Return link -> the tables that our routes by it are in."""
    found: dict[str, set[str]] = {}
    for line in ours(container.host):
        if " dev " in line:
            words = line.split()
            found.setdefault(words[words.index("dev") + 1], set()).add(words[words.index("table") + 1])
    return found


def test_links_that_change_places_never_share_a_table(container: Container) -> None:
    """A link that comes back finds its old table taken and has another: else the two fought without end."""
    keeper = container.keep(BOTH).watching()

    def served(*names: str) -> None:
        def apart() -> bool:
            held = tables(container)
            one_each = all(len(each) == 1 for each in held.values())
            return set(held) == {"eth0", *names} and one_each and len(set.union(*held.values())) == len(held)

        until(apart, LIMIT_SECONDS, f"a table of its own for each of {names}")

    container.connect("eth1", "172.31.0.2/16")
    served("eth1")
    container.host.ip("link delete eth1")
    served()
    container.connect("eth2", "172.29.0.2/16")
    served("eth2")
    container.connect("eth1", "172.31.0.2/16")
    served("eth1", "eth2")
    # A table is seen before all that belongs to it stands.
    passes = quiet(keeper)
    assert way(container.host, "10.20.0.5", "from", "172.31.0.2") == "dev eth1 via 172.31.0.1"
    assert way(container.host, "10.20.0.5", "from", "172.29.0.2") == "dev eth2 via 172.29.0.1"
    assert keeper.passes[-1]["problem"] is None
    monitor = Monitor(container.host)  # which makes rules of its own, and wakes
    assert quiet(keeper) < passes + 20
    assert monitor.changes() == []


def test_a_tunnels_address_within_the_containers_network_is_answered_by_the_tunnel(
    container: Container,
) -> None:
    """A rule by the whole network would pull the tunnel's replies to the gateway."""
    keeper = container.keep().watching()
    container.host.ip(
        "tuntap add tun0 mode tun",
        "link set tun0 up",
        "address add 172.30.99.2/24 dev tun0",
        "address add fd00:30::99:2/112 dev tun0 nodad",
        "route add 10.0.0.0/8 dev tun0",
        "route add fd00::/16 dev tun0",
    )
    alone = {
        "90: from 172.30.0.2 iif lo lookup 7100 proto 83",
        "90: from fd00:30::2 iif lo lookup 7100 proto 83",
    }
    until(lambda: alone <= ours(container.host), LIMIT_SECONDS, "the rules by address")
    whole = {
        line
        for line in DOCKER
        if ("/" in line.partition(" iif ")[0] and "from 172" in line) or "from fd" in line
    }
    assert not whole & ours(container.host)
    assert way(container.host, "10.20.0.5", "from", "172.30.99.2") == "dev tun0"
    assert way(container.host, "10.20.0.5", "from", "172.30.0.2") == "dev eth0 via 172.30.0.1"
    assert way(container.host, "fd00:20::5", "from", "fd00:30::99:2") == "dev tun0"
    assert way(container.host, "fd00:20::5", "from", "fd00:30::2") == "dev eth0 via fd00:30::1"
    last = keeper.next_pass(lambda last: "172.30.99.2 172.30.99.1" in last["replies"])
    assert not any(last["replies"].values())
    container.host.ip("link delete tun0")
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "the rules by network")


def test_a_pushed_default_by_a_neighbour_does_not_move_the_gateway(container: Container) -> None:
    """A server that pushes one after the client took the original away would have all LAN replies."""
    keeper = container.keep().watching()
    before = ours(container.host)
    monitor = Monitor(container.host)
    seen = len(keeper.passes)
    container.host.ip("route del default via 172.30.0.1", "route add default via 172.30.0.66 metric 5")
    keeper.pass_after(seen)
    quiet(keeper)
    assert ours(container.host) == before
    assert not [line for line in monitor.changes() if "7100" in line]
    assert way(container.host, "10.20.0.5", "from", "172.30.0.2") == "dev eth0 via 172.30.0.1"


@pytest.mark.parametrize("gateway", ["fe80::1", "fd00:30::1"])
def test_an_ipv4_default_by_an_ipv6_gateway_is_kept_as_it_is(bare: Container, gateway: str) -> None:
    """RTA_VIA (RFC 5549); a second run adopts it without a change."""
    bare.connect("eth0", "172.30.0.2/16", "fd00:30::2/64")
    bare.host.ip(
        f"-4 route add default via inet6 {gateway} dev eth0",
        "-6 route add default via fd00:30::1",
        "tuntap add tun0 mode tun",
        "link set tun0 up",
        "route add 10.0.0.0/8 dev tun0",
    )
    assert way(bare.host, "10.20.0.5", "from", "172.30.0.2") == "dev tun0"
    status, plan = bare.plan()
    assert status == 0
    bare.host.run("sh", "-e", stdin=plan)
    replayed = ours(bare.host)
    bare.host.ip("rule flush protocol 83", "-6 rule flush protocol 83", "route flush table 7100")
    bare.host.ip("-6 route flush table 7100")
    keeper = bare.keep().watching()
    assert ours(bare.host) == replayed
    assert f"default via inet6 {gateway} dev eth0 table 7100 proto 83" in ours(bare.host)
    assert way(bare.host, "10.20.0.5", "from", "172.30.0.2") == f"dev eth0 via {gateway}"
    assert (keeper.passes[-1]["repairs"], keeper.passes[-1]["problem"]) == (0, None)
    keeper.process.kill()
    monitor = Monitor(bare.host)
    again = bare.keep().watching()
    assert monitor.changes() == []
    assert again.process.terminate() == 0
    assert rules(bare.host) == []


def test_a_link_whose_name_is_no_text_is_passed_over(container: Container) -> None:
    """The kernel takes any bytes; ours stand as before, and what comes after it is seen."""
    keeper = container.keep({"GATEWAYS": "eth1=172.31.0.1"}).watching()
    name = os.fsdecode(b"du\xff\xfe")
    container.host.run("ip", "link", "add", name, "type", "bridge")
    container.host.run("ip", "link", "set", name, "up")
    container.host.run("ip", "address", "add", "10.55.0.1/24", "dev", name)
    container.connect("eth1", "172.31.0.2/16")
    until(
        lambda: way(container.host, "10.20.0.5", "from", "172.31.0.2") == "dev eth1 via 172.31.0.1",
        LIMIT_SECONDS,
        "the network that came after it",
    )
    assert keeper.passes[-1]["problem"] is None
    assert keeper.process.terminate() == 0
