"""Netlink events: they wake, and no more.

The event socket is read but not parsed: what an event meant is read from the kernel. So a burst that
overruns the socket (ENOBUFS) is one more reason to wake, and loses nothing.
"""

import asyncio
import ctypes
import errno
import socket
import struct
from collections.abc import Callable

from entrypoint.network import CONFIGURED, PROTOCOL
from entrypoint.parse import TABLES_HELD

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
_RT_TABLE_COMPAT = 252  # what the one-byte field of a route says for a table above 255


class Watcher:
    """Calls back when something changed that may concern us.

    A client that sets thousands of routes in the main table wakes nobody: the kernel drops those events
    before they reach us, all but those of a default route, of routes with our tag or of who is in charge of
    the link, and of tables that may be ours.
    """

    def __init__(self, wake: Callable[[], None], first_table: int) -> None:
        """Open the event socket; raises OSError where the kernel gives none."""
        self._wake = wake
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        _attach_filter(self._socket, _route_filter(first_table))
        self._socket.bind((0, _EVENTS))
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

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


def _route_filter(first_table: int) -> list[tuple[int, int, int, int]]:
    """Write the socket filter as classic BPF: (code, jump if true, jump if false, constant).

    Offsets are those of struct nlmsghdr (16 bytes, type at 4) and struct rtmsg after it (prefix length of
    the destination at 1, table at 4, protocol at 5) in linux/netlink.h and linux/rtnetlink.h. BPF loads in
    network order, netlink writes in the machine's.
    """
    load_half, load_byte, equal, at_least, answer = 0x28, 0x30, 0x15, 0x35, 0x06
    keep, drop = 0xFFFFFFFF, 0
    # All tables above 255 look alike here; of those below, ours end before the kernel's own begin.
    ours = range(first_table, first_table + TABLES_HELD)
    if first_table > _RT_TABLE_COMPAT:
        ours = range(_RT_TABLE_COMPAT, _RT_TABLE_COMPAT + 1)
    whose = sorted({PROTOCOL, *CONFIGURED})
    n = len(whose)
    return [
        (load_half, 0, 0, 4),
        (equal, 1, 0, socket.htons(_RTM_NEWROUTE)),
        (equal, 0, 6 + n, socket.htons(_RTM_DELROUTE)),
        (load_byte, 0, 0, 16 + 1),
        (equal, 4 + n, 0, 0),
        (load_byte, 0, 0, 16 + 5),
        *((equal, 3 + n - 1 - place, 0, protocol) for place, protocol in enumerate(whose)),
        (load_byte, 0, 0, 16 + 4),
        (at_least, 0, 2, ours.start),
        (at_least, 1, 0, ours.stop),
        (answer, 0, 0, keep),
        (answer, 0, 0, drop),
    ]


def _attach_filter(target: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    so_attach_filter = 26  # asm-generic/socket.h
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    # struct sock_fprog of linux/filter.h: a count and a pointer, aligned as in C.
    target.setsockopt(
        socket.SOL_SOCKET, so_attach_filter, struct.pack("HP", len(program), ctypes.addressof(buffer))
    )
