"""A limit of processes counts threads as well; it ends neither us nor the client's life."""

import threading
from pathlib import Path

import pytest

from entrypoint.lifecycle import State
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.scripted import comes, inside, supervised
from tests.unit.test_threads import no_room


def test_a_tunnel_comes_up_without_room_for_a_thread(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is connected with us is looked at all the same, so that the tunnel takes no address of theirs."""
    settings, _ = load({})

    async def work() -> None:
        monkeypatch.setattr(threading.Thread, "start", no_room)
        async with supervised(settings, "", tmp_path) as supervisor:
            container.tunnel()
            await comes(lambda: supervisor.state is State.UP)
        monkeypatch.undo()

    inside(container, work)
