"""OpenConnect (AnyConnect, GlobalProtect, Pulse, Fortinet, F5 and others), followed by a script of ours."""

import asyncio
import contextlib
import itertools
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from entrypoint.clients import oc_arguments
from entrypoint.clients.base import AttemptFailed, Report
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.oc_environment import gateway, translate
from entrypoint.clients.oc_script import ScriptChannel
from entrypoint.clients.servers import PINNED_MAX, addresses_of
from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.launch import Launch
from entrypoint.network import IPAddress
from entrypoint.parse import shown
from entrypoint.ways import is_ours, source_towards

SOCKET_NAME = "openconnect.sock"
SCRIPT = Path(__file__).with_name("vpnc_script.py")
LINE_MAX_BYTES = 1023
"""What openconnect reads of a line of its standard input (read_stdin() of its main.c); the rest would answer
the next question."""
CHECK_THEM = (
    "check VPN_SERVER, VPN_USERNAME and VPN_PASSWORD, the server's certificate (--cafile or --servercert in "
    "VPN_ARGS) and VPN_PROTOCOL"
)
"""openconnect ends with the same exit code whatever is wrong before the tunnel; its words are for people."""
NO_SERVER = "cannot connect: saw no VPN_SERVER, which openconnect needs; set it to the server's name"
LOOK_UP_AGAIN_SECONDS = 3.0
"""While a session is broken the resolver may lie behind it, and openconnect waits for our answer."""
MADE_SECONDS, MADE_LOOK_SECONDS = 1.0, 0.005
"""How long what we reported may take to stand in the kernel; mostly some ten milliseconds."""


class OpenConnect:
    """The program `openconnect`, 9.0 or newer.

    Raises BadSettings with every fault of the arguments and the credentials.
    """

    name: ClassVar[str] = "openconnect"
    device: str | None = "/dev/net/tun"
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        server: str | None,
        credentials: Credentials,
        *,
        protocol: str,
        interface: str | None,
        args: Sequence[str],
        ipv6: bool,
        run_dir: Path,
        group: int | None,
    ) -> None:
        """Check everything that can be checked before the start.

        `protocol` is one of `openconnect --protocol`; `interface` the tunnel's name, None for openconnect's
        choice; `ipv6` whether the container has IPv6; `run_dir` a directory that is there and that only we
        may enter; `group` is what tells its packets from others.
        """
        self.makes_tunnel = True
        self._username = credentials.username
        # In the order in which they are asked for: the certificate is shown before anybody logs in.
        asked = credentials.passphrase, credentials.password
        self._answers = tuple(secret for secret in asked if secret)
        self._ipv6 = ipv6
        self._group = group
        arguments = oc_arguments.check(args)
        faults = list(arguments.faults)
        try:
            self._server = oc_arguments.server(server or "")
        except ValueError as error:
            faults.append(f"VPN_SERVER={shown(server)} {error}" if server else NO_SERVER)
        faults += oc_arguments.missing_files(arguments)
        if not arguments.certificate:
            faults += _lacking(credentials)
            faults += _useless(credentials.passphrase)
        faults += credentials.unfit(_line)
        self._codes = credentials.codes(faults)
        if faults:
            raise BadSettings(*faults)
        self.title = f"openconnect ({protocol}) to {server}"
        self.hosts: tuple[str, ...] = (self._server.host,)
        self._path = run_dir / SOCKET_NAME
        script = (sys.executable, "-I", "-S", str(SCRIPT), str(self._path))
        self._argv = (
            *("openconnect", *args, "--protocol", protocol),
            # A certificate that cannot be verified is asked about, as is what no setting answers: nobody
            # is there, and what is written for the password is never taken for the answer.
            "--non-inter",
            *("--script", f"exec {shlex.join(script)}"),
            *(("--interface", interface) if interface else ()),
            *(() if ipv6 else ("--disable-ipv6",)),
        )
        self._report = Report()
        self._tell: Callable[[Report], None] = lambda _: None
        self._channel: ScriptChannel | None = None

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Look up where the server is, and listen for openconnect's script."""
        self._tell = report
        user = (f"--user={_line(self._username)}",) if self._username else ()
        lines = [_line(secret) for secret in self._answers]
        addresses = await addresses_of(self._server.host)
        # Until the script is called an end may be a refusal of the credentials: the exit code is the same for
        # all that can go wrong before, and an account may be locked after a few of them.
        rejected = bool(lines or self._codes)
        self._say(Report(detail="logging in", pinned=pins(addresses), rejected=rejected, advice=CHECK_THEM))
        self._channel = ScriptChannel(self._path, self._take)
        await self._channel.listen()
        if self._codes:
            self._say(replace(self._report, detail="waiting for a one-time code that was not used yet"))
            lines.append(await self._codes.fresh())
            self._say(replace(self._report, detail="logging in"))
        return Launch(
            argv=(
                *(*self._argv, *user),
                *(("--passwd-on-stdin",) if lines else ()),
                *("--", str(self._server)),
            ),
            # Each question is answered by the next line, and by nothing once they are used up.
            stdin="".join(f"{line}\n" for line in lines).encode(),
            group=self._group,
        )

    async def mends_itself(self) -> bool:
        """Tell that it does not: openconnect keeps its link while it reconnects, and makes no second one."""
        return False

    async def close(self) -> None:
        """Stop listening."""
        channel, self._channel = self._channel, None
        if channel:
            await channel.close()

    async def _take(self, told: Mapping[str, str]) -> None:
        """Take in one call of the script."""
        now = self._report
        server = gateway(told)
        if server and server not in now.pinned:
            # A portal has sent us on, or a name has got another address since.
            now = replace(now, pinned=pins([server], now.pinned))
        match told.get("reason"):
            case "pre-init":
                now = replace(now, detail="making the tunnel", server=server, rejected=False, advice="")
            case "connect" | "reconnect":
                now = self._connected(now, told)
                self._say(now)
                # What it receives before the link is up, openconnect throws away with an error.
                await _made(lambda: all(is_ours(address) for address in now.addresses))
            case "attempt-reconnect":
                now = replace(now, connected=False, detail="reconnecting")
                self._say(now)
                now = await self._looked_up_again(now)
            case "disconnect":
                now = replace(now, connected=False, detail="disconnected", setup=None)
        self._say(now)

    def _connected(self, now: Report, told: Mapping[str, str]) -> Report:
        try:
            tunnel = translate(told, ipv6=self._ipv6)
        except ValueError as error:
            return replace(now, failure=str(error))
        return replace(
            now,
            connected=True,
            detail="connected",
            interface=tunnel.setup.link,
            addresses=tuple(interface.ip for interface in tunnel.setup.addresses),
            setup=tunnel.setup,
            resolvers=tunnel.resolvers,
            search=tunnel.search,
            pushed=tunnel.pushed,
        )

    async def _looked_up_again(self, now: Report) -> Report:
        """Pin what the name stands for by now: some servers have openconnect look it up anew."""
        try:
            addresses = await addresses_of(self._server.host, LOOK_UP_AGAIN_SECONDS)
        except AttemptFailed:
            return now  # openconnect takes the address that it has
        now = replace(
            now,
            pinned=pins([now.server] if now.server else [], addresses, now.pinned),
            # Which one it reconnects to is never told.
            server=now.server if now.server in addresses else None,
        )
        self._say(now)
        # A connection keeps the source that it begins with: one that began a moment too early, with the
        # tunnel's address, would stay in the tunnel that it is to mend.
        await _made(lambda: not any(source_towards(address) in now.addresses for address in addresses))
        return now

    def _say(self, report: Report) -> None:
        self._report = report
        self._tell(report)


async def _made(stands: Callable[[], bool]) -> None:
    """Wait until the kernel is as we said, but not for ever: openconnect stands still meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MADE_SECONDS):
            while not stands():  # noqa: ASYNC110 - no event tells the client of a pass
                await asyncio.sleep(MADE_LOOK_SECONDS)


def _lacking(credentials: Credentials) -> list[str]:
    """Say what lacks for a login without a certificate."""
    if credentials.username is None:
        how = 'set VPN_USERNAME and VPN_PASSWORD, or VPN_ARGS="--certificate /vpn/me.pem"'
        return [f"cannot log in: saw neither VPN_USERNAME nor a client certificate; {how}"]
    if not (credentials.password or credentials.totp):
        return ["cannot log in: saw VPN_USERNAME without VPN_PASSWORD; set both"]
    return []


def pins(*addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    """Return who is kept on the gateway: the first that are told, each once; a name may change for ever."""
    return tuple(dict.fromkeys(itertools.chain(*addresses)))[:PINNED_MAX]


def _useless(passphrase: Secret | None) -> list[str]:
    if passphrase is None:
        return []
    why = "VPN_ARGS names no client certificate; add --certificate, or leave it out"
    return [f"cannot use {passphrase.name}: {why}"]


def _line(secret: Secret) -> str:
    """Return a secret that fits into one line; raises BadSettings where it does not, or its file is gone."""
    value = secret.reveal()
    if "\n" in value or "\0" in value:
        raise BadSettings(f"cannot log in: saw a line end or a null byte in {secret.name}; correct it")
    if len(value.encode()) > LINE_MAX_BYTES:
        raise BadSettings(f"cannot log in: saw more than {LINE_MAX_BYTES} bytes in {secret.name}; correct it")
    return value
