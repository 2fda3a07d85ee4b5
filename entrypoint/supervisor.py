"""The client's life: started, awaited, watched, restarted with a back-off, stopped."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from entrypoint import leftovers, machine
from entrypoint.clients.base import AttemptFailed, Client, Report
from entrypoint.detect import tunnels
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.lifecycle import TRANSITIONS, State, restart_delay
from entrypoint.main_table import Before, Traces
from entrypoint.network import IPAddress, IPInterface, Link
from entrypoint.policy import Brought
from entrypoint.processes import Tree, end_left_behind
from entrypoint.reconcile import Reconciler
from entrypoint.settings import Settings
from entrypoint.tunnel_address import Neighbourhood, refusal
from healthcheck.threads import off_loop

log = logging.getLogger(__name__)

BEGUN_SECONDS = 0.2
"""A client that looks a name up or waits for a code counts as begun after this: health does not wait."""
END_TOLD_SECONDS = 0.2
"""How long the news of a process's end may take."""
STEADY_SECONDS = 10.0
"""A tunnel that held so long was a success: the next restart is immediate again."""


class Supervisor:
    """Keeps one client running; the process never ends because the client did."""

    def __init__(self, client: Client, reconciler: Reconciler, settings: Settings, run_dir: Path) -> None:
        self.client = client
        self.state = State.STARTING
        self.since = time.time()
        """Unix time in seconds at which the state began."""
        self.report = Report()
        self.failure: str | None = None
        """Why the last attempt failed; None once the tunnel is up."""
        self.restarts = 0
        self.next_attempt: float | None = None
        """Unix time in seconds of the next attempt, while the back-off runs."""
        self.tunnel: tuple[Link, tuple[IPInterface, ...]] | None = None
        """The tunnel as the kernel last showed it."""
        self.tree: Tree | None = None
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
        self.coming_up = False
        """Whether the tunnel stands, and `before_up` is awaited."""
        self._reconciler = reconciler
        self._settings = settings
        self._run_dir = run_dir
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self.traces = Traces()
        """What the client told of servers and routes, and what a killed run noted of them."""
        self._foreign: dict[int, str] = {}
        """Tunnels that stood before the client: index -> name of the link."""
        self._chosen_from: list[str] = []
        """Names of the tunnels that were seen last."""
        self._failures = 0
        self._under_way = False
        """Whether an attempt has begun whose client needs no process."""
        self._peers: asyncio.Task[set[IPAddress]] | None = None
        """Who had a connection open with us as the attempt began."""
        self._refused: set[IPAddress] = set()
        """Addresses of LAN hosts that a tunnel was given: that cut the connections by which we knew them."""
        self._dead: str | None = None
        """Why the tunnel is dead that the client believes in."""
        self._worked = True
        """False for a tunnel that was dead from its first moment on."""

    @property
    def alive(self) -> bool:
        """Whether the client's process runs, or its attempt is under way where it needs none."""
        return self._under_way or (self.tree is not None and self.tree.alive)

    def kernel_changed(self) -> None:
        """Look for the tunnel again; called after each pass of the reconciler."""
        self.tunnel = self._find_tunnel()
        self._changed.set()

    def stop(self) -> None:
        """Begin the stop; `run` returns once the client is gone."""
        if not self._stop.is_set():
            self._enter(State.STOPPING)
            self._stop.set()
            self._changed.set()

    def give_up(self, why: str, *, worked: bool) -> None:
        """End the attempt: its tunnel is dead, and the client does not know it.

        Unless it `worked` at first, it was no success that would make the next restart immediate.
        """
        self._dead, self._worked = why, worked
        self._changed.set()

    async def end_leftovers(self) -> Before | None:
        """End the client of a killed run; returns what that run noted of the main table."""
        left = leftovers.find(self._run_dir)
        self.traces = left.traces
        if ended := await end_left_behind():
            log.info("ended %d processes of an earlier run that was killed", ended)
        return left.before

    async def run(self) -> None:
        """Make attempt after attempt until `stop`; returns when all that the client did is undone."""
        await self._reconciler.restore(self.traces)
        while not self._stop.is_set():
            if self.before_attempt:
                await self.before_attempt()
            failure = await self._attempt()
            await self._reconciler.restore(self.traces)
            if self._stop.is_set():
                break
            self._failures += 1
            self.failure = failure
            delay = restart_delay(
                self._failures, self._settings.restart_delay_max, rejected=self.report.rejected
            )
            when = f"in {delay:g} s" if delay else "now"
            log.warning("%s: %s; next attempt %s", self.client.name, failure, when)
            await self._back_off(delay)
            self.restarts += 1
        leftovers.forget(self._run_dir)

    def stopped(self) -> None:
        """Note that nothing of ours is left."""
        self._enter(State.STOPPED)

    async def _attempt(self) -> str:
        """Start the client and live with it to its end; returns why it ended."""
        if self.state is not State.RECONNECTING:
            self._enter(State.CONNECTING)
        self.report, self.tree = Report(), None
        self._dead, self._worked = None, True
        own = [network.interface.ip for network in self._reconciler.view.networks]
        # In a thread: where many processes can be seen it takes long.
        self._peers = asyncio.create_task(off_loop(lambda: machine.tcp_peers(own), "look at peers"))
        # A link that a vendor's daemon keeps without an address is about to be the client's.
        standing = tunnels(self._reconciler.view.snapshot) if self.client.makes_tunnel else ()
        self._foreign = {link.index: link.name for link, _ in standing}
        try:
            await self._start()
            while (why := await self._until_up()) is None:
                came_up_at = time.monotonic()
                why = await self._while_up()
                if self._worked and time.monotonic() - came_up_at >= STEADY_SECONDS:
                    self._failures = 0
                if why is not None:
                    break
        except BadSettings as fault:
            # A secret's file that is gone or wrong: nothing that a quick retry would mend.
            self.report = Report(failure="; ".join(fault.texts), rejected=True)
            why = ""
        except AttemptFailed as failed:
            why = str(failed)
        except OSError as error:
            why = f"cannot be started: {error.strerror}"
        finally:
            self.began.set()
            self._under_way = self.coming_up = False
            if self.tree:
                await self.tree.stop()
            await self.client.close()
            self._reconciler.follow(Brought(pinned=self.report.pinned))
        told = self.report.failure or why
        return f"{told}; {self.report.advice}" if self.report.advice else told

    async def _start(self) -> None:
        launch = await self._opened()
        self._trace(self.report)
        if self.report.pinned:
            # The way to the server stands before the first packet to it.
            await self._reconciler.reconcile()
        if launch.argv:
            self.tree = await Tree.start(launch, lambda line: log.info("%s: %s", self.client.name, line))
            self.tree.ended.add_done_callback(lambda _: self._changed.set())
        self._under_way = not launch.argv
        self._note()
        self.began.set()

    async def _opened(self) -> Launch:
        """Open the client; a stop ends that as well, as a name or a fresh code may take its time."""
        asyncio.get_running_loop().call_later(BEGUN_SECONDS, self.began.set)
        opening = asyncio.ensure_future(self.client.open(self._take_report))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            raise AttemptFailed("is being stopped")
        return await opening

    async def _until_up(self) -> str | None:
        """Wait for the tunnel; returns None when it is up, else why it will not come."""
        limit = self._settings.vpn_up_timeout
        try:
            async with asyncio.timeout(limit):
                why = await self._tunnel_comes()
        except TimeoutError:
            if self.client.makes_tunnel:
                stands = f" (it says: {self.report.detail})" if self.report.detail else ""
                what = f"brought up no tunnel within {limit:g} s{stands}"
                above = "; see its log lines above" if self.tree else ""
                return f"{what}{above}{self._passed_over()}"
            log.warning("saw no tunnel within %g s; waiting on for somebody to bring one up", limit)
            why = await self._tunnel_comes()
        if why:
            return why
        self.failure = None
        self._enter(State.UP)
        self.coming_up = False
        self.on_up()
        return None

    def _passed_over(self) -> str:
        names = " and ".join(self._foreign.values())
        return f"; {names} stood before it: set VPN_INTERFACE if that is its tunnel" if names else ""

    async def _tunnel_comes(self) -> str | None:
        """Return None once the tunnel stands and the kernel was asked about replies, else why it will not."""
        while True:
            while not (self.report.connected and self.tunnel):
                if why := await self._next_change():
                    return why
            # Health must not say "ready" before.
            await self._reconciler.reconcile()
            if self._peers:
                await self._peers
            if self.tunnel:
                self._refuse([interface.ip for interface in self.tunnel[1]])
            if self._dead:
                return self._dead
            if self.report.connected and self.tunnel and self.before_up:
                self.coming_up = True
                await self.before_up()
            if self.report.connected and self.tunnel:
                return None
            self.coming_up = False

    async def _while_up(self) -> str | None:
        """Watch the tunnel; returns None once the client mends it itself, else why it is gone."""
        why = None
        while self.report.connected and self.tunnel and why is None:
            why = await self._next_change()
        self.on_down()
        if self._stop.is_set():
            return why
        self._enter(State.RECONNECTING)
        # What the client said while it still believed in its tunnel is no reason.
        stands = self._dead or ("" if self.report.connected else self.report.detail)
        log.warning("the tunnel is gone; replies to the LAN are kept%s", f" ({stands})" if stands else "")
        if why is None and self.tunnel is None and not await self.client.mends_itself():
            if self.tree:
                # A killed client's link is gone a moment before its end is told.
                await asyncio.wait([self.tree.ended], timeout=END_TOLD_SECONDS)
            why = self._how_it_ended() or "lost its tunnel and does not know it"
        if why is None and not stands and not self.report.connected and self.report.detail:
            log.warning("%s: %s", self.client.name, self.report.detail)
        return why

    def _how_it_ended(self) -> str | None:
        """Say how the client's process ended; None while it runs, or where there is none."""
        return self.tree.how_it_ended() if self.tree and not self.tree.alive else None

    async def _next_change(self) -> str | None:
        """Wait for news of client, kernel or user; a text says that the attempt is over."""
        self._changed.clear()
        if self._stop.is_set():
            return "is being stopped"
        if why := self._dead or self._how_it_ended():
            return why
        await self._changed.wait()
        return None

    async def _back_off(self, delay: float) -> None:
        if self.state is State.UP:
            self._enter(State.RECONNECTING)
        if delay:
            self._enter(State.FAILED)
            self.next_attempt = time.time() + delay
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
            self.next_attempt = None

    def _note(self) -> None:
        try:
            leftovers.note(self._run_dir, self.traces, self._reconciler.before)
        except OSError as error:
            # Needed only should we be killed; a full disk must not cost the tunnel.
            log.warning("cannot note the client in %s: %s", self._run_dir, error.strerror)

    def _trace(self, report: Report) -> bool:
        """Remember servers and routes of the client's; returns whether there are new ones."""
        known = self.traces
        servers = {*report.pinned, *([report.server] if report.server else [])}
        self.traces = Traces(known.servers | servers, known.routes | report.routes)
        return self.traces != known

    def _take_report(self, report: Report) -> None:
        self.report = report
        given = [interface.ip for interface in report.setup.addresses] if report.setup else []
        refused = self._refuse((*report.addresses, *given))
        # What a client leaves to us is not set then.
        self._reconciler.follow(Brought(None if refused else report.setup, report.pinned))
        if self.alive and self._trace(report):
            self._note()
        self.tunnel = self._find_tunnel()
        self._changed.set()

    def _refuse(self, addresses: Collection[IPAddress]) -> bool:
        """Give the attempt up where the tunnel may not have one of these addresses; returns whether."""
        # What others make is theirs to end.
        if not self.client.makes_tunnel:
            return False
        view = self._reconciler.view
        peers = self._refused | (self._peers.result() if self._peers and self._peers.done() else set())
        around = Neighbourhood(
            view.snapshot,
            view.networks,
            self._settings.lan_networks or (),
            machine.resolvers(),
            peers,
        )
        if why := refusal(addresses, around):
            self.give_up(why, worked=False)
            self._refused |= peers.intersection(addresses)
        return why is not None

    def _find_tunnel(self) -> tuple[Link, tuple[IPInterface, ...]] | None:
        name = self._settings.vpn_interface or self.report.interface
        found = [
            (link, addresses)
            for link, addresses in tunnels(self._reconciler.view.snapshot)
            if (link.name == name if name else link.index not in self._foreign)
        ]
        self._tell_choice([link.name for link, _ in found])
        for link, addresses in found:
            # One that lost an address of the client's serves a part of it at most.
            whole = {interface.ip for interface in addresses} >= set(self.report.addresses)
            return (link, addresses) if whole else None
        return None

    def _tell_choice(self, names: list[str]) -> None:
        """Say once which of several tunnels is taken."""
        if len(names) > 1 and names != self._chosen_from:
            told = "saw several tunnels, %s: health follows %s; set VPN_INTERFACE to name another"
            log.warning(told, " and ".join(names), names[0])
        self._chosen_from = names

    def _enter(self, state: State) -> None:
        # A stop is begun at any moment and goes before what the client is doing meanwhile.
        if state is self.state or (self._stop.is_set() and state is not State.STOPPED):
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"client {self.client.name} cannot go from {self.state} to {state}")
        log.debug("%s: %s -> %s", self.client.name, self.state, state)
        self.state, self.since = state, time.time()
        self.on_state()
