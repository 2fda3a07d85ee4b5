from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from entrypoint.detect import ContainerNetwork, NextHop, container_networks
from entrypoint.network import MARK, PROTOCOL, IPAddress, Link, Route, Snapshot
from entrypoint.policy import (
    Before,
    Traces,
    Wanted,
    assign_tables,
    before_client,
    changes,
    main_routes,
    restored,
    wanted,
)
from tests.unit.kernel_values import DOCKER, DUAL, Seen, route, rule

DOCKER_LINES = [
    "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
    "ip route add unreachable default metric 4294967295 table 7100 proto 83",
    "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
    "ip rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
]


def container(
    interface: str, gateway: str | None = None, link: str = "eth0", *, up: bool = True
) -> ContainerNetwork:
    """Write a network with its gateway; without one it cannot be served."""
    way = NextHop(ip_address(gateway)) if gateway else None
    return ContainerNetwork(link, up, up, ip_interface(interface), way)


def want(*networks: ContainerNetwork, lan: Iterable[str] = ()) -> Wanted:
    """Want what these networks need, with the tables and the priority of the defaults."""
    tables = assign_tables(networks, {}, 7100)
    return wanted(networks, tables, 90, [ip_network(text) for text in lan])


def from_nothing(wanted: Wanted) -> list[str]:
    """Return the lines that make it in an empty kernel."""
    return [str(step) for step in changes(wanted, Snapshot())]


def standing(wanted: Wanted) -> Seen:
    """Return the kernel in which it stands."""
    return Seen().routes(*wanted.routes).ends(*wanted.last_resorts).rules(*wanted.rules)


def test_replies_of_a_docker_network_are_kept_by_two_routes_and_two_rules() -> None:
    """Connected route, default, and the rules last: none may point to a table that is half filled."""
    assert from_nothing(want(container("172.30.0.2/16", "172.30.0.1"))) == DOCKER_LINES


def test_both_families_take_the_same_way_through_the_code() -> None:
    """Connected routes before defaults, all routes before all rules."""
    both = want(container("172.30.0.2/16", "172.30.0.1"), container("fd00:30::2/64", "fd00:30::1"))
    assert from_nothing(both) == [
        "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip -6 route add fd00:30::/64 dev eth0 table 7100 proto 83",
        "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip -6 route add default via fd00:30::1 dev eth0 table 7100 proto 83",
        "ip route add unreachable default metric 4294967295 table 7100 proto 83",
        "ip -6 route add unreachable default metric 4294967295 table 7100 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip -6 rule add from fd00:30::/64 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
        "ip -6 rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
    ]


def test_each_interface_has_a_table_of_its_own() -> None:
    """Two defaults cannot stand in one."""
    two = want(container("172.30.0.2/16", "172.30.0.1"), container("172.31.0.2/16", "172.31.0.1", "eth1"))
    assert from_nothing(two) == [
        "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route add 172.31.0.0/16 dev eth1 scope link table 7101 proto 83",
        "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip route add default via 172.31.0.1 dev eth1 table 7101 proto 83",
        "ip route add unreachable default metric 4294967295 table 7100 proto 83",
        "ip route add unreachable default metric 4294967295 table 7101 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from 172.31.0.0/16 iif lo lookup 7101 priority 90 protocol 83",
        "ip rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
    ]


def test_two_networks_of_one_interface_share_its_table_and_default() -> None:
    """A second address on the link brings a rule and a connected route."""
    two = want(container("172.30.0.2/16", "172.30.0.1"), container("192.168.9.2/24", "172.30.0.1"))
    assert from_nothing(two) == [
        "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route add 192.168.9.0/24 dev eth0 scope link table 7100 proto 83",
        "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip route add unreachable default metric 4294967295 table 7100 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from 192.168.9.0/24 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
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


@pytest.mark.parametrize(("gateway", "flag"), [("fe80::1", ""), ("fd00:30::1", " onlink")])
def test_an_ipv4_default_by_an_ipv6_gateway_is_written_as_ip_takes_it(gateway: str, flag: str) -> None:
    """`ip route add default via inet6 fe80::1` would make an IPv6 route of it."""
    assert from_nothing(want(container("172.30.0.2/16", gateway)))[1] == (
        f"ip route add 0.0.0.0/0 via inet6 {gateway} dev eth0{flag} table 7100 proto 83"
    )


def test_a_way_out_without_a_gateway_is_the_link_itself() -> None:
    """What a point-to-point link has for a default route."""
    network = ContainerNetwork(
        "eth0", up=True, carrier=True, interface=ip_interface("10.1.2.3/32"), gateway=NextHop(None)
    )
    assert "ip route add default dev eth0 scope link table 7100 proto 83" in from_nothing(want(network))


def test_a_link_that_is_down_keeps_its_rules() -> None:
    """The kernel would refuse the routes; they come with the link's next event."""
    assert from_nothing(want(container("172.30.0.2/16", "172.30.0.1", up=False))) == [
        "ip route add unreachable default metric 4294967295 table 7100 proto 83",
        "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
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


def test_the_clients_own_packets_take_the_first_way_out_of_each_family() -> None:
    """They bear the mark, and the server may lie where the tunnel leads; no way out, no rule."""
    two = want(
        container("172.31.0.2/16", link="eth1"),
        container("172.30.0.2/16", "172.30.0.1"),
        container("172.29.0.2/16", "172.29.0.1", link="eth2"),
    )
    assert [line for line in from_nothing(two) if "fwmark" in line] == [
        "ip rule add from all fwmark 0x5347 iif lo lookup 7101 priority 90 protocol 83"
    ]


def test_they_take_a_way_out_whose_link_is_up_before_one_whose_link_is_down() -> None:
    """The table of the latter leads nowhere."""
    two = want(
        container("172.30.0.2/16", "172.30.0.1", up=False),
        container("172.29.0.2/16", "172.29.0.1", link="eth2"),
    )
    assert [line for line in from_nothing(two) if "fwmark" in line] == [
        "ip rule add from all fwmark 0x5347 iif lo lookup 7101 priority 90 protocol 83"
    ]


def test_a_rule_by_mark_of_another_table_is_led_over() -> None:
    """Its table went with the first link: the new rule stands before the old one goes."""
    after = want(container("172.30.0.2/16", "172.30.0.1"))
    seen = standing(after).rules(rule("0.0.0.0/0", 7101, mark=MARK))
    without = replace(seen.snapshot, rules=tuple(r for r in seen.snapshot.rules if r.table == 7101))
    assert [str(step) for step in changes(after, without)] == [
        *DOCKER_LINES[3:],
        "ip rule del from all fwmark 0x5347 iif lo lookup 7101 priority 90 protocol 83",
    ]


@pytest.mark.parametrize(
    ("strange", "rules"),
    [
        ([("tun0", "172.30.99.2/24")], ["172.30.0.2/32", "172.30.0.5/32"]),
        ([("tun0", "172.30.0.2/32")], ["172.30.0.2/32", "172.30.0.5/32"]),
        ([("eth1", "172.30.77.2/24")], ["172.30.0.2/32", "172.30.0.5/32"]),
        ([("tun0", "172.31.0.2/16"), ("tun0", "fd00:30::2/64")], ["172.30.0.0/16"]),
        ([], ["172.30.0.0/16"]),
    ],
    ids=["tunnel-within", "the-same-address", "another-link-within", "tunnel-outside", "alone"],
)
def test_a_network_that_holds_anothers_address_is_kept_by_its_own_addresses(
    strange: list[tuple[str, str]], rules: list[str]
) -> None:
    """A rule by the whole network would pull the tunnel's replies out of the tunnel."""
    networks = [container("172.30.0.2/16", "172.30.0.1")]
    mine = [("eth0", "172.30.0.2/16"), ("eth0", "172.30.0.5/16"), ("eth0", "192.168.9.2/24")]
    held = [(link, ip_interface(text)) for link, text in (*mine, *strange)]
    found = wanted(networks, {"eth0": 7100}, 90, addresses=held)
    assert [str(each.source) for each in found.rules if not each.mark] == rules


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
        "ip rule del from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
        "ip route del default via 172.30.0.1 dev eth0 table 7100 proto 83",
        "ip route del 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route del unreachable default metric 4294967295 table 7100 proto 83",
    ]


def test_what_a_stranger_set_counts_but_is_never_taken() -> None:
    """The kernel refuses a rule that stands already, whoever made it."""
    served = want(container("172.30.0.2/16", "172.30.0.1"))
    theirs = Seen().rules(rule("172.30.0.0/16", protocol=4), rule("10.0.0.0/8", 200, 90, protocol=0))
    assert [str(step) for step in changes(served, theirs.snapshot)] == [*DOCKER_LINES[:3], DOCKER_LINES[4]]
    assert changes(Wanted(), theirs.snapshot) == []


def test_tables_held_are_kept_and_the_lowest_free_one_is_taken() -> None:
    """Nobody's table moves; the table of a link that is gone is free."""
    networks = [container("172.30.0.2/16", link=name) for name in ("eth2", "eth0", "eth1")]
    assert assign_tables(networks, {"eth1": 7100, "gone": 7101}, 7100) == {
        "eth1": 7100,
        "eth2": 7101,
        "eth0": 7102,
    }


def taken_away(seen: Seen, *left: Route) -> Snapshot:
    """Return it without any default route, and with what a client leaves."""
    kept = (found for found in seen.snapshot.routes if not found.is_default)
    return replace(seen.snapshot, routes=(*kept, *left))


def before_of(seen: Seen) -> Before:
    """Return the main table as a run would note it."""
    return Before(main_routes(seen.snapshot), seen.snapshot.links)


def texts(steps: Iterable[object]) -> list[str]:
    """Return steps or routes as lines."""
    return [str(step) for step in steps]


SERVER = ip_address("198.51.100.10")
TO_SERVER = Traces(frozenset({SERVER}))
DEFAULT_BACK = "ip route add default via 172.30.0.1 dev eth0 proto 3"


def test_a_default_route_that_the_client_took_comes_back() -> None:
    """Killed under redirect-gateway, OpenVPN leaves none, and a host route to its server."""
    after = taken_away(
        DUAL, route("198.51.100.10/32", via="172.30.0.1"), route("203.0.113.7/32", via="172.30.0.1")
    )
    assert texts(restored(before_of(DUAL), TO_SERVER, after)) == [
        DEFAULT_BACK,
        "ip -6 route add default via fd00:30::1 dev eth0 metric 1024 proto 3",
        "ip route del 198.51.100.10/32 via 172.30.0.1 dev eth0 proto 3",
    ]


def test_each_of_two_defaults_comes_back_with_its_metric() -> None:
    """They are told by destination and metric: one that stands does not stand for the other."""
    two = DOCKER.routes(route("default", via="172.30.0.254", metric=100))
    backup = "ip route add default via 172.30.0.254 dev eth0 metric 100 proto 3"
    assert texts(restored(before_of(two), Traces(), taken_away(two))) == [DEFAULT_BACK, backup]
    assert texts(restored(before_of(two), Traces(), DOCKER.snapshot)) == [backup]


def test_a_default_route_that_is_there_is_left_as_it_is() -> None:
    """Docker may have moved it meanwhile; a link that is down takes none."""
    before = before_of(DOCKER)
    moved = Seen().link("eth0").routes(route("default", via="172.30.0.9"))
    down = Seen().link("eth0", up=False)
    assert restored(before, Traces(), moved.snapshot) == []
    assert restored(before, Traces(), down.snapshot) == []


def test_a_link_made_anew_under_the_same_name_has_its_routes_from_its_maker() -> None:
    """Docker gives the new one its default, and fails where one is there already."""
    before = before_of(DOCKER)
    anew = replace(DOCKER.snapshot, links=(Link(77, "eth0", "veth", up=True),), routes=())
    assert restored(before, Traces(), anew) == []


@pytest.mark.parametrize(("taken", "count"), [([], 2), ([4], 1), ([6], 1), ([4, 6], 0)])
def test_no_default_goes_beside_a_tunnels(taken: list[int], count: int) -> None:
    """It would take all traffic out of a VPN that lives, in one family or in both."""
    steps = restored(before_of(DUAL), Traces(), taken_away(DUAL), taken)
    assert len(steps) == count
    assert not [step for step in steps for version in taken if ("-6" in str(step)) == (version == 6)]


@pytest.mark.parametrize("protocol", [4, 9, 16, 186])
def test_an_operators_route_to_the_server_stays(protocol: int) -> None:
    """A client's says "boot", as nobody told its maker; static, ra, dhcp and bgp do not."""
    theirs = route("198.51.100.10/32", via="172.30.0.1", protocol=protocol)
    assert restored(before_of(DOCKER), TO_SERVER, DOCKER.routes(theirs).snapshot) == []


def test_a_route_to_the_server_that_was_there_before_stays() -> None:
    """Whoever made it; nor is one taken that only covers the server, or leads to another."""
    seen = DOCKER.routes(route("198.51.100.10/32", via="172.30.0.1"))
    assert restored(before_of(seen), TO_SERVER, seen.snapshot) == []
    others = DOCKER.routes(
        route("198.51.100.0/24", via="172.30.0.1"), route("198.51.100.11/32", via="172.30.0.1")
    )
    assert restored(before_of(DOCKER), TO_SERVER, others.snapshot) == []


KILLED = (
    Seen()
    .link("eth0")
    .address("eth0", "172.30.0.2/16")
    .routes(
        route("172.30.0.0/16", protocol=2),
        route("198.51.100.10/32", via="172.30.0.1"),
        route("default", via="172.30.0.1", table=7100, protocol=PROTOCOL),
    )
)
"""What a killed run left whose client had redirected the gateway."""


@pytest.mark.parametrize(
    ("servers", "named", "default", "host"),
    [
        ([SERVER], [], True, False),
        # An `internal` network never had a default: what our table says is the user's word.
        ([SERVER], [("eth0", 4)], False, False),
        ([SERVER], [("eth0", 6), ("eth1", 4)], True, False),
        ([], [], True, True),
    ],
    ids=["taken", "named", "another-named", "server-unknown"],
)
def test_a_killed_runs_table_tells_what_the_main_table_was(
    servers: list[IPAddress], named: list[tuple[str, int]], *, default: bool, host: bool
) -> None:
    """The default comes from there, and the host route to the dead client's server was not part of it."""
    assert texts(before_client(KILLED.snapshot, Traces(frozenset(servers)), named)) == [
        "172.30.0.0/16 dev eth0 scope link proto 2",
        *(["198.51.100.10/32 via 172.30.0.1 dev eth0 proto 3"] if host else []),
        *(["default via 172.30.0.1 dev eth0 proto 3"] if default else []),
    ]


def test_what_a_killed_run_knew_adds_nothing_where_a_default_stands() -> None:
    """Of each family by itself."""
    ours = route("default", via="172.30.0.1", table=7100, protocol=PROTOCOL)
    ours6 = route("default6", via="fd00:30::1", table=7100, protocol=PROTOCOL)
    seen = KILLED.routes(route("default", via="172.30.0.9"), ours, ours6)
    found = [str(found) for found in before_client(seen.snapshot, TO_SERVER, ()) if found.is_default]
    assert found == ["default via 172.30.0.9 dev eth0 proto 3", "default via fd00:30::1 dev eth0 proto 3"]


def test_what_is_wanted_follows_from_what_is_seen() -> None:
    """Detection and policy together, as a pass runs them."""
    networks = container_networks(DOCKER.snapshot, {}, {})
    assert from_nothing(want(*networks)) == DOCKER_LINES
