import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.clients.wg_session import ANSWER_SECONDS, REJECT_AFTER_SECONDS, Session

WALL = 1_700_000_000
"""Unix time at which the monotonic clock of these tests says 0."""


def looked(session: Session, told: int, now: float) -> Session:
    """Look at it with both clocks in step."""
    session.look(told, WALL + now, now)
    return session


def test_nobody_is_there_before_the_first_handshake() -> None:
    """A link that is up has nobody at its other end yet."""
    session = looked(Session(0.0), 0, 1.0)
    assert not session.held(1.0)
    assert not session.stale(1.0)


def test_a_handshake_holds_for_three_minutes() -> None:
    """Then the keys are worth nothing, and the peer is asked before it is called dead."""
    session = looked(Session(0.0), WALL + 1, 2.0)
    end = 1.0 + REJECT_AFTER_SECONDS
    assert session.held(end - 0.1)
    assert not session.stale(end - 0.1)
    looked(session, WALL + 1, end)
    assert session.stale(end)
    session.asked(end)
    assert session.held(end + ANSWER_SECONDS - 0.1)
    assert not session.stale(end + 1)
    assert not session.held(end + ANSWER_SECONDS)


def test_an_answer_begins_three_minutes_anew() -> None:
    """A peer that was only silent is never called dead."""
    session = looked(Session(0.0), WALL + 1, 2.0)
    session.asked(182.0)
    looked(session, WALL + 183, 183.5)
    assert not session.is_asked
    assert session.until() == pytest.approx(183 + REJECT_AFTER_SECONDS)


def test_a_peer_that_is_called_anew_is_not_there_yet() -> None:
    """WireGuard forgets the old handshake as the peer is made anew."""
    session = looked(Session(0.0), WALL + 1, 2.0)
    looked(session, 0, 3.0)
    assert not session.held(3.0)


@given(st.integers(0, 2**40), st.floats(0, 2**40), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_clock_that_jumps_ages_nobody(told: int, wall: float, began: float, later: float) -> None:
    """A handshake is at most as old as the time since the look before, and never of the future."""
    session = Session(began)
    now = began + later
    session.look(told, wall, now)
    if told:
        rounding = 0.01
        assert began - rounding <= session.until() - REJECT_AFTER_SECONDS <= now + rounding
