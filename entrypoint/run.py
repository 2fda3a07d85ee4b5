"""`sidegate run`: wires settings, kernel, client and health together, and takes them apart again."""

import asyncio
import contextlib
import logging
import signal

from entrypoint import announce, machine
from entrypoint.dns import Dns
from entrypoint.faults import BadSettings
from entrypoint.firewall import Firewall
from entrypoint.gather import gather, surroundings, tunnel_event
from entrypoint.hooks import Hooks
from entrypoint.kill_switch import KillSwitch
from entrypoint.prepare import Prepared, prepare
from entrypoint.probe import Probe
from entrypoint.reconcile import Reconciler
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.supervisor import Supervisor
from entrypoint.udp_replies import UdpReplies
from entrypoint.view import refuse_host
from healthcheck.facts import Facts
from healthcheck.server import let_in, serve

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
DEAF_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What asks other programs for something; it must not end the container."""


async def run(settings: Settings, warnings: list[str]) -> None:
    """Serve until SIGTERM or SIGINT; raises BadSettings or MissingPrivilege, and then leaves nothing.

    But for the gate of `KILL_SWITCH=on`: it is closed before anything else, and stays so.
    """
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for number in DEAF_SIGNALS:
        said = f"{number.name} does nothing here: settings are read at the start, so restart the container"
        asyncio.get_running_loop().add_signal_handler(number, log.warning, said)
    for warning in warnings:
        log.warning("%s", warning)
    with contextlib.ExitStack() as stack:
        stack.enter_context(machine.alone())
        async with Rtnl(settings.route_table) as rtnl:
            # Before the gate: to close the host's would lock out whoever could open it again.
            refuse_host(await rtnl.snapshot())
            reconciler, firewall = Reconciler(rtnl, settings), Firewall()
            kill_switch = KillSwitch(settings, reconciler, firewall)
            stack.callback(kill_switch.tell)
            await kill_switch.begin()
            prepared = prepare(settings, stack, group=kill_switch.group)
            announce.start(prepared.client, prepared.endpoint)
            running = _Run(settings, rtnl, reconciler, prepared, firewall=firewall, kill_switch=kill_switch)
            await running.live(stop)


class _Run:
    """All parts of a run, and what each is told of the others."""

    def __init__(
        self,
        settings: Settings,
        rtnl: Rtnl,
        reconciler: Reconciler,
        prepared: Prepared,
        *,
        firewall: Firewall,
        kill_switch: KillSwitch,
    ) -> None:
        self._reconciler = reconciler
        self._firewall = firewall
        self._kill_switch = kill_switch
        self._endpoint = prepared.endpoint
        supervisor = Supervisor(prepared.client, reconciler, settings, prepared.run_dir)
        self._supervisor = supervisor
        self._udp = UdpReplies(settings, reconciler, firewall)
        self._hooks = Hooks(settings)
        self._dns = Dns(
            settings, prepared.run_dir, lambda: surroundings(supervisor, reconciler, settings.vpn_dns)
        )
        self._probe: Probe | None = None
        if settings.health_target:
            self._probe = Probe(settings.health_target, settings.health_interval, lambda: supervisor.tunnel)
            self._probe.on_dead = self._on_dead
        self._tunnels = announce.Tunnels(
            *(settings, rtnl, reconciler, supervisor),
            probe=self._probe,
            facts=self._facts,
        )
        kill_switch.names = prepared.client.hosts
        reconciler.also = (kill_switch.follow, self._udp.follow)
        reconciler.on_pass = self._on_pass
        supervisor.on_up, supervisor.on_down = self._on_up, self._on_down
        supervisor.on_state = self._dns.wake.set
        supervisor.before_attempt = self._before_attempt
        # Whoever reads "ready" may look a name up the next moment.
        supervisor.before_up = self._dns.before_up

    async def live(self, stop: asyncio.Event) -> None:
        """Rule and table first, then the client, then health; the other way round at the stop."""
        reconciler, supervisor = self._reconciler, self._supervisor
        tasks: set[asyncio.Task[None]] = set()
        removed = False
        try:
            noted = await supervisor.end_leftovers()
            try:
                makes_tunnel = supervisor.client.makes_tunnel
                await reconciler.begin(noted, supervisor.traces, remember_main=makes_tunnel)
            except BadSettings:
                if stop.is_set():
                    return  # what is taken down around us is no fault
                raise
            await self._dns.begin()
            client = asyncio.create_task(supervisor.run())
            telling = asyncio.create_task(self._tunnels.keep())
            keeping = asyncio.create_task(reconciler.keep())
            naming = asyncio.create_task(self._dns.keep())
            guarding = asyncio.create_task(self._firewall.keep())
            looking = asyncio.create_task(self._udp.keep())
            tasks = {telling, keeping, naming, guarding, looking, asyncio.create_task(self._serve())}
            stopped = asyncio.ensure_future(stop.wait())
            ended, _ = await asyncio.wait({stopped, client, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping")
            telling.cancel()
            self._stop()
            await client
            for part in ended & tasks:
                part.result()  # none of them ends by itself but by a fault of ours
        finally:
            self._stop()
            await self._hooks.ended()
            await _end(tasks)
            await self._dns.close()
            removed = await reconciler.remove()
            await self._udp.end()
            # The loop's end gives SIGTERM its default back; a second one must not spoil the exit code.
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        supervisor.stopped()
        announce.end(removed=removed)

    async def _before_attempt(self) -> None:
        # Where the last tunnel's resolver was asked, the one from before is needed to find the server.
        await self._dns.after_client()
        # What resolv.conf says by now decides which names the client asks for.
        await self._kill_switch.follow()

    def _stop(self) -> None:
        self._supervisor.stop()
        self._hooks.stop()
        if self._probe:
            self._probe.end()

    def _on_up(self) -> None:
        self._tunnels.came_up.set()
        self._udp.came_up.set()
        if self._probe:
            self._probe.begin()
        if event := tunnel_event(self._supervisor, self._reconciler):
            self._hooks.up(event)

    def _on_down(self) -> None:
        if self._probe:
            self._probe.end()
        self._hooks.down()

    def _on_dead(self, why: str) -> None:
        # A tunnel that others make is theirs to restart.
        if self._probe and self._supervisor.client.makes_tunnel:
            self._supervisor.give_up(why, worked=self._probe.answered)

    async def _serve(self) -> None:
        # The server's import takes longer than all else at the start; the client need not wait for it.
        await self._supervisor.began.wait()
        if self._endpoint:
            await serve(self._endpoint, self._facts)
        else:
            await asyncio.Event().wait()

    def _facts(self) -> Facts:
        return gather(
            *(self._supervisor, self._reconciler, self._tunnels.overlaps, self._probe, self._hooks),
            dns=self._dns,
            kill_switch=self._kill_switch,
        )

    def _on_pass(self) -> None:
        if self._endpoint:
            outer = (link.index for link in self._reconciler.view.snapshot.links if not link.is_tunnel)
            let_in(self._endpoint, set(outer))
        self._supervisor.kernel_changed()
        self._dns.wake.set()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("while stopping: %r", ended)
