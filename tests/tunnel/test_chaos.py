"""Everything breaks at random and comes back: `python -m tests.chaos` for a while, and its controls."""

import os
import signal

import pytest

from tests.chaos.gate import BREAKS
from tests.chaos.plan import Blow, Step
from tests.chaos.run import do, run
from tests.chaos.stage import Stage
from tests.lab.addresses import V4, V6
from tests.lab.waiting import until

SECONDS = 120.0
"""Beside the start and the stop."""
SEED = 4
"""The same each time, so that a change and not chance decides; `make chaos` takes a new one."""


def test_whatever_breaks_comes_back() -> None:
    """A seed that fails is told with its steps; CHAOS_SEED=N does the same again."""
    seed = int(os.environ.get("CHAOS_SEED") or SEED)
    assert run(seed, SECONDS, say=print) > 5


def quick(*names: str) -> Step:
    """Return a step of these blows."""
    return Step(1, tuple(Blow(name, 1) for name in names), 0.0)


def test_chaos_sees_what_does_not_come_back() -> None:
    """The control: a rule that is deleted for ever, a stranger's rule, a lost connection, a lying health."""
    with Stage("openvpn", patience=4) as stage:
        do(stage, quick("rules_deleted"))
        for line, undo, seen in (
            (
                "rule del priority 89 from 10.77.0.0/16",
                "rule add priority 89 from 10.77.0.0/16 lookup 77",
                "lost or too few: 89: from 10.77",
            ),
            (
                "route add 10.76.0.0/16 dev eth0 table 7100 proto static",
                "route del 10.76.0.0/16 table 7100",
                "new or too many: 10.76.0.0/16",
            ),
            ("address del 192.0.2.77/32 dev lo", "address add 192.0.2.77/32 dev lo", "addresses: "),
        ):
            stage.host.ip(line)
            with pytest.raises(AssertionError, match=seen):
                do(stage, quick("deaf_signal"))
            stage.host.ip(undo)
        do(stage, quick("deaf_signal"))
        stage.host.run("kill", str(stage.sidecar.process.pid))
        stage.sidecar.process.wait()
        with pytest.raises(AssertionError, match="ended by itself with 0"):
            do(stage, quick("rules_deleted"))


def test_chaos_sees_a_rule_that_is_deleted_again_and_again() -> None:
    """The control: somebody who never gives up, and health says so."""
    with Stage("openvpn", patience=4) as stage:
        line = f"rule del from {V4.docker} protocol 83"
        stage.host.spawn("sh", "-c", f"yes '{line}' | ip -force -batch - 2>/dev/null", name="vandal")
        with pytest.raises(AssertionError, match="rules and routes do not last"):
            do(stage, quick("rules_deleted"))


def test_a_broken_gate_closes_again() -> None:
    """In whichever way it was opened; control: not while the entrypoint is frozen."""
    with Stage("openvpn", closed=True) as stage:
        for number in range(6):
            do(stage, Step(number, (Blow("gate_broken", number),), 0.0))
        stage.sidecar.process.signal(signal.SIGSTOP)
        stage.gate.break_(BREAKS[0])
        with pytest.raises(AssertionError, match="the gate to be whole"):
            stage.gate.see_that_it_is_back(1)
        stage.sidecar.process.signal(signal.SIGCONT)
        stage.settle()


@pytest.mark.parametrize("way", ["eth0", "eth1"])
def test_chaos_sees_what_gets_out(way: str) -> None:
    """The control: somebody opens the gate while nobody mends it, and the tunnel is gone."""
    with Stage("openvpn", closed=True, patience=4) as stage:
        do(stage, quick("tunnel_broken", "client_killed"))
        stage.sidecar.process.signal(signal.SIGSTOP)
        if way == "eth1":
            stage.host.ip(
                f"route replace default via {V4.second_gateway}",
                f"-6 route replace default via {V6.second_gateway}",
            )
        stage.host.run("nft", "delete", "table", "inet", "sidegate")
        stage.try_ip(f"link del {stage.product.vpn.tunnel}")
        until(lambda: stage.got_out, 10, "leaks")
        if way == "eth1":
            assert not [packet for packet in stage.got_out if V4.sidecar in packet or V6.sidecar in packet]
            stage.host.ip(
                f"route replace default via {V4.docker_gateway}",
                f"-6 route replace default via {V6.docker_gateway}",
            )
        stage.sidecar.process.signal(signal.SIGCONT)
        with pytest.raises(AssertionError, match="got out past the tunnel"):
            do(stage, quick("deaf_signal"))
