"""Looks up the addresses of a name without holding anything up: getaddrinfo(3) cannot be called off."""

import asyncio
import errno
import socket
import threading
from ipaddress import ip_address

from entrypoint.network import IPAddress


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
