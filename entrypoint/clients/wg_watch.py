"""One WireGuard link watched: configured, its peers called, their handshakes reported, until it is ended."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from entrypoint.clients import wg_config, wg_tools
from entrypoint.clients.base import Report
from entrypoint.clients.wg_config import Config
from entrypoint.clients.wg_line import Line, look_up
from entrypoint.network import MARK, TunnelSetup

log = logging.getLogger(__name__)

NAME = "wireguard"
CALL_SECONDS = 6.0
"""How long a silent address has before the next has its turn, and names are looked up anew; one retry of
WireGuard's (REKEY_TIMEOUT, 5 s) is within."""
BESIDE_SECONDS = 60.0
"""The same where another peer answers."""
FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.02, 1.0
"""Between two looks for a handshake while nobody answers: the first, and the longest."""
ASKED_LOOK_SECONDS = 0.25
"""While a peer is asked whether it is still there."""


class Watch:
    """Follows one link from `begin` to `end`."""

    def __init__(self, link: str, config: Config, lines: Sequence[Line], *, kernel: bool, ipv6: bool) -> None:
        """Describe it; `kernel`: the link is the kernel's own. `ipv6`: the container has IPv6."""
        self._link = link
        self._config = config
        self._lines = lines
        self._kernel = kernel
        self._ipv6 = ipv6
        self._told: Report | None = None
        self._setup: TunnelSetup | None = None
        """Without routes until somebody has answered."""
        self._report: Callable[[Report], None] = lambda _: None
        self._living: asyncio.Task[None] | None = None

    def begin(self, report: Callable[[Report], None]) -> None:
        """Configure the link once it is there, and call `report` with each change."""
        self._report = report
        self._living = asyncio.create_task(self._live())
        self._living.add_done_callback(self._ended)

    async def end(self) -> None:
        """Look no more."""
        if self._living:
            self._living.cancel()
            await asyncio.wait([self._living])

    async def _live(self) -> None:
        """Configure the link and follow its handshakes, until cancelled."""
        while True:
            try:
                if not self._kernel:
                    await wg_tools.listens(self._link)
                called = {line.peer.public_key: line.called_at for line in self._lines if line.called_at}
                await wg_tools.configure(self._link, wg_config.setconf(self._config, MARK, called))
                if self._setup is None:
                    mtu = self._config.mtu or _mtu(self._lines)
                    self._setup = TunnelSetup(link=self._link, mtu=mtu, addresses=self._config.addresses)
                self._tell(())
                await self._follow()
            except (wg_tools.ToolError, OSError) as error:
                # Where the link is gone for good, the supervisor ends us.
                self._say_lost(str(error))
                await asyncio.sleep(LOOK_SECONDS)

    async def _follow(self) -> None:
        """Look at the handshakes as often as something may have changed; raises ToolError."""
        pause = FIRST_LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            told, wall, now = await wg_tools.handshakes(self._link), time.time(), time.monotonic()
            for line in self._lines:
                line.session.look(told.get(line.peer.public_key, 0), wall, now)
                if line.session.stale(now):
                    await wg_tools.ask(self._link, line.peer)
                    line.session.asked(now)
            held = [line for line in self._lines if line.session.held(now)]
            for line in held:
                line.answered = True
            if held and self._setup:
                self._setup = replace(self._setup, routes=self._config.routes)
            self._tell(held)
            silent = [line for line in self._lines if line not in held]
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
                await wg_tools.ask(self._link, line.peer)
        due = [line for line in silent if line.peer.endpoint and now - line.called >= patience]
        for problem in await look_up([line for line in due if not line.untried], ipv6=self._ipv6):
            log.info("%s: %s", NAME, problem)
        for line in due:
            line.called = now
            if line.next_address():
                log.info("%s: calling %s", NAME, line)
                section = wg_config.peer_section(line.peer, line.called_at)
                await wg_tools.call(self._link, line.peer.public_key, section)

    def _tell(self, held: Collection[Line]) -> None:
        """Report what is new."""
        silent = [line for line in self._lines if line not in held]
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
            interface=self._link,
            server=next((line.at for line in (*held, *self._lines) if line.at), None),
            addresses=tuple(interface.ip for interface in self._config.addresses),
            setup=self._setup,
            resolvers=self._config.resolvers,
            search=self._config.search,
        )
        if warning and new != self._told:
            log.warning("%s: %s", NAME, warning)
        self._say(new)

    def _ended(self, living: asyncio.Task[None]) -> None:
        """Tell of a fault of ours, which is not to leave health with what was known before."""
        if not living.cancelled() and (error := living.exception()):
            text = f"a fault of sidegate ended the look at its handshakes: {error!r}"
            log.error("%s: %s", NAME, text)
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
