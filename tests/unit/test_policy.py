from collections.abc import Mapping
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.detect import ContainerNetwork, NextHop, container_networks
from entrypoint.network import TABLES_HELD
from entrypoint.policy import assign_tables, wanted
from tests.unit.kernel_values import DOCKER
from tests.unit.wants import DOCKER_LINES, container, from_nothing, want


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


def test_tables_held_are_kept_and_the_lowest_free_one_is_taken() -> None:
    """Nobody's table moves; the table of a link that is gone is free."""
    networks = [container("172.30.0.2/16", link=name) for name in ("eth2", "eth0", "eth1")]
    assert assign_tables(networks, {"eth1": 7100, "gone": 7101}, 7100) == {
        "eth1": 7100,
        "eth2": 7101,
        "eth0": 7102,
    }


@given(st.lists(st.lists(st.sampled_from([f"eth{n}" for n in range(6)]), unique=True), max_size=12))
def test_no_two_links_ever_share_a_table(history: list[list[str]]) -> None:
    """Whatever links come, go and come back: who stays keeps its table, and none is outside of ours."""
    held: Mapping[str, int] = {}
    for there in history:
        networks = [
            ContainerNetwork(name, up=True, carrier=True, interface=ip_interface("172.30.0.2/16"))
            for name in there
        ]
        tables = assign_tables(networks, held, 7100)
        assert set(tables) == set(there)
        assert len(set(tables.values())) == len(there)
        assert all(tables[name] == held[name] for name in there if name in held)
        assert all(7100 <= table < 7100 + TABLES_HELD for table in tables.values())
        held = tables


def test_what_is_wanted_follows_from_what_is_seen() -> None:
    """Detection and policy together, as a pass runs them."""
    networks = container_networks(DOCKER.snapshot, {}, {})
    assert from_nothing(want(*networks)) == DOCKER_LINES
