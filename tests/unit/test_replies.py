from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest

from entrypoint.detect import container_networks
from entrypoint.network import IPAddress, Lookup
from entrypoint.replies import Question, judge, questions
from tests.unit.kernel_values import DOCKER, DUAL, Seen

TUNNEL = DUAL.link("tun0", "tun").address("tun0", "10.99.0.2/24").address("tun0", "fd00:99::2/64")


def asked(seen: Seen, *destinations: str) -> list[str]:
    """Return the questions, a line each."""
    networks = container_networks(seen.snapshot, {}, {})
    found = questions(seen.snapshot, networks, [ip_address(text) for text in destinations])
    return [
        f"{q.source} -> {q.destination} by {q.link}"
        + (" any" if q.by_any_gateway else f" via {q.gateway}" if q.gateway else "")
        for q in found
    ]


def test_without_a_tunnel_nothing_is_asked() -> None:
    """Every way leads out by the gateway then; a tunnel without an address is none yet."""
    assert asked(DUAL, "10.20.0.5") == []
    assert asked(DUAL.link("tun0", "tun"), "10.20.0.5") == []


def test_each_family_is_asked_about_somewhere_and_a_peer_of_its_own() -> None:
    """And the tunnel's own replies: they must leave by the tunnel."""
    assert asked(TUNNEL) == [
        "10.99.0.2 -> 10.99.0.1 by tun0 any",
        "fd00:99::2 -> fd00:99::1 by tun0 any",
        "172.30.0.2 -> 192.0.2.1 by eth0 via 172.30.0.1",
        "172.30.0.2 -> 10.99.0.1 by eth0 via 172.30.0.1",
        "fd00:30::2 -> 2001:db8::1 by eth0 via fd00:30::1",
        "fd00:30::2 -> fd00:99::1 by eth0 via fd00:30::1",
    ]


def test_destinations_that_the_tunnel_takes_are_asked_about_once() -> None:
    """A neighbour in the network itself needs no gateway, and what is ours no reply."""
    more = asked(TUNNEL, "10.20.0.5", "10.20.0.5", "172.30.0.9", "10.99.0.2", "10.99.0.1")
    assert set(more) - set(asked(TUNNEL)) == {"172.30.0.2 -> 10.20.0.5 by eth0 via 172.30.0.1"}
    assert len(more) == len(set(more))


@pytest.mark.parametrize(
    ("address", "peer"),
    [("10.99.0.1/24", "10.99.0.2"), ("10.99.0.6/30", "10.99.0.5"), ("fd00:99::1/64", "fd00:99::2")],
)
def test_the_peer_asked_about_is_not_ourselves(address: str, peer: str) -> None:
    """The first address of the tunnel's network may be our own."""
    seen = DUAL.link("tun0", "tun").address("tun0", address)
    assert f"{address.partition('/')[0]} -> {peer} by tun0 any" in asked(seen)


@pytest.mark.parametrize("address", ["10.99.0.2/32", "10.99.0.2/31", "fd00:99::2/128", "fd00:99::2/127"])
def test_a_point_to_point_address_has_no_neighbour_to_ask_about(address: str) -> None:
    """The networks are asked about all the same."""
    seen = DUAL.link("tun0", "tun").address("tun0", address)
    assert asked(seen) == [
        "172.30.0.2 -> 192.0.2.1 by eth0 via 172.30.0.1",
        "fd00:30::2 -> 2001:db8::1 by eth0 via fd00:30::1",
    ]


def test_a_network_that_cannot_answer_is_not_asked_about() -> None:
    """Its link is down, or it has no gateway; health tells that itself."""
    lost = (
        Seen()
        .link("eth0")
        .address("eth0", "172.30.0.2/16")
        .link("tun0", "tun")
        .address("tun0", "10.99.0.2/32")
    )
    assert asked(lost) == []
    down = DOCKER.link("tun0", "tun").address("tun0", "10.99.0.2/32").snapshot
    down = replace(down, links=tuple(replace(link, up=link.is_tunnel) for link in down.links))
    assert asked(Seen(down)) == []


def question(*, gateway: str | None = "172.30.0.1", any_gateway: bool = False) -> Question:
    """Write the question about a reply to the laptop."""
    via = ip_address(gateway) if gateway else None
    return Question(
        ip_address("172.30.0.2"), ip_address("10.20.0.5"), "eth0", via, by_any_gateway=any_gateway
    )


def answer(link: str, gateway: str | None, table: int = 7100) -> Lookup:
    """Write what the kernel says."""
    via: IPAddress | None = ip_address(gateway) if gateway else None
    return Lookup(link, via, table)


RIGHT: Sequence[tuple[Question, Lookup]] = [
    (question(), answer("eth0", "172.30.0.1")),
    (question(), answer("eth0", "172.30.0.1", 254)),
    (question(gateway=None), answer("eth0", None)),
    (question(gateway=None, any_gateway=True), answer("eth0", None)),
    (question(gateway=None, any_gateway=True), answer("eth0", "172.30.0.77")),
]
WRONG: Sequence[tuple[Question, Lookup | str, str]] = [
    (
        question(),
        answer("tun0", None, 254),
        "would leave by tun0 (table 254) and not by eth0 via 172.30.0.1",
    ),
    (
        question(),
        answer("eth0", "172.30.0.9"),
        "would leave by eth0 via 172.30.0.9 (table 7100) and not by eth0 via 172.30.0.1",
    ),
    (question(), answer("eth0", None), "would leave by eth0 (table 7100) and not by eth0 via 172.30.0.1"),
    (
        question(gateway=None),
        answer("eth0", "172.30.0.9"),
        "would leave by eth0 via 172.30.0.9 (table 7100) and not by eth0",
    ),
    (
        question(gateway=None, any_gateway=True),
        answer("eth1", None),
        "would leave by eth1 (table 7100) and not by eth0",
    ),
    (question(), "Network is unreachable", "would not leave at all: Network is unreachable"),
]


@pytest.mark.parametrize(("about", "said"), RIGHT)
def test_a_right_answer_is_no_problem(about: Question, said: Lookup) -> None:
    """Link and gateway count, whichever table they come from."""
    reply = judge(about, said)
    assert (reply.source, reply.destination, reply.problem) == (about.source, about.destination, None)


@pytest.mark.parametrize(("about", "said", "problem"), WRONG)
def test_a_wrong_answer_says_the_way_the_table_and_what_must_be(
    about: Question, said: Lookup | str, problem: str
) -> None:
    """Or in the kernel's own words why there is no way."""
    assert judge(about, said).problem == problem
