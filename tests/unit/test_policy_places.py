"""Our rules stay before those that the kernel gave a place right before them."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from entrypoint.network import Rule
from entrypoint.policy import Wanted, in_front


def place(theirs: Sequence[int], version: int = 4, priority: int = 90) -> set[int]:
    """Return where our IPv4 rules go beside those of others."""
    rules = (
        Rule(ip_network("172.30.0.0/16"), 7100, priority),
        Rule(ip_network("0.0.0.0/0"), 7100, priority, mark=0x5347),
    )
    moved = in_front(Wanted(rules=rules), [(version, other) for other in theirs])
    return {rule.priority for rule in moved.rules}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ([], 90),
        ([0, 32766, 32767], 90),
        ([98, 100, 101, 5210], 90),
        ([90], 90),
        ([89], 88),
        ([89, 87], 86),
        ([85, 83], 82),
        ([89, 10], 88),
        ([10], 90),
        ([25], 90),
        ([26], 25),
    ],
    ids=str,
)
def test_ours_go_before_what_was_put_right_before_them(theirs: list[int], ours: int) -> None:
    """A rule far ahead was put there on purpose, and is told of instead."""
    assert place(theirs) == {ours}


def test_the_other_family_moves_nothing() -> None:
    """Each has a list of its own."""
    assert place([89], version=6) == {90}


def test_there_is_no_place_before_the_first() -> None:
    """Priority 0 is the kernel's own; where we are first already, nothing is moved."""
    assert place([1], priority=2) == {1}
    assert place([], priority=1) == {1}


def test_rules_by_destination_stay_behind_those_by_source() -> None:
    """In IPv6 they have the next priority, and both move as one."""
    rules = (
        Rule(ip_network("fd00:30::/64"), 7100, 90),
        Rule(ip_network("::/0"), 7100, 91, ip_network("fd00:20::/64")),
    )
    moved = in_front(Wanted(rules=rules), [(6, 89)])
    assert [rule.priority for rule in moved.rules] == [87, 88]


def test_the_kernels_own_first_rule_is_in_nobodys_way() -> None:
    """It has priority 0, and before that there is nothing."""
    assert place([0], priority=60) == {60}
