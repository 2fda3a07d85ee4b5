import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.chains import (
    Chain,
    NotOursAloneError,
    Place,
    SeenChain,
    SeenRule,
    changes,
    comment,
    made_anew,
    marked,
    understood,
)

PLACE, ELSEWHERE = Place("filter", "output", 0), Place("filter", "forward", 0)
OUT = Chain("out", PLACE, "drop", ("accept", "ct direction reply accept"))
NEW = "add chain inet sidegate out { type filter hook output priority 0; policy drop; }"


def held(chain: Chain, first_handle: int = 10) -> SeenChain:
    """Return a chain as the kernel tells it once it was set."""
    rules = [
        SeenRule(first_handle + at, comment(rule), f"body of {rule}") for at, rule in enumerate(chain.rules)
    ]
    return SeenChain(chain.place, chain.policy, tuple(rules))


KNOWN = {comment(rule): f"body of {rule}" for rule in OUT.rules}


def test_where_nothing_stands_all_is_made() -> None:
    """Table, chain and rules, in an order that nft takes."""
    assert changes([OUT], None, {}) == [
        'add table inet sidegate { comment "made by sidegate"; }',
        NEW,
        *(f"add rule inet sidegate out {marked(rule)}" for rule in OUT.rules),
    ]


def test_what_stands_as_wanted_is_left_alone() -> None:
    """A second look changes nothing."""
    assert changes([OUT], {"out": held(OUT)}, KNOWN) == []


def test_what_is_not_wanted_any_more_is_taken_away() -> None:
    """The whole table with the last chain."""
    assert changes([], {"out": held(OUT)}, KNOWN) == ["delete table inet sidegate"]
    assert changes([], None, {}) == []
    two = {"out": held(OUT), "old": held(OUT)}
    assert changes([OUT], two, KNOWN) == ["flush chain inet sidegate old", "delete chain inet sidegate old"]


def test_one_rule_is_replaced_where_the_others_stand() -> None:
    """By its handle, so that the chain is whole at each moment."""
    changed = Chain("out", PLACE, "drop", ("accept", "drop"))
    assert changes([changed], {"out": held(OUT)}, KNOWN) == [
        f"insert rule inet sidegate out handle 11 {marked('drop')}",
        "delete rule inet sidegate out handle 11",
    ]


def test_a_rule_that_says_something_else_than_when_it_was_set_is_replaced() -> None:
    """Its mark alone is not believed, nor that of an earlier run."""
    assert changes([OUT], {"out": held(OUT)}, {**KNOWN, comment("accept"): "other"}) == [
        f"insert rule inet sidegate out handle 10 {marked('accept')}",
        "delete rule inet sidegate out handle 10",
    ]
    assert len(changes([OUT], {"out": held(OUT)}, {})) == 2 * len(OUT.rules)


def test_policy_and_place_are_seen() -> None:
    """A policy is set anew; a chain of another hook cannot be moved and is made anew."""
    opened = SeenChain(PLACE, "accept", held(OUT).rules)
    assert changes([OUT], {"out": opened}, KNOWN) == [NEW]
    moved = SeenChain(ELSEWHERE, "drop", held(OUT).rules)
    assert changes([OUT], {"out": moved}, KNOWN)[:3] == [
        "flush chain inet sidegate out",
        "delete chain inet sidegate out",
        NEW,
    ]


rules = st.lists(st.sampled_from(["a", "b", "c"]), max_size=4)


@given(rules, rules)
def test_as_many_rules_as_wanted_are_left(wanted: list[str], there: list[str]) -> None:
    """Whatever stood there: replaced one by one, or all added to an empty chain."""
    seen = held(Chain("out", PLACE, "drop", tuple(there)))
    lines = changes([Chain("out", PLACE, "drop", tuple(wanted))], {"out": seen}, {})
    added = [line for line in lines if line.startswith("add rule") and " handle " not in line]
    if len(wanted) == len(there):
        assert added == []
        assert sum(line.startswith("insert") for line in lines) == len(lines) / 2
    else:
        assert len(added) == len(wanted)
        assert ("flush chain inet sidegate out" in lines) == bool(there)


def told(*entries: object) -> str:
    """Write what nft tells of a table."""
    table = {"table": {"family": "inet", "name": "sidegate", "handle": 1}}
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, table, *entries]})


def chain(**more: object) -> dict[str, object]:
    """Write a chain as nft tells it."""
    return {"chain": {"name": "out", "type": "filter", "hook": "output", "prio": 0, "policy": "drop", **more}}


def test_what_nft_tells_is_understood() -> None:
    """Chains with their rules, the elements of a set in one order."""
    words = [{"match": {"right": {"set": ["b", "a"]}}}]
    rule = {"rule": {"chain": "out", "handle": 10, "comment": "ours", "expr": words}}
    body = '[{"match": {"right": {"set": ["\\"a\\"", "\\"b\\""]}}}]'
    assert understood(told(chain(), rule)) == {"out": SeenChain(PLACE, "drop", (SeenRule(10, "ours", body),))}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        told({"map": {"name": "ways"}}),
        told({"table": {"name": "sidegate", "flags": ["dormant"]}}),
        told({"chain": {"name": "no hook leads here"}}),
        told(chain(), {"rule": {"chain": "out", "handle": 10}}),
    ],
)
def test_a_table_that_holds_more_than_ours_is_no_table_to_mend(text: str) -> None:
    """It is made anew as a whole, in the one transaction."""
    with pytest.raises(NotOursAloneError):
        understood(text)
    gone = ["add table inet sidegate", "delete table inet sidegate"]
    assert made_anew([OUT]) == [*gone, *changes([OUT], None, {})]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part)
    )
)
def test_whatever_is_told_is_understood_or_not_ours(nonsense: object) -> None:
    """No other fault ends the keeping of the table."""
    try:
        understood(told(nonsense))
    except NotOursAloneError:
        return
    raise AssertionError(nonsense)
