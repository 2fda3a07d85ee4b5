"""IPv6 addresses that went with their link, told from what somebody took: by what pass after pass read."""

from dataclasses import replace

from entrypoint.lost_addresses import Memory, given_back, remembered
from entrypoint.network import PROTOCOL, Snapshot
from tests.unit.kernel_values import Seen, route

OURS = route("fd00:30::/64", table=7100, protocol=PROTOCOL)
LINK = Seen().link("eth0").address("eth0", "172.30.0.2/16").address("eth0", "fe80::2/64")
FIRST, SECOND = "fd00:30::2/64", "fd00:30::3/64"
WELL = LINK.address("eth0", SECOND).address("eth0", FIRST).routes(OURS)
DOWN = Seen().link("eth0", up=False).address("eth0", "172.30.0.2/16")
BACK = [f"ip address add {interface} dev eth0 nodad" for interface in (FIRST, SECOND)]


def steps(*seen: Seen | Snapshot) -> list[list[str]]:
    """Return what each pass would give back, one that saw all well being the first."""
    memory: Memory = {}
    told = []
    for found in (WELL, *seen):
        snapshot = found.snapshot if isinstance(found, Seen) else found
        told.append([str(step) for step in given_back(memory, snapshot)])
        memory = remembered(memory, snapshot)
    return told[1:]


def test_what_went_with_a_link_that_was_seen_down_comes_back_once() -> None:
    """The oldest first, as the kernel prefers the youngest; who takes all of it after that is not fought."""
    assert steps(DOWN, DOWN, LINK, WELL, LINK.routes(OURS), LINK) == [[], [], BACK, [], [], []]
    assert steps(DOWN, LINK.address("eth0", FIRST)) == [[], BACK[1:]]


def test_all_that_went_with_our_routes_was_taken_by_the_kernel() -> None:
    """The link's fall was quicker than the look; so may the next one be, before our routes stand."""
    assert steps(LINK, LINK, LINK.address("eth0", SECOND).address("eth0", FIRST)) == [BACK, BACK, []]


def test_a_look_that_the_fall_came_into_is_remembered() -> None:
    """The addresses were read before it and our routes after it, and we set those at once."""
    bare = replace(WELL.snapshot, routes=())
    assert steps(bare, LINK.routes(OURS)) == [[], BACK]
    assert steps(bare, WELL, LINK.routes(OURS)) == [[], [], []]


def test_what_somebody_takes_stays_away() -> None:
    """One of several, or all while our routes stand; also when the link falls later."""
    one = LINK.address("eth0", SECOND).routes(OURS)
    assert steps(one, DOWN, LINK) == [[], [], BACK[1:]]
    assert steps(LINK.routes(OURS), LINK, DOWN, LINK) == [[], [], [], []]


def test_a_link_that_somebody_has_in_hand_gets_nothing() -> None:
    """One that was made anew under its name, or was given another address while it was down."""
    anew = Seen().link("eth1").link("eth0")
    assert steps(DOWN, anew, DOWN, LINK) == [[], [], [], []]
    assert steps(DOWN, LINK.address("eth0", "fd00:31::2/64")) == [[], []]


def test_what_a_router_announced_is_not_given_back() -> None:
    """It is announced anew; and a link without any route of ours may have lost its address to anybody."""
    *others, last = WELL.snapshot.addresses
    announced = replace(WELL.snapshot, addresses=(*others, replace(last, permanent=False)))
    assert steps(announced, DOWN, LINK) == [[], [], BACK[1:]]
    unserved = remembered({}, replace(WELL.snapshot, routes=()))
    assert given_back(unserved, LINK.snapshot) == []
