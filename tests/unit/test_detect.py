from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.detect import ContainerNetwork, Gateways, NextHop, container_networks, why_none
from entrypoint.network import PROTOCOL, TUNNEL_KINDS, Route, Snapshot
from entrypoint.tunnels import tunnels
from tests.unit.kernel_values import DOCKER, DUAL, Seen, route

POD = (
    Seen()
    .link("eth0")
    .address("eth0", "10.244.1.5/32")
    .routes(route("default", via="169.254.1.1"), route("169.254.1.1/32"))
)


def find(seen: Seen, named: Gateways | None = None) -> tuple[ContainerNetwork, ...]:
    """Detect with nothing remembered."""
    return container_networks(seen.snapshot, named or {}, {})


def lines(found: tuple[ContainerNetwork, ...]) -> list[str]:
    """Write what was found, a line each."""
    return [
        f"{n.network} on {n.link} by {n.gateway}" if n.gateway else f"{n.link}: {n.problem}" for n in found
    ]


def test_a_container_of_docker_has_one_network_and_its_gateway() -> None:
    """The default route of the main table names it."""
    assert lines(find(DOCKER)) == ["172.30.0.0/16 on eth0 by 172.30.0.1"]
    assert find(DOCKER)[0].interface == ip_interface("172.30.0.2/16")


def test_both_families_are_found_and_the_link_local_one_is_not() -> None:
    """Replies to a link-local address never leave the link."""
    assert lines(find(DUAL)) == [
        "172.30.0.0/16 on eth0 by 172.30.0.1",
        "fd00:30::/64 on eth0 by fd00:30::1",
    ]


@pytest.mark.parametrize("kind", sorted(TUNNEL_KINDS))
def test_a_tunnel_is_no_container_network(kind: str) -> None:
    """Neither a VPN of our own client nor one that was there before."""
    seen = DOCKER.link("vpn0", kind).address("vpn0", "10.99.0.2/24")
    assert lines(find(seen)) == lines(find(DOCKER))


def test_a_pod_has_its_gateway_outside_of_its_network() -> None:
    """Calico and Cilium give a /32 and a gateway on the link."""
    assert lines(find(POD)) == ["10.244.1.5/32 on eth0 by 169.254.1.1"]


def test_a_second_network_without_a_default_is_told_with_the_setting_that_names_its_gateway() -> None:
    """`docker network connect` brings no route; the network that can be served comes first."""
    seen = (
        Seen()
        .link("eth0")
        .link("eth1")
        .address("eth0", "172.31.0.2/16")
        .address("eth1", "172.30.0.2/16")
        .routes(route("default", "eth1", via="172.30.0.1"), route("172.31.0.0/16", protocol=2))
    )
    assert lines(find(seen)) == [
        "172.30.0.0/16 on eth1 by 172.30.0.1",
        (
            "eth0: cannot find the gateway of eth0 (172.31.0.0/16): saw no route that names one; "
            "set GATEWAYS=eth0=<address of its router>"
        ),
    ]


def test_a_gateway_that_the_user_named_goes_before_all_that_is_seen() -> None:
    """Of its own family and interface only."""
    named = {("eth0", 4): ip_address("172.30.0.9"), ("eth1", 6): ip_address("fd00:30::9")}
    assert lines(find(DUAL, named)) == [
        "172.30.0.0/16 on eth0 by 172.30.0.9",
        "fd00:30::/64 on eth0 by fd00:30::1",
    ]


def test_two_equal_gateways_are_not_chosen_between() -> None:
    """The text shows both and how to name one."""
    two = DOCKER.routes(route("default", via="172.30.0.254"))
    assert lines(find(two)) == [
        (
            "eth0: cannot choose the gateway of eth0 (172.30.0.0/16): saw 172.30.0.1 and 172.30.0.254; "
            "set GATEWAYS=eth0=172.30.0.1 or the one that leads to your LAN"
        )
    ]


def test_the_lower_metric_is_the_gateway_in_use() -> None:
    """As the kernel itself chooses."""
    backup = DOCKER.routes(route("default", via="172.30.0.254", metric=100))
    assert lines(find(backup)) == lines(find(DOCKER))


def test_the_main_table_goes_before_a_strangers_table() -> None:
    """Somebody's policy routing by another router does not make the gateway doubtful."""
    stranger = DOCKER.routes(route("default", via="172.30.0.254", table=200))
    assert lines(find(stranger)) == lines(find(DOCKER))


def test_a_strangers_table_is_better_than_none() -> None:
    """Where the main table has no default by this link, another table's goes before a host route."""
    seen = (
        Seen()
        .link("eth0")
        .address("eth0", "172.30.0.2/16")
        .routes(
            route("default", via="172.30.0.1", table=200),
            route("198.51.100.10/32", via="172.30.0.9"),
        )
    )
    assert lines(find(seen)) == lines(find(DOCKER))


def test_a_killed_runs_table_still_knows_the_gateway() -> None:
    """Its client may have taken the default route from the main table."""
    seen = (
        Seen()
        .link("eth0")
        .address("eth0", "172.30.0.2/16")
        .routes(route("default", via="172.30.0.1", table=7100, protocol=PROTOCOL))
    )
    assert lines(find(seen)) == ["172.30.0.0/16 on eth0 by 172.30.0.1"]


def test_a_killed_runs_table_tells_the_gateway_from_a_stray() -> None:
    """A server can push a default route by a neighbour; alone, two are no choice of ours."""
    stray = DOCKER.routes(route("default", via="172.30.0.3"))
    ours = route("default", via="172.30.0.1", table=7100, protocol=PROTOCOL)
    assert lines(find(stray.routes(ours))) == lines(find(DOCKER))
    assert find(stray)[0].problem


def test_a_moved_default_goes_before_our_own_table() -> None:
    """What we set says where the gateway was."""
    seen = (
        Seen()
        .link("eth0")
        .address("eth0", "172.30.0.2/16")
        .routes(
            route("default", via="172.30.0.1", table=7100, protocol=PROTOCOL),
            route("default", via="172.30.0.9", metric=100),
        )
    )
    assert lines(find(seen)) == ["172.30.0.0/16 on eth0 by 172.30.0.9"]


def test_beside_a_foreign_vpn_the_host_route_to_its_server_names_the_gateway() -> None:
    """OpenVPN's redirect-gateway without def1 takes the default route away and leaves this one."""
    seen = (
        Seen()
        .link("eth0")
        .address("eth0", "172.30.0.2/16")
        .routes(route("198.51.100.10/32", via="172.30.0.1"), route("172.30.0.0/16", protocol=2))
    )
    assert lines(find(seen)) == ["172.30.0.0/16 on eth0 by 172.30.0.1"]


def test_a_link_that_went_down_keeps_its_gateway_in_memory() -> None:
    """The kernel drops its routes, and the router has not moved."""
    seen = Seen().link("eth0", up=False).address("eth0", "172.30.0.2/16")
    remembered = {("eth0", ip_network("172.30.0.0/16")): NextHop(ip_address("172.30.0.1"))}
    (network,) = container_networks(seen.snapshot, {}, remembered)
    assert (network.up, network.gateway) == (False, NextHop(ip_address("172.30.0.1")))


REMEMBERED = {("eth0", ip_network("172.30.0.0/16")): NextHop(ip_address("172.30.0.1"))}


@pytest.mark.parametrize(("protocol", "moves"), [(3, False), (186, False), (4, True), (9, True), (16, True)])
@pytest.mark.parametrize("beside", [True, False], ids=["beside-the-old", "the-old-is-gone"])
def test_only_who_configures_the_link_moves_a_gateway_that_is_in_use(
    protocol: int,
    beside: bool,  # noqa: FBT001 - a parameter
    moves: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A server can push a route by any neighbour; static, ra and dhcp are the words of who is in charge."""
    old = (route("default", via="172.30.0.1", metric=100),) if beside else ()
    pushed = route("default", via="172.30.0.77", metric=5, protocol=protocol)
    seen = Seen().link("eth0").address("eth0", "172.30.0.2/16").routes(*old, pushed)
    (network,) = container_networks(seen.snapshot, {}, REMEMBERED)
    assert str(network.gateway) == ("172.30.0.77" if moves else "172.30.0.1")


def test_a_gateway_of_a_network_that_is_gone_is_not_kept() -> None:
    """While an address is changed, the new network is seen with the old one's default route first."""
    remembered = {("eth0", ip_network("172.29.0.0/16")): NextHop(ip_address("172.30.0.1"))}
    seen = (
        Seen()
        .link("eth0")
        .address("eth0", "172.29.0.2/16")
        .routes(route("default", via="172.29.0.1"), route("198.51.100.1/32", via="172.29.0.7"))
    )
    (network,) = container_networks(seen.snapshot, {}, remembered)
    assert str(network.gateway) == "172.29.0.1"


def test_a_pods_gateway_is_kept_though_it_lies_in_no_network() -> None:
    """Nor does a pushed route by another that lies in none."""
    remembered = {("eth0", ip_network("10.244.1.5/32")): NextHop(ip_address("169.254.1.1"))}
    pushed = Seen().link("eth0").address("eth0", "10.244.1.5/32").routes(route("default", via="10.244.1.9"))
    (network,) = container_networks(pushed.snapshot, {}, remembered)
    assert str(network.gateway) == "169.254.1.1"


def test_an_ipv4_default_by_an_ipv6_gateway_is_a_gateway() -> None:
    """RFC 5549, as some data centres give it."""
    seen = Seen().link("eth0").address("eth0", "172.30.0.2/16").routes(route("default", via="fe80::1"))
    assert lines(find(seen)) == ["172.30.0.0/16 on eth0 by fe80::1"]


@pytest.mark.parametrize("own", ["172.30.0.2", "10.98.0.2"])
def test_an_address_of_our_own_is_no_gateway(own: str) -> None:
    """Whichever link it is on; the text says which setting names it."""
    seen = DOCKER.link("eth1").address("eth1", "10.98.0.2/24")
    network = next(found for found in find(seen, {("eth0", 4): ip_address(own)}) if found.link == "eth0")
    assert network.problem == f"cannot use GATEWAYS=eth0={own}: saw our own address; name the router's"
    assert network.gateway is None


def test_a_network_of_length_zero_is_nobodys() -> None:
    """A rule by it would be a rule for every packet."""
    assert find(Seen().link("eth0").address("eth0", "172.30.0.2/0")) == ()


def test_a_link_without_a_carrier_is_served_and_told() -> None:
    """The kernel keeps its routes; nobody is at the other end."""
    seen = Seen().link("eth0", carrier=False).address("eth0", "172.30.0.2/16")
    (network,) = container_networks(seen.snapshot, {}, REMEMBERED)
    assert (network.up, network.carrier) == (True, False)


def test_a_default_route_without_a_gateway_is_a_way_out() -> None:
    """A point-to-point link, as some providers of containers make."""
    seen = Seen().link("eth0").address("eth0", "10.1.2.3/32").routes(route("default"))
    assert lines(find(seen)) == ["10.1.2.3/32 on eth0 by the link itself"]


def test_a_network_is_one_network_however_many_addresses_it_has() -> None:
    """The kernel's first address stands for it; another network on the same link is another."""
    seen = DOCKER.address("eth0", "172.30.0.5/16").address("eth0", "192.168.9.2/24")
    assert [str(n.interface) for n in find(seen)] == ["172.30.0.2/16", "192.168.9.2/24"]


def test_no_network_at_all_is_told_with_what_was_seen() -> None:
    """Links with their addresses, those that cannot serve with the reason."""
    seen = Seen().link("eth0", up=False).link("tun0", "tun").address("tun0", "10.99.0.2/24")
    assert why_none(seen.snapshot, find(seen)) == (
        "cannot find a container network: saw lo (no address), eth0 (no address, down), "
        "tun0 (10.99.0.2/24, a tunnel); "
        "attach the container to a network (compose: `networks:`, not `network_mode: none`)"
    )


def test_networks_without_a_gateway_tell_each_its_problem() -> None:
    """One that can be served is enough to start."""
    lost = Seen().link("eth0").address("eth0", "172.30.0.2/16").address("eth0", "fd00:30::2/64")
    why = why_none(lost.snapshot, find(lost))
    assert why is not None
    assert why.count("cannot find the gateway of eth0") == 2
    half = lost.routes(route("default", via="172.30.0.1"))
    assert why_none(half.snapshot, find(half)) is None


def test_a_tunnel_counts_once_it_is_up_and_has_an_address() -> None:
    """Before that nothing can be sent through it."""
    seen = (
        DOCKER.link("tun0", "tun").link("tun1", "tun", up=False).link("wg0", "wireguard")
        .address("tun1", "10.98.0.2/24").address("wg0", "10.97.0.2/24").address("wg0", "fd00:97::2/64")
    )  # fmt: skip
    assert [(found.link.name, [str(a) for a in found.addresses]) for found in tunnels(seen.snapshot)] == [
        ("wg0", ["10.97.0.2/24", "fd00:97::2/64"])
    ]


interfaces = st.sampled_from(
    ["172.30.0.2/16", "172.31.0.2/24", "10.1.2.3/32", "fd00:30::2/64", "fe80::1/64", "fd00::1/128"]
)
routes = st.builds(
    route,
    st.sampled_from(["default", "default6", "198.51.100.1/32", "10.0.0.0/8", "fd00:99::/64"]),
    st.sampled_from(["eth0", "eth1", "gone"]),
    via=st.sampled_from([None, "172.30.0.1", "172.30.0.2", "fe80::9"]),
    table=st.sampled_from([254, 7100, 200]),
    metric=st.sampled_from([0, 100]),
    protocol=st.sampled_from([2, 3, PROTOCOL]),
).filter(lambda r: r.gateway is None or r.gateway.version == r.destination.version)


def test_of_two_routers_that_announce_themselves_the_known_one_is_kept() -> None:
    """What tells who is in charge moves the gateway only where it names another one alone."""
    known = NextHop(ip_address("fe80::1"))
    seen = Seen().link("eth0").address("eth0", "fd00:30::2/64")
    ra = [route("default6", via=router, metric=1024, protocol=9) for router in ("fe80::1", "fe80::2")]
    remembered = {("eth0", ip_network("fd00:30::/64")): known}
    (both,) = container_networks(seen.routes(*ra).snapshot, {}, remembered)
    (other,) = container_networks(seen.routes(ra[1]).snapshot, {}, remembered)
    assert (both.gateway, other.gateway) == (known, NextHop(ip_address("fe80::2")))


@given(
    st.lists(st.tuples(st.sampled_from(["eth0", "eth1", "tun0"]), interfaces), max_size=5),
    st.lists(routes, max_size=6),
    st.booleans(),
)
def test_each_network_has_a_way_out_or_a_reason(
    addresses: list[tuple[str, str]],
    there: list[Route],
    up: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Never both and never neither; the reason is one line that names link, network and setting."""
    seen = Seen().link("eth0", up=up).link("eth1").link("tun0", "tun").routes(*there)
    for link, interface in addresses:
        seen = seen.address(link, interface)
    found = find(seen)
    assert len({network.key for network in found}) == len(found)
    for network in found:
        assert network.link != "tun0"
        assert (network.gateway is None) != (network.problem is None)
        if network.problem:
            assert len(network.problem.splitlines()) == 1
            assert f"{network.link} ({network.network})" in network.problem
            assert f"GATEWAYS={network.link}=" in network.problem
    assert sorted(found, key=lambda network: network.gateway is None) == list(found)
    assert (why_none(seen.snapshot, found) is None) == any(network.gateway for network in found)


def test_an_empty_kernel_is_no_exception() -> None:
    """A namespace without even a loopback."""
    assert why_none(Snapshot(), ()) is not None


SECOND = DOCKER.link("eth1").address("eth1", "172.31.0.2/16")


@pytest.mark.parametrize(
    ("interface", "candidate"),
    [
        ("172.31.0.2/16", "172.31.0.1"),
        ("fd00:31::2/64", "fd00:31::1"),
        ("172.31.0.2/30", "172.31.0.1"),
        ("172.31.0.1/16", None),
        ("172.31.0.2/31", None),
        ("172.31.0.2/32", None),
        ("fd00:31::2/128", None),
    ],
)
def test_the_first_address_is_the_likely_router(interface: str, candidate: str | None) -> None:
    """Unless it is ours, or there is no room for one."""
    found = find(DOCKER.link("eth1").address("eth1", interface))
    assert found[-1].candidate == (ip_address(candidate) if candidate else None)
    assert found[0].candidate is None


def test_who_did_not_answer_is_told_with_the_problem() -> None:
    """And is named no more where a route tells another."""
    key = ("eth1", ip_network("172.31.0.0/16"))
    told = container_networks(SECOND.snapshot, {}, {}, {key})[-1].problem
    assert told is not None
    assert "saw no route that names one, and 172.31.0.1 does not answer as a router does; set GATE" in told
    served = SECOND.routes(route("default", "eth1", via="172.31.0.9", metric=100))
    assert lines(container_networks(served.snapshot, {}, {}, {key}))[-1].endswith("by 172.31.0.9")


def test_a_question_that_stands_tells_nothing() -> None:
    """Its route goes by the candidate, and is ours."""
    asked = SECOND.routes(route("192.0.2.83/32", "eth1", via="172.31.0.1", table=7101, protocol=PROTOCOL))
    assert find(asked)[-1].gateway is None


def test_where_the_main_table_leads_comes_first() -> None:
    """Whatever is named or remembered of others; a client that takes the default route moves nothing."""
    named = {("eth0", 4): ip_address("172.31.0.1")}
    seen = Seen().link("eth0").link("eth1").address("eth0", "172.31.0.2/16").address("eth1", "172.30.0.2/16")
    before = find(seen.routes(route("default", "eth1", via="172.30.0.1")), named)
    assert [network.link for network in before] == ["eth1", "eth0"]
    remembered = {network.key: network.gateway for network in before if network.gateway}
    after = container_networks(seen.snapshot, named, remembered)
    assert [network.link for network in after] == ["eth1", "eth0"]
    moved = seen.routes(route("default", "eth0", via="172.31.0.1"))
    assert [n.link for n in container_networks(moved.snapshot, named, remembered)] == ["eth0", "eth1"]
