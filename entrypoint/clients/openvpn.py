"""OpenVPN, driven through its management interface: its log is for people and never parsed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from entrypoint.clients import config_file, ovpn_config, ovpn_files, ovpn_login
from entrypoint.clients.base import Report
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.ovpn_channel import Channel
from entrypoint.clients.ovpn_needs import Wishes
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
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
        credentials: Credentials,
        *,
        interface: str | None,
        args: Sequence[str],
        ipv6: bool,
        run_dir: Path,
    ) -> None:
        """Check everything that can be checked before the start.

        `interface` is the tunnel's name, None for openvpn's choice; `ipv6` whether the container has
        IPv6; `run_dir` a directory that is there and that only we may enter.
        """
        left_out = {"auth-user-pass"} if credentials.username else set()
        if credentials.passphrase or (credentials.password and not credentials.username):
            left_out.add("askpass")
        text, found = "", []
        try:
            text = config_file.decode(config_file.read(config))
        except ValueError as error:
            found = [str(error)]
        files = ovpn_files.look(text, args, config.absolute().parent, left_out)
        login, faults = ovpn_login.prepare(credentials, key_locked=files.key_locked or files.key_in_pkcs12)
        checked = None
        if text:
            wishes = Wishes(
                scripts=ovpn_config.scripts_wished(args),
                credentials=bool(login.credentials or credentials.username),
                passphrase=login.passphrase is not None,
                codes=credentials.totp is not None,
                interface=interface is not None,
                ipv6=ipv6,
            )
            checked, found = ovpn_config.check(text, args, wishes)
        if files.key_locked and not login.passphrase:
            found.append("the private key is encrypted; set VPN_KEY_PASSPHRASE")
        faults += [f"cannot use VPN_CONFIG={config}: {fault}" for fault in (*found, *files.faults)]
        if checked is None or faults:
            raise BadSettings(*faults)
        login.form = checked.challenge
        self._login = login
        self._names = self.hosts = checked.names
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
                *("--script-security", "1", *checked.args),
                *(("--dev", interface, "--dev-type", checked.device_type) if interface else ()),
                # Without a file it is the management interface that is asked.
                *(("--auth-user-pass",) if login.credentials else ()),
                *("--mark", str(MARK), "--auth-retry", "interact" if login.may_be_asked else "none"),
                # A one-time code that is kept would be refused when the keys are renewed.
                *(("--auth-nocache",) if login.codes else ()),
                *("--management", str(self._path), "unix", "--management-client"),
                *("--management-query-passwords", "--management-up-down"),
            ),
            stdin=checked.text.encode(),
        )
        self._channel: Channel | None = None

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Listen where openvpn will call."""
        # A challenge belongs to the session that it came in.
        self._login.challenge = None
        self._channel = Channel(self._path, self._login, report, self._names)
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
