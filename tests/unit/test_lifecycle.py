import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.lifecycle import TRANSITIONS, State, restart_delay
from healthcheck.verdict import STATES

failures = st.integers(1, 1_000_000)
caps = st.floats(0.001, 86400.0)


def test_every_state_has_its_row_and_leads_only_to_states() -> None:
    """The table is closed, and health knows the same words."""
    assert set(TRANSITIONS) == set(State)
    assert set().union(*TRANSITIONS.values()) <= set(State)
    assert {state.value for state in State} == set(STATES)


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_stopped(state: State) -> None:
    """A SIGTERM finds a way out from anywhere: stopping is one step away until it has begun."""
    seen = {state}
    while more := set().union(*(TRANSITIONS[known] for known in seen)) - seen:
        seen |= more
    assert State.STOPPED in seen
    assert state in {State.STOPPING, State.STOPPED} or State.STOPPING in TRANSITIONS[state]


def test_the_end_is_the_end() -> None:
    """Nothing follows the stop."""
    assert TRANSITIONS[State.STOPPED] == frozenset()
    assert TRANSITIONS[State.STOPPING] == {State.STOPPED}


def test_every_state_is_reached_from_the_start() -> None:
    """No row is left over."""
    seen = {State.STARTING}
    while more := set().union(*(TRANSITIONS[known] for known in seen)) - seen:
        seen |= more
    assert seen == set(State)


def test_the_first_restart_is_immediate_and_each_further_one_waits_twice_as_long() -> None:
    """Up to the longest wait."""
    assert [restart_delay(n, 60, rejected=False) for n in range(1, 10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_refused_credentials_are_not_tried_again_at_once() -> None:
    """Some servers lock an account after a few tries."""
    assert [restart_delay(n, 60, rejected=True) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(failures, caps, st.booleans())
def test_no_wait_is_longer_than_the_user_allows_or_shorter_than_the_one_before(
    count: int,
    longest: float,
    rejected: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """After days of failures, too."""
    delay = restart_delay(count, longest, rejected=rejected)
    assert 0 <= delay <= longest
    assert delay <= restart_delay(count + 1, longest, rejected=rejected)
