"""When HEALTH_TARGET is asked through the tunnel, and what follows: one that looks alive can be dead.

How it is asked stands in `reach.py`. Without HEALTH_TARGET nobody is asked.
"""

import asyncio
import logging
import os
from collections.abc import Callable

from entrypoint.lookup import look_up
from entrypoint.network import IPAddress
from entrypoint.parse_network import Target
from entrypoint.reach import round_trip
from entrypoint.tunnels import Tunnel

log = logging.getLogger(__name__)

FAILURES_MAX = 3
"""So many failures in a row mean that the tunnel is dead; a lost packet or two do not."""
ASK_SECONDS = 3.0
"""How long one ask may take, the look-up of a name included."""
AGAIN_SECONDS = 5.0
"""From a failure to the next ask: a dead tunnel is known within a quarter of a minute after the first."""


class Probe:
    """Asks one target through the tunnel while that is up."""

    def __init__(self, target: Target, interval_seconds: float, tunnel: Callable[[], Tunnel | None]) -> None:
        """Describe it; `tunnel` gives the tunnel as the kernel last showed it."""
        self.target = target
        self.answered = False
        """Whether the target answered since the tunnel came up."""
        self.failures = 0
        """In a row."""
        self.problem: str | None = None
        """Why the last ask failed; None where it was answered."""
        self.round_trip: float | None = None
        """Seconds from the last ask that was answered to its answer."""
        self.asks = self.failed = 0
        """Since the start."""
        self.first = asyncio.Event()
        """Set once it is known how the first ask since the tunnel came up went."""
        self.on_dead: Callable[[str], None] = lambda _: None
        """Called with the reason when the tunnel turns out to be dead, once each time that it is."""
        self._interval = interval_seconds
        self._tunnel = tunnel
        self._addresses: tuple[IPAddress, ...] = ()
        """What a name last stood for."""
        self._asking: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the tunnel was seen alive, and does not count as dead by now."""
        return self.answered and self.failures < FAILURES_MAX

    def begin(self) -> None:
        """Ask from now on: the tunnel has come up, and nothing is known of it."""
        self.end()
        self.answered, self.failures, self.problem = False, 0, None
        self.first.clear()
        self._asking = asyncio.create_task(self._ask_again_and_again())
        self._asking.add_done_callback(self._ended)

    def end(self) -> None:
        """Ask no more: the tunnel is gone."""
        if self._asking:
            self._asking.cancel()
            self._asking = None
        self.answered = False
        self.first.set()

    def _ended(self, asking: asyncio.Task[None]) -> None:
        """Tell of a fault of ours, which is not to leave health with what was known before."""
        if not asking.cancelled() and (error := asking.exception()):
            self.answered, self.problem = False, f"a fault of sidegate ended the probe: {error!r}"
            self.first.set()
            log.error("%s", self.problem)

    async def _ask_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    seconds = await self._ask()
            except TimeoutError:
                self._note_failure(f"no answer within {ASK_SECONDS:g} s")
            except OSError as error:
                # asyncio has words of its own for what the kernel said.
                self._note_failure(os.strerror(error.errno) if error.errno else str(error.strerror))
            else:
                self._note_answer(seconds)
            self.first.set()
            pause = min(self._interval, AGAIN_SECONDS) if self.failures else self._interval
            await asyncio.sleep(began + pause - loop.time())

    def _note_answer(self, seconds: float) -> None:
        if self.failures:
            log.info("%s answers through the tunnel again", self.target)
        self.asks += 1
        self.answered, self.failures, self.problem, self.round_trip = True, 0, None, seconds

    def _note_failure(self, problem: str) -> None:
        self.asks += 1
        self.failed += 1
        self.failures += 1
        self.problem = problem
        if self.failures <= FAILURES_MAX:
            log.warning(
                "%s did not answer through the tunnel (%d of %d): %s",
                *(self.target, self.failures, FAILURES_MAX, problem),
            )
        if self.failures == FAILURES_MAX:
            self.on_dead(f"its tunnel is dead: {self.target} did not answer {FAILURES_MAX} times: {problem}")

    async def _ask(self) -> float:
        """Ask once; returns the seconds until the answer. Raises OSError."""
        tunnel = self._tunnel()
        if tunnel is None:
            raise OSError(None, "the tunnel has no link any more")
        versions = {address.version for address in tunnel.addresses}
        able = [address for address in await self._found() if address.version in versions]
        if not able:
            raise OSError(None, f"{tunnel.link.name} has no address of the target's family")
        # The next one after a failure: of several addresses one may be out of reach.
        address = able[self.failures % len(able)]
        return await round_trip(address, self.target.port, tunnel.link, tunnel.ips)

    async def _found(self) -> tuple[IPAddress, ...]:
        """Return the target's addresses; a name is looked up when the tunnel came up, and after a failure."""
        if not isinstance(self.target.host, str):
            return (self.target.host,)
        if self.failures or not self.answered:
            try:
                self._addresses = tuple(dict.fromkeys(await look_up(self.target.host)))
            except OSError as error:
                raise OSError(None, f"its name cannot be looked up: saw {error.strerror}") from None
        return self._addresses
