"""WireGuard: the kernel's own where it has it, else wireguard-go. Both are configured by `wg`.

Up means a handshake. The link is set up without routes first; what the tunnel takes is taken once somebody
answers, so names can be looked up until then.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from entrypoint.clients import config_file, wg_config, wg_tools
from entrypoint.clients.base import AttemptFailed, Report
from entrypoint.clients.wg_config import Config
from entrypoint.clients.wg_line import Line, look_up
from entrypoint.clients.wg_session import Session
from entrypoint.clients.wg_watch import NAME, Watch
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch

DEFAULT_LINK = "wg0"
_LINK_NAME = re.compile(r"[A-Za-z0-9_=+.-]{1,15}")
"""What wg-quick takes as a link's name from the name of a file."""


class WireGuard:
    """One link with its peers. Raises BadSettings with every fault of the configuration."""

    name: ClassVar[str] = NAME
    makes_tunnel: bool = True

    def __init__(
        self,
        config: Path,
        *,
        interface: str | None,
        ipv6: bool,
        kernel: Callable[[], bool],
    ) -> None:
        """Check everything that can be checked before the start.

        `interface` is the link's name, None for the file's. `ipv6`: whether the container has IPv6;
        `kernel` finds out whether its kernel has WireGuard, and is asked once all else is right.
        """
        checked = None
        try:
            checked, found = wg_config.parse(config_file.decode(config_file.read(config)))
        except ValueError as error:
            found = [str(error)]
        if checked and not ipv6:
            checked = wg_config.without_ipv6(checked)
            if not checked.addresses:
                found = ["it has IPv6 addresses alone, and the container has no IPv6; add an IPv4 Address"]
        if checked is None or found:
            raise BadSettings(*(f"cannot use VPN_CONFIG={config}: {fault}" for fault in found))
        self._kernel = kernel()
        self.device: str | None = None if self._kernel else "/dev/net/tun"
        self.title = f"wireguard with {config}, by {'the kernel' if self._kernel else 'wireguard-go'}"
        self.notes = tuple(f"{config}: {note}" for note in checked.notes)
        self._config: Config = checked
        self.hosts = tuple(peer.endpoint.host for peer in checked.peers if peer.endpoint)
        self.link = interface or (config.stem if _LINK_NAME.fullmatch(config.stem) else DEFAULT_LINK)
        self._ipv6 = ipv6
        self._made = False
        """Whether a link of the kernel's is to be taken away."""
        self._watch: Watch | None = None

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Look names up and make the link; raises AttemptFailed."""
        lines = [Line(peer, Session(time.monotonic())) for peer in self._config.peers]
        problems = await look_up(lines, ipv6=self._ipv6)
        now = time.monotonic()
        for line in lines:
            line.next_address()
            line.called = now
        if problems and not any(line.at or not line.peer.endpoint for line in lines):
            raise AttemptFailed("; ".join(problems))
        try:
            await self._make_room()
            if self._kernel:
                # Before it is: a stop may come while it is being made.
                self._made = True
                await wg_tools.add_link(self.link)
        except wg_tools.ToolError as error:
            raise AttemptFailed(f"cannot make {self.link}: {error}") from None
        self._watch = Watch(self.link, self._config, lines, kernel=self._kernel, ipv6=self._ipv6)
        self._watch.begin(report)
        if self._kernel:
            return Launch()
        # By the environment and not by --foreground: that one prints a box about kernels with WireGuard.
        return Launch(
            ("wireguard-go", self.link), environment={"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
        )

    async def mends_itself(self) -> bool:
        """Tell that it does not: what stands on a link is put back by the reconciler, the link by nobody."""
        return False

    async def close(self) -> None:
        """Stop watching; a link of the kernel's goes, the one of wireguard-go has gone with it."""
        watch, self._watch = self._watch, None
        if watch:
            await watch.end()
        if self._made:
            self._made = False
            await wg_tools.delete_link(self.link)

    async def _make_room(self) -> None:
        """Take away what a killed run left; raises AttemptFailed where a link is somebody else's."""
        if self._kernel:
            for link in await wg_tools.our_links():
                await wg_tools.delete_link(link)
        if wg_tools.is_there(self.link):
            raise AttemptFailed(
                f"cannot make {self.link}: saw a link of that name that is not ours; remove it, or set "
                "VPN_INTERFACE to a name that is free (without it the link is called as the file)"
            )
