"""Which tunnel is the client's, and whether it may have the addresses that it was given."""

import asyncio
import logging
from collections.abc import Collection

from entrypoint import machine
from entrypoint.clients.base import Report
from entrypoint.network import IPAddress
from entrypoint.settings import Settings
from entrypoint.tunnel_address import Neighbourhood, refusal
from entrypoint.tunnels import Tunnel, tunnels
from entrypoint.view import View
from healthcheck.threads import off_loop

log = logging.getLogger(__name__)


class OwnTunnel:
    """Knows who was there before an attempt: other tunnels, and hosts that are connected with us."""

    def __init__(self, settings: Settings, *, makes_tunnel: bool) -> None:
        """`makes_tunnel`: the client makes it; else it is somebody else's, and was there before as well."""
        self._named = settings.vpn_interface
        self._lans = settings.lan_networks or ()
        self._makes_tunnel = makes_tunnel
        self._others: dict[int, str] = {}
        """Tunnels that stood before the client: index -> name of the link."""
        self._chosen_from: list[str] = []
        """Names of the tunnels that were seen last."""
        self._peers: asyncio.Task[set[IPAddress]] | None = None
        """Who had a connection open with us as the attempt began."""
        self._refused: set[IPAddress] = set()
        """Addresses of LAN hosts that a tunnel was given: that cut the connections by which we knew them."""

    def begin(self, view: View) -> None:
        """Look who is there before an attempt."""
        own = [network.interface.ip for network in view.networks]
        self._peers = asyncio.create_task(off_loop(lambda: machine.tcp_peers(own), "look at peers"))
        # A link that a vendor's daemon keeps without an address is about to be the client's.
        standing = tunnels(view.snapshot) if self._makes_tunnel else ()
        self._others = {tunnel.link.index: tunnel.link.name for tunnel in standing}

    async def peers_known(self) -> None:
        """Wait until the peers are known; raises OSError where they cannot be."""
        if self._peers:
            await self._peers

    def find(self, view: View, report: Report) -> Tunnel | None:
        """Return the tunnel as this view shows it; of several, the first, and the log says so once."""
        name = self._named or report.interface
        found = [
            tunnel
            for tunnel in tunnels(view.snapshot)
            if (tunnel.link.name == name if name else tunnel.link.index not in self._others)
        ]
        names = [tunnel.link.name for tunnel in found]
        if len(names) > 1 and names != self._chosen_from:
            told = "saw several tunnels, %s: health follows %s; set VPN_INTERFACE to name another"
            log.warning(told, " and ".join(names), names[0])
        self._chosen_from = names
        # One that lost an address of the client's serves a part of it at most.
        return found[0] if found and found[0].ips.issuperset(report.addresses) else None

    def refusal(self, view: View, addresses: Collection[IPAddress]) -> str | None:
        """Say why the tunnel may not have one of these addresses; None where it may, or is none of ours."""
        if not self._makes_tunnel:
            return None  # what others make is theirs to end
        peers = self._refused | self._known_peers()
        around = Neighbourhood(view.snapshot, view.networks, self._lans, machine.resolvers(), peers)
        why = refusal(addresses, around)
        if why:
            self._refused |= peers.intersection(addresses)
        return why

    def passed_over(self) -> str:
        """Name the tunnels that stood before, for the end of a line that says that none came."""
        names = " and ".join(self._others.values())
        return f"; {names} stood before it: set VPN_INTERFACE if that is its tunnel" if names else ""

    def _known_peers(self) -> set[IPAddress]:
        if self._peers is None or not self._peers.done() or self._peers.exception():
            return set()
        return self._peers.result()
