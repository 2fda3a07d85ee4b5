"""What a run notes of itself, for the next one should it be killed.

The kernel tells rules and routes, processes bear their mark; this small file of the network namespace tells
the rest: the client's servers and routes, and what the main table was before it.
"""

import json
import logging
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from entrypoint.clients.base import Report
from entrypoint.main_table import Before, Traces
from entrypoint.network import MAIN_TABLE, Link, Route

log = logging.getLogger(__name__)

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
                "source": str(route.source) if route.source else None,
                "mtu": route.mtu,
            }
            for route in before.routes
        ],
    }
    new = run_dir / f".{_FILE}"
    new.write_text(json.dumps(content))
    new.replace(run_dir / _FILE)


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
        source=ip_address(noted["source"]) if noted.get("source") else None,
        mtu=noted.get("mtu", 0),
    )


class Notes:
    """What this run notes of its clients, as it becomes known."""

    def __init__(self, run_dir: Path) -> None:
        self.traces = Traces()
        """What may be left of clients in the main table, a killed run's included; emptied once nothing is."""
        self._run_dir = run_dir

    def take_over(self) -> Before | None:
        """Go on from what a killed run noted; returns what that was of the main table."""
        left = find(self._run_dir)
        self.traces = left.traces
        return left.before

    def add(self, report: Report) -> bool:
        """Take in what a client says of its servers and routes; returns whether it is new."""
        known = self.traces
        servers = {*report.pinned, *([report.server] if report.server else [])}
        self.traces = Traces(known.servers | servers, known.routes | report.routes)
        return self.traces != known

    def write(self, before: Before) -> None:
        """Write all of it down, with the main table before the client."""
        try:
            note(self._run_dir, self.traces, before)
        except OSError as error:
            # Needed only should we be killed; a full disk must not cost the tunnel.
            log.warning(
                "cannot note the client in %s: saw %s; make room there", self._run_dir, error.strerror
            )

    def forget(self) -> None:
        """Drop the note: the run has ended in order."""
        (self._run_dir / _FILE).unlink(missing_ok=True)
