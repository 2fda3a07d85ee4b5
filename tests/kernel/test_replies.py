"""The kernel's own word on which way replies leave, asked at each pass while a tunnel is up."""

import pytest

from tests.kernel.conftest import Container

PRIVATE = ("10.0.0.0/8", "fd00::/16")


def test_before_a_tunnel_is_there_nothing_is_claimed(container: Container) -> None:
    """Every way leads out by the gateway then, and the answer would prove nothing."""
    assert container.keep().watching().passes[-1]["replies"] == {}


def test_with_a_tunnel_each_network_is_asked_about(container: Container) -> None:
    """To an address off every link and to a neighbour in the tunnel; the tunnel's own address, too."""
    keeper = container.keep().watching()
    container.tunnel(*PRIVATE)
    last = keeper.next_pass(lambda last: len(last["replies"]) == 6)
    assert last["replies"] == {
        "172.30.0.2 192.0.2.1": None,
        "172.30.0.2 10.99.0.1": None,
        "fd00:30::2 2001:db8::1": None,
        "fd00:30::2 fd00:99::1": None,
        "10.99.0.2 10.99.0.1": None,
        "fd00:99::2 fd00:99::1": None,
    }


@pytest.mark.parametrize(
    ("family", "source", "reply"),
    [("", "172.30.0.0/16", "172.30.0.2 192.0.2.1"), ("-6 ", "fd00:30::/64", "fd00:30::2 2001:db8::1")],
    ids=["ipv4", "ipv6"],
)
def test_a_strangers_rule_before_ours_is_the_problem_that_is_named(
    container: Container, family: str, source: str, reply: str
) -> None:
    """Ours stands as wanted, and replies leave another way all the same: the table says whose."""
    container.tunnel(*PRIVATE)
    keeper = container.keep().watching()
    keeper.next_pass(lambda last: reply in last["replies"] and not last["replies"][reply])
    container.host.ip(f"{family}route add default dev tun0 table 300")
    container.host.ip(f"{family}rule add from {source} lookup 300 priority 10")
    last = keeper.next_pass(lambda last: last["replies"][reply])
    assert last["replies"][reply].startswith("would leave by tun0 (table 300) and not by eth0 via ")
    assert last["problem"] is None
    container.host.ip(f"{family}rule del from {source} lookup 300 priority 10")
    keeper.next_pass(lambda last: not any(last["replies"].values()))


def test_a_reply_that_would_not_leave_at_all_is_told(container: Container) -> None:
    """A rule that says unreachable, before ours."""
    container.tunnel(*PRIVATE)
    keeper = container.keep().watching()
    container.host.ip("rule add from 172.30.0.0/16 priority 10 type unreachable")
    last = keeper.next_pass(lambda last: last["replies"].get("172.30.0.2 192.0.2.1"))
    assert last["replies"]["172.30.0.2 192.0.2.1"].startswith("would not leave at all: ")


def test_a_strangers_better_default_in_our_table_is_seen(container: Container) -> None:
    """IPv6 takes a second default of a lower metric beside ours, without a word."""
    container.tunnel(*PRIVATE)
    keeper = container.keep().watching()
    container.host.ip("-6 route add default via fd00:99::9 dev tun0 metric 5 table 7100 proto static")
    last = keeper.next_pass(lambda last: last["replies"].get("fd00:30::2 2001:db8::1"))
    assert "tun0 via fd00:99::9 (table 7100)" in last["replies"]["fd00:30::2 2001:db8::1"]
