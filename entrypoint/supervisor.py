"""The client's life: attempt after attempt with a back-off in between, its states, its stop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from entrypoint.attempt import Attempt
from entrypoint.clients.base import Client, Report
from entrypoint.leftovers import Notes
from entrypoint.lifecycle import TRANSITIONS, State, restart_delay, told
from entrypoint.main_table import Before, Traces
from entrypoint.own_tunnel import OwnTunnel
from entrypoint.processes import Tree, end_left_behind
from entrypoint.reconcile import Reconciler
from entrypoint.settings import Settings
from entrypoint.tunnels import Tunnel

log = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A tunnel that held so long was a success: the next restart is immediate again."""


class Supervisor:
    """Keeps one client running; the process never ends because the client did."""

    def __init__(self, client: Client, reconciler: Reconciler, settings: Settings, run_dir: Path) -> None:
        self.client = client
        self.state = State.STARTING
        self.since = time.time()
        """Unix time in seconds at which the state began."""
        self.failure: str | None = None
        """Why the last attempt failed; None once the tunnel is up."""
        self.restarts = 0
        self.next_attempt: float | None = None
        """Unix time in seconds of the next attempt, while the back-off runs."""
        self.began = asyncio.Event()
        """Set once the first client was started."""
        self.on_up: Callable[[], None] = lambda: None
        """Called each time the tunnel has come up."""
        self.on_down: Callable[[], None] = lambda: None
        """Called each time a tunnel that had come up is gone, or about to go."""
        self.on_state: Callable[[], None] = lambda: None
        """Called after each change of the state."""
        self.before_attempt: Callable[[], Awaitable[None]] | None = None
        """Awaited before each attempt: what a client needs to find its server."""
        self.before_up: Callable[[], Awaitable[None]] | None = None
        """Awaited when the tunnel stands, before the state says so: what its users need to go by it."""
        self._reconciler = reconciler
        self._settings = settings
        self._stop = asyncio.Event()
        self._own = OwnTunnel(settings, makes_tunnel=client.makes_tunnel)
        self._notes = Notes(run_dir)
        self._failures = 0
        """Attempts in a row without a success."""
        self._up_at = 0.0
        """When the tunnel came up last, by the monotonic clock."""
        self._attempt = self._new_attempt()
        """The one under way, the last one during the back-off, the next one before the first."""

    @property
    def alive(self) -> bool:
        """Whether the client's process runs, or its attempt is under way where it needs none."""
        return self._attempt.alive

    @property
    def report(self) -> Report:
        """What the client last said of itself."""
        return self._attempt.report

    @property
    def tree(self) -> Tree | None:
        """The client's processes, which may have ended."""
        return self._attempt.tree

    @property
    def tunnel(self) -> Tunnel | None:
        """The tunnel as the kernel last showed it."""
        return self._attempt.tunnel

    @property
    def coming_up(self) -> bool:
        """Whether the tunnel stands, and `before_up` is awaited."""
        return self._attempt.coming_up

    @property
    def traces(self) -> Traces:
        """What may be left of clients in the main table: the servers and routes that they told of."""
        return self._notes.traces

    def kernel_changed(self) -> None:
        """Look for the tunnel again; called after each pass of the reconciler."""
        self._attempt.look()

    def stop(self) -> None:
        """Begin the stop; `run` returns once the client is gone."""
        if not self._stop.is_set():
            self._enter(State.STOPPING)
            self._stop.set()
            self._attempt.look()

    def give_up(self, why: str, *, worked: bool) -> None:
        """End the attempt, see `Attempt.give_up`."""
        self._attempt.give_up(why, worked=worked)

    async def end_leftovers(self) -> Before | None:
        """End the client of a killed run; returns what that run noted of the main table."""
        before = self._notes.take_over()
        if ended := await end_left_behind():
            log.info("ended %d processes of an earlier run that was killed", ended)
        return before

    async def run(self) -> None:
        """Make attempt after attempt until `stop`; returns when all that the client did is undone."""
        await self._put_main_table_back()
        while not self._stop.is_set():
            if self.before_attempt:
                await self.before_attempt()
            if self.state is not State.RECONNECTING:
                self._enter(State.CONNECTING)
            self._attempt = self._new_attempt()
            failure = await self._attempt.live(self._settings.vpn_up_timeout)
            await self._put_main_table_back()
            if self._stop.is_set():
                break
            self._failures += 1
            self.failure = failure
            await self._back_off(failure)
            self.restarts += 1
        self._notes.forget()

    def stopped(self) -> None:
        """Note that nothing of ours is left."""
        self._enter(State.STOPPED)

    async def _put_main_table_back(self) -> None:
        """Undo what ended clients left there, of which no more has to be known then."""
        if await self._reconciler.restore(self.traces):
            self._notes.traces = Traces()

    def _new_attempt(self) -> Attempt:
        attempt = Attempt(self.client, self._reconciler, self._own, self._notes, self._stop)
        attempt.on_begun = self.began.set
        attempt.before_up = self.before_up
        attempt.on_up, attempt.on_down = self._has_come_up, self._has_gone_down
        return attempt

    def _has_come_up(self) -> None:
        self._up_at = time.monotonic()
        self.failure = None
        self._enter(State.UP)
        self.on_up()

    def _has_gone_down(self) -> None:
        if self._attempt.worked and time.monotonic() - self._up_at >= STEADY_SECONDS:
            self._failures = 0
        self.on_down()
        self._enter(State.RECONNECTING)

    async def _back_off(self, failure: str) -> None:
        """Say what comes, and wait as long as so many failures ask for."""
        delay = restart_delay(self._failures, self._settings.restart_delay_max, rejected=self.report.rejected)
        log.warning("%s: %s; next attempt %s", self.client.name, failure, told(delay))
        if delay:
            self._enter(State.FAILED)
            self.next_attempt = time.time() + delay
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
            self.next_attempt = None

    def _enter(self, state: State) -> None:
        # A stop is begun at any moment and goes before what the client is doing meanwhile.
        if state is self.state or (self._stop.is_set() and state is not State.STOPPED):
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"client {self.client.name} cannot go from {self.state} to {state}")
        log.debug("%s: %s -> %s", self.client.name, self.state, state)
        self.state, self.since = state, time.time()
        self.on_state()
