"""Keeps the kernel as wanted: wake, read, detect, want, apply. Level, not edge: no pass trusts an event."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from entrypoint import policy
from entrypoint.detect import ContainerNetwork, Exit, container_networks, tunnels, why_none
from entrypoint.faults import BadSettings
from entrypoint.network import PROTOCOL, IPAddress, IPNetwork, Route, Snapshot
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.watch import Watcher

log = logging.getLogger(__name__)

SOMEWHERE = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
"""Off every link: addresses kept for documentation (RFC 5737, RFC 3849). Nothing is sent to them."""
READ_AGAIN_SECONDS = 1.0
"""After a storm in which the kernel could not be read."""
PASSES_MAX = 5
"""A pass whose changes do not last is given up after so many; the next event tries again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The kernel's answer about one reply."""

    source: IPAddress
    destination: IPAddress
    problem: str | None


@dataclass(frozen=True, slots=True)
class View:
    """What the last pass saw and left behind."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    networks: tuple[ContainerNetwork, ...] = ()
    tables: Mapping[str, int] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()
    problem: str | None = None
    """Why the kernel is not as wanted; None if it is."""


class Reconciler:
    """Owns our rules and routes from the first pass to the removal."""

    def __init__(self, rtnl: Rtnl, settings: Settings) -> None:
        self.view = View()
        self.repairs = 0
        """Changes made after the first pass."""
        self.changed: Callable[[], None] = lambda: None
        """Called after each pass."""
        self.asked: tuple[IPAddress, ...] = ()
        """Destinations that the tunnel's routes take: where a reply gone astray would show."""
        self._rtnl = rtnl
        self._settings = settings
        self._named: dict[tuple[str, int], IPAddress] = {
            (name, gateway.version): gateway for name, gateway in settings.gateways or ()
        }
        self._exits: dict[tuple[str, IPNetwork], Exit] = {}
        self._tables: dict[str, int] = {}
        self._told: set[str] = set()
        self._wake = asyncio.Event()
        self._pass = asyncio.Lock()
        self._before: tuple[Route, ...] = ()
        self._began = False

    async def plan(self) -> tuple[list[policy.Change], View]:
        """Return what a pass would change, and what it saw; touches nothing."""
        snapshot = await self._rtnl.snapshot()
        networks = container_networks(snapshot, self._named, self._exits)
        tables = policy.assign_tables(networks, self._tables, self._settings.route_table)
        want = policy.wanted(
            networks, tables, self._settings.rule_priority, self._settings.lan_networks or ()
        )
        return policy.changes(want, snapshot), View(snapshot, networks, tables)

    async def begin(self, servers: Collection[IPAddress] = ()) -> None:
        """Make the first pass; raises BadSettings where no network can be served or ours cannot be set.

        `servers` are those of a killed run's client.
        """
        _, view = await self.plan()
        if why := why_none(view.snapshot, view.networks):
            raise BadSettings(why)
        self._before = policy.adopted(view.snapshot, servers)
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
        finally:
            watcher.close()

    async def reconcile(self) -> None:
        """Make passes until one finds nothing to change, then ask the kernel about replies.

        A caller that is cancelled leaves the pass to its end: half a dump would spoil the socket.
        """
        await asyncio.shield(asyncio.ensure_future(self._reconcile()))

    async def _reconcile(self) -> None:
        try:
            await self._make_passes()
        except OSError as error:
            self.view = replace(self.view, problem=str(error.strerror))
            asyncio.get_running_loop().call_later(READ_AGAIN_SECONDS, self._wake.set)
        if self.view.problem:
            self._tell(self.view.problem)
        self.changed()

    async def _make_passes(self) -> None:
        async with self._pass:
            problem = None
            for _ in range(PASSES_MAX):
                steps, view = await self.plan()
                self._remember(view)
                problem = await self._apply(steps)
                if self._began and any(step.sets_default for step in steps):
                    # A link that went down and up lost the main table's default route with ours, and the
                    # client cannot reach its server without it.
                    await self._apply(policy.restored(self._before, (), view.snapshot))
                if not steps or problem:
                    break
            else:
                problem = (
                    f"rules and routes do not last: something removes them ({steps[0]} was undone again)"
                )
            replies = await self._replies(view)
            self.view = replace(view, replies=replies, problem=problem)

    async def restore(self, servers: Collection[IPAddress]) -> None:
        """Put the main table back as it was before the client, which has ended."""
        async with self._pass:
            snapshot = await self._rtnl.snapshot()
            problem = await self._apply(policy.restored(self._before, servers, snapshot))
        if problem:
            self._tell(problem)

    async def remove(self) -> None:
        """Remove what is ours; `keep` has ended."""
        async with self._pass:
            snapshot = await self._rtnl.snapshot()
            problem = await self._apply(policy.changes(policy.Wanted(), snapshot))
        if problem:
            self._tell(problem)

    async def _apply(self, steps: list[policy.Change]) -> str | None:
        problems = []
        for step in steps:
            try:
                await self._rtnl.apply(step)
                self.repairs += self._began
            except OSError as error:
                problems.append(str(error.strerror))
        return "; ".join(problems) or None

    def _remember(self, view: View) -> None:
        self._tables = {**self._tables, **view.tables}
        for network in view.networks:
            if network.exit:
                self._exits[network.key] = network.exit
            elif network.problem:
                self._tell(network.problem)

    async def _replies(self, view: View) -> tuple[Reply, ...]:
        # Before a tunnel is there, every way leads out by the gateway and the answer would prove nothing.
        if not tunnels(view.snapshot):
            return ()
        served = [network for network in view.networks if network.up and network.exit]
        beside = self._beside(view)
        return tuple(
            [
                await self._reply(network, destination, view)
                for network in served
                for destination in (SOMEWHERE[network.interface.version], *beside)
                if destination.version == network.interface.version and destination not in network.network
            ]
        )

    def _beside(self, view: View) -> list[IPAddress]:
        """Return addresses on the tunnel's side: where a reply gone astray would show."""
        own = {address.interface.ip for address in view.snapshot.addresses}
        networks = [
            interface.network
            for _, addresses in tunnels(view.snapshot)
            for interface in addresses
            # A point-to-point address has no neighbours.
            if interface.network.prefixlen < interface.max_prefixlen - 1
        ]
        peers = [network[1] if network[1] not in own else network[2] for network in networks]
        return list(dict.fromkeys((*peers, *self.asked)))

    async def _reply(self, network: ContainerNetwork, destination: IPAddress, view: View) -> Reply:
        source = network.interface.ip
        path = await self._rtnl.path(destination, source, view.snapshot.links)
        problem = None
        if isinstance(path, str):
            problem = f"would not leave at all: {path}"
        elif path.link != network.link or not network.exit or path.gateway != network.exit.gateway:
            by = f"{path.link} via {path.gateway}" if path.gateway else path.link
            problem = f"would leave by {by} (table {path.table}) and not by {network.link} via {network.exit}"
        return Reply(source, destination, problem)

    def _tell(self, problem: str) -> None:
        """Log a problem once: a pass comes again with each event."""
        if problem not in self._told:
            self._told.add(problem)
            log.warning("%s", problem)
