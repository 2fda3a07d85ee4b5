"""Classic BPF on a socket: which packets it takes is decided in the kernel, before any are read."""

import ctypes
import socket
import struct
from collections.abc import Collection, Sequence

LOAD_WORD, LOAD_HALF, LOAD_BYTE, EQUAL, ANSWER = 0x20, 0x28, 0x30, 0x15, 0x06
LOAD_WORD_BEHIND_X, LOAD_CONSTANT, X_CONSTANT, X_FROM_A = 0x40, 0x00, 0x01, 0x07
"""Codes of linux/bpf_common.h: what is loaded from where, how it is compared with a constant, the end."""
KEEP, DROP = 0xFFFFFFFF, 0

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if true, if false, constant."""

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
# linux/filter.h: loads from here on are no bytes of the packet, but what the kernel knows of it.
_ANCILLARY = 0xFFFFF000
_IN_INDEX, _IN_TYPE = _ANCILLARY + 8, _ANCILLARY + 28
FIND_ATTRIBUTE = _ANCILLARY + 12
"""Where a netlink message has the attribute of type X, looked for from place A on; 0 for nowhere."""
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772


def attach(target: socket.socket, program: Sequence[Instruction]) -> None:
    """Have a socket take only what the program keeps, from now on. Raises OSError."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    # struct sock_fprog of linux/filter.h: a count and a pointer, aligned as in C.
    target.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer))
    )


def only_from(links: Collection[int]) -> list[Instruction]:
    """Keep what comes by the loopback, and by these links (indexes) where they carry Ethernet."""
    named = [step for index in sorted(links) for step in ((EQUAL, 0, 1, index), (ANSWER, 0, 0, KEEP))]
    return [
        (LOAD_WORD, 0, 0, _IN_TYPE),
        (EQUAL, 0, 1, _ARPHRD_LOOPBACK),
        (ANSWER, 0, 0, KEEP),
        (EQUAL, 1, 0, _ARPHRD_ETHER),
        (ANSWER, 0, 0, DROP),
        (LOAD_WORD, 0, 0, _IN_INDEX),
        *named,
        (ANSWER, 0, 0, DROP),
    ]
