"""The main table is led back to what it was before the client."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from entrypoint.main_table import Before, Traces, before_client, main_routes, restored
from entrypoint.network import PROTOCOL, IPAddress, Link, Route, Snapshot
from tests.unit.kernel_values import DOCKER, DUAL, Seen, route


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
