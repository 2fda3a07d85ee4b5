"""What each path of the endpoint answers, as values: no socket, no HTTP server."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from healthcheck.facts import ClientFacts, Facts
from healthcheck.verdict import verdict

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

_SECRET_OPTIONS = frozenset({"auth-token"})
"""Pushed options whose value is a credential: OpenVPN's server gives a session token in place of the
password (openvpn(8), --auth-token)."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: int
    """The HTTP status code."""
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers, names in lower case."""


def text_page(status: int, text: str, *headers: tuple[str, str]) -> Page:
    """Answer with lines of text."""
    return Page(status, f"{text}\n".encode(), headers=headers)


def livez(_: Callable[[], Facts]) -> Page:
    """Answer at all: who reads this knows that the event loop turns."""
    return text_page(200, "alive")


def readyz(facts: Callable[[], Facts]) -> Page:
    """Answer 200 or 503, and a line for each check."""
    judged = verdict(facts())
    return text_page(200 if judged.ready else 503, "\n".join(judged.lines()))


def status(facts: Callable[[], Facts]) -> Page:
    """Tell all facts but the single replies, and the checks, as JSON."""
    return Page(200, f"{json.dumps(_document(facts()), indent=2)}\n".encode(), JSON)


PAGES: dict[str, Callable[[Callable[[], Facts]], Page]] = {
    "/livez": livez,
    "/readyz": readyz,
    "/healthz": readyz,
    "/status": status,
}


def _document(facts: Facts) -> dict[str, object]:
    judged = verdict(facts)
    return {
        "version": facts.version,
        "state": facts.state,
        "ready": judged.ready,
        "since": _iso(facts.since),
        "client": _client(facts.client),
        "tunnel": asdict(facts.tunnel) if facts.tunnel else None,
        "probe": asdict(facts.probe) if facts.probe else None,
        "gate": asdict(facts.gate) if facts.gate else None,
        "networks": [asdict(network) for network in facts.networks],
        "checks": [asdict(check) for check in judged.checks],
        "warnings": [asdict(warning) for warning in judged.warnings],
        "overlaps": [asdict(overlap) for overlap in facts.overlaps],
        "restarts": facts.restarts,
    }


def _client(client: ClientFacts) -> dict[str, object]:
    return asdict(client) | {
        "pushed": [_without_secret(option) for option in client.pushed],
        "next_attempt": None if client.next_attempt is None else _iso(client.next_attempt),
    }


def _without_secret(option: str) -> str:
    name = option.split(maxsplit=1)[0] if option.strip() else ""
    return f"{name} [hidden]" if name in _SECRET_OPTIONS else option


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
