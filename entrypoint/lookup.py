"""Looks up the addresses of a name without holding anything up: getaddrinfo(3) cannot be called off."""

import errno
import socket
from ipaddress import ip_address

from entrypoint.network import IPAddress
from healthcheck import threads


async def look_up(host: str) -> list[IPAddress]:
    """Return what the resolver says; raises OSError with its words. It may take as long as it likes."""

    def look() -> list[IPAddress]:
        try:
            told = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError(0, "it is no name that DNS can hold") from None
        # A link-local address comes with its link, which no rule can hold.
        return [ip_address(str(address[0]).partition("%")[0]) for *_, address in told]

    try:
        looking = threads.begin(look, f"look up {host}")
    except RuntimeError:
        # Not in the loop: nothing would be mended while the resolver is silent.
        raise OSError(
            errno.EAGAIN, "no thread can be started: a limit of processes (pids) is reached"
        ) from None
    return await looking
