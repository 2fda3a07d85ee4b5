"""What a tunnel takes that is narrower than the container's own network, of a client that leaves it to us."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from entrypoint.clients.base import Report
from entrypoint.lifecycle import State
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.held import Monitor, everything, ours, way
from tests.kernel.scripted import comes, inside, supervised
from tests.kernel.test_standing import DOCKER
from tests.kernel.test_tunnel_setup import LINK, SETUP
from tests.lab.addresses import V4, V6
from tests.lab.waiting import until

RESOLVER = "10.20.0.53"
MANY = 1000
PUSHES = {
    "part-of-the-network": ("172.30.0.0/24", "fd00:30::/112"),
    "the-network-by-halves": ("172.30.0.0/17", "172.30.128.0/17", "fd00:30::/65", "fd00:30::8000:0:0:0/65"),
    "the-gateway": (f"{V4.docker_gateway}/32", f"{V6.docker_gateway}/128"),
    "ourselves": (f"{V4.sidecar}/32", f"{V6.sidecar}/128"),
    "the-resolver": (f"{RESOLVER}/32", "10.20.0.0/24"),
    "the-world": ("0.0.0.0/0", "::/0"),
    "the-world-by-halves": ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"),
    "the-server": ("198.51.100.10/32", "2001:db8:100::10/128"),
}


@pytest.mark.parametrize("routes", PUSHES.values(), ids=PUSHES)
def test_replies_and_the_clients_packets_keep_their_way(
    container: Container, tmp_path: Path, routes: tuple[str, ...]
) -> None:
    """To the laptop, the neighbour and the server, marked or pinned; and all is gone after the stop."""
    settings, _ = load({})
    setup = replace(SETUP, routes=tuple(map(ip_network, (*routes, "10.0.0.0/8"))), excluded=())
    pinned = (ip_address("198.51.100.10"), ip_address("2001:db8:100::10"))
    report = Report(connected=True, interface="tun0", setup=setup, pinned=pinned)
    before = everything(container.host)

    async def work() -> None:
        async with supervised(settings, LINK, tmp_path, report) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            assert ours(container.host) >= DOCKER
            for family, server in zip((V4, V6), map(str, pinned), strict=True):
                out = f"dev eth0 via {family.docker_gateway}"
                for destination in (family.laptop, server):
                    assert way(container.host, destination, "from", family.sidecar) == out
                assert way(container.host, server) == out
                assert way(container.host, server, "mark", "0x5347") == out
                for near in (family.neighbour, family.docker_gateway):
                    assert way(container.host, near, "from", family.sidecar) == "dev eth0"
            assert way(container.host, RESOLVER, "from", V4.sidecar) == f"dev eth0 via {V4.docker_gateway}"
            assert way(container.host, RESOLVER) == "dev tun0"
            assert way(container.host, "10.50.0.10") == "dev tun0"

    inside(container, work)
    assert everything(container.host) == before


def test_a_thousand_routes_are_made_and_left_alone(container: Container, tmp_path: Path) -> None:
    """Each once; when they stand, nothing that happens elsewhere makes one anew."""
    settings, _ = load({})
    many = tuple(ip_network(f"10.{100 + n // 250}.{n % 250}.0/24") for n in range(MANY))
    report = Report(connected=True, interface="tun0", setup=replace(SETUP, routes=many, excluded=()))
    before = everything(container.host)

    def made() -> int:
        return len([line for line in ours(container.host) if line.startswith("10.1")])

    async def work() -> None:
        async with supervised(settings, LINK, tmp_path, report) as supervisor:
            # Each is made by a request of its own, and the machine may be busy.
            await asyncio.to_thread(until, lambda: made() == MANY, 20, "all the routes")
            await comes(lambda: supervisor.state is State.UP)
            monitor = Monitor(container.host)
            container.host.ip("link set eth0 alias nothing")
            assert monitor.changes() == []
            assert (
                way(container.host, "10.101.7.9", "from", V4.sidecar) == f"dev eth0 via {V4.docker_gateway}"
            )

    inside(container, work)
    assert everything(container.host) == before
