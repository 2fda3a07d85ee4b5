"""Keeps the kernel as wanted: wake, read, detect, want, apply. Level, not edge: no pass trusts an event."""

import asyncio
import collections
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from entrypoint import machine, policy
from entrypoint.detect import ContainerNetwork, NextHop, container_networks, why_none
from entrypoint.faults import BadSettings
from entrypoint.hostnet import why_host
from entrypoint.named import remarks, why_no_tunnel
from entrypoint.network import PROTOCOL, IPAddress, IPNetwork, Snapshot
from entrypoint.policy import Before, Brought, Change
from entrypoint.replies import SOMEWHERE, Reply, judge, questions
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.watch import Watcher

log = logging.getLogger(__name__)

READ_AGAIN_SECONDS = 1.0
"""After a storm in which the kernel could not be read."""
PASSES_MAX = 5
"""Where changes do not last, so many passes are made before the next event, after a pause, tries again."""
MENDED_MAX = 10
"""Passes within a second that had something to mend, before the same pause is made."""
COOL_DOWN_SECONDS = 0.5
"""That pause: what is undone again and again must not take the processor."""


@dataclass(frozen=True, slots=True)
class View:
    """What the last pass saw and left behind."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    networks: tuple[ContainerNetwork, ...] = ()
    tables: Mapping[str, int] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()
    problem: str | None = None
    """Why the kernel is not as wanted; None if it is."""
    priority: int | None = None
    """That of our first rule; None where there is none."""


def see_that_it_can_be_served(view: View, settings: Settings) -> None:
    """Raise BadSettings where this is no container's network, or it cannot be served as the settings say."""
    why = why_host(view.snapshot, machine.hosts()) or why_none(view.snapshot, view.networks)
    if why := why or why_no_tunnel(view.snapshot, settings.vpn_interface):
        raise BadSettings(*why.splitlines())


class Reconciler:
    """Owns our rules and routes from the first pass to the removal."""

    def __init__(self, rtnl: Rtnl, settings: Settings) -> None:
        self.view = View()
        self.repairs = 0
        """Changes made after the first pass."""
        self.on_pass: Callable[[], None] = lambda: None
        """Called after each pass."""
        self.also_ask: tuple[IPAddress, ...] = ()
        """Destinations that the tunnel's routes take: where a reply gone astray would show."""
        self.before = Before()
        """The main table as it was before the client."""
        self._brought = Brought()
        self._rtnl = rtnl
        self._settings = settings
        self._named: dict[tuple[str, int], IPAddress] = {
            (name, gateway.version): gateway for name, gateway in settings.gateways or ()
        }
        self._gateways: dict[tuple[str, IPNetwork], NextHop] = {}
        self._told: set[str] = set()
        self._wake = asyncio.Event()
        self._pass = asyncio.Lock()
        self._began = False
        self._repairs_seen = 0
        self._mended_at: collections.deque[float] = collections.deque(maxlen=MENDED_MAX)

    async def plan(self) -> tuple[list[Change], View]:
        """Return what a pass would change, and what it saw; touches nothing. Raises OSError."""
        snapshot = await self._rtnl.snapshot()
        networks = container_networks(snapshot, self._named, self._gateways)
        tables = policy.assign_tables(networks, self.view.tables, self._settings.route_table)
        want = policy.wanted(
            networks,
            tables,
            self._settings.rule_priority,
            (*(self._settings.lan_networks or ()), *self._brought.beside),
            snapshot.named_addresses(),
        )
        want = policy.in_front(policy.with_tunnel(want, self._brought.setup, snapshot), snapshot.places)
        first = min((rule.priority for rule in want.rules), default=None)
        return policy.changes(want, snapshot), View(snapshot, networks, tables, priority=first)

    def follow(self, brought: Brought) -> None:
        """Take in what the client's tunnel brings; the next pass makes it so, and is under way."""
        if brought != self._brought:
            self._brought = brought
            self._wake.set()

    async def begin(
        self,
        noted: Before | None = None,
        servers: Collection[IPAddress] = (),
        *,
        remember_main: bool = True,
    ) -> None:
        """Make the first pass; raises BadSettings where no network can be served or ours cannot be set.

        `noted` and `servers` are what a killed run noted of the main table and of its client.
        `remember_main` off: whoever makes the tunnel answers for the main table, and nothing is put back.
        """
        _, view = await self.plan()
        see_that_it_can_be_served(view, self._settings)
        if noted:
            self.before = noted
        elif remember_main:
            routes = policy.before_client(view.snapshot, servers, self._named)
            self.before = Before(routes, view.snapshot.links)
        left = sum(rule.protocol == PROTOCOL for rule in view.snapshot.rules)
        if left:
            log.info("adopted %d rules that an earlier run left here", left)
        await self.reconcile()
        if self.view.problem:
            raise BadSettings(self.view.problem)
        self._began = True

    async def keep(self) -> None:
        """Reconcile at each event until cancelled."""
        watcher = Watcher(self._wake.set, self._settings.route_table)
        self._wake.set()  # what happened between the first pass and the watch
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self.reconcile()
                if self.view.problem or self._is_fought():
                    # Where somebody undoes what we do, our own changes would wake us without end.
                    await asyncio.sleep(COOL_DOWN_SECONDS)
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

    async def restore(self, servers: Collection[IPAddress]) -> None:
        """Put the main table back as it was before the client, which has ended."""
        async with self._pass:
            try:
                problem = await self._restore(servers, await self._rtnl.snapshot())
            except OSError as error:
                problem = str(error.strerror)
        if problem:
            log.warning("%s", problem)

    async def remove(self) -> None:
        """Remove what is ours; `keep` has ended. Raises OSError where the kernel cannot be read."""
        async with self._pass:
            snapshot = await self._rtnl.snapshot()
            problem = await self._apply(policy.changes(policy.Wanted(), snapshot))
        if problem:
            log.warning("%s", problem)

    async def _reconcile(self) -> None:
        try:
            async with self._pass:
                self.view = await self._passes()
        except OSError as error:
            self.view = replace(self.view, problem=str(error.strerror))
            asyncio.get_running_loop().call_later(READ_AGAIN_SECONDS, self._wake.set)
        found = (
            self.view.problem,
            *(network.problem for network in self.view.networks),
            *remarks(self.view.snapshot, self._named),
            self._moved(),
        )
        problems = {problem for problem in found if problem}
        # Once, and anew when it comes back: a pass is made with each event.
        for problem in problems - self._told:
            log.warning("%s", problem)
        self._told = problems
        self.on_pass()

    def _moved(self) -> str | None:
        """Say that our rules do not stand where RULE_PRIORITY has them; None where they do."""
        at, meant = self.view.priority, self._settings.rule_priority
        if at is None or at >= meant:
            return None
        return (
            f"our rules have priority {at} instead of RULE_PRIORITY={meant}: saw another's rule at {at + 1}, "
            "which would take replies before ours"
        )

    async def _passes(self) -> View:
        problem = None
        for _ in range(PASSES_MAX):
            steps, view = await self.plan()
            self._gateways |= {network.key: network.gateway for network in view.networks if network.gateway}
            # The next pass keeps the tables that this one gave.
            self.view = replace(self.view, tables=view.tables)
            problem = await self._apply(steps)
            if self._began and any(step.sets_default for step in steps):
                # A link that went down and up lost the main table's default route with ours, and the
                # client cannot reach its server without it.
                problem = problem or await self._restore((), view.snapshot)
            if not steps or problem:
                break
        else:
            problem = f"rules and routes do not last: {steps[0]} was undone again; find out by whom"
        return replace(view, replies=await self._replies(view), problem=problem)

    async def _restore(self, servers: Collection[IPAddress], snapshot: Snapshot) -> str | None:
        # A default route by a tunnel is the living client's, or another VPN's: none goes beside it.
        ours = {link.index for link in snapshot.links if not link.is_tunnel}
        taken = [
            v
            for v, where in SOMEWHERE.items()
            if (await self._rtnl.default_link(where) or 0) not in {0, *ours}
        ]
        steps = policy.restored(self.before, servers, snapshot, taken)
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
