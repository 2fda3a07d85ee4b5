from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint.detect import ContainerNetwork, NextHop
from entrypoint.network import IPAddress
from entrypoint.resolv_conf import (
    RESOLVERS_MAX,
    SEARCH_LINE_MAX,
    Before,
    Upstream,
    domains,
    is_ours,
    original,
    parse,
    render,
    servers,
    upstream,
    usable,
)

LINES = st.sampled_from(
    [
        "nameserver 127.0.0.11",
        "nameserver fe80::1%eth0",
        "search home.lan",
        "options ndots:5",
        "#| quoted",
        "; a comment",
        "",
        "\t",
        "nonsense",
    ]
)
TEXTS = st.one_of(st.text(), st.lists(LINES).map("\n".join), st.lists(LINES).map("\r\n".join))
DOMAINS = st.lists(st.from_regex(r"[a-z]{1,60}\.example", fullmatch=True), max_size=9)


def addresses(*texts: str) -> tuple[IPAddress, ...]:
    """Return them as values."""
    return tuple(ip_address(text) for text in texts)


def network(interface: str, gateway: str | None) -> ContainerNetwork:
    """Describe a network of the container on eth0."""
    hop = NextHop(ip_address(gateway)) if gateway else None
    return ContainerNetwork("eth0", up=True, carrier=True, interface=ip_interface(interface), gateway=hop)


SIDE = network("172.30.0.2/16", "172.30.0.1")
TUNNEL = Upstream(addresses("10.99.0.1"), ("corp.example",), "tun0")


@given(TEXTS, DOMAINS)
def test_whatever_stood_there_comes_back(text: str, search: list[str]) -> None:
    """To the character, also where it was no resolv.conf at all, or one of ours."""
    assert original(render(text, search)) == text


@given(TEXTS, DOMAINS)
def test_a_second_time_changes_nothing(text: str, search: list[str]) -> None:
    """What is written for a text is written for what is in place by then as well."""
    written = render(original(text), search)
    assert render(original(written), search) == written


@given(TEXTS, DOMAINS)
def test_our_text_names_our_resolver_alone(text: str, search: list[str]) -> None:
    """No library passes over it to those that were there before, and the options stay."""
    written = render(text, search)
    before, read = parse(text), parse(written)
    assert is_ours(written)
    assert [line for line in written.split("\n") if line.startswith("nameserver")] == [
        "nameserver 127.0.0.83"
    ]
    assert read.others[-len(before.others) :] == before.others or not before.others
    assert set(read.others) - set(before.others) <= {"options ndots:0"}
    assert read.search[: len(before.search)] == before.search


@given(DOMAINS)
@example([f"{n}{'x' * 59}.example" for n in range(9)])
def test_a_search_line_stays_readable_for_musl(search: list[str]) -> None:
    """What does not fit is left out, from the tunnel's end."""
    lines = render("search home.lan\n", search).split("\n")
    (line,) = [line for line in lines if line.startswith("search")]
    assert len(line) <= SEARCH_LINE_MAX
    assert line.startswith("search home.lan")


def test_it_is_read_as_the_libraries_read_it() -> None:
    """The last search or domain counts; what cannot be read is passed over; our own would ask itself."""
    text = (
        "# nameserver 192.0.2.1\nnameserver 10.0.0.1 # home\nnameserver no\nnameserver\n nameserver ::1\n"
        "nameserver 127.0.0.83\ndomain old.lan\nsearch home.lan  lab.lan\nnameserver 10.0.0.1\n"
        "options  ndots:5\nsortlist 10.0.0.0/8\n"
    )
    assert parse(text) == Before(
        addresses("10.0.0.1", "::1"), ("home.lan", "lab.lan"), ("options ndots:5", "sortlist 10.0.0.0/8")
    )


def test_the_text_says_what_it_is_and_what_was() -> None:
    """A person who reads it finds both."""
    assert render("nameserver 127.0.0.11\noptions ndots:0\n", ["corp.example"]) == (
        "# Made by sidegate, which puts back what is quoted here when it ends.\n"
        "nameserver 127.0.0.83\n"
        "search corp.example\n"
        "options ndots:0\n"
        "#|nameserver 127.0.0.11\n"
        "#|options ndots:0\n"
        "#|\n"
    )


@pytest.mark.parametrize(
    ("before", "search", "options"),
    [
        ("nameserver 10.20.0.1", ["corp.example"], ["options ndots:0"]),
        (
            "nameserver 10.20.0.1\noptions timeout:2",
            ["corp.example"],
            ["options ndots:0", "options timeout:2"],
        ),
        ("nameserver 10.20.0.1\noptions ndots:5", ["corp.example"], ["options ndots:5"]),
        ("nameserver 10.20.0.1\nsearch home.lan", [], []),
    ],
)
def test_a_servers_domain_does_not_come_before_a_name_of_the_lan(
    before: str, search: list[str], options: list[str]
) -> None:
    """`nas` is asked for as it is first, unless the file itself has said how that is."""
    lines = render(before, search).split("\n")
    assert [line for line in lines if line.startswith("options")] == options


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("Corp.Example.", "corp.example"),
        ("lan", "lan"),
        ("_tcp.corp.example", "_tcp.corp.example"),
        ("", None),
        (".", None),
        ("../#/x", None),
        ("corp.example/10.0.0.1", None),
        ("corp.example\nserver=10.0.0.1", None),
        ("-corp.example", None),
        ("corp..example", None),
        ("bücher.example", None),
        (f"{'a' * 64}.example", None),
        (".".join(["a" * 60] * 5), None),
    ],
)
def test_only_names_are_domains(text: str, taken: str | None) -> None:
    """A server's text is written into files of lines."""
    assert domains([text]) == ((taken,) if taken else ())


def test_resolvers_that_nobody_can_be_are_left_out() -> None:
    """A server could have us ask ourselves."""
    nobody = addresses("0.0.0.0", "::", "127.0.0.83", "::1", "224.0.0.251", "ff02::fb", "fd00::53%eth0 #")  # noqa: S104 - nobody listens
    real = addresses("10.99.0.1", "fd00:99::1", "10.99.0.1")
    assert usable((*nobody, *real)) == addresses("10.99.0.1", "fd00:99::1")
    assert len(usable(ip_address(number) for number in range(2**24, 2**24 + 99))) == RESOLVERS_MAX


def test_who_is_asked_while_a_tunnel_is_up() -> None:
    """VPN_DNS=vpn: what it brings, by its own link; addresses: those, as the routes say."""
    brought = addresses("10.99.0.1")
    assert upstream("vpn", brought, ["corp.example", "/"], "tun0") == TUNNEL
    assert upstream("vpn", (), ["corp.example"], "tun0") == Upstream()
    assert upstream(addresses("9.9.9.9"), brought, ["corp.example"], "tun0") == Upstream(addresses("9.9.9.9"))


def test_docker_keeps_its_own_names() -> None:
    """Names without a dot, its own domain, the file's, and the network's addresses."""
    before = Before(addresses("127.0.0.11"), ("home.lan", "Bad/Domain"))
    assert servers(before, [SIDE], TUNNEL).splitlines() == [
        "server=10.99.0.1@tun0",
        "server=//127.0.0.11",
        "server=/home.lan/127.0.0.11",
        "server=/docker.internal/127.0.0.11",
        "rev-server=172.30.0.0/16,127.0.0.11",
    ]


def test_a_clusters_resolver_is_asked_from_the_pods_own_address() -> None:
    """Our rule keeps that on the gateway, though the tunnel's routes cover it."""
    before = Before(addresses("10.96.0.10"), ("default.svc.cluster.local", "cluster.local"))
    pod = network("10.244.1.7/32", "169.254.1.1")
    assert servers(before, [pod], TUNNEL).splitlines() == [
        "server=10.99.0.1@tun0",
        "server=//10.96.0.10@10.244.1.7",
        "server=/default.svc.cluster.local/10.96.0.10@10.244.1.7",
        "server=/cluster.local/10.96.0.10@10.244.1.7",
        "rev-server=10.244.1.7/32,10.96.0.10@10.244.1.7",
    ]


def test_without_a_tunnel_all_is_asked_as_before() -> None:
    """From the address of the network in which the resolver is, else of one that leads out."""
    inner = network("172.31.0.2/16", None)
    before = Before(addresses("10.20.0.1", "172.31.0.53", "fd00::53", "127.0.0.11"))
    assert servers(before, [inner, SIDE], Upstream()).splitlines() == [
        "server=10.20.0.1@172.30.0.2",
        "server=172.31.0.53@172.31.0.2",
        "server=fd00::53",
        "server=127.0.0.11",
    ]


def test_without_a_resolver_from_before_local_names_are_nobodys() -> None:
    """They do not go through the tunnel instead."""
    assert servers(Before(search=("home.lan",)), [SIDE], TUNNEL).splitlines() == [
        "server=10.99.0.1@tun0",
        "server=//",
        "server=/home.lan/",
    ]
