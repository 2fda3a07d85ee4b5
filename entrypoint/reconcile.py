"""Keeps the kernel as wanted: wake, read, detect, want, apply. Level, not edge: no pass trusts an event."""

import asyncio
import collections
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from entrypoint import lost_addresses, main_table
from entrypoint.changes import Change, difference
from entrypoint.detect import container_networks
from entrypoint.faults import BadSettings
from entrypoint.main_table import Before, Traces
from entrypoint.network import PROTOCOL, IPAddress, Route, Snapshot
from entrypoint.policy import Brought, Wanted
from entrypoint.remarks import crowds, losses, moved, remarks
from entrypoint.replies import SOMEWHERE, Reply, judge, questions
from entrypoint.rtmessages import Way, ways_by_router
from entrypoint.rtnl import Rtnl
from entrypoint.search import Search
from entrypoint.settings import Settings
from entrypoint.view import View, refuse_what_cannot_be_served
from entrypoint.watch import route_events
from entrypoint.wish import give_tables, wish

log = logging.getLogger(__name__)

READ_AGAIN_SECONDS = 1.0
"""Until the next try where the kernel could not be read: mostly, a storm of changes goes on."""
REMOVALS_MAX = 10
"""Tries at the stop where the kernel refuses, which mostly passes, as when no descriptor is free."""
REMOVE_AGAIN_SECONDS = 0.1
"""Between two of them: a second in all, which a stop has."""
PASSES_MAX = 5
"""Passes at one event. The second one mostly finds nothing to change. Where the last one still does, somebody
undoes what we do, or networks come and go: what was read is told, and the next event goes on."""
FAILURES_MAX = 1
"""Passes of these in which a change was refused: what was read may have been old by then."""
MENDED_MAX = 10
"""Where so many events within a second brought something to mend, somebody works against us."""
COOL_DOWN_SECONDS = 0.5
"""The pause that is made then, and where the kernel is not as wanted: a fight must not take the processor."""
PASSES_IN_A_ROW = 5
IN_A_ROW_SECONDS = 0.5
"""Where so many passes came within this, a storm goes on: a single event never makes as many."""
STORM_PAUSE_SECONDS = 0.05
"""The pause after each further pass of a storm, in which no event is read either. What the storm did to us is
mended after one pause or two."""


class Reconciler:
    """Owns our rules and routes from the first pass to the removal."""

    def __init__(self, rtnl: Rtnl, settings: Settings) -> None:
        self.view = View()
        self.repairs = 0
        """Changes made after the first pass."""
        self.on_pass: Callable[[], None] = lambda: None
        """Called after each pass."""
        self.also_ask: tuple[IPAddress, ...] = ()
        """Destinations inside the tunnel's routes: replies to them are those that could go astray."""
        self.before = Before()
        """The main table as it was before the client."""
        self.brought = Brought()
        """What the client's tunnel brings."""
        self.also: Sequence[Callable[[], Awaitable[None]]] = ()
        """Awaited in each pass, once rules and routes stand: what else follows from the networks."""
        self._rtnl = rtnl
        self._settings = settings
        self._named: dict[tuple[str, int], IPAddress] = {
            (name, gateway.version): gateway for name, gateway in settings.gateways or ()
        }
        self._told: set[str] = set()
        self._wake = asyncio.Event()
        self._search = Search(self._wake.set)
        self._pass = asyncio.Lock()
        self._began = False
        self._knows_before = False
        self._routes_before: frozenset[Route] = frozenset()
        """Those of `before`, once they are known, and how the kernel writes those by a router."""
        self._known: frozenset[Way] = frozenset()
        self._repairs_seen = 0
        self._stood: lost_addresses.Memory = {}
        self._mended_at: collections.deque[float] = collections.deque(maxlen=MENDED_MAX)
        self._passed_at: collections.deque[float] = collections.deque(maxlen=PASSES_IN_A_ROW)

    async def plan(self) -> tuple[list[Change], View]:
        """Return what a pass would change, and what it saw; touches nothing. Raises OSError."""
        # Before the client all routes by a router are read, as it is told by them what a client took or left.
        # Later a server may have pushed thousands, and only those count that stood before.
        snapshot = await self._rtnl.snapshot(whole=not self._knows_before, known=self._known)
        search = self._search
        networks = container_networks(snapshot, self._named, search.known, search.silent)
        seen = give_tables(snapshot, networks, self.view.tables, self._settings.route_table)
        want = wish(
            seen,
            self._settings,
            self.brought,
            before=self._trusted(snapshot),
            questions=search.questions(networks, seen.tables),
        )
        at = min((rule.priority for rule in want.rules), default=None)
        return difference(want, snapshot), View(snapshot, networks, seen.tables, priority=at)

    def _trusted(self, snapshot: Snapshot) -> Collection[Route]:
        """Return the main table's routes from before the client, or of now where none has begun yet."""
        if self._knows_before:
            return self._routes_before
        return frozenset(main_table.before_client(snapshot, Traces(), self._named))

    def follow(self, brought: Brought) -> None:
        """Take in what the client's tunnel brings, and wake `keep`, whose next pass makes it so."""
        if brought != self.brought:
            self.brought = brought
            self._wake.set()

    async def begin(
        self,
        noted: Before | None = None,
        traces: Traces | None = None,
        *,
        remember_main: bool = True,
    ) -> None:
        """Make the first pass; raises BadSettings where no network can be served or ours cannot be set.

        `noted` and `traces` are what a killed run noted of the main table and of its client.
        `remember_main` off: whoever makes the tunnel answers for the main table, and nothing is put back.
        """
        if noted:
            # A route that the dead client left may hide the gateway.
            self.before = noted
            await self.restore(traces or Traces())
        _, view = await self.plan()
        refuse_what_cannot_be_served(view, self._settings)
        if not noted and remember_main:
            routes = main_table.before_client(view.snapshot, traces or Traces(), self._named)
            self.before = Before(routes, view.snapshot.links)
        self._routes_before = frozenset(self.before.routes)
        self._known = ways_by_router(self._routes_before)
        self._knows_before = True
        left = sum(rule.protocol == PROTOCOL for rule in view.snapshot.rules)
        if left:
            log.info("adopted %d rules that an earlier run left here", left)
        self._search.begun = True
        await self.reconcile()
        if self.view.problem:
            raise BadSettings(self.view.problem)
        self._began = True

    async def keep(self) -> None:
        """Reconcile at each event until cancelled."""
        watcher = route_events(self._wake.set, self._settings.route_table)
        self._wake.set()  # what happened between the first pass and the watch
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self.reconcile()
                if self.view.problem or self._is_fought():
                    # Where somebody undoes what we do, our own changes would wake us without end.
                    await watcher.rest(COOL_DOWN_SECONDS)
                elif self._is_stormed():
                    await watcher.rest(STORM_PAUSE_SECONDS)
        finally:
            watcher.close()

    async def reconcile(self) -> None:
        """Make passes until one finds nothing to change, then ask the kernel about replies.

        A caller that is cancelled leaves the pass to its end: half a dump would spoil the socket.
        """
        await asyncio.shield(asyncio.ensure_future(self._reconcile()))

    def _is_fought(self) -> bool:
        """Tell whether we had to mend again and again within the last second."""
        now = time.monotonic()
        if self.repairs != self._repairs_seen:
            self._repairs_seen = self.repairs
            self._mended_at.append(now)
        return len(self._mended_at) == MENDED_MAX and now - self._mended_at[0] < 1

    def _is_stormed(self) -> bool:
        """Tell whether events brought pass after pass until now."""
        self._passed_at.append(time.monotonic())
        return (
            len(self._passed_at) == PASSES_IN_A_ROW
            and self._passed_at[-1] - self._passed_at[0] < IN_A_ROW_SECONDS
        )

    async def restore(self, traces: Traces) -> bool:
        """Put the main table back as it was before the client, which has ended; returns whether it is so."""
        async with self._pass:
            try:
                problem = await self._restore(traces, await self._rtnl.snapshot(whole=True))
            except OSError as error:
                problem = str(error.strerror)
        if problem:
            log.warning("%s", problem)
        return not problem

    async def remove(self) -> bool:
        """Remove what is ours; `keep` has ended. Returns whether it is gone; else the next run adopts it."""
        await self._search.end()
        for last in (*[False] * (REMOVALS_MAX - 1), True):
            async with self._pass:
                try:
                    snapshot = await self._rtnl.snapshot()
                    problem = await self._apply(difference(Wanted(), snapshot))
                except OSError as error:
                    problem = str(error.strerror)
            if not problem or last:
                break
            await asyncio.sleep(REMOVE_AGAIN_SECONDS)
        if problem:
            log.warning("cannot remove all that is ours: saw %s; the next start adopts it", problem)
        return not problem

    async def _reconcile(self) -> None:
        try:
            async with self._pass:
                self.view = await self._passes()
                for follow in self.also:
                    await follow()
        except OSError as error:
            self.view = replace(self.view, problem=str(error.strerror))
            asyncio.get_running_loop().call_later(READ_AGAIN_SECONDS, self._wake.set)
        settled = [n for n in self.view.networks if n.key not in self._search.asking]
        found = (
            self.view.problem,
            *(network.problem for network in settled),
            *(losses(self.view.networks) if self._began else ()),
            *remarks(self.view.snapshot, self._named),
            *crowds(self.view.snapshot.crowded),
            moved(self.view.priority, self._settings.rule_priority),
        )
        problems = {problem for problem in found if problem}
        # Once, and anew when it comes back: a pass is made with each event.
        for problem in problems - self._told:
            log.warning("%s", problem)
        self._told = problems
        self.on_pass()

    async def _passes(self) -> View:
        problem, failures, due = None, 0, False
        made: list[set[Change]] = []
        for _ in range(PASSES_MAX):
            steps, view = await self.plan()
            back = lost_addresses.given_back(self._stood, view.snapshot)
            self._stood = lost_addresses.remembered(self._stood, view.snapshot)
            # These come first: without them, what rests on them would be taken down.
            steps = back or steps
            made.append(set(steps))
            # The next pass keeps the tables that this one gave.
            self.view = replace(self.view, tables=view.tables)
            problem = await self._apply(steps)
            if back and problem:
                log.warning("%s", problem)
                self._stood = {}  # once: IPv6 may have been turned off
            self._search.ask(view.networks, [a.interface.ip for a in view.snapshot.addresses])
            due = due or any(step.sets_default for step in steps)
            if self._began and due:
                # A link that went down and up lost the main table's default route with ours, and the
                # client cannot reach its server without it.
                problem = problem or await self._restore(Traces(), view.snapshot)
            # What was read may have been older than the fall, and IPv6 takes no route before its address.
            due = bool(back or (due and problem))
            failures += problem is not None
            if not steps or failures > FAILURES_MAX:
                break
        else:
            # Where each pass found something else, networks come and go; their events bring us back.
            if undone := set.intersection(*made):
                first = next(step for step in steps if step in undone)
                problem = f"rules and routes do not last: {first} was undone again; find out by whom"
        return replace(view, replies=await self._replies(view), problem=problem)

    async def _restore(self, traces: Traces, snapshot: Snapshot) -> str | None:
        # A default route by a tunnel is the living client's, or another VPN's: none goes beside it.
        ours = {link.index for link in snapshot.links if not link.is_tunnel}
        taken = [
            v
            for v, where in SOMEWHERE.items()
            if (await self._rtnl.default_link(where) or 0) not in {0, *ours}
        ]
        steps = main_table.restored(self.before, traces, snapshot, taken)
        return await self._apply(steps)

    async def _apply(self, steps: list[Change]) -> str | None:
        problems = []
        for step in steps:
            try:
                await self._rtnl.apply(step)
                self.repairs += self._began
            except OSError as error:
                problems.append(str(error.strerror))
        return "; ".join(problems) or None

    async def _replies(self, view: View) -> tuple[Reply, ...]:
        lans = [network[1] for network in self._settings.lan_networks or () if network.num_addresses > 1]
        asked = questions(view.snapshot, view.networks, (*lans, *self.also_ask))
        links = view.snapshot.links
        return tuple([judge(q, await self._rtnl.lookup(q.destination, q.source, links)) for q in asked])
