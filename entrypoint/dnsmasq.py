"""dnsmasq as our child: started, told whom to ask, started anew where it ended, stopped."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.lifecycle import restart_delay, told
from entrypoint.processes import Tree
from entrypoint.resolv_conf import LISTEN

log = logging.getLogger(__name__)

PROGRAM = "dnsmasq"
START_SECONDS = 2.0
"""It listens after some 10 ms. Who has waited so long goes on without it."""
RELOAD_SECONDS = 0.5
"""It reads the list anew within a millisecond. Who has waited so long goes on: no SIGHUP is lost by then."""
RESTART_DELAY_MAX_SECONDS = 10.0
"""Shorter than the client's: no name is found meanwhile."""
STEADY_SECONDS = 10.0
"""One that ran so long was well: its restart is immediate."""
CACHED_NAMES = 1000
"""Its own default is 150, which a crawler or a mail server would overrun."""

_LOADED = "cleared cache"
"""What it says when it has the list, and listens: before that line a SIGHUP is lost."""


class Dnsmasq:
    """One resolver, from `start` to `stop`."""

    def __init__(self, run_dir: Path, on_loaded: Callable[[], None]) -> None:
        """Describe it; `on_loaded` is called each time that it has read its list."""
        self.problem: str | None = None
        """Why nobody answers, or not as told; None where all is well."""
        self._file = run_dir / "dns-servers"
        self._on_loaded = on_loaded
        self._noted = ""
        """The list in the file."""
        self._told = False
        """Whether `ask` has returned True for this list."""
        self._tree: Tree | None = None
        self._loaded = asyncio.Event()
        """Set once it has read what was noted last."""
        self._takes_signals = False
        """Whether it has said that it listens: a SIGHUP before that is lost."""
        self._late = False
        """Whether it had not said so when it was no longer waited for."""
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
        if self.problem and not (self._tree and self._tree.alive):
            raise BadSettings(f"cannot use VPN_DNS: {self.problem}")

    async def ask(self, servers: str) -> bool:
        """Have these servers asked from now on, with an empty cache; returns whether they newly are.

        `servers` are in the words of dnsmasq's --servers-file. Where it does not say that it has them,
        that is a `problem`. Raises OSError.
        """
        async with self._one:
            if servers != self._noted:
                self._loaded.clear()
                self._told = False
                self._note(servers)
                if self._tree and self._takes_signals:
                    self._tree.signal(signal.SIGHUP)
            if self._takes_signals and not self._loaded.is_set():
                try:
                    await asyncio.wait_for(self._loaded.wait(), RELOAD_SECONDS)
                except TimeoutError:
                    self._complain(f"{PROGRAM} does not say that it asks whom it was told")
            new = self._loaded.is_set() and not self._told
            self._told |= new
            return new

    async def keep(self) -> None:
        """Start it anew each time that it ended, until cancelled."""
        failures, began = 0, time.monotonic()
        while True:
            if tree := self._tree:
                await asyncio.wait([tree.ended])
                await tree.stop()
                self._takes_signals = False
                self.problem = f"{PROGRAM} {tree.how_it_ended()}"
            failures = 1 if time.monotonic() - began >= STEADY_SECONDS else failures + 1
            delay = restart_delay(failures, RESTART_DELAY_MAX_SECONDS, rejected=False)
            log.warning("%s; no name is found until it runs again: %s", self.problem, told(delay))
            await asyncio.sleep(delay)
            began = time.monotonic()
            await self._start()

    async def stop(self) -> None:
        """End it; `keep` has ended."""
        if self._tree:
            await self._tree.stop()
        self._file.unlink(missing_ok=True)

    def _note(self, servers: str) -> None:
        self._noted = ""
        self._file.write_text(servers)
        self._noted = servers

    async def _start(self) -> None:
        async with self._one:
            await self._start_it()

    async def _start_it(self) -> None:
        self._loaded.clear()
        self._takes_signals = self._late = False
        self._tree = None
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
            return
        if self._tree.alive:
            self._late = True
            self._complain(f"{PROGRAM} does not say that it listens")
        else:
            await self._tree.stop()  # reads its last words
            self.problem = f"{PROGRAM} {self._tree.how_it_ended()}"

    def _hear(self, line: str) -> None:
        log.debug("%s", line)
        if _LOADED not in line:
            return
        self._takes_signals = True
        if self._late and self._tree:
            # Which list it has read is not known: it may have been another meanwhile.
            self._late = False
            self._tree.signal(signal.SIGHUP)
            return
        self.problem = None
        self._loaded.set()
        self._on_loaded()

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem
