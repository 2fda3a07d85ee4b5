"""What the log says of a run as a whole: its start, each tunnel that came up, its end."""

import asyncio
import logging
import socket
from collections.abc import Callable

from entrypoint import __version__, machine, processes
from entrypoint.clients.base import Client
from entrypoint.network import IPAddress, Link
from entrypoint.overlap import Overlap, in_use, overlaps
from entrypoint.probe import Probe
from entrypoint.reconcile import Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.supervisor import Supervisor
from healthcheck.facts import Facts
from healthcheck.threads import off_loop
from healthcheck.verdict import verdict

log = logging.getLogger(__name__)

OVERLAPS_TOLD = 3
"""The log's one line names so many; /status has them all."""
ASKED_MAX = 8
"""Of so many overlaps the kernel is asked which way replies leave, at each pass."""


def start(client: Client, endpoint: socket.socket | None) -> None:
    """Say what runs, and what the user should know of its configuration."""
    listens = "off" if endpoint is None else "{}:{}".format(*endpoint.getsockname()[:2])
    log.info("sidegate %s: %s; health at %s", __version__, client.title, listens)
    for note in client.notes:
        log.info("%s", note)


def end(*, removed: bool) -> None:
    """Say that nothing of ours is left, or what is; `removed` tells of rules and routes."""
    still = [] if removed else ["rules or routes of ours are left"]
    if alive := processes.left():
        still.append(f"process {' and '.join(map(str, alive))} of ours is left")
    if still:
        log.warning("stopped: %s", "; ".join(still))
    else:
        log.info("stopped: no rule, route or process of ours is left")


class Tunnels:
    """Says once for each tunnel that came up what it covers, and how things stand."""

    def __init__(
        self,
        settings: Settings,
        rtnl: Rtnl,
        reconciler: Reconciler,
        supervisor: Supervisor,
        *,
        probe: Probe | None,
        facts: Callable[[], Facts],
    ) -> None:
        self.came_up = asyncio.Event()
        """To be set each time that a tunnel has come up."""
        self.overlaps: list[Overlap] = []
        """What the last one's routes cover of the networks in use."""
        self._settings = settings
        self._rtnl = rtnl
        self._reconciler = reconciler
        self._supervisor = supervisor
        self._probe = probe
        self._facts = facts

    async def keep(self) -> None:
        """Tell of each, until cancelled."""
        while True:
            await self.came_up.wait()
            self.came_up.clear()
            if tunnel := self._supervisor.tunnel:
                log.info("up: %s %s", tunnel.link.name, " ".join(map(str, tunnel.addresses)))
                await self._tell(tunnel.link)

    async def _tell(self, tunnel: Link) -> None:
        try:
            await self._find_overlaps(tunnel)
        except OSError as error:
            log.warning("cannot tell overlaps: saw %s", error)
        if self._probe:
            await self._probe.first.wait()
        found = verdict(self._facts())
        if found.ready:
            log.info("ready: %s", found.reason)
        else:
            log.warning("not ready: %s", found.reason)

    async def _find_overlaps(self, tunnel: Link) -> None:
        view, server = self._reconciler.view, self._supervisor.report.server
        routes = await self._rtnl.routes_by(tunnel)
        own = [network.interface.ip for network in view.networks]
        peers = await off_loop(lambda: machine.tcp_peers(own), "look at peers")
        outside = {peer for peer in peers if not any(peer in network.network for network in view.networks)}
        self.overlaps = overlaps(
            routes,
            [interface.network for interface in view.snapshot.addresses_of(tunnel)],
            in_use(
                view.networks,
                self._settings.lan_networks or (),
                machine.resolvers(),
                outside - {server},
            ),
        )
        if self.overlaps:
            told = "; ".join(str(overlap) for overlap in self.overlaps[:OVERLAPS_TOLD])
            more = len(self.overlaps) - OVERLAPS_TOLD
            kept = ", ".join(f"{n.link} via {n.gateway}" for n in view.networks if n.gateway)
            log.info(
                "overlap on %s: %s%s; replies are kept on the gateway: %s",
                *(tunnel.name, told, f" and {more} more" if more > 0 else "", kept),
            )
        self._reconciler.also_ask = tuple(_inside(overlap) for overlap in self.overlaps[:ASKED_MAX])
        await self._reconciler.reconcile()


def _inside(overlap: Overlap) -> IPAddress:
    """Return an address that both the route and the network hold."""
    narrow = max(overlap.route, overlap.network, key=lambda network: network.prefixlen)
    return narrow[-1] if narrow.num_addresses == 1 else narrow[1]
