"""The kernel's links, addresses, routes and rules: read, ask, apply. The only module that knows pyroute2.

Events come by a socket of their own (watch.py): on a shared one the broadcast of our own change would land
in a request's answer.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from ipaddress import ip_address, ip_interface, ip_network
from types import TracebackType
from typing import Any, Self, TypeVar

from entrypoint.faults import MissingPrivilege
from entrypoint.lean_pyroute2 import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    RTM_GETROUTE,
    AsyncIPRoute,
    NetlinkDumpInterrupted,
    NetlinkError,
    rtmsg,
)
from entrypoint.network import (
    IPV6,
    MAIN_TABLE,
    Address,
    IPAddress,
    IPNetwork,
    Link,
    Lookup,
    Route,
    Rule,
    Snapshot,
)
from entrypoint.policy import Change

log = logging.getLogger(__name__)

_RTN_UNICAST = 1
_FR_ACT_TO_TBL = 1
_RT_SCOPE_LINK = 253
_RTNH_F_ONLINK = 4
_RTM_F_LOOKUP_TABLE, _RTM_F_FIB_MATCH = 0x1000, 0x2000
_IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 0x1, 0x8, 0x10000
_ARPHRD_PPP = 512

# Attributes that every rule may carry without being another kind of rule than ours.
_PLAIN_RULE = {
    "FRA_TABLE",
    "FRA_PRIORITY",
    "FRA_PROTOCOL",
    "FRA_SRC",
    "FRA_DST",
    "FRA_FWMARK",
    "FRA_FWMASK",
    "FRA_IIFNAME",
    "FRA_SUPPRESS_PREFIXLEN",
}
_SUPPRESS_NOTHING = 0xFFFFFFFF
_WHOLE_MARK = 0xFFFFFFFF

_GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}
_BAD_GATEWAY = {errno.EINVAL, errno.ENETUNREACH, errno.EHOSTUNREACH}
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}


T = TypeVar("T")

READS_MAX = 20
"""A dump that changes interrupt again and again is read anew so often."""
READ_AGAIN_SECONDS = 0.02


class Rtnl:
    """Reads and changes; one request at a time."""

    def __init__(self) -> None:
        self._netlink = _socket()
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._netlink.close()

    async def snapshot(self) -> Snapshot:
        """Read what concerns us: links, addresses, our kind of rules, routes by container links.

        Raises OSError where changes interrupt every try.
        """
        return await self._whole(self._read)

    async def routes_by(self, link: Link) -> tuple[Route, ...]:
        """Read the unicast routes that leave by a link, of all tables; raises OSError as `snapshot`."""

        async def read() -> tuple[Route, ...]:
            return tuple([route async for route in self._routes(link.index, {link.index: link.name})])

        return await self._whole(read)

    async def _whole(self, read: Callable[[], Awaitable[T]]) -> T:
        async with self._lock:
            for _ in range(READS_MAX):
                try:
                    return await read()
                except NetlinkError as error:
                    # Mostly, something changed meanwhile (NLM_F_DUMP_INTR). The rest of the dump is still
                    # in the socket, where it would spoil the next answer.
                    self._netlink.close()
                    self._netlink = _socket()
                    cause = "they change all the time"
                    if not isinstance(error, NetlinkDumpInterrupted):
                        cause = _cause(error)
                    await asyncio.sleep(READ_AGAIN_SECONDS)
        raise OSError(errno.EINTR, f"cannot read the kernel's routes and rules: {cause}")

    async def _read(self) -> Snapshot:
        links = tuple([_link(message) async for message in await self._netlink.get_links()])
        names = {link.index: link.name for link in links}
        addresses = tuple([_address(message) async for message in await self._netlink.get_addr()])
        rules = [_rule(message) async for message in await self._netlink.get_rules()]
        routes: list[Route] = []
        for link in links:
            if not link.loopback and not link.is_tunnel and link.up:
                routes += [route async for route in self._routes(link.index, names)]
        return Snapshot(links, addresses, tuple(routes), tuple(rule for rule in rules if rule))

    async def lookup(self, destination: IPAddress, source: IPAddress, links: Iterable[Link]) -> Lookup | str:
        """Ask which way a packet of ours would leave (RTM_GETROUTE); a text says why by none."""
        names = {link.index: link.name for link in links}
        async with self._lock:
            message = _route_request(destination.version)
            bits = destination.max_prefixlen
            message["dst_len"] = message["src_len"] = bits
            # IPv6 tells the table unasked, and refuses the flag.
            message["flags"] = 0 if destination.version == IPV6 else _RTM_F_LOOKUP_TABLE
            message["attrs"] = [("RTA_DST", str(destination)), ("RTA_SRC", str(source))]
            try:
                request = await self._netlink.nlm_request(message, RTM_GETROUTE, NLM_F_REQUEST)
                answers = [answer async for answer in request]
            except NetlinkError as error:
                return _cause(error)
        answer = answers[0]
        return Lookup(
            names.get(answer.get("oif"), f"link {answer.get('oif')}"),
            _gateway(answer),
            answer.get("table") or answer["table"],
        )

    async def default_link(self, somewhere: IPAddress) -> int | None:
        """Return the index of the link whose default route takes what goes to an address on no link.

        None where another route takes it, or none does.
        """
        async with self._lock:
            message = _route_request(somewhere.version)
            message["dst_len"], message["flags"] = somewhere.max_prefixlen, _RTM_F_FIB_MATCH
            message["attrs"] = [("RTA_DST", str(somewhere))]
            try:
                request = await self._netlink.nlm_request(message, RTM_GETROUTE, NLM_F_REQUEST)
                answers = [answer async for answer in request]
            except NetlinkError:
                return None  # nothing takes it
            return None if answers[0]["dst_len"] else answers[0].get("oif")

    async def apply(self, change: Change) -> None:
        """Make one change and log it as its iproute2 line.

        What is already there, or already gone, is no fault. Raises MissingPrivilege without NET_ADMIN and
        OSError with the kernel's own words otherwise.
        """
        async with self._lock:
            try:
                if isinstance(change.item, Rule):
                    await self._netlink.rule(change.verb, **_rule_arguments(change.item))
                else:
                    await self._netlink.route(change.verb, **await self._route_arguments(change.item))
            except NetlinkError as error:
                if error.code == errno.EPERM:
                    raise MissingPrivilege(
                        f"cannot run {change}: the kernel refuses; give the container NET_ADMIN "
                        "(docker run --cap-add NET_ADMIN, compose: `cap_add: [NET_ADMIN]`)"
                    ) from None
                if change.verb == "del" and error.code in _GONE:
                    return
                if error.code == errno.EEXIST and change.sets_default and change.item.table == MAIN_TABLE:
                    return  # the client's own default route stands there by now
                raise OSError(
                    error.code, f"cannot run {change}: {_cause(error)}{_fix(error, change)}"
                ) from None
        log.info("%s", change)

    async def _routes(self, link: int, names: dict[int, str]) -> AsyncIterator[Route]:
        for version in (4, IPV6):
            message = _route_request(version)
            message["attrs"] = [("RTA_OIF", link)]
            try:
                request = await self._netlink.nlm_request(message, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP)
                async for answer in request:
                    for route in _unicast_routes(answer, names):
                        yield route
            except NetlinkError as error:
                # A link that has just gone has no routes; its event brings us back.
                if error.code not in {*_NO_SUCH_FAMILY, errno.ENODEV}:
                    raise

    async def _route_arguments(self, route: Route) -> dict[str, Any]:
        found = await self._netlink.link_lookup(ifname=route.link)
        if not found:
            raise NetlinkError(errno.ENODEV, f"no link {route.link}")
        arguments: dict[str, Any] = {
            "family": _family(route.destination.version),
            "dst": str(route.destination),
            "oif": found[0],
            "table": route.table,
            "proto": route.protocol,
        }
        if route.gateway and route.gateway.version != route.destination.version:
            arguments["via"] = {"family": _family(route.gateway.version), "addr": str(route.gateway)}
        elif route.gateway:
            arguments["gateway"] = str(route.gateway)
        elif route.destination.version != IPV6:
            arguments["scope"] = _RT_SCOPE_LINK
        if route.onlink:
            arguments["flags"] = _RTNH_F_ONLINK
        if route.metric:
            arguments["priority"] = route.metric
        return arguments


def _socket() -> AsyncIPRoute:
    # With strict checking the kernel itself filters a dump by the attributes of the request: the thousands
    # of routes of a corporate VPN are never sent to us.
    return AsyncIPRoute(strict_check=True, ext_ack=True)


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET6 if version == IPV6 else socket.AF_INET


def _route_request(version: int) -> Any:
    message = rtmsg()
    message["family"] = _family(version)
    return message


def _cause(error: NetlinkError) -> str:
    return str(error.args[1] if len(error.args) > 1 else error)


def _fix(error: NetlinkError, change: Change) -> str:
    if error.code == errno.EEXIST:
        return "; somebody else's route stands there, set ROUTE_TABLE to a range that is free"
    if isinstance(change.item, Route) and change.item.gateway and error.code in _BAD_GATEWAY:
        return f"; set GATEWAYS={change.item.link}=<address of its router>"
    return ""


def _link(message: Any) -> Link:
    kind = message.get(("linkinfo", "kind")) or ("ppp" if message["ifi_type"] == _ARPHRD_PPP else "")
    flags = message["flags"]
    return Link(
        message["index"],
        message.get("ifname"),
        kind,
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        carrier=bool(flags & _IFF_LOWER_UP),
    )


def _address(message: Any) -> Address:
    # On a point-to-point link IFA_ADDRESS is the peer; IFA_LOCAL is missing in IPv6 without one.
    local = message.get("local") or message.get("address")
    return Address(message["index"], ip_interface(f"{local}/{message['prefixlen']}"))


def _unicast_routes(message: Any, names: dict[int, str]) -> Iterable[Route]:
    if message["type"] != _RTN_UNICAST:
        return
    destination = _network(message, "dst", message["dst_len"])
    for hop in message.get("multipath") or (message,):
        link = names.get(hop["oif"] if hop is not message else hop.get("oif"))
        if link:
            yield Route(
                destination,
                link,
                message.get("table") or message["table"],
                _gateway(hop),
                onlink=bool(hop["flags"] & _RTNH_F_ONLINK),
                metric=message.get("priority") or 0,
                protocol=message["proto"],
            )


def _gateway(hop: Any) -> IPAddress | None:
    # An IPv4 route by an IPv6 gateway names it in RTA_VIA.
    text = hop.get("gateway") or (hop.get("via") or {}).get("addr")
    return ip_address(text) if text else None


def _rule(message: Any) -> Rule | None:
    """Take a rule of our shape, and None for any other: the kernel also lists multicast families."""
    if message["family"] not in {socket.AF_INET, socket.AF_INET6} or message["action"] != _FR_ACT_TO_TBL:
        return None
    names = {name for name, _ in message["attrs"]}
    if (
        not names <= _PLAIN_RULE
        or message["flags"]
        or message["tos"]
        or message.get("iifname") != "lo"
        or message.get("FRA_SUPPRESS_PREFIXLEN", _SUPPRESS_NOTHING) != _SUPPRESS_NOTHING
        or message.get("FRA_FWMASK", _WHOLE_MARK) != _WHOLE_MARK
        or not (message["src_len"] or message.get("FRA_FWMARK"))
    ):
        return None
    return Rule(
        _network(message, "src", message["src_len"]),
        message.get("table") or message["table"],
        message.get("priority") or 0,
        _network(message, "dst", message["dst_len"]) if message["dst_len"] else None,
        message.get("FRA_FWMARK") or 0,
        message.get("protocol") or 0,
    )


def _network(message: Any, attribute: str, bits: int) -> IPNetwork:
    nothing = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - no bind here
    return ip_network(f"{message.get(attribute) or nothing}/{bits}", strict=False)


def _rule_arguments(rule: Rule) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "family": _family(rule.source.version),
        "iifname": "lo",
        "table": rule.table,
        "priority": rule.priority,
        "protocol": rule.protocol,
    }
    if rule.source.prefixlen:
        arguments["src"] = str(rule.source.network_address)
        arguments["src_len"] = rule.source.prefixlen
    if rule.mark:
        arguments["fwmark"] = rule.mark
    if rule.destination:
        arguments["dst"] = str(rule.destination.network_address)
        arguments["dst_len"] = rule.destination.prefixlen
    return arguments
