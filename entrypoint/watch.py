"""Netlink events: they wake, and no more.

The event socket is read but not parsed: what an event meant is read from the kernel. So a burst that
overruns the socket (ENOBUFS) is one more reason to wake, and loses nothing.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence

from entrypoint.network import CONFIGURED, PROTOCOL, TABLES_HELD
from entrypoint.rtmessages import LEADS_BY_A_ROUTER, RTA_TABLE
from healthcheck import bpf

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV4_RULE = 0x80
RTMGRP_IPV6_IFADDR = 0x100
RTMGRP_IPV6_ROUTE = 0x400
RTMGRP_IPV6_RULE = 1 << 18
"""RTNLGRP_IPV6_RULE is group 19; the older groups have names in linux/rtnetlink.h."""

_EVENTS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV6_RULE
)
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 1 << 6
"""Group 7 of linux/netfilter/nfnetlink.h."""
_Filter = Sequence[bpf.Instruction]
_TO_KEEP = -1
"""Stands for the way to the last instruction, until it is known how far that is."""


class Watcher:
    """Calls back when something changed that may concern us."""

    def __init__(self, wake: Callable[[], None], kind: int, groups: int, program: _Filter = ()) -> None:
        """Open the event socket of a kind of netlink for these groups, less what `program` drops.

        Raises OSError where the kernel gives none.
        """
        self._wake = wake
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, kind)
        if program:
            bpf.attach(self._socket, program)
        self._socket.bind((0, groups))
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    async def rest(self, seconds: float) -> None:
        """Read nothing for so long: what finds the socket full is one event of them all."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        await asyncio.sleep(seconds)
        loop.add_reader(self._socket, self._drain)

    def close(self) -> None:
        """Stop calling back."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _drain(self) -> None:
        try:
            while self._socket.recv(65536):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            # An overrun is told once and then cleared; what was lost is read from the kernel anyhow.
            if error.errno != errno.ENOBUFS:
                raise
        self._wake()


def route_events(wake: Callable[[], None], first_table: int) -> Watcher:
    """Watch links, addresses, routes and rules.

    A client that sets thousands of routes in the main table wakes nobody: the kernel drops those events
    before they reach us, all but those of a default route, of routes with our tag, of routes by a router of
    who is in charge of the link, and of tables that may be ours.
    """
    return Watcher(wake, socket.NETLINK_ROUTE, _EVENTS, _route_filter(first_table))


def firewall_events(wake: Callable[[], None]) -> Watcher:
    """Watch the tables of nftables, whosever they are."""
    return Watcher(wake, NETLINK_NETFILTER, NFNLGRP_NFTABLES)


def _route_filter(first_table: int) -> _Filter:
    """Write the socket filter.

    Offsets are those of struct nlmsghdr (16 bytes, type at 4) and struct rtmsg after it (12 bytes, prefix
    length of the destination at 1, protocol at 5) in linux/netlink.h and linux/rtnetlink.h. BPF loads in
    network order, netlink writes in the machine's.
    """
    # The byte that rtmsg has for a table holds no number above 255.
    tables = range(first_table, first_table + TABLES_HELD)
    by_router = [
        step
        for attribute in LEADS_BY_A_ROUTER
        for step in (*_load_attribute(attribute), (bpf.EQUAL, 0, _TO_KEEP, 0))
    ]
    program: _Filter = [
        (bpf.LOAD_HALF, 0, 0, 4),
        (bpf.EQUAL, 1, 0, socket.htons(_RTM_NEWROUTE)),
        (bpf.EQUAL, 0, _TO_KEEP, socket.htons(_RTM_DELROUTE)),
        (bpf.LOAD_BYTE, 0, 0, 16 + 1),
        (bpf.EQUAL, _TO_KEEP, 0, 0),
        (bpf.LOAD_BYTE, 0, 0, 16 + 5),
        (bpf.EQUAL, _TO_KEEP, 0, PROTOCOL),
        *_load_attribute(RTA_TABLE),
        (bpf.X_FROM_A, 0, 0, 0),
        (bpf.LOAD_WORD_BEHIND_X, 0, 0, 4),
        *((bpf.EQUAL, _TO_KEEP, 0, socket.htonl(table)) for table in tables),
        (bpf.LOAD_BYTE, 0, 0, 16 + 5),
        *((bpf.EQUAL, len(CONFIGURED) - place, 0, p) for place, p in enumerate(sorted(CONFIGURED))),
        (bpf.ANSWER, 0, 0, bpf.DROP),
        *by_router,
        (bpf.ANSWER, 0, 0, bpf.DROP),
        (bpf.ANSWER, 0, 0, bpf.KEEP),
    ]
    keep = len(program) - 1
    # A jump counts from the instruction behind it.
    return [
        (
            code,
            keep - place - 1 if yes == _TO_KEEP else yes,
            keep - place - 1 if no == _TO_KEEP else no,
            constant,
        )
        for place, (code, yes, no, constant) in enumerate(program)
    ]


def _load_attribute(attribute: int) -> _Filter:
    """Load the place of a route's attribute, 0 where it has none."""
    return [
        (bpf.LOAD_CONSTANT, 0, 0, 16 + 12),
        (bpf.X_CONSTANT, 0, 0, attribute),
        (bpf.LOAD_WORD, 0, 0, bpf.FIND_ATTRIBUTE),
    ]
