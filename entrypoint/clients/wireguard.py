"""WireGuard: the kernel's own where it has it, else wireguard-go. Both are configured by `wg`.

Up means a handshake. The link is set up without routes first; what the tunnel takes is taken once somebody
answers, so names can be looked up until then.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from entrypoint.clients import config_file, wg_config, wg_tools
from entrypoint.clients.base import AttemptFailed, Report
from entrypoint.clients.wg_config import Config
from entrypoint.clients.wg_line import Line, look_up
from entrypoint.clients.wg_session import Session
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.network import MARK, TunnelSetup

log = logging.getLogger(__name__)

DEFAULT_LINK = "wg0"
CALL_SECONDS = 6.0
"""How long a silent address has before the next has its turn, and names are looked up anew; one retry of
WireGuard's (REKEY_TIMEOUT, 5 s) is within."""
BESIDE_SECONDS = 60.0
"""The same where another peer answers."""
FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.02, 1.0
"""Between two looks for a handshake while nobody answers: the first, and the longest."""
ASKED_LOOK_SECONDS = 0.25
"""While a peer is asked whether it is still there."""
_LINK_NAME = re.compile(r"[A-Za-z0-9_=+.-]{1,15}")
"""What wg-quick takes as a link's name from the name of a file."""


class WireGuard:
    """One link with its peers. Raises BadSettings with every fault of the configuration."""

    name: ClassVar[str] = "wireguard"
    makes_tunnel: bool = True

    def __init__(
        self,
        config: Path,
        *,
        interface: str | None,
        ipv6: bool,
        kernel: Callable[[], bool],
    ) -> None:
        """Check everything that can be checked before the start.

        `interface` is the link's name, None for the file's. `ipv6`: whether the container has IPv6;
        `kernel` finds out whether its kernel has WireGuard, and is asked once all else is right.
        """
        checked = None
        try:
            checked, found = wg_config.parse(config_file.decode(config_file.read(config)))
        except ValueError as error:
            found = [str(error)]
        if checked and not ipv6:
            checked = wg_config.without_ipv6(checked)
            if not checked.addresses:
                found = ["it has IPv6 addresses alone, and the container has no IPv6; add an IPv4 Address"]
        if checked is None or found:
            raise BadSettings(*(f"cannot use VPN_CONFIG={config}: {fault}" for fault in found))
        self._kernel = kernel()
        self.device: str | None = None if self._kernel else "/dev/net/tun"
        self.title = f"wireguard with {config}, by {'the kernel' if self._kernel else 'wireguard-go'}"
        self.notes = tuple(f"{config}: {note}" for note in checked.notes)
        self._config: Config = checked
        self.hosts = tuple(peer.endpoint.host for peer in checked.peers if peer.endpoint)
        self.link = interface or (config.stem if _LINK_NAME.fullmatch(config.stem) else DEFAULT_LINK)
        self._ipv6 = ipv6
        self._made = False
        self._living: asyncio.Task[None] | None = None
        self._told: Report | None = None
        self._setup: TunnelSetup | None = None
        """Without routes until somebody has answered."""
        self._report: Callable[[Report], None] = lambda _: None

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Look names up and make the link; raises AttemptFailed."""
        self._report, self._told, self._setup = report, None, None
        lines = [Line(peer, Session(time.monotonic())) for peer in self._config.peers]
        problems = await look_up(lines, ipv6=self._ipv6)
        now = time.monotonic()
        for line in lines:
            line.next_address()
            line.called = now
        if problems and not any(line.at or not line.peer.endpoint for line in lines):
            raise AttemptFailed("; ".join(problems))
        try:
            await self._make_room()
            if self._kernel:
                # Before it is: a stop may come while it is being made.
                self._made = True
                await wg_tools.add_link(self.link)
        except wg_tools.ToolError as error:
            raise AttemptFailed(f"cannot make {self.link}: {error}") from None
        self._living = asyncio.create_task(self._live(lines))
        self._living.add_done_callback(self._ended)
        if self._kernel:
            return Launch()
        # By the environment and not by --foreground: that one prints a box about kernels with WireGuard.
        return Launch(
            ("wireguard-go", self.link), environment={"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
        )

    async def mends_itself(self) -> bool:
        """Tell that it does not: what stands on a link is put back by the reconciler, the link by nobody."""
        return False

    async def close(self) -> None:
        """Stop watching; a link of the kernel's goes, the one of wireguard-go has gone with it."""
        living, self._living = self._living, None
        if living:
            living.cancel()
            await asyncio.wait([living])
        if self._made:
            self._made = False
            await wg_tools.delete_link(self.link)

    async def _make_room(self) -> None:
        """Take away what a killed run left; raises AttemptFailed where a link is somebody else's."""
        if self._kernel:
            for link in await wg_tools.our_links():
                await wg_tools.delete_link(link)
        if wg_tools.is_there(self.link):
            raise AttemptFailed(
                f"cannot make {self.link}: saw a link of that name that is not ours; remove it, or set "
                "VPN_INTERFACE to a name that is free (without it the link is called as the file)"
            )

    async def _live(self, lines: list[Line]) -> None:
        """Configure the link and follow its handshakes, until cancelled."""
        while True:
            try:
                if not self._kernel:
                    await wg_tools.listens(self.link)
                called = {line.peer.public_key: line.called_at for line in lines if line.called_at}
                await wg_tools.configure(self.link, wg_config.setconf(self._config, MARK, called))
                if self._setup is None:
                    mtu = self._config.mtu or _mtu(lines)
                    self._setup = TunnelSetup(link=self.link, mtu=mtu, addresses=self._config.addresses)
                self._tell(lines, ())
                await self._follow(lines)
            except (wg_tools.ToolError, OSError) as error:
                # Where the link is gone for good, the supervisor ends us.
                self._say_lost(str(error))
                await asyncio.sleep(LOOK_SECONDS)

    async def _follow(self, lines: list[Line]) -> None:
        """Look at the handshakes as often as something may have changed; raises ToolError."""
        pause = FIRST_LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            told, wall, now = await wg_tools.handshakes(self.link), time.time(), time.monotonic()
            for line in lines:
                line.session.look(told.get(line.peer.public_key, 0), wall, now)
                if line.session.stale(now):
                    await wg_tools.ask(self.link, line.peer)
                    line.session.asked(now)
            held = [line for line in lines if line.session.held(now)]
            for line in held:
                line.answered = True
            if held and self._setup:
                self._setup = replace(self._setup, routes=self._config.routes)
            self._tell(lines, held)
            silent = [line for line in lines if line not in held]
            await self._call_again(silent, now, BESIDE_SECONDS if held else CALL_SECONDS)
            if not held:
                pause = min(pause * 1.5, LOOK_SECONDS)
                continue
            next_look = min(line.session.until() for line in held)
            if silent:
                next_look = min(next_look, now + BESIDE_SECONDS)
            if any(line.session.is_asked for line in held):
                next_look = min(next_look, now + ASKED_LOOK_SECONDS)
            pause = max(next_look - now, FIRST_LOOK_SECONDS)

    async def _call_again(self, silent: Collection[Line], now: float, patience: float) -> None:
        """Turn to the next address of who has been silent for `patience` seconds."""
        for line in silent:
            # Where nothing keeps the tunnel awake, nothing begins a handshake.
            if line.at and not line.peer.keepalive:
                await wg_tools.ask(self.link, line.peer)
        due = [line for line in silent if line.peer.endpoint and now - line.called >= patience]
        for problem in await look_up([line for line in due if not line.untried], ipv6=self._ipv6):
            log.info("%s: %s", self.name, problem)
        for line in due:
            line.called = now
            if line.next_address():
                log.info("%s: calling %s", self.name, line)
                section = wg_config.peer_section(line.peer, line.called_at)
                await wg_tools.call(self.link, line.peer.public_key, section)

    def _tell(self, lines: Collection[Line], held: Collection[Line]) -> None:
        """Report what is new."""
        silent = [line for line in lines if line not in held]
        warning = f"no handshake with {_named(silent)}, which is silent" if held and silent else ""
        if held:
            detail = f"handshake with {_named(held)}"
        elif any(line.answered for line in silent):
            detail = f"no handshake with {_named(silent)} any more: it has fallen silent"
        else:
            detail = f"no handshake with {_named(silent)}: it does not answer, or keys are wrong"
        new = Report(
            connected=bool(held),
            detail=detail,
            warning=warning,
            interface=self.link,
            server=next((line.at for line in (*held, *lines) if line.at), None),
            addresses=tuple(interface.ip for interface in self._config.addresses),
            setup=self._setup,
            resolvers=self._config.resolvers,
            search=self._config.search,
        )
        if warning and new != self._told:
            log.warning("%s: %s", self.name, warning)
        self._say(new)

    def _ended(self, living: asyncio.Task[None]) -> None:
        """Tell of a fault of ours, which is not to leave health with what was known before."""
        if not living.cancelled() and (error := living.exception()):
            text = f"a fault of sidegate ended the look at its handshakes: {error!r}"
            log.error("%s: %s", self.name, text)
            self._say_lost(text)

    def _say_lost(self, why: str) -> None:
        self._say(replace(self._told or Report(), connected=False, detail=why))

    def _say(self, report: Report) -> None:
        if report != self._told:
            self._told = report
            self._report(report)


def _mtu(lines: Iterable[Line]) -> int | None:
    """Return what fits the ways to all that are called."""
    fits = [wg_tools.tunnel_mtu(line.at) for line in lines if line.at]
    return min((mtu for mtu in fits if mtu), default=None)


def _named(lines: Iterable[Line]) -> str:
    return ", ".join(map(str, lines))
