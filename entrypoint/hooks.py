"""The user's own commands at the tunnel's comings and goings: ON_UP and ON_DOWN.

One at a time and in order. None of them can harm the tunnel: what goes wrong is a warning of health's.
"""

import asyncio
import collections
import logging
from collections.abc import Callable
from dataclasses import dataclass

from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.processes import Tree
from entrypoint.programs import why_it_cannot_start
from entrypoint.settings import Settings

log = logging.getLogger(__name__)

LIMIT_SECONDS = 30.0
"""How long a hook may take."""
STOP_SECONDS = 4.0
"""How long ON_DOWN may take at the stop: it runs beside the client's end, and `docker stop` grants 10 s."""
TERM_SECONDS = 1.0
"""From a hook's SIGTERM to its SIGKILL: twice that and STOP_SECONDS fit into the same 10 s."""

UP, DOWN = "ON_UP", "ON_DOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelEvent:
    """What a hook is told: texts, since they become its environment."""

    client: str
    interface: str
    addresses: tuple[str, ...] = ()
    """With prefix lengths."""
    server: str = ""
    gateways: tuple[str, ...] = ()
    """Of the container networks, as GATEWAYS takes them."""
    resolvers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()

    def environment(self, event: str) -> dict[str, str]:
        """Return the variables; what is not known is empty, so that a careful shell (set -u) is content."""
        told = {
            "EVENT": event,
            "CLIENT": self.client,
            "INTERFACE": self.interface,
            "ADDRESSES": " ".join(self.addresses),
            "SERVER": self.server,
            "GATEWAYS": " ".join(self.gateways),
            "RESOLVERS": " ".join(self.resolvers),
            "SEARCH": " ".join(self.search),
        }
        # A server has its say in here, and no variable can hold a null byte.
        return {f"SIDEGATE_{name}": value.replace("\0", "") for name, value in told.items()}


class Hooks:
    """Runs what is due, one after the other."""

    def __init__(self, settings: Settings) -> None:
        """Take the commands."""
        self.failures: dict[str, str] = {}
        """Setting -> how its last run failed."""
        self._commands = _commands(settings)
        self._up: TunnelEvent | None = None
        self._due: collections.deque[tuple[str, TunnelEvent]] = collections.deque()
        """Settings and what their hooks are to be told; at most a down and an up."""
        self._working: asyncio.Task[None] | None = None
        self._setting = UP
        """Whose hook runs, or ran last."""
        self._stopping = False
        self._hurry: Callable[[], None] = lambda: None
        """Shortens the time of the hook that runs."""

    def up(self, tunnel: TunnelEvent) -> None:
        """Note that the tunnel has come up."""
        self._up = tunnel
        self._due.append((UP, tunnel))
        self._go_on()

    def down(self) -> None:
        """Note that the tunnel that came up last is gone, or about to go; once for each."""
        tunnel, self._up = self._up, None
        if tunnel is None:
            return
        if self._due and self._due[-1][0] == UP:
            self._due.pop()  # it is gone before anybody was told that it is there
            return
        self._due.append((DOWN, tunnel))
        self._go_on()

    def stop(self) -> None:
        """Hurry: a running ON_UP is ended, ON_DOWN has little time left."""
        if not self._stopping:
            self._stopping = True
            self._hurry()

    async def ended(self) -> None:
        """Wait until nothing is due any more."""
        while self._working and not self._working.done():
            await asyncio.wait([self._working])

    def _go_on(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
            self._working.add_done_callback(self._note_fault)

    def _note_fault(self, working: asyncio.Task[None]) -> None:
        """Tell of a fault of ours, and go on with what is due."""
        if not working.cancelled() and (error := working.exception()):
            self.failures[self._setting] = f"a fault of sidegate ended it: {error!r}"
            log.error("%s failed: %s", self._setting, self.failures[self._setting])
            if self._due:
                self._go_on()

    async def _work(self) -> None:
        while self._due:
            setting, tunnel = self._due.popleft()
            self._setting = setting
            if argv := self._commands[setting]:
                event = setting.removeprefix("ON_").lower()
                launch = Launch(argv, environment=tunnel.environment(event), unprivileged=True)
                failure = await self._run(setting, launch)
                self.failures.pop(setting, None)
                if failure:
                    self.failures[setting] = failure
                    log.warning("%s failed: %s", setting, failure)

    async def _run(self, setting: str, launch: Launch) -> str | None:
        """Run one to its end; returns how it failed."""
        try:
            tree = await Tree.start(launch, lambda line: log.info("%s: %s", setting, line))
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(self._seconds(setting))

        def hurry() -> None:
            if not limit.expired():
                limit.reschedule(loop.time() + self._seconds(setting))

        try:
            async with limit:
                self._hurry = hurry
                code = await asyncio.shield(tree.ended)
        except TimeoutError:
            when = "at the stop" if self._stopping else f"after {LIMIT_SECONDS:g} s"
            return f"it still ran {when} and was ended"
        finally:
            self._hurry = lambda: None
            # What it left in the background goes with it: a hook is no place for a service.
            await tree.stop(TERM_SECONDS)
        return f"it {tree.how_it_ended()}" if code else None

    def _seconds(self, setting: str) -> float:
        if not self._stopping:
            return LIMIT_SECONDS
        return STOP_SECONDS if setting == DOWN else 0.0


def check(settings: Settings) -> None:
    """See that the hooks name programs; raises BadSettings with every fault."""
    faults = [
        f"cannot run {setting}: {why}"
        for setting, argv in _commands(settings).items()
        if argv and (why := why_it_cannot_start(argv[0]))
    ]
    if faults:
        raise BadSettings(*faults)


def _commands(settings: Settings) -> dict[str, tuple[str, ...] | None]:
    return {UP: settings.on_up, DOWN: settings.on_down}
