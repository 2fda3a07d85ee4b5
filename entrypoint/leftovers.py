"""What a run notes of itself, for the next one should it be killed.

The kernel tells rules and routes, processes bear their mark; this small file of the network namespace tells
the rest: the client's servers and routes, and what the main table was before it.
"""

import json
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from entrypoint.main_table import Before, Traces
from entrypoint.network import MAIN_TABLE, Link, Route

_FILE = "client.json"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a killed run noted."""

    traces: Traces = field(default_factory=Traces)
    before: Before | None = None


def note(run_dir: Path, traces: Traces, before: Before) -> None:
    """Note what there is; a later call replaces what an earlier one noted. Raises OSError."""
    content = {
        "servers": [str(server) for server in traces.servers],
        "set": [[str(destination), str(gateway)] for destination, gateway in traces.routes],
        "links": [[link.index, link.name] for link in before.links],
        "routes": [
            {
                "destination": str(route.destination),
                "link": route.link,
                "gateway": str(route.gateway) if route.gateway else None,
                "onlink": route.onlink,
                "metric": route.metric,
                "protocol": route.protocol,
            }
            for route in before.routes
        ],
    }
    new = run_dir / f".{_FILE}"
    new.write_text(json.dumps(content))
    new.replace(run_dir / _FILE)


def forget(run_dir: Path) -> None:
    """Drop the note: the run has ended in order."""
    (run_dir / _FILE).unlink(missing_ok=True)


def find(run_dir: Path) -> Leftovers:
    """Return what a killed run noted; nothing where it noted nothing."""
    try:
        content = json.loads((run_dir / _FILE).read_text())
        return Leftovers(
            Traces(
                frozenset(ip_address(server) for server in content["servers"]),
                frozenset((ip_network(to), ip_address(gateway)) for to, gateway in content["set"]),
            ),
            Before(
                tuple(_route(noted) for noted in content["routes"]),
                tuple(Link(index, name, "", up=True) for index, name in content["links"]),
            ),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Leftovers()


def _route(noted: dict[str, Any]) -> Route:
    return Route(
        ip_network(noted["destination"]),
        noted["link"],
        MAIN_TABLE,
        ip_address(noted["gateway"]) if noted["gateway"] else None,
        onlink=noted["onlink"],
        metric=noted["metric"],
        protocol=noted["protocol"],
    )
