"""What a client leaves to us: its tunnel's link, the servers to pin, what stays beside the tunnel."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from entrypoint.changes import difference
from entrypoint.network import Snapshot, TunnelSetup
from entrypoint.policy import Brought, Wanted, assign_tables, wanted, with_tunnel
from tests.unit.kernel_values import DUAL, Seen
from tests.unit.wants import container

CONTAINER = Seen().link("eth0").address("eth0", "172.30.0.2/16")
WITH_LINK = CONTAINER.link("wg0", "wireguard", up=False)


def setup(
    *routes: str, mtu: int | None = 1420, addresses: tuple[str, ...] = ("10.99.0.2/24",)
) -> TunnelSetup:
    """Write what wg0 must be like."""
    return TunnelSetup(
        link="wg0",
        mtu=mtu,
        addresses=tuple(map(ip_interface, addresses)),
        routes=tuple(map(ip_network, routes)),
    )


def steps(wish: TunnelSetup | None, snapshot: Snapshot) -> list[str]:
    """Return the iproute2 lines that lead to it."""
    return [str(step) for step in difference(with_tunnel(Wanted(), wish, snapshot), snapshot)]


def test_a_tunnel_is_set_up_in_the_order_that_the_kernel_takes() -> None:
    """Link, address, route: each needs what comes before."""
    assert steps(setup("10.0.0.0/8", "fd00::/16"), WITH_LINK.snapshot) == [
        "ip link set dev wg0 mtu 1420 up",
        "ip address add 10.99.0.2/24 dev wg0",
        "ip route add 10.0.0.0/8 dev wg0 scope link proto 83",
        "ip -6 route add fd00::/16 dev wg0 proto 83",
    ]


def test_our_rules_do_not_wait_for_routes_into_the_tunnel() -> None:
    """They may be thousands."""
    networks = (container("172.30.0.2/16", "172.30.0.1"),)
    ours = wanted(networks, assign_tables(networks, {}, 7100), 90)
    wish = with_tunnel(ours, setup("10.0.0.0/8"), WITH_LINK.snapshot)
    told = [str(step) for step in difference(wish, WITH_LINK.snapshot)]
    assert told[-1] == "ip route add 10.0.0.0/8 dev wg0 scope link proto 83"
    assert any("ip rule add" in line for line in told)


def test_a_whole_family_is_taken_in_halves() -> None:
    """The container's default route stays where it is: our tables' and everybody's way out."""
    told = steps(setup("0.0.0.0/0", "::/0", addresses=()), WITH_LINK.snapshot)
    assert told[1:] == [
        "ip route add 0.0.0.0/1 dev wg0 scope link proto 83",
        "ip route add 128.0.0.0/1 dev wg0 scope link proto 83",
        "ip -6 route add ::/1 dev wg0 proto 83",
        "ip -6 route add 8000::/1 dev wg0 proto 83",
    ]


def test_nothing_is_set_up_before_the_client_made_its_link() -> None:
    """The link is the client's to make."""
    assert steps(setup("10.0.0.0/8"), CONTAINER.snapshot) == []


def test_a_network_that_a_link_is_in_stays_where_it_is() -> None:
    """The kernel refuses a second route to it, and its neighbours are nearer than the tunnel."""
    told = steps(setup("172.30.0.0/16", "10.99.0.0/24", "172.30.5.0/24"), WITH_LINK.snapshot)
    assert [line for line in told if "route" in line] == [
        "ip route add 172.30.5.0/24 dev wg0 scope link proto 83"
    ]


def test_a_link_of_another_mtu_is_set_and_a_right_one_left() -> None:
    """Somebody else's word on the MTU lasts only where the client has none."""
    up = CONTAINER.link("wg0", "wireguard")
    odd = replace(up.snapshot, links=tuple(replace(link, mtu=1500) for link in up.snapshot.links))
    assert steps(setup(addresses=()), odd) == ["ip link set dev wg0 mtu 1420 up"]
    assert steps(setup(addresses=(), mtu=None), odd) == []


def test_a_pinned_server_is_kept_on_the_gateway() -> None:
    """Only what has no source yet: in IPv6 that is what no rule by source took, and those stand before."""
    networks = (container("172.30.0.2/16", "172.30.0.1"), container("fd00:30::2/64", "fd00:30::1"))
    brought = Brought(pinned=(ip_address("198.51.100.10"), ip_address("2001:db8:100::10")))
    rules = wanted(networks, assign_tables(networks, {}, 7100), 90, brought.beside).rules
    assert [str(rule) for rule in rules if rule.destination] == [
        "from 0.0.0.0/32 to 198.51.100.10/32 iif lo lookup 7100 priority 90 protocol 83",
        "from all to 2001:db8:100::10/128 iif lo lookup 7100 priority 91 protocol 83",
    ]


def test_what_the_tunnel_leaves_out_is_kept_on_the_gateway() -> None:
    """A corporate VPN's split-exclude list."""
    wish = replace(setup("0.0.0.0/0"), excluded=(ip_network("203.0.113.0/24"),))
    assert Brought(wish).beside == (ip_network("203.0.113.0/24"),)
    assert Brought().beside == ()


def test_a_tunnel_that_is_gone_takes_its_routes_with_it() -> None:
    """What is ours by the tunnel and wanted no more is deleted like any other."""
    want = with_tunnel(Wanted(), setup("10.0.0.0/8"), WITH_LINK.snapshot)
    standing = replace(DUAL.snapshot, routes=want.routes)
    assert [str(step) for step in difference(Wanted(), standing)] == [
        "ip route del 10.0.0.0/8 dev wg0 scope link proto 83"
    ]
