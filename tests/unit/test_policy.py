from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from entrypoint.detect import ContainerNetwork, Exit, container_networks
from entrypoint.network import PROTOCOL, Route, Snapshot
from entrypoint.policy import Wanted, adopted, assign_tables, changes, main_routes, restored, wanted
from tests.unit.kernel_values import DOCKER, DUAL, Seen, route, rule

DOCKER_LINES = [
    "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
    "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
]


def container(
    interface: str, gateway: str | None = None, link: str = "eth0", *, up: bool = True
) -> ContainerNetwork:
    """Write a network with its gateway; without one it cannot be served."""
    way = Exit(ip_address(gateway)) if gateway else None
    return ContainerNetwork(link, up, ip_interface(interface), way)


def want(*networks: ContainerNetwork, lan: Iterable[str] = ()) -> Wanted:
    """Want what these networks need, with the tables and the priority of the defaults."""
    tables = assign_tables(networks, {}, 7100)
    return wanted(networks, tables, 90, [ip_network(text) for text in lan])


def from_nothing(wanted: Wanted) -> list[str]:
    """Return the lines that make it in an empty kernel."""
    return [str(step) for step in changes(wanted, Snapshot())]


def standing(wanted: Wanted) -> Seen:
    """Return the kernel in which it stands."""
    return Seen().routes(*wanted.routes).rules(*wanted.rules)


def test_replies_of_a_docker_network_are_kept_by_three_lines() -> None:
    """Connected route, default, and the rule last: it must never point to a table that is half filled."""
    assert from_nothing(want(container("172.30.0.2/16", "172.30.0.1"))) == DOCKER_LINES


def test_both_families_take_the_same_way_through_the_code() -> None:
    """Connected routes before defaults, all routes before all rules."""
    both = want(container("172.30.0.2/16", "172.30.0.1"), container("fd00:30::2/64", "fd00:30::1"))
    assert from_nothing(both) == [
        "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip -6 route add fd00:30::/64 dev eth0 table 7100 proto 83",
        "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip -6 route add default via fd00:30::1 dev eth0 table 7100 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip -6 rule add from fd00:30::/64 iif lo lookup 7100 priority 90 protocol 83",
    ]


def test_each_interface_has_a_table_of_its_own() -> None:
    """Two defaults cannot stand in one."""
    two = want(container("172.30.0.2/16", "172.30.0.1"), container("172.31.0.2/16", "172.31.0.1", "eth1"))
    assert from_nothing(two) == [
        "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route add 172.31.0.0/16 dev eth1 scope link table 7101 proto 83",
        "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip route add default via 172.31.0.1 dev eth1 table 7101 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from 172.31.0.0/16 iif lo lookup 7101 priority 90 protocol 83",
    ]


def test_two_networks_of_one_interface_share_its_table_and_default() -> None:
    """A second address on the link brings a rule and a connected route."""
    two = want(container("172.30.0.2/16", "172.30.0.1"), container("192.168.9.2/24", "172.30.0.1"))
    assert from_nothing(two) == [
        "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route add 192.168.9.0/24 dev eth0 scope link table 7100 proto 83",
        "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from 192.168.9.0/24 iif lo lookup 7100 priority 90 protocol 83",
    ]


@pytest.mark.parametrize(
    ("interface", "gateway", "default"),
    [
        (
            "10.244.1.5/32",
            "169.254.1.1",
            "ip route add default via 169.254.1.1 dev eth0 onlink table 7100 proto 83",
        ),
        (
            "fd00:244::5/128",
            "fd00:ffff::1",
            "ip -6 route add default via fd00:ffff::1 dev eth0 onlink table 7100 proto 83",
        ),
        (
            "fd00:244::5/128",
            "fe80::1",
            "ip -6 route add default via fe80::1 dev eth0 table 7100 proto 83",
        ),
        (
            "fd00:30::2/64",
            "fe80::1",
            "ip -6 route add default via fe80::1 dev eth0 table 7100 proto 83",
        ),
    ],
)
def test_a_gateway_outside_of_the_network_is_on_link(interface: str, gateway: str, default: str) -> None:
    """Without the flag the kernel says "Nexthop has invalid gateway"; fe80::/10 needs none."""
    assert from_nothing(want(container(interface, gateway)))[1] == default


def test_a_way_out_without_a_gateway_is_the_link_itself() -> None:
    """What a point-to-point link has for a default route."""
    network = ContainerNetwork("eth0", up=True, interface=ip_interface("10.1.2.3/32"), exit=Exit(None))
    assert "ip route add default dev eth0 scope link table 7100 proto 83" in from_nothing(want(network))


def test_a_link_that_is_down_keeps_its_rule() -> None:
    """The kernel would refuse the routes; they come with the link's next event."""
    assert from_nothing(want(container("172.30.0.2/16", "172.30.0.1", up=False))) == [
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83"
    ]


def test_a_network_without_a_gateway_keeps_its_neighbours() -> None:
    """Rule and connected route stand; what would go further falls through to the main table."""
    assert from_nothing(want(container("172.31.0.2/16"))) == [
        "ip route add 172.31.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip rule add from 172.31.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
    ]


def test_a_lan_is_reached_by_the_first_interface_that_has_a_way_out() -> None:
    """Only what has no source yet: replies with the tunnel's address stay in the tunnel."""
    served = want(
        container("172.30.0.2/16", "172.30.0.1"),
        container("172.31.0.2/16", "172.31.0.1", "eth1"),
        lan=["10.20.0.0/24", "fd00:20::/64"],
    )
    assert [line for line in from_nothing(served) if " to " in line] == [
        "ip rule add from 0.0.0.0/32 to 10.20.0.0/24 iif lo lookup 7100 priority 90 protocol 83"
    ]


def test_a_right_state_is_left_alone() -> None:
    """The second pass finds nothing to do."""
    dual = want(container("172.30.0.2/16", "172.30.0.1"), container("fd00:30::2/64", "fd00:30::1"))
    assert changes(dual, standing(dual).snapshot) == []


def test_a_moved_gateway_is_replaced_in_place() -> None:
    """There is no moment without a default, and no second one beside it."""
    before = want(container("172.30.0.2/16", "172.30.0.1"))
    after = want(container("172.30.0.2/16", "172.30.0.9"))
    assert [str(step) for step in changes(after, standing(before).snapshot)] == [
        "ip route replace default via 172.30.0.9 dev eth0 table 7100 proto 83"
    ]


def test_a_changed_address_brings_the_new_before_the_old_goes() -> None:
    """Rule and route of the new network stand when those of the old one are taken."""
    before = want(container("172.30.0.2/16", "172.30.0.1"))
    after = want(container("172.29.0.2/16", "172.30.0.1"))
    assert [str(step) for step in changes(after, standing(before).snapshot)] == [
        "ip route add 172.29.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route replace default via 172.30.0.1 dev eth0 onlink table 7100 proto 83",
        "ip rule add from 172.29.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule del from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip route del 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    ]


def test_the_removal_takes_the_rule_first_and_the_gateways_own_route_last() -> None:
    """A rule that points to an empty table, or a default without its neighbour, is never seen."""
    served = want(container("172.30.0.2/16", "172.30.0.1"))
    assert [str(step) for step in changes(Wanted(), standing(served).snapshot)] == [
        "ip rule del from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip route del default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip route del 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    ]


def test_what_a_stranger_set_counts_but_is_never_taken() -> None:
    """The kernel refuses a rule that stands already, whoever made it."""
    served = want(container("172.30.0.2/16", "172.30.0.1"))
    theirs = Seen().rules(rule("172.30.0.0/16", protocol=4), rule("10.0.0.0/8", 200, 90, protocol=0))
    assert [str(step) for step in changes(served, theirs.snapshot)] == DOCKER_LINES[:2]
    assert changes(Wanted(), theirs.snapshot) == []


def test_tables_held_are_kept_and_the_lowest_free_one_is_taken() -> None:
    """An interface that comes back finds its own table; nobody else's moves."""
    networks = [container("172.30.0.2/16", link=name) for name in ("eth2", "eth0", "eth1")]
    assert assign_tables(networks, {"eth1": 7100, "gone": 7105}, 7100) == {
        "eth1": 7100,
        "eth2": 7101,
        "eth0": 7102,
    }


def test_a_default_route_that_the_client_took_comes_back() -> None:
    """Killed under redirect-gateway, OpenVPN leaves none, and a host route to its server."""
    before = main_routes(DUAL.snapshot)
    after = replace(
        DUAL.snapshot,
        routes=(
            *(found for found in DUAL.snapshot.routes if not found.is_default),
            route("198.51.100.10/32", via="172.30.0.1"),
            route("203.0.113.7/32", via="172.30.0.1"),
        ),
    )
    assert [str(step) for step in restored(before, [ip_address("198.51.100.10")], after)] == [
        "ip route add default via 172.30.0.1 dev eth0 proto 3",
        "ip -6 route add default via fd00:30::1 dev eth0 metric 1024 proto 3",
        "ip route del 198.51.100.10/32 via 172.30.0.1 dev eth0 proto 3",
    ]


def test_a_default_route_that_is_there_is_left_as_it_is() -> None:
    """Docker may have moved it meanwhile; a link that is down takes none."""
    before = main_routes(DOCKER.snapshot)
    moved = Seen().link("eth0").routes(route("default", via="172.30.0.9"))
    down = Seen().link("eth0", up=False)
    assert restored(before, (), moved.snapshot) == []
    assert restored(before, (), down.snapshot) == []


def test_a_killed_runs_table_tells_what_the_main_table_was() -> None:
    """The default comes from there, and the host route to the dead client's server was not part of it."""
    seen = (
        Seen()
        .link("eth0")
        .address("eth0", "172.30.0.2/16")
        .routes(
            route("172.30.0.0/16", protocol=2),
            route("198.51.100.10/32", via="172.30.0.1"),
            route("default", via="172.30.0.1", table=7100, protocol=PROTOCOL),
        )
    )
    before = adopted(seen.snapshot, [ip_address("198.51.100.10")])
    assert [str(found) for found in before] == [
        "172.30.0.0/16 dev eth0 scope link proto 2",
        "default via 172.30.0.1 dev eth0 proto 3",
    ]
    assert all(isinstance(found, Route) for found in before)


def test_what_is_wanted_follows_from_what_is_seen() -> None:
    """Detection and policy together, as a pass runs them."""
    networks = container_networks(DOCKER.snapshot, {}, {})
    assert from_nothing(want(*networks)) == DOCKER_LINES
