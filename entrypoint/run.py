"""`sidegate run`: wires settings, kernel, client and health together, and takes them apart again."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from entrypoint import __version__, dns, hooks, machine, processes, reach
from entrypoint.clients import choose
from entrypoint.clients.base import Client
from entrypoint.dns import Dns
from entrypoint.faults import BadSettings, Fault, MissingPrivilege
from entrypoint.firewall import Firewall
from entrypoint.gather import gather, surroundings, tunnel_event
from entrypoint.hooks import Hooks
from entrypoint.kill_switch import KillSwitch
from entrypoint.network import IPAddress, Link
from entrypoint.overlap import Overlap, in_use, overlaps
from entrypoint.probe import Probe
from entrypoint.reconcile import Reconciler, see_that_it_is_no_host
from entrypoint.rtnl import Rtnl
from entrypoint.settings import Settings
from entrypoint.supervisor import Supervisor
from entrypoint.udp_replies import UdpReplies
from healthcheck import ask
from healthcheck.facts import Facts
from healthcheck.server import let_in, listen, serve
from healthcheck.threads import off_loop
from healthcheck.verdict import verdict

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
DEAF_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What asks other programs for something; it must not end the container."""
OVERLAPS_TOLD = 3
"""The log's one line names so many; /status has them all."""
ASKED_MAX = 8
"""Of so many overlaps the kernel is asked which way replies leave, at each pass."""


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
            # Before the gate: it would be the host's, and stay closed.
            await see_that_it_is_no_host(rtnl)
            reconciler, firewall = Reconciler(rtnl, settings), Firewall()
            kill_switch = KillSwitch(settings, reconciler, firewall)
            stack.callback(kill_switch.tell)
            await kill_switch.begin()
            client, endpoint, run_dir = _prepare(settings, stack)
            kill_switch.names = client.hosts
            udp = UdpReplies(settings, reconciler, firewall)
            reconciler.also = (kill_switch.follow, udp.follow)
            supervisor = Supervisor(client, reconciler, settings, run_dir)
            parts = rtnl, reconciler, supervisor, run_dir
            running = _Run(settings, *parts, firewall=firewall, kill_switch=kill_switch, udp=udp)
            await running.live(endpoint, stop)


def _prepare(settings: Settings, stack: contextlib.ExitStack) -> tuple[Client, socket.socket | None, Path]:
    """Look at all that can be wrong before anything is changed; raises every fault in one message."""
    run_dir = machine.run_dir()
    faults: list[Fault] = []
    client, endpoint = None, None
    try:
        client = choose.create(settings, run_dir, ipv6=machine.has_ipv6())
    except BadSettings as fault:
        faults.append(fault)
    try:
        endpoint = stack.enter_context(_endpoint(settings, run_dir))
    except BadSettings as fault:
        faults.append(fault)
    checks: tuple[Callable[[], None], ...] = (
        lambda: hooks.check(settings),
        lambda: reach.check(settings.health_target),
        lambda: dns.check(settings.vpn_dns),
        lambda: machine.check_privileges(client.device if client else None),
    )
    for check in checks:
        try:
            check()
        except (BadSettings, MissingPrivilege) as fault:
            faults.append(fault)
    if faults or client is None:
        texts = [text for fault in faults for text in fault.texts]
        raise type(faults[0])(*texts)
    listens = "off" if endpoint is None else "{}:{}".format(*endpoint.getsockname()[:2])
    log.info("sidegate %s: %s; health at %s", __version__, client.title, listens)
    for note in client.notes:
        log.info("%s", note)
    return client, endpoint, run_dir


class _Run:
    def __init__(
        self,
        settings: Settings,
        rtnl: Rtnl,
        reconciler: Reconciler,
        supervisor: Supervisor,
        run_dir: Path,
        *,
        firewall: Firewall,
        kill_switch: KillSwitch,
        udp: UdpReplies,
    ) -> None:
        self._settings = settings
        self._rtnl = rtnl
        self._reconciler = reconciler
        self._supervisor = supervisor
        self._firewall = firewall
        self._kill_switch = kill_switch
        self._udp = udp
        self._overlaps: list[Overlap] = []
        self._came_up = asyncio.Event()
        self._dns = Dns(settings, run_dir, lambda: surroundings(supervisor, reconciler, settings.vpn_dns))
        self._hooks = Hooks(settings)
        self._endpoint: socket.socket | None = None
        self._probe: Probe | None = None
        if settings.health_target:
            self._probe = Probe(settings.health_target, settings.health_interval, lambda: supervisor.tunnel)
            self._probe.on_dead = self._on_dead
        reconciler.on_pass = self._on_pass
        supervisor.on_up, supervisor.on_down = self._on_up, self._on_down
        supervisor.on_state = self._dns.wake.set
        # Where the last tunnel's resolver was asked, the one from before is needed to find the server.
        supervisor.before_attempt = self._before_attempt
        # And whoever reads "ready" may ask the next moment.
        supervisor.before_up = self._dns.before_up

    async def live(self, endpoint: socket.socket | None, stop: asyncio.Event) -> None:
        """Rule and table first, then the client, then health; the other way round at the stop."""
        reconciler, supervisor, self._endpoint = self._reconciler, self._supervisor, endpoint
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
            telling = asyncio.create_task(self._tell())
            keeping = asyncio.create_task(reconciler.keep())
            naming = asyncio.create_task(self._dns.keep())
            guarding = asyncio.create_task(self._firewall.keep())
            tasks = {telling, keeping, naming, guarding, asyncio.create_task(self._serve())}
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
        still = [] if removed else ["rules or routes of ours are left"]
        if alive := processes.left():
            still.append(f"process {' and '.join(map(str, alive))} of ours is left")
        if still:
            log.warning("stopped: %s", "; ".join(still))
        else:
            log.info("stopped: no rule, route or process of ours is left")

    async def _before_attempt(self) -> None:
        await self._dns.after_client()
        # What the file says by now decides which names the client asks for.
        await self._kill_switch.follow()

    def _stop(self) -> None:
        self._supervisor.stop()
        self._hooks.stop()
        if self._probe:
            self._probe.end()

    def _on_up(self) -> None:
        self._came_up.set()
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
            *(self._supervisor, self._reconciler, self._overlaps, self._probe, self._hooks),
            dns=self._dns,
            kill_switch=self._kill_switch,
        )

    def _on_pass(self) -> None:
        if self._endpoint:
            outer = (link.index for link in self._reconciler.view.snapshot.links if not link.is_tunnel)
            let_in(self._endpoint, set(outer))
        self._supervisor.kernel_changed()
        self._dns.wake.set()

    async def _tell(self) -> None:
        """Say once for each tunnel that came up what it covers, and how things stand."""
        while True:
            await self._came_up.wait()
            self._came_up.clear()
            if tunnel := self._supervisor.tunnel:
                link, addresses = tunnel
                log.info("up: %s %s", link.name, " ".join(str(address) for address in addresses))
                try:
                    await self._find_overlaps(link)
                    await off_loop(self._udp.tell, "look at UDP services")
                except OSError as error:
                    log.warning("cannot tell overlaps: %s", error)
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
        # In a thread: where many processes can be seen it takes long.
        own = [network.interface.ip for network in view.networks]
        peers = await off_loop(lambda: machine.tcp_peers(own), "look at peers")
        outside = {peer for peer in peers if not any(peer in network.network for network in view.networks)}
        self._overlaps = overlaps(
            routes,
            [interface.network for interface in view.snapshot.addresses_of(tunnel)],
            in_use(
                view.networks,
                self._settings.lan_networks or (),
                machine.resolvers(),
                outside - {server},
            ),
        )
        if self._overlaps:
            told = "; ".join(str(overlap) for overlap in self._overlaps[:OVERLAPS_TOLD])
            more = len(self._overlaps) - OVERLAPS_TOLD
            kept = ", ".join(f"{n.link} via {n.gateway}" for n in view.networks if n.gateway)
            log.info(
                "overlap on %s: %s%s; replies are kept on the gateway: %s",
                *(tunnel.name, told, f" and {more} more" if more > 0 else "", kept),
            )
        self._reconciler.also_ask = tuple(_inside(overlap) for overlap in self._overlaps[:ASKED_MAX])
        await self._reconciler.reconcile()


def _inside(overlap: Overlap) -> IPAddress:
    """Return an address that both the route and the network hold."""
    narrow = max(overlap.route, overlap.network, key=lambda network: network.prefixlen)
    return narrow[-1] if narrow.num_addresses == 1 else narrow[1]


@contextlib.contextmanager
def _endpoint(settings: Settings, run_dir: Path) -> Iterator[socket.socket | None]:
    """Take the port before anything else changes, and note for our own commands where that is."""
    named = run_dir / ask.ENDPOINT_FILE
    sock, text = None, ask.OFF
    if settings.health_listen:
        host, port = settings.health_listen
        text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            sock = listen(host, port)
        except OSError as error:
            raise BadSettings(
                f"cannot listen on HEALTH_LISTEN={text}: saw {error.strerror}; take a port and an address "
                "that are free in this network namespace, or `off`"
            ) from None
    new = named.with_suffix(".new")
    try:
        new.write_text(text + "\n")
        new.replace(named)
    except OSError as error:
        raise BadSettings(f"cannot write {named}: saw {error.strerror}; make room there") from None
    try:
        yield sock
    finally:
        named.unlink(missing_ok=True)
        if sock:
            sock.close()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("while stopping: %r", ended)
