"""Chains of nftables in our one table, as frozen values: wanted, seen, and what leads there. No kernel."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TABLE = "inet sidegate"
"""Family and name of the table that holds all that is ours and nothing else."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the kernel a chain is asked."""

    kind: str
    """filter or nat."""
    hook: str
    """input, output, forward, prerouting or postrouting."""
    priority: int
    """Chains of lower numbers are asked first."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain that is wanted."""

    name: str
    place: Place
    policy: str
    """accept or drop: what becomes of a packet that no rule decides on."""
    rules: tuple[str, ...]
    """In nft's words, without a comment."""


@dataclass(frozen=True, slots=True)
class SeenRule:
    """A rule as the kernel holds it."""

    handle: int
    comment: str
    body: str
    """All that it says, in one spelling."""


@dataclass(frozen=True, slots=True)
class SeenChain:
    """A chain as the kernel holds it."""

    place: Place
    policy: str
    rules: tuple[SeenRule, ...]


Seen = Mapping[str, SeenChain]
"""The chains of our table by their names."""
Known = Mapping[str, str]
"""Comment -> body of each rule as the kernel told it right after we had set it."""


class NotOursAloneError(Exception):
    """Our table holds what we never put there, and what may keep single rules from being changed."""


def understood(text: str) -> Seen:
    """Return what `nft -j list table` told; raises NotOursAloneError where that is not ours alone.

    A chain that a rule or a map leads to cannot be deleted, and a table can be put to sleep; of one that
    sleeps, nft 1.0.6 (Debian 12) writes what is no JSON.
    """
    chains: dict[str, SeenChain] = {}
    rules: dict[str, list[SeenRule]] = {}
    try:
        for entry in json.loads(text)["nftables"]:
            ((kind, told),) = entry.items()
            if kind == "chain":
                place = Place(told["type"], told["hook"], told["prio"])
                chains[told["name"]] = SeenChain(place, told["policy"], ())
            elif kind == "rule":
                body = json.dumps(_sorted(told["expr"]), sort_keys=True)
                seen = SeenRule(told["handle"], told.get("comment", ""), body)
                rules.setdefault(told["chain"], []).append(seen)
            elif kind not in {"metainfo", "table"} or told.get("flags"):
                raise NotOursAloneError(kind)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotOursAloneError(str(error)) from None
    return {
        name: SeenChain(chain.place, chain.policy, tuple(rules.get(name, ())))
        for name, chain in chains.items()
    }


def made_anew(want: Sequence[Chain]) -> list[str]:
    """Replace the whole table, whatever it holds or if it is gone by now, in lines for one transaction."""
    return [f"add table {TABLE}", f"delete table {TABLE}", *changes(want, None, {})]


def comment(rule: str) -> str:
    """Return the comment that marks a rule as ours and says which one it is."""
    return f"sidegate {zlib.crc32(rule.encode()):08x}"


def changes(want: Sequence[Chain], seen: Seen | None, known: Known) -> list[str]:
    """Lead from what is seen (None: there is no table) to what is wanted, in lines of nft.

    They are meant for one transaction: the kernel holds the old rules or the new ones, never less. A rule
    that says something else than it did when we set it is replaced, as is one that we did not set.
    """
    if not want:
        return [] if seen is None else [f"delete table {TABLE}"]
    lines = [] if seen is not None else [f'add table {TABLE} {{ comment "made by sidegate"; }}']
    seen = seen or {}
    for chain in want:
        there = seen.get(chain.name)
        if there and there.place != chain.place:
            lines += _gone(chain.name)
            there = None
        if there is None or there.policy != chain.policy:
            place = chain.place
            lines.append(
                f"add chain {TABLE} {chain.name} {{ type {place.kind} hook {place.hook} "
                f"priority {place.priority}; policy {chain.policy}; }}"
            )
        lines += _rules(chain, there.rules if there else (), known)
    wanted = {chain.name for chain in want}
    for name in seen:
        if name not in wanted:
            lines += _gone(name)
    return lines


def marked(rule: str) -> str:
    """Return a rule with its comment."""
    return f'{rule} comment "{comment(rule)}"'


def _rules(chain: Chain, there: Sequence[SeenRule], known: Known) -> list[str]:
    where = f"{TABLE} {chain.name}"
    if len(there) != len(chain.rules):
        emptied = [f"flush chain {where}"] if there else []
        return [*emptied, *(f"add rule {where} {marked(rule)}" for rule in chain.rules)]
    # `replace rule` would be one line, but nft 1.0.6 (Debian 12) aborts over a set of networks in it.
    return [
        line
        for rule, seen in zip(chain.rules, there, strict=True)
        if seen.comment != comment(rule) or known.get(seen.comment) != seen.body
        for line in (
            f"insert rule {where} handle {seen.handle} {marked(rule)}",
            f"delete rule {where} handle {seen.handle}",
        )
    ]


def _gone(name: str) -> list[str]:
    return [f"flush chain {TABLE} {name}", f"delete chain {TABLE} {name}"]


def _sorted(told: Any) -> Any:
    """Put the elements of sets in one order: nft promises none."""
    match told:
        case {"set": [*elements]}:
            return {"set": sorted(map(json.dumps, elements))}
        case dict():
            return {key: _sorted(value) for key, value in told.items()}
        case list():
            return [_sorted(value) for value in told]
        case _:
            return told
