"""What every VPN server of the lab can do, whatever its protocol."""

import signal
from pathlib import Path
from typing import Protocol, Self

from tests.lab.processes import LoggedProcess


class VPNServer(Protocol):
    """A real server in a namespace, and what a sidecar needs to connect to it."""

    @property
    def tunnel(self) -> str:
        """Name of the link that the client will have."""

    def start(self) -> Self:
        """Start it; it accepts clients when this returns. After a stop or a kill it can be started again."""

    def stop(self) -> None:
        """End it in order: where the protocol has a farewell, the clients are told."""

    def kill(self) -> None:
        """SIGKILL: the clients are not told."""

    def pause(self) -> None:
        """SIGSTOP: the server is there but says nothing."""

    def resume(self) -> None:
        """SIGCONT, after `pause`."""

    def settings(self, directory: Path) -> dict[str, str]:
        """Write what the client needs into a directory; return the settings of a sidecar that connects."""


class ServerProcess:
    """The process of a server, for servers that are one."""

    title: str
    """What it is, in words."""

    def __init__(self) -> None:
        """Have none; `start` of the server starts it."""
        self._process: LoggedProcess | None = None

    @property
    def process(self) -> LoggedProcess:
        """The running server and its log."""
        if self._process is None:
            raise AssertionError(f"the {self.title} was not started")
        return self._process

    def stop(self) -> None:
        """SIGTERM, as an orderly stop."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL: the clients are not told."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: the server is there but says nothing."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        self.process.signal(signal.SIGCONT)
