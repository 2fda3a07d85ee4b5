"""Work off the loop, and a limit of processes, which counts threads as well."""

import asyncio
import threading

import pytest

from healthcheck.threads import off_loop
from tests.unit.endpoint import get, serving


def no_room(_: threading.Thread) -> None:
    """Refuse as threading does at the limit."""
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/status", "/metrics"])
def test_every_path_is_answered_without_room_for_a_thread(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Neither the server's import nor that of the metrics needs one."""
    monkeypatch.setattr(threading.Thread, "start", no_room)

    async def scenario() -> None:
        async with serving() as port:
            assert (await get(port, path)).status == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("room", [True, False], ids=["thread", "no thread"])
def test_work_is_done_once_and_its_fault_is_told(monkeypatch: pytest.MonkeyPatch, *, room: bool) -> None:
    """A RuntimeError of the work itself is not taken for a lack of threads."""
    done = []

    def work() -> None:
        done.append(threading.current_thread() is threading.main_thread())
        raise RuntimeError("of its own")

    if not room:
        monkeypatch.setattr(threading.Thread, "start", no_room)
    with pytest.raises(RuntimeError, match="of its own"):
        asyncio.run(off_loop(work, "work"))
    assert done == [not room]
