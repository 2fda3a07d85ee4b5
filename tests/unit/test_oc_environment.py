"""What openconnect tells its script, turned into a tunnel, whatever a server says."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.clients.oc_environment import EXCLUDED_MAX, SEARCH_MAX, gateway, translate
from entrypoint.network import IPNetwork

TOLD = {
    "reason": "connect",
    "TUNDEV": "tun0",
    "VPNGATEWAY": "198.51.100.10",
    "INTERNAL_IP4_ADDRESS": "10.99.0.97",
    "INTERNAL_IP4_NETMASK": "255.255.255.0",
    "INTERNAL_IP4_NETMASKLEN": "24",
    "INTERNAL_IP4_NETADDR": "10.99.0.0",
    "INTERNAL_IP4_MTU": "1434",
    "INTERNAL_IP4_DNS": "10.0.0.53 fd00::53",
    "INTERNAL_IP6_ADDRESS": "fd00:99::5",
    "INTERNAL_IP6_NETMASK": "fd00:99::5/64",
    "CISCO_DEF_DOMAIN": "corp.example",
    "CISCO_SPLIT_INC": "1",
    "CISCO_SPLIT_INC_0_ADDR": "10.0.0.0",
    "CISCO_SPLIT_INC_0_MASK": "255.0.0.0",
    "CISCO_SPLIT_INC_0_MASKLEN": "8",
    "CISCO_IPV6_SPLIT_INC": "1",
    "CISCO_IPV6_SPLIT_INC_0_ADDR": "fd00::",
    "CISCO_IPV6_SPLIT_INC_0_MASKLEN": "16",
}
"""As openconnect 9.01 writes it beside ocserv."""
ANY = "0.0.0.0"  # noqa: S104 - nothing listens here


def without(*beginnings: str, **more: str) -> dict[str, str]:
    """Return TOLD without some variables, and with others."""
    return {name: value for name, value in TOLD.items() if not name.startswith(beginnings)} | more


def nets(*texts: str) -> list[IPNetwork]:
    """Return networks."""
    return [ip_network(text) for text in texts]


def test_a_split_tunnel_is_taken_whole() -> None:
    """Link, MTU, addresses alone, the networks they lie in, what is included, resolvers and domain."""
    told = translate(TOLD, ipv6=True)
    assert told.setup.link == "tun0"
    assert told.setup.mtu == 1434
    assert [str(address) for address in told.setup.addresses] == ["10.99.0.97/32", "fd00:99::5/128"]
    assert list(told.setup.routes) == nets("10.0.0.0/8", "10.99.0.0/24", "fd00::/16", "fd00:99::/64")
    assert told.setup.excluded == ()
    assert told.resolvers == (ip_address("10.0.0.53"), ip_address("fd00::53"))
    assert told.search == ("corp.example",)
    assert "route 10.0.0.0/8" in told.pushed
    assert gateway(TOLD) == ip_address("198.51.100.10")


def test_without_a_list_the_whole_family_is_meant() -> None:
    """As vpnc-script sets a default route; the other family keeps its list."""
    told = translate(without("CISCO_SPLIT_INC"), ipv6=True)
    assert ip_network("0.0.0.0/0") in told.setup.routes
    assert ip_network("::/0") not in told.setup.routes
    assert ip_network("::/0") in translate(without("CISCO_IPV6"), ipv6=True).setup.routes


def test_a_list_of_which_nothing_can_be_used_is_not_everything() -> None:
    """A garbled mask must not send all there is to the server."""
    told = translate(without(CISCO_SPLIT_INC_0_MASKLEN="33"), ipv6=True)
    assert [route for route in told.setup.routes if route.version == 4] == nets(
        "10.99.0.0/24", "10.0.0.53/32"
    )


def test_without_ipv6_in_the_container_there_is_none_in_the_tunnel() -> None:
    """Neither address nor routes, but the resolvers are told."""
    setup = translate(TOLD, ipv6=False).setup
    assert {part.version for part in (*setup.addresses, *setup.routes)} == {4}


def test_a_resolver_outside_of_the_routes_is_reached_by_the_tunnel() -> None:
    """And none gets a route that has one already."""
    routes = translate(
        without("INTERNAL_IP4_DNS", INTERNAL_IP4_DNS="192.0.2.53 10.0.0.53"), ipv6=True
    ).setup.routes
    assert ip_network("192.0.2.53/32") in routes
    assert ip_network("10.0.0.53/32") not in routes


def test_what_is_excluded_stays_outside() -> None:
    """Less Cisco's word for the LAN, which has its rule, and less everything, which would be no VPN."""
    excluded = [("10.1.0.0", "16"), (ANY, "32"), (ANY, "0"), ("10.1.0.0", "16")]
    more = {}
    for number, (address, length) in enumerate(excluded):
        more[f"CISCO_SPLIT_EXC_{number}_ADDR"] = address
        more[f"CISCO_SPLIT_EXC_{number}_MASKLEN"] = length
    assert list(translate(TOLD | more, ipv6=True).setup.excluded) == nets("10.1.0.0/16")


@pytest.mark.parametrize(
    ("mtu", "ipv6", "taken"),
    [
        ("1434", True, 1434),
        ("1000", True, 1280),
        ("1000", False, 1000),
        ("575", False, None),
        ("0", True, None),
    ],
)
def test_an_mtu_that_would_break_the_link_is_not_taken(mtu: str, taken: int | None, *, ipv6: bool) -> None:
    """IPv6 needs 1280 bytes, or the kernel takes it from the link."""
    assert translate(TOLD | {"INTERNAL_IP4_MTU": mtu}, ipv6=ipv6).setup.mtu == taken


@pytest.mark.parametrize("address", ["", ANY, "127.0.0.1", "224.0.0.1", "10.99.0.999", "::1", "10.0.0.1\n"])
def test_an_address_that_is_none_is_left_out(address: str) -> None:
    """The other family's tunnel comes all the same; without any there is nothing to set up."""
    told = TOLD | {"INTERNAL_IP4_ADDRESS": address}
    assert [a.version for a in translate(told, ipv6=True).setup.addresses] == [6]
    with pytest.raises(ValueError, match="no address"):
        translate(told, ipv6=False)


@pytest.mark.parametrize("name", ["", "a/b", "eth0; reboot", "x" * 16])
def test_a_link_that_is_none_is_refused(name: str) -> None:
    """It is openconnect's word, but it comes by the environment."""
    with pytest.raises(ValueError, match="interface name"):
        translate(TOLD | {"TUNDEV": name}, ipv6=True)


def test_domains_hold_nothing_but_names() -> None:
    """They end in resolv.conf: no line end, no option, and not thousands."""
    words = "corp.example\nnameserver 6.6.6.6, -x, ok.example,*.example," + ",".join(
        f"d{n}.example" for n in range(99)
    )
    search = translate(TOLD | {"CISCO_DEF_DOMAIN": "", "CISCO_SPLIT_DNS": words}, ipv6=True).search
    assert search[:4] == ("corp.example", "nameserver", "6.6.6.6", "ok.example")
    assert len(search) == SEARCH_MAX


def test_thousands_of_routes_are_taken_once_each() -> None:
    """As many as a server pushes, and no more rules than the kernel can look at."""
    more = {}
    for number in range(4000):
        for kind in ("INC", "EXC"):
            more[f"CISCO_SPLIT_{kind}_{number}_ADDR"] = f"10.{number // 250}.{number % 250}.0"
            more[f"CISCO_SPLIT_{kind}_{number}_MASKLEN"] = "24"
    setup = translate(TOLD | more, ipv6=True).setup
    assert len(setup.routes) == len(set(setup.routes)) > 4000
    assert len(setup.excluded) == EXCLUDED_MAX


names = st.sampled_from(
    [
        *TOLD,
        *(
            f"CISCO{v}_SPLIT_{k}_{n}_{p}"
            for v in ("", "_IPV6")
            for k in ("INC", "EXC")
            for n in (0, 1)
            for p in ("ADDR", "MASKLEN")
        ),
    ]
)
values = st.one_of(
    st.text(max_size=30),
    st.sampled_from([*TOLD.values(), "fe80::1%eth0", "10.1.2.3", "-1", "0", "32", "128", "129", "٣", "1e3"]),
    st.ip_addresses().map(str),
)


@given(st.dictionaries(names, values), st.booleans())
def test_whatever_a_server_says_the_answer_is_a_tunnel_or_a_fault(told: dict[str, str], ipv6: bool) -> None:  # noqa: FBT001
    """Nothing of what it says gets through that is no value of its kind."""
    assert not (pinned := gateway(TOLD | told)) or not pinned.is_loopback
    try:
        result = translate(TOLD | told, ipv6=ipv6)
    except ValueError:
        return
    setup = result.setup
    assert setup.mtu is None or 576 <= setup.mtu <= 65535
    versions = {address.version for address in setup.addresses}
    assert versions <= ({4, 6} if ipv6 else {4})
    assert {part.version for part in setup.routes} <= versions
    assert all(text.isprintable() and " " not in text.partition(" ")[2] for text in result.pushed)
