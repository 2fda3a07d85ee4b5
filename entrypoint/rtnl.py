"""The kernel's links, addresses, routes and rules: read, ask, apply; with dumps.py, all that knows pyroute2.

Events come by a socket of their own (watch.py): on a shared one the broadcast of our own change would land
in a request's answer.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from entrypoint import dumps, refusals, rtarguments, rtmessages
from entrypoint.changes import Change
from entrypoint.faults import MissingPrivilege
from entrypoint.lean_pyroute2 import (
    NLM_F_REQUEST,
    RTM_GETROUTE,
    AsyncIPRoute,
    NetlinkDumpInterrupted,
    NetlinkError,
)
from entrypoint.network import (
    IPV6,
    PROTOCOL,
    TABLES_HELD,
    IPAddress,
    LastResort,
    Link,
    LinkAddress,
    LinkState,
    Lookup,
    Route,
    Rule,
    Snapshot,
)

log = logging.getLogger(__name__)

_RTM_F_LOOKUP_TABLE, _RTM_F_FIB_MATCH = 0x1000, 0x2000

T = TypeVar("T")

VERSIONS = (4, IPV6)
READS_MAX = 20
"""A dump that changes interrupt again and again is read anew so often."""
READ_AGAIN_SECONDS = 0.02
"""Between two tries: most bursts of changes have an end by then."""


class Rtnl:
    """Reads and changes; one request at a time."""

    def __init__(self, first_table: int) -> None:
        """Open the socket; the tables from `first_table` on may be ours."""
        self._tables = range(first_table, first_table + TABLES_HELD)
        self._netlink = _socket()
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._netlink.close()

    async def snapshot(
        self, *, whole: bool = False, known: frozenset[rtmessages.Way] = frozenset()
    ) -> Snapshot:
        """Read what concerns us: links, addresses, rules of the shape that ours have, last resorts, routes.

        Of routes by a tunnel that is ours alone. Of routes by a container's link it is the default routes,
        what has our tag, our tables, and so many as we copy of the main table's by another router: of who is
        in charge of the link, and the `known`, which stood before the client. Where the link has no default
        route they are whosever, and where the `whole` is asked for, they are all.

        Raises OSError where changes interrupt every try.
        """
        return await self._undisturbed(lambda: self._read(known, whole=whole))

    async def routes_by(self, link: Link) -> tuple[Route, ...]:
        """Read the unicast routes that leave by a link, of all tables; raises OSError as `snapshot`."""

        async def read() -> tuple[Route, ...]:
            names = {link.index: link.name}
            both = [await dumps.routes(self._netlink, v, link.index, names) for v in VERSIONS]
            return tuple(route for found in both for route in found)

        return await self._undisturbed(read)

    async def _undisturbed(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read anew until nothing changes meanwhile; raises OSError where that never happens."""
        async with self._lock:
            for _ in range(READS_MAX):
                try:
                    return await read()
                except NetlinkError as error:
                    # Mostly, something changed meanwhile (NLM_F_DUMP_INTR). The rest of the dump is still
                    # in the socket, where it would spoil the next answer.
                    spoiled, self._netlink = self._netlink, _socket()
                    spoiled.close()
                    cause = "that they change all the time"
                    if not isinstance(error, NetlinkDumpInterrupted):
                        cause = _cause(error)
                    await asyncio.sleep(READ_AGAIN_SECONDS)
        raise OSError(
            errno.EINTR, f"cannot read the kernel's routes and rules: saw {cause}; it is tried again"
        )

    async def _read(self, known: frozenset[rtmessages.Way], *, whole: bool) -> Snapshot:
        reading = dumps.Reading(self._tables, known, anybody=whole, whole=whole)
        links = tuple(rtmessages.read(rtmessages.link, [m async for m in await self._netlink.get_links()]))
        names = {link.index: link.name for link in links}
        addresses = tuple(
            rtmessages.read(rtmessages.address, [m async for m in await self._netlink.get_addr()])
        )
        told = [m async for m in await self._netlink.get_rules()]
        rules = tuple(rtmessages.read(rtmessages.rule, told))
        places = frozenset(rtmessages.read(rtmessages.foreign_place, told))
        routes: list[Route] = []
        crowded: set[str] = set()
        for link in links:
            if link.up and not link.loopback:
                for version in VERSIONS:
                    found, left_out = await self._routes(link, version, names, reading)
                    routes += found
                    crowded |= {link.name} if left_out else set()
        ends = [end for v in VERSIONS for end in await dumps.last_resorts(self._netlink, v)]
        return Snapshot(links, addresses, tuple(routes), tuple(ends), rules, places, frozenset(crowded))

    async def _routes(
        self, link: Link, version: int, names: dict[int, str], reading: dumps.Reading
    ) -> tuple[list[Route], bool]:
        """Read the routes of one IP version by one link, and tell whether some were left out."""
        if link.is_tunnel:
            # The client's own routes may be thousands, and concern nobody.
            return await dumps.routes(self._netlink, version, link.index, names, PROTOCOL), False
        found, left_out = await dumps.routes_as(self._netlink, version, link.index, names, reading)
        if reading.anybody or any(route.is_default for route in found):
            return found, left_out
        # Where there is no default route, any other may be the one that tells the gateway.
        more = replace(reading, anybody=True)
        return await dumps.routes_as(self._netlink, version, link.index, names, more)

    async def lookup(self, destination: IPAddress, source: IPAddress, links: Iterable[Link]) -> Lookup | str:
        """Ask which way a packet of ours would leave (RTM_GETROUTE); a text says why by none."""
        names = {link.index: link.name for link in links}
        # IPv6 tells the table unasked, and refuses the flag.
        flags = 0 if destination.version == IPV6 else _RTM_F_LOOKUP_TABLE
        try:
            answers = await self._way(destination, source, flags)
        except NetlinkError as error:
            return _cause(error)
        found = rtmessages.read(lambda answer: rtmessages.way(answer, names), answers)
        return next(found, "an answer that cannot be read")

    async def default_link(self, somewhere: IPAddress) -> int | None:
        """Return the index of the link whose default route takes what goes to an address on no link.

        None where another route takes it, or none does.
        """
        try:
            answers = await self._way(somewhere, None, _RTM_F_FIB_MATCH)
        except NetlinkError:
            return None  # nothing takes it
        return next(rtmessages.read(rtmessages.default_link, answers), None)

    async def _way(self, destination: IPAddress, source: IPAddress | None, flags: int) -> list[Any]:
        """Ask for the route of one packet; raises NetlinkError where there is none."""
        message = dumps.route_request(destination.version)
        message["dst_len"], message["flags"] = destination.max_prefixlen, flags
        message["attrs"] = [("RTA_DST", str(destination))]
        if source:
            message["src_len"] = source.max_prefixlen
            message["attrs"].append(("RTA_SRC", str(source)))
        async with self._lock:
            request = await self._netlink.nlm_request(message, RTM_GETROUTE, NLM_F_REQUEST)
            return [answer async for answer in request]

    async def apply(self, change: Change) -> None:
        """Make one change and log it as its iproute2 line.

        What is already there, or already gone, is no fault. Raises MissingPrivilege without NET_ADMIN and
        OSError with the kernel's own words otherwise.
        """
        async with self._lock:
            try:
                await self._request(change)
            except NetlinkError as error:
                if error.code == errno.EPERM:
                    raise MissingPrivilege(
                        f"cannot run {change}: saw that it is refused; give the container NET_ADMIN "
                        "(docker run --cap-add NET_ADMIN, compose: `cap_add: [NET_ADMIN]`)"
                    ) from None
                if refusals.is_no_fault(error.code, change) or (
                    error.code == errno.ENODEV and _is_gone(change)
                ):
                    return  # a link that is gone is mostly a killed client's, and its event brings us back
                raise OSError(
                    error.code,
                    f"cannot run {change}: saw {_cause(error)}{refusals.advice(error.code, change)}",
                ) from None
        log.info("%s", change)

    async def _request(self, change: Change) -> None:
        match change.item:
            case Rule() as rule:
                await self._netlink.rule(change.verb, **rtarguments.of_rule(rule))
            case Route() as route:
                arguments = rtarguments.of_route(route, _index(route.link))
                await self._netlink.route(change.verb, **arguments)
            case LastResort() as end:
                await self._netlink.route(change.verb, **rtarguments.of_last_resort(end))
            case LinkAddress() as address:
                arguments = rtarguments.of_address(address, _index(address.link))
                await self._netlink.addr(change.verb, **arguments)
            case LinkState() as state:
                arguments = rtarguments.of_link(state, _index(state.link))
                await self._netlink.link(change.verb, **arguments)


def _is_gone(change: Change) -> bool:
    """Tell whether the link of a change is there no more."""
    link = None if isinstance(change.item, Rule | LastResort) else change.item.link
    try:
        return link is not None and not _index(link)
    except NetlinkError:
        return True


def _index(name: str) -> int:
    # Not by netlink, whose answer of a hundred attributes takes as long as to set a route.
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise NetlinkError(errno.ENODEV, f"no link {name}") from None


def _socket() -> AsyncIPRoute:
    # With strict checking the kernel itself filters a dump by the attributes of the request: the thousands
    # of routes of a corporate VPN are never sent to us.
    return AsyncIPRoute(strict_check=True, ext_ack=True)


def _cause(error: NetlinkError) -> str:
    return str(error.args[1] if len(error.args) > 1 else error)
