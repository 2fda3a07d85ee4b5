from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.gate import FLOWS_MAX, Openings, chains, of_docker, whole_names
from entrypoint.network import GROUP, Flow

EVERY = Openings(
    connected=(ip_network("172.30.0.0/16"), ip_network("fd00:30::/64")),
    listed=(ip_network("10.20.0.0/24"), ip_network("10.20.0.53/32")),
    servers=(ip_address("198.51.100.1"), ip_address("2001:db8::1")),
    names=("vpn.example.com",),
)


def output(openings: Openings) -> tuple[str, ...]:
    """Return the rules for what is sent from inside."""
    return chains(openings)[0].rules


def test_of_dockers_resolver_names_are_asked_and_nothing_else() -> None:
    """But for names without a dot; one that nobody has gets no further."""
    (chain,) = of_docker(["vpn.example.com"], "nobody.example")
    first, *asked, _, _, last = chain.rules
    assert (first[:25], first[-4:]) == ('oifname != "lo" udp dport', "drop")
    assert [rule.startswith("ip daddr 127.0.0.11 udp length") for rule in asked] == [True, True]
    assert last == "ip daddr 127.0.0.11 ct direction original drop"
    assert of_docker([])[0].rules == chain.rules[-3:]


def test_closed_is_what_holds_by_itself() -> None:
    """Nothing that no rule names gets out or through."""
    assert [(c.place.hook, c.policy) for c in chains(EVERY)][:2] == [("output", "drop"), ("forward", "drop")]


def test_only_what_came_in_by_a_containers_link_is_replied_to_by_one() -> None:
    """What came in by a tunnel is noted, and dropped where no tunnel takes the reply."""
    output, forward, _, came_in = chains(EVERY)
    (noted,) = came_in.rules
    assert noted.endswith("ct mark set ct mark | 0x40000000")
    for rules in (output.rules, forward.rules):
        tunnel, astray, reply = (
            next(at for at, rule in enumerate(rules) if words in rule)
            for words in ("oifkind", "ct mark & 0x40000000 != 0 drop", "ct direction reply accept")
        )
        assert tunnel < astray < reply


@pytest.mark.parametrize(("group", "owner"), [(None, "skuid 0"), (GROUP, "skgid 21319")])
def test_names_are_closed_before_networks_are_open(group: int | None, owner: str) -> None:
    """Only a host that is listed by itself, and the server's own name, come before."""
    rules = output(replace(EVERY, group=group))
    (no_names,) = [at for at, rule in enumerate(rules) if "{ 53, 853 } drop" in rule]
    opened = [rule for rule in rules[no_names:] if "daddr" in rule]
    assert opened[:4] == [
        f"meta {owner} ip daddr {{ 198.51.100.1/32 }} accept",
        f"meta {owner} ip6 daddr {{ 2001:db8::1/128 }} accept",
        "ip daddr { 10.20.0.0/24, 172.30.0.0/16 } accept",
        "ip6 daddr { fd00:30::/64 } accept",
    ]
    assert [rule for rule in rules[:no_names] if "daddr" in rule] == ["ip daddr { 10.20.0.53/32 } accept"]


def test_what_peers_say_first_on_old_flows_is_dropped_but_for_whom_may_be_reached() -> None:
    """Each by its four numbers, so that nothing else is lost; loopback and link lead nowhere."""
    peers = ("198.51.100.9", "2001:db8::9", "172.30.0.9", "10.20.0.5", "127.0.0.1", "fe80::9", "198.51.100.8")
    flows = tuple(Flow(ip_address(peer), 443, 40000) for peer in peers)
    _, old4, old6 = chains(replace(EVERY, flows=flows))[2].rules
    elements = "198.51.100.8 . 443 . 40000, 198.51.100.9 . 443 . 40000"
    assert old4.endswith(f"ct state new ip saddr . udp sport . udp dport {{ {elements} }} drop")
    assert old6.endswith("ip6 saddr . udp sport . udp dport { 2001:db8::9 . 443 . 40000 } drop")
    assert [len(chains(each)[2].rules) for each in (EVERY, replace(EVERY, flows=flows[2:6]))] == [1, 1]
    many = tuple(Flow(flows[0].peer, port, 40000) for port in range(1, FLOWS_MAX + 9))
    assert chains(Openings(flows=many))[2].rules[1].count(" . 40000") == FLOWS_MAX


def test_networks_that_overlap_are_one() -> None:
    """The kernel refuses a set whose elements overlap."""
    nested = Openings(connected=(ip_network("10.0.0.0/8"), ip_network("10.20.0.0/16")))
    assert "ip daddr { 10.0.0.0/8 } accept" in output(nested)


def test_a_name_is_written_as_it_stands_in_the_packet() -> None:
    """Length, letters, length, letters and a zero; letters of either case, digits as they are."""
    (rule,) = [rule for rule in output(Openings(names=("a1.B",))) if "@th" in rule]
    assert "udp dport 53 udp length <= 94 @th,96,16 1 " in rule
    assert rule.endswith("@th,160,48 & 0xffdfffffdfff == 0x024131014200 accept")


@pytest.mark.parametrize("name", ["", ".", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "\udc80"])
def test_what_is_no_name_opens_nothing(name: str) -> None:
    """No resolver can be asked for it."""
    assert not [rule for rule in output(Openings(names=(name,))) if "@th" in rule]


@given(st.text(max_size=300))
def test_no_text_makes_a_rule_that_says_more_than_a_name(name: str) -> None:
    """A configuration's words never become words of nft."""
    for rule in output(Openings(names=(name,))):
        assert rule.isascii()
        assert not set(rule) & set(";\n#\\'$")


def test_a_name_is_asked_with_each_search_domain() -> None:
    """As the C library does where there are fewer dots than ndots; an address is never asked."""
    assert whole_names(["vpn.example", "198.51.100.1", "2001:db8::1"], ["side.lan", "."]) == (
        "vpn.example",
        "vpn.example.side.lan",
    )
    assert whole_names(["vpn.example."], ["side.lan"]) == ("vpn.example",)
