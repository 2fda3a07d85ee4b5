"""Names to addresses, without holding up the loop."""

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address

from entrypoint.network import IPAddress

Answer = tuple[IPAddress, ...] | OSError


class Resolver:
    """Looks one name up as every program of the container does (getaddrinfo(3)).

    That call takes as long as it likes and cannot be called off: it has a thread of its own, at most one at
    a time. The loop's pool would not do, as the program's end waits for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._asked: asyncio.Future[Answer] | None = None

    async def addresses(self) -> tuple[IPAddress, ...]:
        """Return every address of the name, the preferred one first; raises OSError with the cause.

        A caller that is cancelled leaves the question standing, and the next one waits for the same answer.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            threading.Thread(target=self._look_up, args=(self._asked,), daemon=True).start()
        answer = await asyncio.shield(self._asked)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def _look_up(self, asked: asyncio.Future[Answer]) -> None:
        answer: Answer
        try:
            found = socket.getaddrinfo(self._name, None, type=socket.SOCK_STREAM)
            answer = tuple(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
        except OSError as error:
            answer = OSError(None, f"its name cannot be looked up: {error.strerror}")
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            asked.get_loop().call_soon_threadsafe(asked.set_result, answer)
