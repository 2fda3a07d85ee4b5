"""From facts to a tree of checks: is the sidecar ready, and if not, which link broke first."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from healthcheck.facts import Facts, NetworkFacts, WarningFacts

STATES = ("starting", "connecting", "up", "reconnecting", "stopping", "stopped", "failed")
"""Every state there is, in the order of a life."""

_ENDING = frozenset({"stopping", "stopped"})
"""States in which no check can make the sidecar ready again."""

_REPLIES_TOLD = 3
"""Wrong replies that are told in full; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One link of the chain from the container's network to a verified reply."""

    name: str
    ok: bool
    text: str
    """The reason, on one line."""
    needs: tuple[str, ...] = ()
    """Names of the checks that this one rests on; they come before it in the tree."""

    def __str__(self) -> str:
        """Read as a line of a Kubernetes component's /readyz."""
        return f"[{'+' if self.ok else '-'}] {self.name}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks in tree order: a check comes after those it needs."""

    state: str
    checks: tuple[Check, ...]
    warnings: tuple[WarningFacts, ...] = ()
    """What never makes the sidecar unready; each on one line."""

    @property
    def ready(self) -> bool:
        """Whether every check holds and the state is `up`."""
        return self.state == "up" and self.first_broken is None

    @property
    def first_broken(self) -> Check | None:
        """The first check that does not hold: a root cause, since all that it needs holds."""
        return next((check for check in self.checks if not check.ok), None)

    @property
    def reason(self) -> str:
        """One line: what broke first, or what holds."""
        first = self._state_line or self.first_broken
        return f"{first.name}: {first.text}" if first else "; ".join(c.text for c in self.checks)

    def lines(self) -> tuple[str, ...]:
        """One line a check, the first broken one first and the others in tree order; then the warnings.

        Where it is the state alone that says no, a line for the state comes before them.
        """
        rest = sorted(self.checks, key=lambda check: check is not self.first_broken)
        checks = map(str, (self._state_line, *rest) if self._state_line else rest)
        return (*checks, *(f"[!] {warning.name}: {warning.text}" for warning in self.warnings))

    @property
    def _state_line(self) -> Check | None:
        if self.state in _ENDING:
            return Check(name="state", ok=False, text=f"the sidecar is {self.state}")
        if self.state != "up" and self.first_broken is None:
            return Check(name="state", ok=False, text=f"still {self.state}; every check holds already")
        return None


def verdict(facts: Facts, *, now: float | None = None) -> Verdict:
    """Judge the facts; `now` (Unix time in seconds, the clock's if None) counts down to the next attempt."""
    moment = time.time() if now is None else now
    checks: dict[str, Check] = {}
    for name, needs, judge in _TREE:
        if (name, None) in {("probe", facts.probe), ("gate", facts.gate)}:
            continue
        broken = [need for need in needs if not checks[need].ok]
        ok, text = (False, f"waits for {' and '.join(broken)}") if broken else judge(facts, moment)
        checks[name] = Check(name=name, ok=ok, text=_one_line(text), needs=needs)
    warnings = tuple(WarningFacts(name=w.name, text=_one_line(w.text)) for w in facts.warnings)
    return Verdict(state=facts.state, checks=tuple(checks.values()), warnings=warnings)


def _network(facts: Facts, _: float) -> tuple[bool, str]:
    if not facts.networks:
        return False, (
            "saw no container network; attach the container to a Docker network"
            " (not network_mode: none or host)"
        )
    ok = any(network.gateway and not network.problem for network in facts.networks)
    return ok, "; ".join(map(_network_text, facts.networks))


def _network_text(network: NetworkFacts) -> str:
    where = f"{network.interface} {network.network}"
    if network.problem:
        return f"{where}: {network.problem}"
    if not network.gateway:
        return f"{where}: saw no gateway; set GATEWAYS={network.interface}=<its address>"
    return f"{where} by {network.gateway}"


def _policy(facts: Facts, _: float) -> tuple[bool, str]:
    return facts.policy_problem is None, facts.policy_problem or "rules and routes stand as wanted"


def _gate(facts: Facts, _: float) -> tuple[bool, str]:
    problem = facts.gate.problem if facts.gate else None
    return problem is None, f"it may leak: {problem}" if problem else "nothing leaves past the tunnel"


def _client(facts: Facts, now: float) -> tuple[bool, str]:
    client = facts.client
    if client.stopped:
        return False, f"{client.name} stands still: saw its process stopped; run: kill -CONT {client.pid}"
    if client.alive and client.connected:
        server = f" with {client.server}" if client.server else ""
        return True, f"{client.name} {client.stands}{server}"
    stands = "has no session yet" if client.alive else "is not running"
    if not (cause := client.failure or client.detail):
        cause = (
            "no word from it yet; it may be looking up the server's name"
            if client.alive
            else "its own lines in the container's log say why"
        )
    text = f"{client.name} {stands}: {cause}"
    if client.next_attempt is not None:
        text += f"; next attempt in {max(0, math.ceil(client.next_attempt - now))} s"
    if facts.restarts:
        text += f"; restarts: {facts.restarts}"
    return False, text


def _tunnel(facts: Facts, _: float) -> tuple[bool, str]:
    tunnel = facts.tunnel
    if tunnel is None:
        where = "the client's lines in the log say what it does" if facts.client.pid else "it is being made"
        if facts.client.name == "none":
            where = "whoever makes it has yet to bring it up"
        return False, f"saw no tunnel link with an address; {where}"
    if not tunnel.up:
        return False, f"saw {tunnel.interface} down; the client has to bring it up"
    if not tunnel.addresses:
        return False, f"saw {tunnel.interface} up without an address; look at what the server pushes"
    return True, f"{tunnel.interface} is up with {', '.join(tunnel.addresses)}"


def _probe(facts: Facts, _: float) -> tuple[bool, str]:
    probe = facts.probe
    if probe is None or (not probe.alive and not probe.problem):
        return False, "the target has not been asked yet"
    if not probe.alive:
        never = probe.round_trip_seconds is None
        fix = "it never did: check HEALTH_TARGET" if never else "if it is gone itself, set HEALTH_TARGET anew"
        told = f"{probe.target} does not answer through the tunnel ({probe.failures} in a row)"
        return False, f"{told}: {probe.problem}; {fix}"
    if probe.problem:
        return True, f"{probe.target} did not answer {probe.failures} in a row: {probe.problem}; asking again"
    took = 1000 * (probe.round_trip_seconds or 0)
    return True, f"{probe.target} answers through the tunnel in {took:.1f} ms"


def _replies(facts: Facts, _: float) -> tuple[bool, str]:
    wrong = [reply for reply in facts.replies if reply.problem is not None]
    asked = len(facts.replies)
    if not asked:
        return False, "the kernel has not been asked yet which way replies leave"
    if not wrong:
        return True, f"the kernel sends all {asked} test replies the right way"
    told = "; ".join(f"from {r.source} to {r.destination}: {r.problem}" for r in wrong[:_REPLIES_TOLD])
    more = f"; and {len(wrong) - _REPLIES_TOLD} more" if len(wrong) > _REPLIES_TOLD else ""
    return False, f"{told}{more}; look in `ip rule` for a rule before ours and set RULE_PRIORITY below it"


def _one_line(text: str) -> str:
    """Keep what a server or a client said from breaking lines or steering a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


_Judge = Callable[[Facts, float], tuple[bool, str]]
"""Facts, and Unix time in seconds -> whether the check holds, and why or why not."""

_TREE: tuple[tuple[str, tuple[str, ...], _Judge], ...] = (
    ("network", (), _network),
    ("policy", ("network",), _policy),
    ("gate", (), _gate),
    ("client", (), _client),
    ("tunnel", ("client",), _tunnel),
    ("probe", ("tunnel",), _probe),
    ("replies", ("policy", "tunnel"), _replies),
)
"""Name, needs and judge of each check; needs come first. `probe` is there only where somebody is asked,
`gate` where the kill switch is on."""
