"""dnsmasq as our child: started, told whom to ask, started anew where it ended, stopped."""

import asyncio
import contextlib
import logging
import signal
import time
from pathlib import Path
from typing import Any

from entrypoint.clients.base import Launch
from entrypoint.faults import BadSettings
from entrypoint.lifecycle import restart_delay
from entrypoint.processes import Tree
from entrypoint.resolv_conf import LISTEN

log = logging.getLogger(__name__)

PROGRAM = "dnsmasq"
START_SECONDS = 5.0
"""It listens after some 10 ms."""
RELOAD_SECONDS = 0.5
"""It reads the list anew within a millisecond. Who has waited so long goes on: no SIGHUP is lost by then."""
RESTART_DELAY_MAX_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""One that ran so long was well: its restart is immediate."""
CACHED_NAMES = 1000

_LOADED = "cleared cache"
"""What it says when it has the list, and listens: before that line a SIGHUP is lost."""


class Dnsmasq:
    """One resolver, from `start` to `stop`."""

    def __init__(self, run_dir: Path) -> None:
        self.problem: str | None = None
        """Why nobody answers; None while it runs."""
        self._file = run_dir / "dns-servers"
        self._servers = ""
        self._tree: Tree | None = None
        self._loaded = asyncio.Event()
        self._takes_signals = False
        self._one = asyncio.Lock()
        """Held while it starts: the list that it reads then does not change meanwhile."""

    async def start(self, servers: str) -> None:
        """Start it with these to ask, see `ask`; raises BadSettings where it will not run."""
        try:
            self._note(servers)
        except OSError as error:
            raise BadSettings(
                f"cannot use VPN_DNS: cannot write {self._file}: saw {error.strerror}; make room there"
            ) from None
        await self._start()
        if self.problem:
            raise BadSettings(f"cannot use VPN_DNS: {self.problem}")

    async def ask(self, servers: str) -> bool:
        """Have these servers asked from now on, with an empty cache; returns whether that is new.

        `servers` are in the words of dnsmasq's --servers-file. Raises OSError.
        """
        if servers == self._servers:
            return False
        async with self._one:
            self._note(servers)
            if self._tree and self._takes_signals:
                self._loaded.clear()
                self._tree.signal(signal.SIGHUP)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._loaded.wait(), RELOAD_SECONDS)
        return True

    async def keep(self) -> None:
        """Start it anew each time that it ended, until cancelled."""
        failures = 0
        while self._tree:
            began = time.monotonic()
            await asyncio.wait([self._tree.ended])
            await self._tree.stop()
            failures = 1 if time.monotonic() - began >= STEADY_SECONDS else failures + 1
            self.problem = f"{PROGRAM} {self._tree.how_it_ended()}"
            delay = restart_delay(failures, RESTART_DELAY_MAX_SECONDS, rejected=False)
            when = f"in {delay:g} s" if delay else "now"
            log.warning("%s; no name is found until it runs again: %s", self.problem, when)
            await asyncio.sleep(delay)
            await self._start()

    async def stop(self) -> None:
        """End it; `keep` has ended."""
        if self._tree:
            await self._tree.stop()
        self._file.unlink(missing_ok=True)

    def _note(self, servers: str) -> None:
        self._file.write_text(servers)
        self._servers = servers

    async def _start(self) -> None:
        async with self._one:
            await self._start_it()

    async def _start_it(self) -> None:
        self._loaded.clear()
        self._takes_signals = False
        launch = Launch(
            (
                *(PROGRAM, "--conf-file=/dev/null", "--keep-in-foreground", "--pid-file="),
                # As it is: to become another user takes a capability that a container may not have.
                *("--user=root", "--group=", "--log-facility=-"),
                *(f"--listen-address={LISTEN}", "--bind-interfaces"),
                # /etc/hosts is read by each container's own library before anybody is asked.
                *("--no-hosts", "--no-resolv", "--no-poll"),
                *(f"--servers-file={self._file}", f"--cache-size={CACHED_NAMES}"),
            )
        )
        try:
            self._tree = await Tree.start(launch, self._hear)
        except OSError as error:
            self.problem = f"{PROGRAM} cannot be started: {error.strerror}"
            return
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self._loaded.wait())
        await asyncio.wait(
            {waiting, self._tree.ended}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        if self._loaded.is_set():
            self.problem, self._takes_signals = None, True
        elif self._tree.alive:
            self.problem = f"{PROGRAM} does not say that it listens"
        else:
            await self._tree.stop()  # reads its last words
            self.problem = f"{PROGRAM} {self._tree.how_it_ended()}"

    def _hear(self, line: str) -> None:
        log.debug("%s", line)
        if _LOADED in line:
            self._loaded.set()
