"""Any program that makes a tunnel link: a vendor's client, started and stopped by commands of the user.

It is followed by its processes and by its tunnel. Nothing is known of what it says or of its session.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

from entrypoint.clients.base import Launch, Report
from entrypoint.clients.lookup import addresses_of
from entrypoint.faults import BadSettings

ELF = b"\x7fELF"
HEAD_BYTES = 256
"""What the kernel reads of a program to see how it is started (BINPRM_BUF_SIZE of linux/binfmts.h)."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


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
    ) -> None:
        """Check everything that can be checked before the start.

        `servers` are names and addresses that stay on the gateway, separated by commas or blanks.
        """
        faults = []
        if not command:
            faults.append(
                "cannot use VPN_CLIENT=command: saw no VPN_COMMAND that names a program; "
                "set it to what starts the vendor's client"
            )
        for setting, words in (("VPN_COMMAND", command), ("VPN_STOP_COMMAND", stop)):
            if words and (why := _why_it_cannot_start(words[0])):
                faults.append(f"cannot run {setting}: {why}")
        self._servers = re.split(r"[,\s]+", servers.strip(", \t\n")) if servers else []
        faults += [
            f"cannot use VPN_SERVER: saw {name!r}; for VPN_CLIENT=command write names or addresses alone, "
            "without scheme, port or path"
            for name in self._servers
            if not _is_host(name)
        ]
        if faults or not command:
            raise BadSettings(*faults)
        # Its arguments may hold what nobody else should read.
        self.title = f"command {command[0]}"
        self.notes: tuple[str, ...] = ()
        self._launch = Launch((*command, *args), may_daemonise=True, stop=tuple(stop or ()))

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


def _why_it_cannot_start(program: str) -> str | None:
    """Say why the kernel would not start a program; None where it would."""
    path = Path(program) if "/" in program else None
    if path is None:
        found = shutil.which(program)
        if found is None:
            return f"saw no program {program!r} in PATH; install it in the image, or write its whole path"
        path = Path(found)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return f"saw {error.strerror} for {program}; correct the path, or install the program in the image"
    if not os.access(path, os.X_OK):
        return f"saw that {program} is not executable; chmod +x it, or start it by its interpreter"
    if head.startswith(b"#!"):
        interpreter = (head[2:].splitlines()[0].split() or [b""])[0].decode(errors="replace")
        if not os.access(interpreter, os.X_OK):
            return f"saw that {program} needs {interpreter!r}, which is not there; install it in the image"
    elif not head.startswith(ELF):
        return f"saw neither a program nor a #! line in {program}; start it by its interpreter"
    return None


def _is_host(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return bool(_HOST_NAME.fullmatch(name)) and not name.replace(".", "").isdecimal()
    return True
