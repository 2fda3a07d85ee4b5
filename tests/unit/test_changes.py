"""The steps from what is seen to what is wanted."""

from dataclasses import replace

import pytest

from entrypoint.changes import Change, difference
from entrypoint.network import MARK, LinkState
from entrypoint.policy import Wanted
from tests.unit.kernel_values import Seen, route, rule
from tests.unit.wants import DOCKER_LINES, container, standing, want


def test_a_right_state_is_left_alone() -> None:
    """The second pass finds nothing to do."""
    dual = want(container("172.30.0.2/16", "172.30.0.1"), container("fd00:30::2/64", "fd00:30::1"))
    assert difference(dual, standing(dual).snapshot) == []


def test_a_rule_by_mark_of_another_table_is_led_over() -> None:
    """Its table went with the first link: the new rule stands before the old one goes."""
    after = want(container("172.30.0.2/16", "172.30.0.1"))
    seen = standing(after).rules(rule("0.0.0.0/0", 7101, mark=MARK))
    without = replace(seen.snapshot, rules=tuple(r for r in seen.snapshot.rules if r.table == 7101))
    assert [str(step) for step in difference(after, without)] == [
        *DOCKER_LINES[3:],
        "ip rule del from all fwmark 0x5347 iif lo lookup 7101 priority 90 protocol 83",
    ]


def test_a_moved_gateway_is_replaced_in_place() -> None:
    """There is no moment without a default, and no second one beside it."""
    before = want(container("172.30.0.2/16", "172.30.0.1"))
    after = want(container("172.30.0.2/16", "172.30.0.9"))
    assert [str(step) for step in difference(after, standing(before).snapshot)] == [
        "ip route replace default via 172.30.0.9 dev eth0 table 7100 proto 83"
    ]


def test_a_changed_address_brings_the_new_before_the_old_goes() -> None:
    """Rule and route of the new network stand when those of the old one are taken."""
    before = want(container("172.30.0.2/16", "172.30.0.1"))
    after = want(container("172.29.0.2/16", "172.30.0.1"))
    assert [str(step) for step in difference(after, standing(before).snapshot)] == [
        "ip route add 172.29.0.0/16 dev eth0 scope link table 7100 proto 83",
        "ip route replace default via 172.30.0.1 dev eth0 onlink table 7100 proto 83",
        "ip rule add from 172.29.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip rule del from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
        "ip route del 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    ]


def test_the_removal_takes_the_rule_first_and_the_gateways_own_route_last() -> None:
    """A rule that points to an empty table, or a default without its neighbour, is never seen."""
    served = want(container("172.30.0.2/16", "172.30.0.1"))
    assert [str(step) for step in difference(Wanted(), standing(served).snapshot)] == [
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
    assert [str(step) for step in difference(served, theirs.snapshot)] == [*DOCKER_LINES[:3], DOCKER_LINES[4]]
    assert difference(Wanted(), theirs.snapshot) == []


@pytest.mark.parametrize(
    ("change", "copies", "takes"),
    [
        (Change("add", route("10.50.0.0/24", via="172.30.0.254", table=7100)), True, False),
        (Change("del", route("10.50.0.0/24", via="172.30.0.254", table=7100)), False, False),
        (Change("add", route("default", via="172.30.0.1", table=7100)), False, False),
        (Change("add", route("172.30.0.0/16", table=7100)), False, False),
        (Change("del", route("10.0.0.0/8", "tun0")), False, True),
        (Change("del", rule("0.0.0.0/32", to="10.20.0.0/24")), False, True),
        (Change("del", rule("172.30.0.0/16")), False, False),
    ],
    ids=str,
)
def test_a_plan_beside_a_run_leaves_out_what_only_the_run_can_know(
    change: Change, *, copies: bool, takes: bool
) -> None:
    """What stood in the main table before the client, and what its tunnel brought."""
    assert (change.copies, change.takes_from_tunnel) == (copies, takes)


def test_a_link_that_is_down_is_set_up() -> None:
    """Whatever MTU it has, where none is wanted."""
    want = Wanted(links=(LinkState("tun0"),))
    assert [str(step) for step in difference(want, Seen().link("tun0", "tun", up=False).snapshot)] == [
        "ip link set dev tun0 up"
    ]
    assert difference(want, Seen().link("tun0", "tun").snapshot) == []
