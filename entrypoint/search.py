"""Gateways that are remembered, and the search for those that no route tells.

A network without a default route has a candidate, by custom its first address. It is asked whether it
forwards (routers.py), by a route of our own table that stands for as long as the question does.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from entrypoint import routers
from entrypoint.detect import ContainerNetwork, Key, NextHop
from entrypoint.network import IPAddress, Route

log = logging.getLogger(__name__)

ABSENT_MAX = 64
"""Of networks that are gone, so many are remembered: anybody may announce ever new ones to a link of IPv6."""


class Search:
    """What is known of each network's gateway, by the network's key."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Call `wake` when somebody has answered, or nobody did."""
        self.known: dict[Key, NextHop] = {}
        """The gateways. They stay while a link is down, which loses its routes, not its router."""
        self.silent: set[Key] = set()
        """Networks whose likely router was asked and did not answer as one."""
        self.begun = False
        """Whether anybody is asked at all: not by `plan`, nor after the stop."""
        self._found: set[Key] = set()
        """Those of `known` that an answer told, and no route."""
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._wake = wake

    @property
    def asking(self) -> Collection[Key]:
        """Networks about which a question is open."""
        return self._asking

    def questions(self, networks: Iterable[ContainerNetwork], tables: Mapping[str, int]) -> tuple[Route, ...]:
        """Return the routes that have to stand while candidates are asked."""
        return tuple(
            routers.question(network.candidate, network.link, tables[network.link])
            for network in self._askable(networks)
            if network.candidate
        )

    def ask(self, networks: Collection[ContainerNetwork], own: Collection[IPAddress]) -> None:
        """Remember what is known by now, and ask about the rest, once for each time that a network comes."""
        self.known |= {network.key: network.gateway for network in networks if network.gateway}
        here = {network.key for network in networks}
        # Who comes back under the same name and network is asked again. (A link that is down is still there.)
        gone = self._found - here
        absent = [key for key in self.known if key not in here]
        for key in {*gone, *absent[:-ABSENT_MAX]}:
            self.known.pop(key, None)
        self._found -= gone
        self.silent &= {network.key for network in networks if network.up}
        for network in self._askable(networks):
            if network.key not in self._asking:
                task = asyncio.create_task(self._ask(network, own))
                self._asking[network.key] = task

    async def end(self) -> None:
        """Ask nobody any more."""
        self.begun = False
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _askable(self, networks: Iterable[ContainerNetwork]) -> list[ContainerNetwork]:
        """Return the networks whose likely router is to be asked.

        None where no other network leads out: the bridge of an internal network answers as a router does,
        and yet it is no way out.
        """
        seen = list(networks)
        if not self.begun or not any(network.gateway for network in seen):
            return []
        return [n for n in seen if n.candidate and n.up and not n.gateway and n.key not in self.silent]

    async def _ask(self, network: ContainerNetwork, own: Collection[IPAddress]) -> None:
        try:
            if network.candidate and await routers.forwards(network.interface.ip, own):
                log.info(
                    "found the gateway of %s (%s): %s answers as a router does",
                    *(network.link, network.network, network.candidate),
                )
                self.known[network.key] = NextHop(network.candidate)
                self._found.add(network.key)
            else:
                self.silent.add(network.key)
        finally:
            del self._asking[network.key]
            self._wake()
