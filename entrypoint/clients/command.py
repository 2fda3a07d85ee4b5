"""Any program that makes a tunnel link: a vendor's client, started and stopped by commands of the user.

It is followed by its processes and by its tunnel. Nothing is known of what it says or of its session.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from entrypoint.clients.base import Report
from entrypoint.clients.servers import addresses_of
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.names import is_address, is_host
from entrypoint.programs import why_it_cannot_start


class Command:
    """The program that `VPN_COMMAND` starts; raises BadSettings with every fault of the settings."""

    name: ClassVar[str] = "command"
    makes_tunnel = True
    # Some work without: what they lack they say themselves.
    device: str | None = None

    def __init__(
        self,
        command: Sequence[str] | None,
        stop: Sequence[str] | None,
        *,
        args: Sequence[str],
        servers: str | None,
        group: int | None,
    ) -> None:
        """Check everything that can be checked before the start.

        `servers` are names and addresses that stay on the gateway, separated by commas or blanks; `group` is
        what tells its packets from others.
        """
        faults = []
        if not command:
            faults.append(
                "cannot use VPN_CLIENT=command: saw no VPN_COMMAND that names a program; "
                "set it to what starts the vendor's client"
            )
        for setting, words in (("VPN_COMMAND", command), ("VPN_STOP_COMMAND", stop)):
            if words and (why := why_it_cannot_start(words[0])):
                faults.append(f"cannot run {setting}: {why}")
        self._servers = re.split(r"[,\s]+", servers.strip(", \t\n")) if servers else []
        faults += [
            f"cannot use VPN_SERVER: saw {name!r}; for VPN_CLIENT=command write names or addresses alone, "
            "without scheme, port or path"
            for name in self._servers
            if not (is_address(name) or is_host(name))
        ]
        if faults or not command:
            raise BadSettings(*faults)
        self.hosts = tuple(self._servers)
        # Its arguments may hold what nobody else should read.
        self.title = f"command {command[0]}"
        self.notes: tuple[str, ...] = ()
        self._launch = Launch((*command, *args), may_daemonise=True, group=group, stop=tuple(stop or ()))

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Look the servers up, so that they are kept on the gateway."""
        found = await asyncio.gather(*(addresses_of(name) for name in self._servers))
        pinned = tuple(dict.fromkeys(address for addresses in found for address in addresses))
        report(Report(connected=True, stands="was started, and tells nothing of its session", pinned=pinned))
        return self._launch

    async def mends_itself(self) -> bool:
        """Tell that it does not: nobody knows."""
        return False

    async def close(self) -> None:
        """Nothing was taken."""
