"""When somebody is asked, whom of several, and when a tunnel counts as dead."""

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from entrypoint import probe as module
from entrypoint.parse_network import Target
from entrypoint.probe import FAILURES_MAX, Probe
from entrypoint.tunnels import Tunnel
from tests.kernel.conftest import Container
from tests.kernel.probing import ANSWERS, TUNNEL, probing
from tests.kernel.scripted import comes, inside

RARELY = 30.0
OUTSIDE = ip_address("10.60.0.1")
"""No route of the tunnel leads there: to ask it fails at once."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next ask after a failure come soon."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.02)


def test_three_failures_in_a_row_are_death_and_are_told_once(container: Container) -> None:
    """Asked is on: much sooner than usual after a failure, and as rarely as usual once there is an answer."""
    probe = probing(container, Target(ip_address(ANSWERS), 80), RARELY)
    told: list[str] = []
    probe.on_dead = told.append

    async def work() -> None:
        container.host.ip("route del 10.50.0.0/24")
        probe.begin()
        await comes(lambda: probe.failures == FAILURES_MAX)
        assert not probe.alive
        await comes(lambda: probe.failures == FAILURES_MAX + 2)
        assert len(told) == 1
        container.host.ip("route add 10.50.0.0/24 via 10.99.0.1 dev vpn0")
        await comes(lambda: probe.alive)
        asks = probe.asks
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await comes(lambda: probe.asks > asks)
        assert (probe.failures, probe.problem) == (0, None)
        probe.end()
        assert not probe.alive

    inside(container, work)
    why = "it would be sent from 172.30.0.2 and not by vpn0: no route leads there"
    assert told == [f"its tunnel is dead: {ANSWERS}:80 did not answer 3 times: {why}"]


def test_fewer_failures_are_no_death(container: Container) -> None:
    """Once it answered, a lost packet or two leave the tunnel alive."""
    probe = probing(container, Target(ip_address(ANSWERS), 80), 0.05)
    alive = []
    probe.on_dead = pytest.fail

    async def work() -> None:
        probe.begin()
        await comes(lambda: probe.alive)
        container.host.ip("route del 10.50.0.0/24")
        await comes(lambda: probe.failures)
        alive.append(probe.alive)
        container.host.ip("route add 10.50.0.0/24 via 10.99.0.1 dev vpn0")
        await comes(lambda: not probe.failures)
        probe.end()

    inside(container, work)
    assert alive == [True]


def test_of_several_addresses_the_next_is_asked_after_a_failure(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One may be out of reach for good; those of a family that the tunnel has not are passed over."""

    async def look_up(_: str) -> list[IPv4Address | IPv6Address]:
        return [ip_address("fd00:50::10"), OUTSIDE, ip_address(ANSWERS)]

    monkeypatch.setattr(module, "look_up", look_up)
    probe = probing(container, Target("intranet.example", 80), RARELY)

    async def work() -> None:
        probe.begin()
        await comes(lambda: probe.alive)
        probe.end()

    inside(container, work)
    assert (probe.asks, probe.failed) == (2, 1)


def test_a_name_is_not_looked_up_again_while_it_answers(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its resolver is not asked for ever: whoever runs that would see it."""
    asked = []

    async def look_up(name: str) -> list[IPv4Address | IPv6Address]:
        asked.append(name)
        return [ip_address(ANSWERS)]

    monkeypatch.setattr(module, "look_up", look_up)
    probe = probing(container, Target("intranet.example", 80), 0.02)

    async def work() -> None:
        probe.begin()
        await comes(lambda: probe.asks >= 5)
        probe.end()

    inside(container, work)
    assert asked == ["intranet.example"]
    assert probe.failed == 0


@pytest.mark.parametrize(
    ("tunnel", "problem"),
    [(None, "the tunnel has no link any more"), (TUNNEL, "vpn0 has no address of the target's family")],
)
def test_what_cannot_be_asked_is_a_failure_with_its_reason(
    container: Container, tunnel: Tunnel | None, problem: str
) -> None:
    """No tunnel, or none of the family: nothing is sent by another way."""
    probe = Probe(Target(ip_address("fd00:50::10"), 80), RARELY, lambda: tunnel)

    async def work() -> None:
        probe.begin()
        await probe.first.wait()
        assert probe.problem == problem
        probe.end()

    inside(container, work)


def test_a_fault_of_ours_does_not_leave_health_as_it_was(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the probe knew before it fell over is no truth any more."""
    probe = probing(container, Target(ip_address(ANSWERS), 80), 0.05)

    async def work() -> None:
        probe.begin()
        await comes(lambda: probe.alive)
        monkeypatch.setattr(module, "round_trip", None)
        await comes(lambda: not probe.alive)
        assert "a fault of sidegate ended the probe: TypeError" in str(probe.problem)

    inside(container, work)
