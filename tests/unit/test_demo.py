"""The demo's verdict: 0 only when the problem was seen and then solved."""

from dataclasses import replace

import pytest

from tests.demo.show import kernel_lines
from tests.demo.stage import ROWS, Findings, is_true
from tests.lab.traffic import EchoResult

LOST = EchoResult(sent=900, answered=100, lost=800, resent=3, longest_gap=0.8, slowest=0.004, seconds=0.9)
KEPT = EchoResult(sent=900, answered=900, lost=0, resent=0, longest_gap=0.01, slowest=0.004, seconds=0.9)
BROKEN = Findings(tuple("timed out" if row.breaks else None for row in ROWS), LOST)
WHOLE = Findings(tuple(None for _ in ROWS), KEPT)


def test_a_problem_seen_and_solved_is_the_truth() -> None:
    """Without the rule the LAN is lost, with it all answer and no echo is lost."""
    assert is_true(BROKEN, WHOLE)


@pytest.mark.parametrize(
    ("without", "with_rule"),
    [
        pytest.param(WHOLE, WHOLE, id="the problem was not seen"),
        pytest.param(replace(BROKEN, echo=KEPT), WHOLE, id="the open connection lost nothing without"),
        pytest.param(replace(BROKEN, answers=("timed out",) * len(ROWS)), WHOLE, id="the VPN was dead"),
        pytest.param(BROKEN, BROKEN, id="nothing was solved"),
        pytest.param(BROKEN, replace(WHOLE, echo=LOST), id="echoes were lost with it"),
        pytest.param(BROKEN, replace(WHOLE, echo=replace(KEPT, resent=1)), id="a segment was lost with it"),
        pytest.param(BROKEN, replace(WHOLE, echo=replace(KEPT, sent=0, answered=0)), id="nothing was sent"),
        pytest.param(
            BROKEN, replace(WHOLE, answers=(*WHOLE.answers[1:], "refused")), id="one did not answer"
        ),
    ],
)
def test_anything_else_is_not(without: Findings, with_rule: Findings) -> None:
    """One wrong answer, lost echo or unseen problem makes the demo fail."""
    assert not is_true(without, with_rule)


def test_changes_to_the_kernel_are_told_from_the_rest_of_the_log() -> None:
    """Lines that iproute2 would take are shown without time and level, others are not."""
    log = [
        "2026-01-01T00:00:00.000Z info    ip -6 rule add from fd00::/64 iif lo lookup 7100",
        "2026-01-01T00:00:00.000Z info    up: tun0 10.99.0.2",
        "2026-01-01T00:00:00.000Z info    ip route del default via 172.30.0.1 table 7100",
    ]
    assert kernel_lines(log) == [
        "ip -6 rule add from fd00::/64 iif lo lookup 7100",
        "ip route del default via 172.30.0.1 table 7100",
    ]
