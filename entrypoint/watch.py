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

from entrypoint.network import PROTOCOL
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
_RTA_TABLE = 15


class Watcher:
    """Calls back when something changed that may concern us.

    A client that sets thousands of routes in the main table wakes nobody: the kernel drops those events
    before they reach us, all but those of a default route, of routes with our tag, and of tables that may be
    ours.
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

    Offsets are those of struct nlmsghdr (16 bytes, type at 4) and struct rtmsg after it (12 bytes, prefix
    length of the destination at 1, protocol at 5) in linux/netlink.h and linux/rtnetlink.h. BPF loads in
    network order, netlink writes in the machine's.
    """
    load_half, load_byte, equal, answer = 0x28, 0x30, 0x15, 0x06
    load_word, load_word_behind_x, load_constant, x_constant, x_from_a = 0x20, 0x40, 0x00, 0x01, 0x07
    # "A netlink attribute of type X, from A on": SKF_AD_OFF + SKF_AD_NLATTR of linux/filter.h.
    find_attribute = (1 << 32) - 0x1000 + 12
    keep, drop = 0xFFFFFFFF, 0
    ours = range(first_table, first_table + TABLES_HELD)
    # The byte that rtmsg has for a table holds no number above 255.
    tables = [(equal, ours.stop - table, 0, socket.htonl(table)) for table in ours]
    end = len(tables) + 1
    return [
        (load_half, 0, 0, 4),
        (equal, 1, 0, socket.htons(_RTM_NEWROUTE)),
        (equal, 0, end + 9, socket.htons(_RTM_DELROUTE)),
        (load_byte, 0, 0, 16 + 1),
        (equal, end + 7, 0, 0),
        (load_byte, 0, 0, 16 + 5),
        (equal, end + 5, 0, PROTOCOL),
        (load_constant, 0, 0, 16 + 12),
        (x_constant, 0, 0, _RTA_TABLE),
        (load_word, 0, 0, find_attribute),
        (x_from_a, 0, 0, 0),
        (load_word_behind_x, 0, 0, 4),
        *tables,
        (answer, 0, 0, drop),
        (answer, 0, 0, keep),
    ]


def _attach_filter(target: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    so_attach_filter = 26  # asm-generic/socket.h
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    # struct sock_fprog of linux/filter.h: a count and a pointer, aligned as in C.
    target.setsockopt(
        socket.SOL_SOCKET, so_attach_filter, struct.pack("HP", len(program), ctypes.addressof(buffer))
    )
