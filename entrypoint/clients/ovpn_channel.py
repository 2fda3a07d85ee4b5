"""Both ends of a talk with one openvpn process: its events become reports, its questions are answered."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from entrypoint.clients import management
from entrypoint.clients import management_commands as commands
from entrypoint.clients.base import Report
from entrypoint.clients.ovpn_login import Login
from entrypoint.clients.ovpn_report import Progress
from entrypoint.faults import BadSettings

ANSWER_SECONDS = 1.0
"""How long openvpn may take to say where it stands; it answers within a millisecond, unless it hangs."""
DRAIN_SECONDS = 1.0
"""How long to read on after the process has ended; the channel's end comes at once."""

_READ_BYTES = 64 * 1024
_LINE_LIMIT_BYTES = 256 * 1024
"""No line of openvpn's is nearly as long; where one is, the talk ends rather than fill memory."""


class Channel:
    """The management interface of one openvpn process, which calls us."""

    def __init__(
        self, path: Path, login: Login, report: Callable[[Report], None], names: Sequence[str] = ()
    ) -> None:
        """Listen at `path`; `report` is called in the running loop with each change.

        `names` are those of the servers, for people.
        """
        self._path = path
        self._login = login
        self._tell = report
        self._told = Report()
        self._progress = Progress(names)
        self._question: management.Question | None = None
        self._answers: deque[asyncio.Future[None]] = deque()
        self._connection: socket.socket | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        # A run that was killed may have left its socket behind.
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(0)
        self._listener.bind(str(path))
        # Before it listens nobody can connect, so nobody was early.
        path.chmod(0o600)
        self._listener.listen(1)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def state(self) -> str | None:
        """Ask openvpn where it stands; returns the last that is known if it does not answer."""
        if self._reading and not self._reading.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ask(commands.ASK_STATE), ANSWER_SECONDS)
        return self._progress.state

    async def close(self) -> None:
        """Read what the ended process left to say, and stop listening."""
        # A process that ended at once may have called without being heard yet.
        self._accept()
        self._stop_listening()
        if self._reading:
            await asyncio.wait({self._reading}, timeout=DRAIN_SECONDS)
        for task in (self._answering, self._reading):
            if task:
                task.cancel()
                await asyncio.wait({task})

    def _accept(self) -> None:
        if self._reading:
            return
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        connection.settimeout(0)
        self._connection = connection
        self._reading = asyncio.create_task(self._converse(connection))
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)

    async def _converse(self, connection: socket.socket) -> None:
        # Not asyncio's streams: they drop what was received as soon as something cannot be sent, and
        # openvpn's last words are the most telling.
        loop = asyncio.get_running_loop()
        rest = b""
        try:
            self._ask(commands.FOLLOW_STATE)
            with contextlib.suppress(ConnectionError):
                while len(rest) < _LINE_LIMIT_BYTES and (
                    data := await loop.sock_recv(connection, _READ_BYTES)
                ):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._take(line.decode(errors="replace").rstrip("\r"))
        finally:
            connection.close()
            for answered in self._answers:
                if not answered.done():
                    answered.set_result(None)
            self._report(self._progress.lost())

    def _send(self, command: bytes) -> None:
        # A command is small beside the socket's buffer; where openvpn is gone, reading will tell.
        if self._connection:
            with contextlib.suppress(OSError):
                self._connection.send(command)

    def _ask(self, command: bytes) -> asyncio.Future[None]:
        """Send a command whose answer ends with END; the future is done when it is there."""
        answered = asyncio.get_running_loop().create_future()
        self._answers.append(answered)
        self._send(command)
        return answered

    def _take(self, line: str) -> None:
        event = management.parse(line)
        match event:
            case management.Question():
                self._question = event
                self._send(commands.ASK_VERBOSITY)
            case management.Refusal() if self._login.takes(event):
                return
            case management.State(name="RECONNECTING", reason="auth-failure") if not self._login.challenge:
                # With `--auth-retry interact` it would ask for the next login, and not end.
                self._send(commands.STOP)
            case management.Done(text) if self._question:
                level = commands.verbosity(text)
                if level is not None:
                    self._answering = asyncio.create_task(self._answer(self._question, level))
                    self._question = None
            case management.End() if self._answers:
                answered = self._answers.popleft()
                if not answered.done():
                    answered.set_result(None)
        self._report(self._progress.feed(event))

    async def _answer(self, question: management.Question, level: int) -> None:
        try:
            self._send(await self._login.answer(question, level))
        except BadSettings as fault:
            # The same question would come at once: as good as refused.
            self._report(self._progress.fail(str(fault), rejected=True))
            # It would wait for an answer forever.
            self._send(commands.STOP)

    def _report(self, report: Report) -> None:
        if report != self._told:
            self._told = report
            self._tell(report)
