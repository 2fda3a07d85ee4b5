"""Looks up the addresses of a name, and by which of ours they are reached; holds nothing up."""

import asyncio
import errno
import socket
import threading
from ipaddress import ip_address

from entrypoint.clients.base import AttemptFailed
from entrypoint.network import IPV6, IPAddress

LIMIT_SECONDS = 8.0
"""A resolver that lost the first packet is asked again after 5 s (resolv.conf(5))."""
DISCARD_PORT = 9


async def addresses_of(host: str, limit_seconds: float = LIMIT_SECONDS) -> tuple[IPAddress, ...]:
    """Return every address of a name, or the address that it is; raises AttemptFailed with what is wrong."""
    try:
        async with asyncio.timeout(limit_seconds):
            found = await look_up(host)
    except TimeoutError:
        raise AttemptFailed(
            f"the server's name {host} cannot be looked up: no answer within {limit_seconds:g} s; "
            "check the container's DNS"
        ) from None
    except OSError as error:
        raise AttemptFailed(
            f"the server's name {host} cannot be looked up: {error.strerror}; "
            "check the name and the container's DNS"
        ) from None
    return tuple(dict.fromkeys(found))


def source_towards(address: IPAddress) -> IPAddress | None:
    """Return the address of ours that the kernel would give to a packet; None where it knows no way."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as asking:
        try:
            # Nothing is sent: a connected datagram socket has looked up its route (udp(7)).
            asking.connect((str(address), DISCARD_PORT))
        except OSError:
            return None
        return ip_address(asking.getsockname()[0])


def is_ours(address: IPAddress) -> bool:
    """Tell whether an address stands on one of our links."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as asking:
        try:
            asking.bind((str(address), 0))
        except OSError:
            return False
        return True


def _family(address: IPAddress) -> socket.AddressFamily:
    return socket.AF_INET6 if address.version == IPV6 else socket.AF_INET


async def look_up(host: str) -> list[IPAddress]:
    """Return what the resolver says; raises OSError with its words. It may take as long as it likes."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[IPAddress]] = loop.create_future()

    def settle(result: list[IPAddress] | OSError) -> None:
        if answer.done():
            return
        if isinstance(result, OSError):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def look() -> None:
        result: list[IPAddress] | OSError
        try:
            told = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            # A link-local address comes with its link, which no rule can hold.
            result = [ip_address(str(address[0]).partition("%")[0]) for *_, address in told]
        except UnicodeError:
            result = OSError(0, "it is no name that DNS can hold")
        except OSError as error:
            result = error
        # The loop may have been closed since: nobody waits any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result)

    # No executor's thread: the loop's end would wait for it, however long the resolver is silent.
    try:
        threading.Thread(target=look, name=f"look up {host}", daemon=True).start()
    except RuntimeError:
        raise OSError(
            errno.EAGAIN, "no thread can be started: a limit of processes (pids) is reached"
        ) from None
    return await answer
