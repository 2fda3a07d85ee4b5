"""The kill switch: closed before all else, kept in step with networks and servers, left closed at the end."""

import logging
import os
from collections.abc import Sequence

from entrypoint import firewall, machine, passed_on
from entrypoint.clients.choose import cannot_close
from entrypoint.faults import BadSettings, MissingPrivilege
from entrypoint.firewall import Firewall
from entrypoint.gate import CHAIN, Openings, chains, of_docker, whole_names
from entrypoint.network import GROUP, IPV6, Flow
from entrypoint.reconcile import Reconciler
from entrypoint.settings import Settings

log = logging.getLogger(__name__)

PART = "gate"
"""Our share of the firewall's table."""


class KillSwitch:
    """Wants the gate's chains where `KILL_SWITCH=on`; elsewhere it opens what an earlier run left closed."""

    def __init__(self, settings: Settings, reconciler: Reconciler, walls: Firewall) -> None:
        self.on = settings.kill_switch == "on"
        self.group = GROUP if self.on and machine.may_give(GROUP) else None
        """What a client runs with that cannot mark its packets; None for our own group."""
        self.names: Sequence[str] = ()
        """The client's servers, as far as they are names."""
        self._nobodys = passed_on.nobodys_name() if passed_on.is_there() else ""
        """What Docker's resolver is asked for; empty once it is known whether that asks past the gate."""
        self._docker_passes = False
        self._flows: set[Flow] = set()
        self._told = False
        self._settings = settings
        self._reconciler = reconciler
        self._firewall = walls

    @property
    def problem(self) -> str | None:
        """Why the gate is not closed as wanted; None while it is."""
        return self._firewall.problem

    @property
    def repairs(self) -> int:
        """How often the firewall was mended."""
        return self._firewall.repairs

    async def begin(self) -> None:
        """Close before anything else is done; raises MissingPrivilege or BadSettings where that cannot be."""
        if not self.on:
            if firewall.stands(CHAIN):
                log.warning("opening the gate that an earlier run left closed: KILL_SWITCH=off")
            # Where UDP_REPLY_PORTS wants a table as well, the first pass takes from it what is not wanted.
            if firewall.stands() and not self._settings.udp_reply_ports:
                await self._firewall.apply()
            return
        if cannot_close(self._settings):
            return  # it would stop the tunnel itself, and the start is refused with all that is wrong
        if lacking := machine.lacks_net_admin():
            raise MissingPrivilege(lacking)
        if firewall.stands(CHAIN):
            log.info("adopting the closed gate that an earlier run left here")
        try:
            _, self._reconciler.view = await self._reconciler.plan()
        except OSError as error:
            raise BadSettings(str(error.strerror)) from None
        self._flows = machine.udp_flows()
        await self.follow()
        # Those that were connected while it was being closed.
        self._flows |= machine.udp_flows()
        await self.follow()
        if self.problem:
            raise BadSettings(
                f"cannot close the gate that KILL_SWITCH=on asks for: {self.problem}; it takes a kernel with "
                "nftables (Linux 5.6 or newer, `modprobe nf_tables nf_conntrack nft_fib_inet` on the host)"
            )
        if self._nobodys:
            await self._ask_docker(self._nobodys)

    def tell(self) -> None:
        """Say at the end, whatever the end is, that the gate stays."""
        if self.on and firewall.stands(CHAIN):
            log.info("the gate stays closed; KILL_SWITCH=off at the next start opens it")

    async def follow(self) -> None:
        """Have the gate be as networks, servers and the resolver's file are now; awaited in each pass."""
        if not self.on:
            return
        view = self._reconciler.view
        given = {address.interface.network for address in view.snapshot.addresses if address.permanent}
        # Whoever announces himself as a router (IPv6) could name any network, to have what is sent there.
        opened = (n.network for n in view.networks if n.network in given or n.network.version != IPV6)
        names = whole_names(self.names, machine.search_domains())
        openings = Openings(
            connected=tuple(dict.fromkeys(opened)),
            listed=self._settings.lan_networks or (),
            servers=self._reconciler.brought.pinned,
            group=self.group,
            user=os.geteuid(),
            names=names,
            ephemeral=machine.ephemeral_ports(),
            flows=tuple(self._flows),
        )
        if openings.servers and not (self.group or self._told):
            self._told = True
            log.warning(
                "the gate lets all of root's packets to the VPN's server through: saw no SETGID among our "
                "capabilities, to run the client with a group of its own; where services run as root, add it "
                "(docker run --cap-add SETGID, compose: `cap_add: [NET_ADMIN, SETGID]`)"
            )
        closed = chains(openings)
        if self._docker_passes or self._nobodys:
            closed += of_docker(names, self._nobodys)
        await self._firewall.want(PART, closed)

    async def _ask_docker(self, nobodys: str) -> None:
        self._docker_passes, self._nobodys = await passed_on.is_answered(nobodys), ""
        if self._docker_passes:
            log.warning(
                "Docker's resolver asks in the host's own network, past the gate: it is asked for the VPN "
                "server's name and for names without a dot alone; for all others set VPN_DNS=vpn, or name "
                "another resolver for this container (compose: `dns: [1.1.1.1]`)"
            )
        await self.follow()
