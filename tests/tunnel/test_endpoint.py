"""The health endpoint: never for the tunnel's side, and whoever abuses it harms nothing else."""

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6, Family
from tests.lab.namespaces import Namespace
from tests.lab.sidecar import HEALTH, Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import Capture, reaches
from tests.lab.waiting import until
from tests.tunnel.product import AnyProduct, Product, our_rules, seconds_until

EVERYWHERE = {"HEALTH_LISTEN": f"[::]:{HEALTH[1]}"}


def heard(host: Namespace, address: str) -> bool:
    """Tell whether the endpoint at an address takes a connection of a host at all."""

    def connect() -> bool:
        try:
            socket.create_connection((address, HEALTH[1]), 0.5).close()
        except TimeoutError:
            return False
        return True

    return host.call(connect)


def both_sides(product: AnyProduct, family: Family, tunnel: str) -> None:
    """Assert that the container's side is heard and the tunnel's is not, which reaches the service."""
    lab, address = product.lab, product.host.addresses(tunnel, family.option)[0]
    assert heard(lab.neighbour, family.sidecar)
    assert heard(lab.server_a, family.sidecar)
    # What the container itself sends to its tunnel's address goes by the loopback.
    assert heard(lab.sidecar, address)
    for far in (lab.server_b, lab.vpn_server):
        assert not heard(far, address)
        assert reaches(far, address, SERVICE_PORT) is None


@pytest.fixture(scope="module")
def up(standing: Product) -> Sidecar:
    """Give the standing product's program, told to listen everywhere."""
    return standing.start(**EVERYWHERE)


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("family", [V4, V6])
def test_the_tunnels_side_is_not_heard_wherever_it_listens(standing: Product, family: Family) -> None:
    """A peer of the VPN gets not even a refusal, where the LAN's side and the service itself are served."""
    both_sides(standing, family, "tun0")


def test_a_tap_tunnel_is_no_network_of_the_container(make_product: Callable[..., Product]) -> None:
    """A tunnel of Ethernet frames is told from the container's links, at the container's address as well."""
    product = make_product(lines=("dev-type tap",))
    product.start(**EVERYWHERE, VPN_ARGS="--dev tap0 --dev-type tap")
    both_sides(product, V4, "tap0")
    tap = product.host.addresses("tap0")[0]
    product.lab.vpn_server.ip(f"route add {V4.sidecar} via {tap} dev tun0")
    with (
        Capture(product.host, "tap0", f"host {V4.sidecar} and tcp[13] == 2") as asked,
        Capture(product.host, "eth0", "tcp[13] == 18") as answers,
    ):
        for port in (SERVICE_PORT, HEALTH[1]):
            reaches(product.lab.server_b, V4.sidecar, port, timeout=0.5)
    assert {line.split()[4] for line in asked.packets} >= {"172.30.0.2.80:", "172.30.0.2.9797:"}
    assert {line.split()[2] for line in answers.packets} == {"172.30.0.2.80"}


def test_a_network_that_is_connected_later_is_heard(lab: Lab, product: Product) -> None:
    """Docker's second network is served as soon as it is there."""
    product.start(**EVERYWHERE)
    lab.connect_second_network()
    until(lambda: heard(lab.server_a, V4.second_sidecar), 3, "the second network to be heard")


# Nothing awaited is checked: whoever is thrown out comes back at once.
_FLOOD = """
import asyncio, sys

async def ask_for_ever(address, port, asked):
    while True:
        try:
            reader, writer = await asyncio.open_connection(address, port)
            for request in asked:
                writer.write(request)
            if asked[-1].endswith(b"!"):
                while True:
                    writer.write(asked[-1] * 10_000)
                    await writer.drain()
            while await reader.read(65536):
                writer.write(asked[0])
        except OSError:
            await asyncio.sleep(0.001)

async def main(address, port, path):
    ask = f"GET {path} HTTP/1.1\\r\\nhost: x\\r\\n".encode()
    endless = b"POST /livez HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 999999999999\\r\\n\\r\\n"
    kinds = [[ask + b"\\r\\n"]] * 60 + [[ask]] * 20 + [[endless, b"!"]] * 20
    async with asyncio.TaskGroup() as group, asyncio.timeout(20):
        for asked in kinds:
            group.create_task(ask_for_ever(address, int(port), asked))

asyncio.run(main(*sys.argv[1:]))
"""
MEMORY_MAX_MB = 8
"""64 connections, each with 64 KiB of what it sent and as much of what it does not take; 2 or 3 are usual."""
CALM_SECONDS = 0.3
"""In which a deleted rule is back all the same; a tenth of it is usual."""


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("path", ["/status", "/metrics"])
def test_a_flood_of_requests_holds_up_neither_repairs_nor_probes(
    standing: Product, up: Sidecar, path: str
) -> None:
    """Many, slow and endless requests of a neighbour cost neither rule, nor probe, nor memory."""
    up.get(path)
    before, rules = _peak_memory(up), _rules(standing.host)
    flood = standing.lab.neighbour.spawn(
        *(sys.executable, "-c", _FLOOD, V4.sidecar, str(HEALTH[1]), path), name="flood"
    )
    _until_connected(standing.host)
    took = []
    for _ in range(5):
        standing.host.ip(f"rule del priority 90 from {V4.docker}")
        took.append(seconds_until(lambda: _rules(standing.host) == rules, 5, "the rule"))
        assert up.get("/livez") == (200, "alive\n")
    flood.kill()
    assert sorted(took)[2] < CALM_SECONDS
    assert _peak_memory(up) - before < MEMORY_MAX_MB
    assert up.get("/livez") == (200, "alive\n")


def _rules(host: Namespace) -> list[str]:
    # One that is set anew stands behind the others of its priority.
    return sorted(map(str, our_rules(host)))


def _until_connected(host: Namespace) -> None:
    def crowd() -> int:
        return len(host.run("ss", "-Htn", "state", "established", f"sport = {HEALTH[1]}").stdout.splitlines())

    seconds_until(lambda: crowd() >= 60, 5, "the crowd")


def _peak_memory(sidecar: Sidecar) -> float:
    """Return the most memory that it ever had, in MB."""
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000
