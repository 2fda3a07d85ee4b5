"""What every VPN server of the lab can do, whatever its protocol."""

from pathlib import Path
from typing import Protocol, Self


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
