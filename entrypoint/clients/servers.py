"""The addresses of a client's server, or why an attempt cannot begin without them."""

import asyncio

from entrypoint.clients.base import AttemptFailed
from entrypoint.lookup import look_up
from entrypoint.network import IPAddress

LIMIT_SECONDS = 8.0
"""A resolver that lost the first packet is asked again after 5 s (resolv.conf(5))."""
PINNED_MAX = 64
"""Addresses of a name. Each is a rule; an answer with thousands, or another one each time, does not fill the
kernel, which asks every rule for every packet."""


async def addresses_of(host: str, limit_seconds: float = LIMIT_SECONDS) -> tuple[IPAddress, ...]:
    """Return a name's addresses, or the one that it is; raises AttemptFailed with what is wrong."""
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
    return tuple(dict.fromkeys(found))[:PINNED_MAX]
