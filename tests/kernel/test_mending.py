"""What others do to our rules and routes, and to what they rest on."""

import contextlib
import socket
from collections.abc import Callable

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import Monitor, everything, ours, routes, way
from tests.kernel.test_standing import DOCKER
from tests.lab.waiting import until

BACK_SECONDS = 2.0
"""A few milliseconds when nothing else runs; the limit leaves room for a busy machine."""
Damage = Callable[[Container], None]


def deleted_rule(container: Container) -> None:
    """Take the IPv4 rule away."""
    container.host.ip("rule del from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83")


def deleted_rule6(container: Container) -> None:
    """Take the IPv6 rule away."""
    container.host.ip("-6 rule del from fd00:30::/64 iif lo lookup 7100 priority 90 protocol 83")


def all_rules_flushed(container: Container) -> None:
    """Do as some VPN scripts do at their start."""
    container.host.ip("rule flush protocol 83", "-6 rule flush protocol 83")


def flushed_table(container: Container) -> None:
    """Empty our table of both families."""
    container.host.ip("route flush table 7100", "-6 route flush table 7100")


def deleted_default(container: Container) -> None:
    """Take the table's default alone."""
    container.host.ip("route del default table 7100", "route del default via fd00:30::1 dev eth0 table 7100")


def deleted_last_resort(container: Container) -> None:
    """Delete what ends our table, of both families."""
    container.host.ip(
        "route del unreachable default metric 4294967295 table 7100",
        "-6 route del unreachable default metric 4294967295 table 7100",
    )


def deleted_connected(container: Container) -> None:
    """Take the route that the default's gateway is reached by."""
    container.host.ip("route del 172.30.0.0/16 table 7100")


def link_down_and_up(container: Container) -> None:
    """Cut the link: IPv4 routes vanish without a word, and IPv6 takes its addresses, too."""
    container.host.ip("link set eth0 down", "link set eth0 up")


def address_gone_and_back(container: Container) -> None:
    """Take the address, and with it every route that has it or needs it."""
    container.host.ip(
        "address del 172.30.0.2/16 dev eth0",
        "address add 172.30.0.2/16 dev eth0",
        "route replace default via 172.30.0.1",
    )


def default_moved(container: Container) -> None:
    """Replace ours in place by one of another gateway, with our own tag."""
    container.host.ip("route replace default via 172.30.0.77 dev eth0 table 7100 proto 83")


@pytest.mark.parametrize(
    "damage",
    [
        deleted_rule,
        deleted_rule6,
        all_rules_flushed,
        flushed_table,
        deleted_default,
        deleted_connected,
        deleted_last_resort,
        link_down_and_up,
        address_gone_and_back,
        default_moved,
    ],
)
def test_what_somebody_took_comes_back(container: Container, damage: Damage) -> None:
    """Level, not edge: the same state stands soon after, whatever was done."""
    keeper = container.keep().watching()
    before = everything(container.host)
    monitor = Monitor(container.host)
    damage(container)
    until(lambda: everything(container.host) == before, BACK_SECONDS, f"the mending of {damage.__name__}")
    assert any(line.startswith("Deleted") or "172.30.0.77" in line for line in monitor.changes()) or (
        damage in {link_down_and_up, address_gone_and_back}
    )
    assert keeper.next_pass(lambda last: last["repairs"] > 0)["problem"] is None


def test_the_main_tables_default_is_not_ours_to_keep(container: Container) -> None:
    """A client that redirects the gateway takes it; replies stay on our table's own."""
    keeper = container.keep().watching()
    before = ours(container.host)
    monitor = Monitor(container.host)
    container.host.ip("route del default via 172.30.0.1")
    keeper.caught_up(container.host)
    assert len(monitor.changes()) == 1
    assert ours(container.host) == before


def test_the_main_tables_default_returns_with_its_link(container: Container) -> None:
    """A link that went down lost it, and the client could not reach its server without."""
    container.keep().watching()
    before = everything(container.host)
    container.host.ip("link set eth0 down", "link set eth0 up")
    until(lambda: everything(container.host) == before, BACK_SECONDS, "both default routes of the main table")


@pytest.mark.parametrize(
    ("source", "destination"), [("172.30.0.2", "10.20.0.5"), ("fd00:30::2", "fd00:20::5")]
)
def test_what_our_rules_take_does_not_enter_the_tunnel_while_the_link_is_down(
    container: Container, source: str, destination: str
) -> None:
    """The table is empty then but for its last resort, and the main table leads into the tunnel."""
    container.keep().watching()
    container.tunnel("10.0.0.0/8", "fd00::/16")
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with container.host.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) as service:
        service.bind((source, 7007))
        container.host.ip("link set eth0 down")
        assert way(container.host, destination) == "dev tun0"
        with pytest.raises(OSError, match=r"No route to host|Network is unreachable"):
            service.sendto(b"a reply", (destination, 7007))
    asked = container.host.run("ip", "route", "get", destination, "mark", "0x5347", check=False)
    assert "No route to host" in asked.stderr


@pytest.mark.parametrize("maker", ["static", "ra", "dhcp"])
def test_a_gateway_moved_by_who_configures_the_link_is_followed(container: Container, maker: str) -> None:
    """A lease, a router's advertisement, an operator's word; there is no moment without a default."""
    container.keep().watching()
    monitor = Monitor(container.host)
    container.host.ip(f"route replace default via 172.30.0.9 proto {maker}")
    moved = "default via 172.30.0.9 dev eth0 table 7100 proto 83"
    until(lambda: moved in ours(container.host), BACK_SECONDS, "the moved default")
    assert not [line for line in monitor.changes() if line.startswith("Deleted") and "7100" in line]


def test_a_changed_address_is_followed(container: Container) -> None:
    """Nothing of the old network is left, and the new one has all its lines."""
    container.keep().watching()
    container.host.ip(
        "address add 172.29.0.2/16 dev eth0",
        "address del 172.30.0.2/16 dev eth0",
        "route replace default via 172.29.0.1",
    )
    expected = {
        "90: from 172.29.0.0/16 iif lo lookup 7100 proto 83",
        "172.29.0.0/16 dev eth0 scope link table 7100 proto 83",
        "default via 172.29.0.1 dev eth0 table 7100 proto 83",
        "unreachable default metric 4294967295 table 7100 proto 83",
        "90: from all fwmark 0x5347 iif lo lookup 7100 proto 83",
    }

    def of_ipv4() -> set[str]:
        return {line for line in ours(container.host) if ":" not in line.removeprefix("90:")}

    until(lambda: of_ipv4() == expected, BACK_SECONDS, "the new network")


@pytest.mark.parametrize("subnet", ["172.30.0", "172.29.0"], ids=["the-same", "another"])
def test_a_link_that_was_deleted_is_served_again_when_it_is_back(container: Container, subnet: str) -> None:
    """Under its name, in whichever subnet; meanwhile nothing of ours is left over."""
    container.keep().watching()
    expected = {line.replace("172.30.0", subnet) for line in ours(container.host)}
    container.host.ip("link delete eth0")
    until(lambda: not ours(container.host), BACK_SECONDS, "the end of what belonged to the link")
    container.connect("eth0", f"{subnet}.2/16", "fd00:30::2/64")
    container.host.ip(f"route replace default via {subnet}.1", "route replace default via fd00:30::1")
    until(lambda: ours(container.host) == expected, BACK_SECONDS, "the link's three lines of each family")


def test_a_new_link_has_its_main_default_from_whoever_made_the_link(container: Container) -> None:
    """`docker network connect` adds the route after the address, and fails where one is there already."""
    keeper = container.keep().watching()
    container.host.ip("link delete eth0")
    until(lambda: not ours(container.host), BACK_SECONDS, "the end of what belonged to the link")
    container.connect("eth0", "172.30.0.2/16")
    back = "default via 172.30.0.1 dev eth0 table 7100 proto 83"
    until(lambda: back in ours(container.host), BACK_SECONDS, "our table's default")
    keeper.caught_up(container.host)
    assert not [
        line for line in routes(container.host) if line.startswith("default") and "table main" in line
    ]


def test_a_strangers_rule_of_our_priority_is_left_alone(container: Container) -> None:
    """The priority is a place in a list, and no claim."""
    container.host.ip("rule add from 10.0.0.0/8 lookup 200 priority 90 protocol static")
    stranger = "90: from 10.0.0.0/8 lookup 200 proto static"
    keeper = container.keep().watching()
    deleted_rule(container)
    until(lambda: ours(container.host) == DOCKER, BACK_SECONDS, "our rule")
    assert stranger in everything(container.host)
    keeper.process.terminate()
    assert everything(container.host) >= {stranger}
    assert not ours(container.host)


def test_a_strangers_rule_that_is_ours_but_for_the_tag_counts_and_is_left_alone(
    container: Container,
) -> None:
    """The kernel takes no second one; when the stranger takes it away, ours is made."""
    line = "rule {} from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol static"
    container.host.ip(line.format("add"))
    stranger = "90: from 172.30.0.0/16 iif lo lookup 7100 proto static"
    keeper = container.keep().watching()
    assert keeper.passes[-1]["problem"] is None
    assert stranger in everything(container.host)
    keeper.process.terminate()
    assert everything(container.host) >= {stranger}
    assert not ours(container.host)
    again = container.keep().watching()
    container.host.ip(line.format("del"))
    until(lambda: stranger.replace("static", "83") in ours(container.host), BACK_SECONDS, "a rule of our own")
    assert again.process.running


@pytest.mark.parametrize("route", ["default via 172.30.0.254", "default via fd00:30::ff dev eth0"])
def test_a_strangers_default_in_our_table_is_told_with_the_setting(container: Container, route: str) -> None:
    """It is not replaced: nothing of a stranger's is touched. The start ends as with any bad setting."""
    container.host.ip(f"route add {route} table 7100 proto static")
    before = everything(container.host)
    (text,) = container.keep().fault()
    assert "set ROUTE_TABLE to a range that is free" in text
    assert "File exists" in text
    assert everything(container.host) == before


def test_a_strangers_default_that_comes_later_is_told_and_the_rest_is_kept(container: Container) -> None:
    """The process goes on: services that share the namespace live in it."""
    keeper = container.keep().watching()
    container.host.ip("route replace default via 172.30.0.254 dev eth0 table 7100 proto static")
    last = keeper.next_pass(lambda last: last["problem"])
    assert "set ROUTE_TABLE to a range that is free" in last["problem"]
    container.host.ip("route del default via 172.30.0.254 table 7100")
    keeper.next_pass(lambda last: last["problem"] is None)
    assert "default via 172.30.0.1 dev eth0 table 7100 proto 83" in ours(container.host)


def test_somebody_who_takes_our_rule_again_and_again_does_not_drive_us_mad(container: Container) -> None:
    """Passes are bounded, and when the other ends, the rule stands."""
    keeper = container.keep().watching()
    for _ in range(200):
        with contextlib.suppress(AssertionError):  # it is not back yet
            deleted_rule(container)
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "our rule")
    assert keeper.process.running
    assert keeper.next_pass(lambda last: last["problem"] is None)


def test_a_main_default_that_a_killed_runs_client_took_is_put_back(container: Container) -> None:
    """OpenVPN's redirect-gateway without def1, killed: no default, a stray route, our table knows both."""
    before = everything(container.host)
    container.keep().watching().process.kill()
    left = ours(container.host)
    container.host.ip(
        "route add 198.51.100.10 via 172.30.0.1",
        "route del default via 172.30.0.1",
        "route add 2001:db8:100::10 via fd00:30::1",
        "route del default via fd00:30::1",
    )
    monitor = Monitor(container.host)
    keeper = container.keep({}, "198.51.100.10", "2001:db8:100::10").watching()
    assert everything(container.host) == before | left
    assert not [line for line in monitor.changes() if "7100" in line]
    keeper.process.terminate()
    assert everything(container.host) == before
