"""The health endpoint: take the port first, serve later.

Importing this module costs nothing beyond asyncio: uvicorn is imported by `serve`, so that the VPN
client can be under way before.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection

from healthcheck import bpf
from healthcheck.facts import Facts
from healthcheck.threads import off_loop

BACKLOG = 64
"""Connections that wait in the kernel until `serve` takes them."""

_Serve = Callable[[socket.socket, Callable[[], Facts]], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
    """Take the port and listen; who connects by the loopback from now on is answered once `serve` runs.

    Who comes by any other link is not heard until `let_in` names that link. `host` is an address, never a
    name. `::` takes IPv4 as well. Raises OSError where the port is taken or the address is not ours, and
    ValueError where `host` is no address.
    """
    address = ipaddress.ip_address(host)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - the family's name
    info = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it each answer on a connection that
    # is kept waits 40 ms between its header and its body.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # There are kernels that ask for NET_ADMIN here. Nothing starts without it, and its own check tells.
        with contextlib.suppress(PermissionError):
            bpf.attach(sock, bpf.only_from(()))
        sock.bind(info[0][4])
        # With SO_REUSEADDR two sockets can be bound to one port; it is listen() that refuses the second.
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def let_in(sock: socket.socket, links: Collection[int]) -> None:
    """Hear who comes by these links (indexes) and by the loopback, and nobody else.

    What the kernel drops here gets no answer at all, as if nobody listened and a firewall stood before it.
    A socket that is closed is left alone.
    """
    if sock.fileno() != -1:
        bpf.attach(sock, bpf.only_from(links))


async def serve(sock: socket.socket, facts: Callable[[], Facts]) -> None:
    """Answer on what `listen` gave until cancelled, and close it.

    `facts` is called in the event loop, once for each request that needs them.
    """
    try:
        answer = await off_loop(_import_serve, "import of the server")  # 20 to 40 ms
        await answer(sock, facts)
    finally:
        sock.close()


def _import_serve() -> _Serve:
    from healthcheck.web import serve as answer  # noqa: PLC0415 - see the module's docstring

    return answer
