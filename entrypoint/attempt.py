"""One attempt of the client: opened, started, awaited, watched while its tunnel stands, ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from entrypoint.clients.base import AttemptFailed, Client, Report
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.leftovers import Notes
from entrypoint.own_tunnel import OwnTunnel
from entrypoint.policy import Brought
from entrypoint.processes import Tree
from entrypoint.reconcile import Reconciler
from entrypoint.tunnels import Tunnel

log = logging.getLogger(__name__)

BEGUN_SECONDS = 0.2
"""A client that looks a name up or waits for a code counts as begun after this: health does not wait."""
LOST_SECONDS = 0.2
"""How long the news of a process's end may take, or a link's address to be back."""


class Attempt:
    """One start of the client and all that came of it; `live` is called once."""

    def __init__(
        self, client: Client, reconciler: Reconciler, own: OwnTunnel, notes: Notes, stop: asyncio.Event
    ) -> None:
        """Describe it; it ends once `stop` is set and `look` was called."""
        self.report = Report()
        """What the client last said of itself."""
        self.tunnel: Tunnel | None = None
        """The client's tunnel as the kernel last showed it."""
        self.tree: Tree | None = None
        """The client's processes, which may have ended; None before, and where it needs none."""
        self.coming_up = False
        """Whether the tunnel stands, and `before_up` is awaited."""
        self.worked = True
        """False for a tunnel that was dead from its first moment on."""
        self.on_begun: Callable[[], None] = lambda: None
        """Called once the client runs, or after a moment of getting ready; twice at times."""
        self.before_up: Callable[[], Awaitable[None]] | None = None
        """Awaited when the tunnel stands, before `on_up`: what its users need to go by it."""
        self.on_up: Callable[[], None] = lambda: None
        """Called each time that the tunnel is up."""
        self.on_down: Callable[[], None] = lambda: None
        """Called each time that a tunnel which was up is gone, or about to go; `worked` is known by then."""
        self._client = client
        self._reconciler = reconciler
        self._own = own
        self._notes = notes
        self._stop = stop
        self._changed = asyncio.Event()
        """Set with each news of client, kernel or user."""
        self._needs_no_process = False
        """Whether it is under way, and the client has no process to follow."""
        self._dead: str | None = None
        """Why the tunnel is dead that the client believes in."""

    @property
    def alive(self) -> bool:
        """Whether the client's process runs, or its attempt is under way where it needs none."""
        return self._needs_no_process or (self.tree is not None and self.tree.alive)

    def look(self) -> None:
        """Look for the tunnel, and at all else, again."""
        self.tunnel = self._own.find(self._reconciler.view, self.report)
        self._changed.set()

    def give_up(self, why: str, *, worked: bool) -> None:
        """End it: its tunnel is dead, and the client does not know it.

        Unless it `worked` at first, it was no success that would make the next restart immediate.
        """
        self._dead, self.worked = why, worked
        self._changed.set()

    async def live(self, up_timeout_seconds: float) -> str:
        """Start the client and live with it to its end; returns why it ended."""
        self._own.begin(self._reconciler.view)
        self.look()
        try:
            await self._start()
            while (why := await self._until_up(up_timeout_seconds)) is None:
                self.on_up()
                self.coming_up = False
                if (why := await self._while_up()) is not None:
                    break
        except BadSettings as fault:
            # A secret's file that is gone or wrong: nothing that a quick retry would mend.
            self.report = Report(failure="; ".join(fault.texts), rejected=True)
            why = ""
        except AttemptFailed as failed:
            why = str(failed)
        except OSError as error:
            why = f"cannot be started: saw {error.strerror}"
        finally:
            self.on_begun()
            self._needs_no_process = self.coming_up = False
            if self.tree:
                await self.tree.stop()
            await self._client.close()
            self._reconciler.follow(Brought(pinned=self.report.pinned))
        told = self.report.failure or why
        return f"{told}; {self.report.advice}" if self.report.advice else told

    async def _start(self) -> None:
        launch = await self._opened()
        self._notes.add(self.report)
        if self.report.pinned:
            # The way to the server stands before the first packet to it.
            await self._reconciler.reconcile()
        if launch.argv:
            self.tree = await Tree.start(launch, lambda line: log.info("%s: %s", self._client.name, line))
            self.tree.ended.add_done_callback(lambda _: self._changed.set())
        self._needs_no_process = not launch.argv
        self._notes.write(self._reconciler.before)
        self.on_begun()

    async def _opened(self) -> Launch:
        """Open the client; a stop ends that as well, as a name or a fresh code may take its time."""
        asyncio.get_running_loop().call_later(BEGUN_SECONDS, self.on_begun)
        opening = asyncio.ensure_future(self._client.open(self._take_report))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            raise AttemptFailed("is being stopped")
        return await opening

    async def _until_up(self, limit_seconds: float) -> str | None:
        """Wait for the tunnel; returns None when it is up, else why it will not come."""
        try:
            async with asyncio.timeout(limit_seconds):
                return await self._tunnel_comes()
        except TimeoutError:
            if self._client.makes_tunnel:
                stands = f" (it says: {self.report.detail})" if self.report.detail else ""
                what = f"brought up no tunnel within {limit_seconds:g} s{stands}"
                above = "; see its log lines above" if self.tree else ""
                return f"{what}{above}{self._own.passed_over()}"
        log.warning("saw no tunnel within %g s; waiting on for somebody to bring one up", limit_seconds)
        return await self._tunnel_comes()

    async def _tunnel_comes(self) -> str | None:
        """Return None once the tunnel stands and the kernel was asked about replies, else why it will not."""
        while True:
            while not self._stands():
                if why := await self._next_change():
                    return why
            # Health must not say "ready" before.
            await self._reconciler.reconcile()
            await self._own.peers_known()
            if self.tunnel and (why := self._own.refusal(self._reconciler.view, self.tunnel.ips)):
                self.give_up(why, worked=False)
            if self._dead:
                return self._dead
            if self._stands() and self.before_up:
                self.coming_up = True
                await self.before_up()
            if self._stands():
                return None
            self.coming_up = False

    async def _while_up(self) -> str | None:
        """Watch the tunnel; returns None once the client mends it itself, else why it is gone."""
        why = None
        while self._stands() and why is None:
            why = await self._next_change()
        self.on_down()
        if self._stop.is_set():
            return why
        # What the client said while it still believed in its tunnel is no reason.
        stands = self._dead or ("" if self.report.connected else self.report.detail)
        log.warning("the tunnel is gone; replies to the LAN are kept%s", f" ({stands})" if stands else "")
        if why is None and self.tunnel is None and not await self._client.mends_itself():
            why = await self._lost()
        if why is None and not stands and not self.report.connected and self.report.detail:
            log.warning("%s: %s", self._client.name, self.report.detail)
        return why

    async def _lost(self) -> str | None:
        """Return why the tunnel is gone, or None where it stands again in a moment.

        A killed client's link is gone before its end is told; what stands on a link left to us is mended.
        """
        try:
            async with asyncio.timeout(LOST_SECONDS):
                while not self._stands():
                    if why := await self._next_change():
                        return why
        except TimeoutError:
            return "lost its tunnel and does not know it"
        return None

    def _stands(self) -> bool:
        """Tell whether client and kernel agree that the tunnel stands."""
        return self.report.connected and self.tunnel is not None

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

    def _take_report(self, report: Report) -> None:
        self.report = report
        given = [interface.ip for interface in report.setup.addresses] if report.setup else []
        if why := self._own.refusal(self._reconciler.view, (*report.addresses, *given)):
            self.give_up(why, worked=False)
        # The addresses of a tunnel that is refused are not set.
        self._reconciler.follow(Brought(None if why else report.setup, report.pinned))
        if self.alive and self._notes.add(report):
            self._notes.write(self._reconciler.before)
        self.look()
