"""The line to one WireGuard peer: where it is called, and whether it answers."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from entrypoint.clients.base import AttemptFailed
from entrypoint.clients.servers import addresses_of
from entrypoint.clients.wg_config import Peer
from entrypoint.clients.wg_session import Session
from entrypoint.clients.wg_text import Endpoint
from entrypoint.network import IPV6, IPAddress

LOOK_UP_SECONDS = 5.0
"""A name may take so long; a stop waits for it."""


@dataclass(slots=True)
class Line:
    """One peer's."""

    peer: Peer
    session: Session
    untried: list[IPAddress] = field(default_factory=list)
    at: IPAddress | None = None
    """Where it is called now."""
    answered: bool = False
    """Whether it ever did."""
    called: float = 0.0
    """When it was called there first, by the monotonic clock."""

    def next_address(self) -> bool:
        """Turn to the next address; False where there is none, or it is the one that is called already."""
        before, self.at = self.at, self.untried.pop(0) if self.untried else self.at
        return self.at != before

    @property
    def called_at(self) -> tuple[IPAddress, int] | None:
        """Address and port where it is called."""
        return (self.at, self.peer.endpoint.port) if self.at and self.peer.endpoint else None

    def __str__(self) -> str:
        endpoint = self.peer.endpoint
        if endpoint is None:
            return "the peer that calls us"
        if self.at is None or endpoint.host == str(self.at):
            return str(endpoint)
        return f"{Endpoint(str(self.at), endpoint.port)} ({endpoint.host})"


async def look_up(lines: Iterable[Line], *, ipv6: bool) -> list[str]:
    """Find the addresses of these peers, all at once; returns what went wrong, a text each.

    `ipv6` says whether the container has IPv6.
    """
    problems = await asyncio.gather(*(_look_up(line, line.peer.endpoint, ipv6=ipv6) for line in lines))
    return [problem for problem in problems if problem]


async def _look_up(line: Line, endpoint: Endpoint | None, *, ipv6: bool) -> str | None:
    if endpoint is None:
        return None
    try:
        found = await addresses_of(endpoint.host, LOOK_UP_SECONDS)
    except AttemptFailed as failed:
        return str(failed)
    line.untried = [address for address in found if ipv6 or address.version != IPV6]
    if line.untried:
        return None
    return (
        f"{endpoint} cannot be reached: saw IPv6 addresses alone, and the container has no IPv6; "
        "name an IPv4 address"
    )
