"""A name's look-up where the machine lacks something."""

import asyncio
import threading

import pytest

from entrypoint.clients.base import AttemptFailed
from entrypoint.clients.servers import addresses_of


def test_without_room_for_a_thread_the_attempt_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of processes counts threads as well; that is no end of us."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(
        AttemptFailed, match=r"vpn\.example .*: no thread can be started: a limit of processes"
    ):
        asyncio.run(addresses_of("vpn.example"))
