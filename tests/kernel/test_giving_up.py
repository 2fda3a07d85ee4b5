"""A tunnel that its client wrongly believes in is given up, and the back-off knows whether it ever worked."""

import re
from pathlib import Path

import pytest

from entrypoint import supervisor as module
from entrypoint.lifecycle import State
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.scripted import comes, inside, supervised, tunnel_lines

SCRIPT = f"ip link delete tun0 2>/dev/null; {tunnel_lines('tun0', '10.99.0.2/24')}; sleep 300 & wait"


@pytest.mark.parametrize(
    ("worked", "delays"),
    [(True, ["now", "now", "now"]), (False, ["now", "in 0.2 s", "in 0.2 s"])],
    ids=["worked", "never worked"],
)
def test_only_a_tunnel_that_worked_is_replaced_at_once_each_time(
    container: Container,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    worked: bool,
    delays: list[str],
) -> None:
    """However long it stood: one that nobody ever answered through was no success. Up and down are told."""
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.0)
    settings, _ = load({"RESTART_DELAY_MAX": "200ms"})
    events: list[str] = []

    async def work() -> None:
        async with supervised(settings, SCRIPT, tmp_path) as supervisor:
            supervisor.on_up = lambda: events.append("up")
            supervisor.on_down = lambda: events.append("down")
            for attempt in range(1, len(delays) + 1):
                await comes(lambda: supervisor.state is State.UP and events[-1:] == ["up"])
                supervisor.give_up("is dead", worked=worked)
                await told_times(attempt)

    def told() -> list[str]:
        return re.findall("scripted: is dead; next attempt (.*)", caplog.text)

    async def told_times(number: int) -> None:
        await comes(lambda: len(told()) == number)

    inside(container, work)
    assert told() == delays
    assert events == ["up", "down"] * len(delays)


def test_a_tunnel_that_stands_again_in_a_moment_costs_no_attempt(
    container: Container, tmp_path: Path
) -> None:
    """Its client does not know that it was gone, and health was told."""
    settings, _ = load({})
    states: list[State] = []

    async def work() -> None:
        async with supervised(settings, SCRIPT, tmp_path) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            supervisor.on_state = lambda: states.append(supervisor.state)
            supervisor.on_down = lambda: container.host.ip("address replace 10.99.0.2/24 dev tun0")
            container.host.ip("address flush dev tun0")
            await comes(lambda: State.UP in states)
            assert supervisor.restarts == 0

    inside(container, work)
    assert states[:2] == [State.RECONNECTING, State.UP]
