from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.facts import (
    ClientFacts,
    Facts,
    GateFacts,
    NetworkFacts,
    ProbeFacts,
    ReplyFacts,
    TunnelFacts,
    WarningFacts,
)
from healthcheck.verdict import STATES, verdict
from tests.unit.facts import ETH0, ETH1, REPLY, TUNNEL, client, facts

NOW = 1_750_000_100.0

optional_text = st.none() | st.text(min_size=1, max_size=20)
any_facts = st.builds(
    Facts,
    version=st.just("1.2.3"),
    state=st.sampled_from(STATES),
    since=st.just(NOW),
    client=st.builds(
        ClientFacts,
        name=st.just("openvpn"),
        alive=st.booleans(),
        connected=st.booleans(),
        detail=st.text(max_size=20),
        failure=optional_text,
        server=st.none() | st.just("198.51.100.1"),
        next_attempt=st.none() | st.floats(NOW - 10, NOW + 100),
    ),
    tunnel=st.none()
    | st.builds(
        TunnelFacts,
        interface=st.just("tun0"),
        up=st.booleans(),
        addresses=st.sampled_from(((), ("10.99.0.2",))),
    ),
    networks=st.lists(
        st.builds(
            NetworkFacts,
            interface=st.sampled_from(("eth0", "eth1")),
            network=st.just("172.30.0.0/16"),
            address=st.just("172.30.0.2"),
            gateway=st.none() | st.just("172.30.0.1"),
            problem=optional_text,
        ),
        max_size=3,
    ).map(tuple),
    policy_problem=optional_text,
    replies=st.lists(
        st.builds(
            ReplyFacts,
            source=st.just("172.30.0.2"),
            destination=st.just("10.20.0.5"),
            problem=optional_text,
        ),
        max_size=5,
    ).map(tuple),
    warnings=st.lists(
        st.builds(WarningFacts, name=st.just("hook"), text=st.text(max_size=20)), max_size=2
    ).map(tuple),
    restarts=st.integers(0, 5),
)


def test_a_healthy_sidecar_is_ready_and_says_what_holds() -> None:
    """Every check has a plus and tells the figure it rests on, in tree order."""
    judged = verdict(facts(), now=NOW)
    assert judged.ready
    assert judged.first_broken is None
    assert judged.lines() == (
        "[+] network: eth0 172.30.0.0/16 by 172.30.0.1",
        "[+] policy: rules and routes stand as wanted",
        "[+] client: openvpn holds its session with 198.51.100.1",
        "[+] tunnel: tun0 is up with 10.99.0.2",
        "[+] replies: the kernel sends all 1 test replies the right way",
    )


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            facts(networks=()),
            (
                "network: saw no container network; attach the container to a Docker network"
                " (not network_mode: none or host)"
            ),
        ),
        (
            facts(networks=(replace(ETH0, gateway=None),)),
            "network: eth0 172.30.0.0/16: saw no gateway; set GATEWAYS=eth0=<its address>",
        ),
        (facts(networks=(ETH1,)), "network: eth1 172.31.0.0/16: saw two gateways; set GATEWAYS"),
        (
            facts(networks=(replace(ETH0, problem="cannot keep replies"),)),
            "network: eth0 172.30.0.0/16: cannot keep replies",
        ),
        (facts(policy_problem="cannot add the rule"), "policy: cannot add the rule"),
        (
            facts(client=client(alive=False, connected=False, detail=""), restarts=0),
            "client: openvpn is not running: its own lines in the container's log say why",
        ),
        (
            facts(client=client(alive=False, failure="wrong password", next_attempt=NOW + 3.2)),
            "client: openvpn is not running: wrong password; next attempt in 4 s; restarts: 3",
        ),
        (
            facts(client=client(connected=False, detail="RESOLVE"), restarts=0),
            "client: openvpn has no session yet: RESOLVE",
        ),
        (
            facts(client=client(connected=False, detail=""), restarts=0),
            "client: openvpn has no session yet: no word from it yet; it may be looking up the server's name",
        ),
        (
            facts(client=client(alive=False, failure="gone", next_attempt=NOW - 1), restarts=0),
            "client: openvpn is not running: gone; next attempt in 0 s",
        ),
        (
            facts(tunnel=None),
            "tunnel: saw no tunnel link with an address; the client's lines in the log say what it does",
        ),
        (
            # A client without a process, such as the kernel's WireGuard, has no lines in the log.
            facts(client=client(name="wireguard", pid=None), tunnel=None),
            "tunnel: saw no tunnel link with an address; it is being made",
        ),
        (
            facts(probe=ProbeFacts(target="10.5.0.1", failures=3, problem="no route leads there")),
            (
                "probe: 10.5.0.1 does not answer through the tunnel (3 in a row): no route leads there;"
                " it never did: check HEALTH_TARGET"
            ),
        ),
        (
            facts(probe=ProbeFacts(target="t", failures=3, problem="no answer", round_trip_seconds=0.1)),
            (
                "probe: t does not answer through the tunnel (3 in a row): no answer;"
                " if it is gone itself, set HEALTH_TARGET anew"
            ),
        ),
        (
            facts(client=client(name="none"), tunnel=None),
            "tunnel: saw no tunnel link with an address; whoever makes it has yet to bring it up",
        ),
        (
            facts(tunnel=replace(TUNNEL, up=False)),
            "tunnel: saw tun0 down; the client has to bring it up",
        ),
        (
            facts(tunnel=replace(TUNNEL, addresses=())),
            "tunnel: saw tun0 up without an address; look at what the server pushes",
        ),
        (facts(replies=()), "replies: the kernel has not been asked yet which way replies leave"),
        (
            facts(replies=(REPLY, replace(REPLY, problem="leaves by tun0"))),
            (
                "replies: from 172.30.0.2 to 10.20.0.5: leaves by tun0;"
                " look in `ip rule` for a rule before ours and set RULE_PRIORITY below it"
            ),
        ),
    ],
)
def test_what_is_broken_is_the_reason(broken: Facts, reason: str) -> None:
    """Each fact that is wrong makes the sidecar unready, and is named with what to do."""
    judged = verdict(broken, now=NOW)
    assert not judged.ready
    assert judged.reason == reason
    assert judged.lines()[0] == f"[-] {reason}"


def test_one_good_network_is_enough_but_the_others_are_told() -> None:
    """A second network without a gateway does not make the sidecar unready, and is not kept quiet."""
    judged = verdict(facts(networks=(ETH0, ETH1)), now=NOW)
    assert judged.ready
    assert judged.lines()[0] == (
        "[+] network: eth0 172.30.0.0/16 by 172.30.0.1; eth1 172.31.0.0/16: saw two gateways; set GATEWAYS"
    )


def test_a_warning_is_told_last_and_breaks_nothing() -> None:
    """What should be looked at stands after the checks, on one line, and the sidecar is ready."""
    judged = verdict(facts(warnings=(WarningFacts(name="hook", text="saw exit\n code 3"),)), now=NOW)
    assert judged.ready
    assert judged.lines()[-1] == "[!] hook: saw exit code 3"
    assert len(judged.lines()) == len(judged.checks) + 1


def test_what_rests_on_a_broken_check_waits_for_it() -> None:
    """With the client gone, the tunnel waits for it, and replies wait for tunnel and policy."""
    gone = facts(client=client(alive=False, failure="gone"), policy_problem="no rule", restarts=0)
    assert verdict(gone, now=NOW).lines() == (
        "[-] policy: no rule",
        "[+] network: eth0 172.30.0.0/16 by 172.30.0.1",
        "[-] client: openvpn is not running: gone",
        "[-] tunnel: waits for client",
        "[-] replies: waits for policy and tunnel",
    )


def test_many_wrong_replies_are_counted() -> None:
    """Three wrong replies are told in full, the others as a number."""
    wrong = replace(REPLY, problem="leaves by tun0")
    reason = verdict(facts(replies=(wrong,) * 5), now=NOW).reason
    assert reason.count("leaves by tun0") == 3
    assert "; and 2 more; look in" in reason


@pytest.mark.parametrize("state", ["stopping", "stopped"])
def test_a_stop_is_the_reason_whatever_else_is_broken(state: str) -> None:
    """A sidecar on its way out is unready because of that, and says so first."""
    for each in (facts(state=state), facts(state=state, client=client(alive=False), tunnel=None)):
        judged = verdict(each, now=NOW)
        assert not judged.ready
        assert judged.reason == f"state: the sidecar is {state}"
        assert judged.lines()[0] == f"[-] state: the sidecar is {state}"
        assert len(judged.lines()) == 6


@pytest.mark.parametrize("state", sorted(set(STATES) - {"up", "stopping", "stopped"}))
def test_a_state_other_than_up_is_told_only_when_every_check_holds(state: str) -> None:
    """A broken check explains more than the name of the state does."""
    assert verdict(facts(state=state), now=NOW).reason == f"state: still {state}; every check holds already"
    broken = verdict(facts(state=state, policy_problem="no rule"), now=NOW)
    assert broken.reason == "policy: no rule"
    assert len(broken.lines()) == 5


@given(any_facts)
def test_ready_is_every_check_and_the_state_up(some: Facts) -> None:
    """Ready says neither more nor less than that all checks hold and the state is up."""
    judged = verdict(some, now=NOW)
    assert judged.ready == (some.state == "up" and all(check.ok for check in judged.checks))


@given(any_facts)
def test_the_first_broken_check_is_a_root_cause(some: Facts) -> None:
    """All that the first broken check needs holds, and it never says that it waits."""
    judged = verdict(some, now=NOW)
    by_name = {check.name: check for check in judged.checks}
    if first := judged.first_broken:
        assert all(by_name[need].ok for need in first.needs)
        assert not first.text.startswith("waits for")


@given(any_facts)
def test_a_check_never_holds_on_a_broken_one(some: Facts) -> None:
    """A check is broken where one that it needs is, names it, and comes after it."""
    seen: dict[str, bool] = {}
    for check in verdict(some, now=NOW).checks:
        broken = [need for need in check.needs if not seen[need]]
        assert check.text.startswith("waits for ") == bool(broken)
        assert all(need in check.text for need in broken)
        assert not (broken and check.ok)
        seen[check.name] = check.ok


@given(any_facts)
def test_every_check_has_one_printable_line(some: Facts) -> None:
    """What a server or client said cannot break a line or steer a terminal."""
    judged = verdict(some, now=NOW)
    assert len(judged.lines()) >= len(judged.checks) == 5
    assert all(line.isprintable() for line in judged.lines())
    assert all(judged.lines().count(str(check)) == 1 for check in judged.checks)
    if not judged.ready:
        assert judged.lines()[0] == f"[-] {judged.reason}"


def test_an_open_gate_makes_it_unready_and_is_named_first() -> None:
    """A leak is worse than a missing tunnel; where there is no kill switch nothing is said of it."""
    assert "gate" not in {check.name for check in verdict(facts()).checks}
    closed = verdict(facts(gate=GateFacts()))
    assert closed.ready
    assert "[+] gate: nothing leaves past the tunnel" in closed.lines()
    broken = verdict(facts(gate=GateFacts(problem="cannot run nft"), tunnel=None))
    assert not broken.ready
    assert broken.reason == "gate: it may leak: cannot run nft"
