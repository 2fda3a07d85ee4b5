"""Dumps of routes: the kernel chooses by link and protocol, and what is nobody's is not decoded."""

import collections
import errno
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from entrypoint import rtmessages
from entrypoint.lean_pyroute2 import (
    NLM_F_DUMP,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    AsyncIPRoute,
    NetlinkError,
    NetlinkRequest,
    rtmsg,
)
from entrypoint.network import COPIED_MAX, PROTOCOL, LastResort, Route

ROUTERS_MAX = 16
"""Of the routers of a link that announce themselves, so many are read: any neighbour can be thousands."""
OTHERS_MAX = 64
"""So many default routes of others are read of a link, and so many others that stand in our tables."""

# What stands for a route that is not decoded. pyroute2 takes a datagram without any message for the end.
_PASSED_OVER = {"header": {"type": RTM_NEWROUTE, "flags": NLM_F_MULTI, "error": None}}
# A link that has just gone has no routes; its event brings us back.
_NONE = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENODEV}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a container link's routes, beside default routes, ours, and those in our tables."""

    tables: range
    """Those that may be ours."""
    known: frozenset[rtmessages.Way] = frozenset()
    """Routes by routers that stood before the client. A server can push thousands of others."""
    anybody: bool = False
    """Whether a route by a router is read whoever made it, and in whatever table: it may tell the gateway."""
    whole: bool = False
    """Whether so many as there are."""


async def routes(
    netlink: AsyncIPRoute, version: int, link: int, names: dict[int, str], protocol: int = 0
) -> list[Route]:
    """Read the routes by a link, of one protocol or (0) of all; raises NetlinkError."""
    chosen = _Chosen(netlink.marshal, names, None)
    return await _routes(netlink, (version, link, protocol), chosen)


async def routes_as(
    netlink: AsyncIPRoute, version: int, link: int, names: dict[int, str], reading: Reading
) -> tuple[list[Route], bool]:
    """Read what concerns us of a container link's routes, and whether more would; raises NetlinkError.

    Those by the gateway of our own table lead where that table leads anyhow, and are none of them.
    """
    chosen = _Chosen(netlink.marshal, names, reading)
    found = await _routes(netlink, (version, link, 0), chosen)
    ours = {r.gateway.packed for r in found if r.gateway and r.is_default and r.protocol == PROTOCOL}
    others, left_out = chosen.held_back(ours)
    return found + others, left_out


async def _routes(netlink: AsyncIPRoute, what: tuple[int, int, int], chosen: "_Chosen") -> list[Route]:
    version, link, protocol = what
    answers = await _dump(netlink, version, {"proto": protocol}, [("RTA_OIF", link)], chosen)
    return [route for answer in answers for route in answer["routes"]]


async def last_resorts(netlink: AsyncIPRoute, version: int) -> list[LastResort]:
    """Read the ends of our tables; raises NetlinkError."""
    answers = await _dump(netlink, version, {"proto": PROTOCOL, "type": rtmessages.RTN_UNREACHABLE})
    return list(rtmessages.read(rtmessages.last_resort, answers))


async def _dump(
    netlink: AsyncIPRoute,
    version: int,
    fields: dict[str, int],
    attributes: Iterable[Any] = (),
    parser: Callable[[bytes, int, int], Any] | None = None,
) -> list[Any]:
    message = route_request(version)
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    flags = NLM_F_REQUEST | NLM_F_DUMP
    request = NetlinkRequest(netlink, message, msg_type=RTM_GETROUTE, msg_flags=flags, parser=parser)
    try:
        await request.send()
        return [answer async for answer in request.response() if answer is not _PASSED_OVER]
    except NetlinkError as error:
        if error.code not in _NONE:
            raise
    return []


def route_request(version: int) -> Any:
    """Return a message that asks for routes of an IP version."""
    message = rtmsg()
    message["family"] = rtmessages.family(version)
    return message


class _Chosen:
    """Decodes the messages of one dump, but for routes that are nobody's: that takes a hundred times as long.

    Without a reading they are everybody's, but for those of routers that announce themselves.
    """

    def __init__(self, marshal: Any, names: dict[int, str], reading: Reading | None) -> None:
        self._marshal = marshal
        self._names = names
        self._reading = reading
        self._counted: collections.Counter[str] = collections.Counter()
        self._decoded: set[bytes] = set()
        self._held: dict[tuple[bool, bytes], dict[rtmessages.Way, bytes]] = {}
        """(is known or configured, gateway) -> the routes by it; which is the link's own, the end tells."""

    def __call__(self, data: bytes, offset: int, length: int) -> Any:
        """Return the message, or what stands for one that is passed over."""
        (kind,) = struct.unpack_from("H", data, offset + 4)
        if kind == RTM_NEWROUTE and not self._is_read(data, offset, length):
            return _PASSED_OVER
        message = data[offset : offset + length]
        # Where IPv6 routes come and go meanwhile, the kernel begins again and again with those at one place.
        if message in self._decoded:
            return _PASSED_OVER
        self._decoded.add(message)
        parsed = self._parse(data, offset, length)
        if kind != RTM_NEWROUTE:
            return parsed
        # A message decoded by pyroute2 takes 20 KB: none is kept until the end of the dump.
        return {**_PASSED_OVER, "routes": self._routes_of([parsed])}

    def held_back(self, gateways: Collection[bytes]) -> tuple[list[Route], bool]:
        """Return the routes by other routers than these `gateways`, and whether there are more of them."""
        trusted, others = (
            [
                m
                for (known, by), held in self._held.items()
                if known is of and by not in gateways
                for m in held.values()
            ]
            for of in (True, False)
        )
        # What anybody may have made takes no place from the others.
        messages = (trusted + others)[:COPIED_MAX]
        routes = self._routes_of(self._parse(message, 0, len(message)) for message in messages)
        return routes, len(trusted) > COPIED_MAX

    def _parse(self, data: bytes, offset: int, length: int) -> Any:
        kind, flags, sequence = struct.unpack_from("HHI", data, offset + 4)
        return self._marshal.parse_one_message(kind, flags, sequence, data, offset, length)

    def _routes_of(self, messages: Iterable[Any]) -> list[Route]:
        found = rtmessages.read(lambda message: rtmessages.unicast_routes(message, self._names), messages)
        return [route for routes in found for route in routes]

    def _is_read(self, data: bytes, offset: int, length: int) -> bool:
        """Tell whether a route is read at once; one by another router is held back until the end."""
        if rtmessages.announces_a_router(data, offset):
            return self._has_room("announced", ROUTERS_MAX)
        if self._reading is None:
            return True
        if rtmessages.is_cut_short(data, offset) or rtmessages.is_the_kernels(data, offset):
            return False
        return rtmessages.is_ours(data, offset) or self._is_read_of_others(
            data, offset, length, self._reading
        )

    def _is_read_of_others(self, data: bytes, offset: int, length: int, reading: Reading) -> bool:
        if rtmessages.is_default(data, offset):
            return self._has_room("default", OTHERS_MAX)
        if rtmessages.stands_in(data, offset, reading.tables):
            return self._has_room("in our way", OTHERS_MAX)
        return self._is_by_a_router(data, offset, length, reading)

    def _has_room(self, kind: str, most: int) -> bool:
        # A server can push thousands of default routes.
        self._counted[kind] += 1
        return self._counted[kind] <= most

    def _is_by_a_router(self, data: bytes, offset: int, length: int, reading: Reading) -> bool:
        known = rtmessages.is_configured(data, offset)
        if not reading.anybody and not (rtmessages.is_of_main(data, offset) and (known or reading.known)):
            return False
        way = rtmessages.way_by_router(data, offset)
        if way is None or reading.whole:
            return way is not None
        known = known or way in reading.known
        if known or reading.anybody:
            held = self._held.setdefault((known, way.gateway), {})
            if len(held) <= COPIED_MAX:
                held.setdefault(way, data[offset : offset + length])
        return False
