"""What clients leave in the main table is undone after each attempt, and then no more is known of it."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from entrypoint.clients.base import Report
from entrypoint.launch import Launch
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.held import routes
from tests.kernel.scripted import CONNECTED, Scripted, comes, inside, supervising

FIRST = ip_address("203.0.113.1")
assert isinstance(FIRST, IPv4Address)
ATTEMPTS = 4


class Wandering(Scripted):
    """A client that has another server each time, and dies leaving its host route past the tunnel."""

    def __init__(self) -> None:
        super().__init__("", CONNECTED, makes_tunnel=True)
        self._numbers = itertools.count()

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Take the next server."""
        server = FIRST + next(self._numbers)
        report(replace(CONNECTED, server=server))
        return Launch(("ip", "route", "add", str(server), "via", "172.30.0.1"))


def test_a_long_life_does_not_gather_servers(container: Container, tmp_path: Path) -> None:
    """A name that stands for another address each time would fill memory and note for ever."""
    before = routes(container.host)

    async def work() -> None:
        async with supervising(load({"RESTART_DELAY_MAX": "50ms"})[0], Wandering(), tmp_path) as supervisor:
            most = 0

            def seen() -> bool:
                nonlocal most
                most = max(most, len(supervisor.traces.servers))
                return supervisor.restarts >= ATTEMPTS

            await comes(seen)
            assert most == 1

    inside(container, work)
    assert routes(container.host) == before
