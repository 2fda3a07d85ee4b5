"""`UDP_REPLY_PORTS`: the chain kept in step with the networks, and a word on services that would need it."""

import asyncio
import contextlib
import logging
import os

from entrypoint import machine
from entrypoint.faults import BadSettings
from entrypoint.firewall import Firewall
from entrypoint.reconcile import Reconciler
from entrypoint.settings import Settings
from entrypoint.udp import chains, not_served, unheard
from healthcheck.threads import off_loop

log = logging.getLogger(__name__)

PART = "udp"
"""Our share of the firewall's table."""
LOOK_AFTER_SECONDS = (0, 8, 22, 90)
"""Pauses before each look at the services, once a tunnel is up: no event of the kernel tells of a new one."""


class UdpReplies:
    """Wants the chain where ports are named, from the first pass on, which comes before the client."""

    def __init__(self, settings: Settings, reconciler: Reconciler, walls: Firewall) -> None:
        self._ports = settings.udp_reply_ports or ()
        self._reconciler = reconciler
        self._firewall = walls
        self.came_up = asyncio.Event()
        """To be set each time that a tunnel has come up."""
        self._stood = False
        self._left_out: set[str] = set()
        """Links whose networks were told not to be served: those that come later are no news."""
        self._told: list[object] = []

    async def follow(self) -> None:
        """Have the chain be as the networks are now; awaited in each pass.

        Raises BadSettings where the first one cannot be had.
        """
        if not self._ports:
            return
        networks = self._reconciler.view.networks
        await self._firewall.want(PART, chains(networks, self._ports))
        if self._firewall.problem and not self._stood:
            raise BadSettings(
                f"cannot do what UDP_REPLY_PORTS asks for: {self._firewall.problem}; it takes a kernel with "
                "nftables (Linux 5.6 or newer, `modprobe nf_tables nf_nat` on the host), or leave it out"
            )
        self._stood = True
        if left_out := [network for network in not_served(networks) if network.link not in self._left_out]:
            self._left_out |= {network.link for network in left_out}
            log.warning(
                "UDP_REPLY_PORTS has no effect on %s: saw a link-local gateway; have the service listen on "
                "the container's own address there",
                " and ".join(f"{network.link} ({network.network})" for network in left_out),
            )

    async def end(self) -> None:
        """Take the chain away."""
        if self._ports:
            await self._firewall.want(PART, ())

    async def keep(self) -> None:
        """Look for services that would need it, until cancelled: most start once the tunnel is up."""
        while True:
            await self.came_up.wait()
            self.came_up.clear()
            for pause in LOOK_AFTER_SECONDS:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.came_up.wait(), pause)
                    break
                with contextlib.suppress(OSError):
                    await off_loop(self._tell, "look at UDP services")

    def _tell(self) -> None:
        """Say once which services would lose their replies; reads every socket, so it belongs in a thread."""
        ports = unheard(machine.wildcard_udp_ports(besides=os.getpid()), self._ports)
        if ports and ports not in self._told:
            self._told.append(ports)
            listed = ",".join(map(str, ports))
            log.warning(
                "UDP services on every address (ports %s) answer a LAN that the tunnel covers by the tunnel; "
                "if you publish them, set UDP_REPLY_PORTS=%s",
                *(listed, listed),
            )
