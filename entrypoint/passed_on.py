"""Whether Docker's resolver asks the world in the host's own network, where no gate of a container stands.

It does so where the host has a resolver on its own loopback (`nameserver 127.0.0.1`). Before Docker 26
nothing tells, so it is asked for a name that nobody has, while the gate lets no such question out.
"""

import asyncio
import contextlib
import secrets
import socket
import struct
from pathlib import Path

from entrypoint.names import question
from entrypoint.network import DNS_PORT, DOCKER_RESOLVER

ASK_SECONDS = 0.5
"""An answer from the host's resolver takes some milliseconds; that there is none is mostly told at once."""
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_ANSWER_BYTES_MAX = 512


def nobodys_name() -> str:
    """Return a name that no cache knows (RFC 6761, 6.5)."""
    return f"{secrets.token_hex(4)}.example"


def is_there() -> bool:
    """Tell whether Docker's resolver is in this namespace (proc(5): addresses of /proc/net/udp)."""
    written = f" {socket.htonl(int(DOCKER_RESOLVER)):08X}:"
    with contextlib.suppress(OSError):
        return written in Path("/proc/net/udp").read_text()
    return False


async def is_answered(name: str) -> bool:
    """Ask Docker's resolver for a name, and tell whether somebody knows that there is none or what it is."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # noqa: FBT003 - the call of the library
        sock.connect((str(DOCKER_RESOLVER), DNS_PORT))
        async with asyncio.timeout(ASK_SECONDS):
            await loop.sock_sendall(sock, question(name))
            answer = await loop.sock_recv(sock, _ANSWER_BYTES_MAX)
            return len(answer) > struct.calcsize("!HH") and answer[3] & 0x0F in {_NO_ERROR, _NO_SUCH_NAME}
    return False
