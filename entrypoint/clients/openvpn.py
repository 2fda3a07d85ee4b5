"""OpenVPN, driven through its management interface: its log is for people and never parsed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from entrypoint.clients import config_file, management, ovpn_config
from entrypoint.clients.base import Launch, Report
from entrypoint.clients.ovpn_channel import Channel, Secret
from entrypoint.faults import BadSettings
from entrypoint.network import MARK

SOCKET_NAME = "openvpn.sock"
SERVER_SECONDS = "10"
"""How long one `remote` may be silent before the next is tried; far less than VPN_UP_TIMEOUT."""

_STANDS_OR_ENDS = frozenset({"CONNECTED", "EXITING"})


class OpenVPN:
    """The program `openvpn`, 2.6 or newer.

    Raises BadSettings with every fault of the configuration, the arguments and the credentials.
    """

    name: ClassVar[str] = "openvpn"
    makes_tunnel: bool = True
    device: str | None = "/dev/net/tun"

    def __init__(
        self,
        config: Path,
        *,
        username: Secret | None,
        password: Secret | None,
        interface: str | None,
        args: Sequence[str],
        ipv6: bool,
        run_dir: Path,
    ) -> None:
        """Check everything that can be checked before the start.

        `interface` is the tunnel's name, None for openvpn's choice; `ipv6` whether the container has
        IPv6; `run_dir` a directory that is there and that only we may enter.
        """
        faults = _credential_faults(username, password)
        self._credentials = (username, password) if username and password else None
        wishes = ovpn_config.Wishes(
            scripts=ovpn_config.scripts_wished(args),
            credentials=bool(username or password),
            interface=interface is not None,
            ipv6=ipv6,
        )
        checked = None
        try:
            checked, found = ovpn_config.check(config_file.decode(config_file.read(config)), args, wishes)
        except ValueError as error:
            found = [str(error)]
        faults += [f"cannot use VPN_CONFIG={config}: {fault}" for fault in found]
        if checked is None or faults:
            raise BadSettings(*faults)
        self.title = f"openvpn with {config}"
        self.notes = tuple(f"{config}: {note}" for note in checked.notes)
        """What was left out of the configuration and why, a text each."""
        self._path = run_dir / SOCKET_NAME
        self._launch = Launch(
            argv=(
                "openvpn",
                # What stands before the configuration gives way to it. By itself openvpn waits a minute for
                # a silent server, and the next `remote` would never have its turn.
                *("--suppress-timestamps", "--server-poll-timeout", SERVER_SECONDS),
                *_without_ipv6(ipv6=ipv6),
                *("--cd", str(config.absolute().parent), "--config", "stdin"),
                *("--script-security", "1", *args),
                *(("--dev", interface, "--dev-type", checked.device_type) if interface else ()),
                # Without a file it is the management interface that is asked.
                *(("--auth-user-pass",) if self._credentials else ()),
                *("--mark", str(MARK), "--auth-retry", "none"),
                *("--management", str(self._path), "unix", "--management-client"),
                *("--management-query-passwords", "--management-up-down"),
            ),
            stdin=checked.text.encode(),
        )
        self._channel: Channel | None = None

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Listen where openvpn will call."""
        self._channel = Channel(self._path, self._credentials, report)
        return self._launch

    async def mends_itself(self) -> bool:
        """Tell whether openvpn knows that its tunnel is gone.

        It says RECONNECTING before it listens to us again, so the answer is never too early. Where it
        is busy (it looks names up without listening), what it announced last is believed.
        """
        return self._channel is not None and await self._channel.state() not in {None, *_STANDS_OR_ENDS}

    async def close(self) -> None:
        """Read what the ended process left to say, and stop listening."""
        channel, self._channel = self._channel, None
        if channel:
            await channel.close()


def _without_ipv6(*, ipv6: bool) -> tuple[str, ...]:
    # openvpn dies if it may not add a pushed address, and calls each route an error. A filter that comes
    # before the configuration's own decides.
    ignored = () if ipv6 else ("ifconfig-ipv6", "route-ipv6")
    return tuple(word for option in ignored for word in ("--pull-filter", "ignore", option))


def _credential_faults(username: Secret | None, password: Secret | None) -> list[str]:
    faults = []
    for name, secret, other in (
        ("VPN_USERNAME", username, "VPN_PASSWORD"),
        ("VPN_PASSWORD", password, "VPN_USERNAME"),
    ):
        if secret is None:
            if username or password:
                faults.append(f"cannot log in: {other} is set without {name}; set both, or none")
            continue
        try:
            management.quote(secret.reveal())
        except BadSettings as fault:
            faults.extend(fault.texts)
        except ValueError as error:
            faults.append(f"cannot log in: {name} {error}; correct it")
    return faults
