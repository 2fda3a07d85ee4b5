"""Dumps of routes: the kernel chooses by link and protocol, and what is nobody's is not decoded."""

import errno
import struct
from collections.abc import Callable, Iterable
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
from entrypoint.network import PROTOCOL, LastResort, Route

ROUTERS_MAX = 16
"""Of the routers of a link that announce themselves, so many are read: any neighbour can be thousands."""

ALL_TABLES = range(1 << 32)

# What stands for a route that is not decoded. pyroute2 takes a datagram without any message for the end.
_PASSED_OVER = {"header": {"type": RTM_NEWROUTE, "flags": NLM_F_MULTI, "error": None}}
# A link that has just gone has no routes; its event brings us back.
_NONE = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENODEV}


async def routes(
    netlink: AsyncIPRoute,
    version: int,
    link: int,
    names: dict[int, str],
    protocol: int = 0,
    *,
    tables: range | None = None,
) -> list[Route]:
    """Read the routes by a link, of one protocol or (0) of all; raises NetlinkError.

    With `tables`, those that may be ours, it is only what concerns us.
    """
    attributes = [("RTA_OIF", link)]
    answers = await _dump(netlink, version, {"proto": protocol}, attributes, _Chosen(netlink.marshal, tables))
    found = rtmessages.read(lambda answer: rtmessages.unicast_routes(answer, names), answers)
    return [route for routes in found for route in routes]


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

    With `tables` None they are everybody's, but for those of routers that announce themselves.
    """

    def __init__(self, marshal: Any, tables: range | None) -> None:
        self._marshal = marshal
        self._tables = tables
        self._announced = 0
        self._decoded: set[bytes] = set()

    def __call__(self, data: bytes, offset: int, length: int) -> Any:
        """Return the message, or what stands for one that is passed over."""
        kind, flags, sequence = struct.unpack_from("HHI", data, offset + 4)
        if kind == RTM_NEWROUTE and not self._concerns_us(data, offset):
            return _PASSED_OVER
        message = data[offset : offset + length]
        # Where IPv6 routes come and go meanwhile, the kernel begins again and again with those at one place.
        if message in self._decoded:
            return _PASSED_OVER
        self._decoded.add(message)
        return self._marshal.parse_one_message(kind, flags, sequence, data, offset, length)

    def _concerns_us(self, data: bytes, offset: int) -> bool:
        if rtmessages.announces_a_router(data, offset):
            self._announced += 1
            return self._announced <= ROUTERS_MAX
        return self._tables is None or rtmessages.concerns_us(data, offset, self._tables)
