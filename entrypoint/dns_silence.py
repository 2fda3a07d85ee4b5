"""Which resolvers do not answer: asked when the tunnel has come up, and again only while one is silent."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Sequence

from entrypoint.network import DNS_PORT, IPV6, IPAddress

log = logging.getLogger(__name__)

ASK_SECONDS, ASKS = 2.0, 3
"""How long an answer may take, and how often one is asked before it counts as silent."""
AGAIN_SECONDS = 30.0
"""Between two rounds while somebody is silent."""
_ANSWER_BYTES_MAX = 4096
QUESTION = struct.pack("!6H", 0x5347, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack("!2H", 2, 1)
"""The name servers of the root (RFC 1035, recursion desired): a question that tells nothing of anybody."""


class Silence:
    """Keeps the list of the resolvers that do not answer."""

    def __init__(self) -> None:
        self._silent: tuple[IPAddress, ...] = ()
        self._asking: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Who is silent; None where nobody is known to be."""
        if not self._silent:
            return None
        return f"{' and '.join(map(str, self._silent))} did not answer when asked for names"

    def ask(self, resolvers: Sequence[IPAddress], link: str | None) -> None:
        """Forget what was known, and ask these from now on; by the link, or as the routes say."""
        self.end()
        if resolvers:
            self._asking = asyncio.create_task(self._follow(resolvers, link))

    def end(self) -> None:
        """Ask nobody any more."""
        self._silent = ()
        if self._asking:
            self._asking.cancel()
            self._asking = None

    async def _follow(self, resolvers: Sequence[IPAddress], link: str | None) -> None:
        while True:
            answered = await asyncio.gather(*(_answers(resolver, link) for resolver in resolvers))
            told = zip(resolvers, answered, strict=True)
            before, self._silent = self._silent, tuple(resolver for resolver, answers in told if not answers)
            if not self._silent:
                return
            if self._silent != before:
                log.warning("%s; look at VPN_DNS, and at what the tunnel's routes cover", self.problem)
            await asyncio.sleep(AGAIN_SECONDS)


async def _answers(resolver: IPAddress, link: str | None) -> bool:
    family = socket.AF_INET6 if resolver.version == IPV6 else socket.AF_INET
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ASKS * ASK_SECONDS
    for count in range(ASKS):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003 - the call of the library
            if link:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
            sock.connect((str(resolver), DNS_PORT))
            async with asyncio.timeout(ASK_SECONDS):
                await loop.sock_sendall(sock, QUESTION)
                await loop.sock_recv(sock, _ANSWER_BYTES_MAX)
                return True
        # What cannot be sent, or is refused, fails at once and may be better in a moment.
        await asyncio.sleep(deadline - (ASKS - count - 1) * ASK_SECONDS - loop.time())
    return False
