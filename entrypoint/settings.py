"""The table of settings, and how the environment becomes `Settings`.

One table makes the parser, the reference in the README and the texts of the errors. A value comes from
the environment, else from the dotenv file that `ENV_FILE` names; `NAME_FILE` holds the value of `NAME`.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from entrypoint import parse, parse_network, strangers
from entrypoint.faults import BadSettings
from entrypoint.files import FILE_SUFFIX, Secret, read_env_file, read_value
from entrypoint.network import IPAddress, IPNetwork
from entrypoint.parse import Parser
from entrypoint.parse_network import Target

CONFIG_FOLDER = Path("/vpn")
"""Where VPN_CONFIG=auto looks."""
_IN_FILE = parse.absolute("/run/secrets/vpn_password")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    default: str
    parser: Parser[Any]
    help: str
    unit: str
    secret: bool

    def parse(self, value: str) -> Any:
        """Turn the text into its value; raises ValueError that names setting, value and fix."""
        # A command line may hold a secret, however much it should not.
        hidden = self.secret or self.parser in {parse.words, parse.command}
        shown = self.name if hidden else f"{self.name}={parse.shown(value)}"
        try:
            return self.parser(value)
        except ValueError as error:
            quotes = "; the quotes are a part of the value: write it without" if parse.quoted(value) else ""
            raise ValueError(f"{shown} {error}{quotes}") from None


def _setting(
    default: str,
    parser: Parser[Any],
    help_text: str,
    *,
    unit: str = "",
    secret: bool = False,
) -> Any:
    return field(metadata={"row": (default, parser, help_text, unit, secret)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, parsed; a setting without a default is None until it is set."""

    vpn_client: str = _setting(
        "auto",
        parse.choice("auto", "openvpn", "wireguard", "openconnect", "command", "none"),
        "`openvpn`, `wireguard`, `openconnect`, `command`, `none`; "
        "`auto`: by the configuration found, or by `VPN_SERVER`",
    )
    vpn_config: Path | None = _setting(
        "auto",
        parse.auto_or(parse.absolute("/vpn/provider.ovpn")),
        f"the client's configuration; `auto`: the only `*.ovpn` or `*.conf` in `{CONFIG_FOLDER}`",
    )
    vpn_server: str | None = _setting(
        "",
        parse.text,
        "openconnect: the server, as `host`, `host:port` or `https://host/path`; `command`: the client's "
        "servers, names or addresses, which are reached by the gateway whatever the tunnel takes",
    )
    vpn_protocol: str = _setting(
        "anyconnect",
        parse.choice("anyconnect", "gp", "pulse", "nc", "f5", "fortinet", "array"),
        "openconnect: `anyconnect`, `gp`, `pulse`, `nc`, `f5`, `fortinet`, `array`",
    )
    vpn_username: Secret | None = _setting("", parse.text, "user name for the VPN", secret=True)
    vpn_password: Secret | None = _setting(
        "", parse.text, "its password; without a user name, the private key's passphrase", secret=True
    )
    vpn_totp_secret: Secret | None = _setting(
        "",
        parse.text,
        "the secret of its one-time codes, in base32 or as an `otpauth://totp/` address",
        secret=True,
    )
    vpn_key_passphrase: Secret | None = _setting(
        "", parse.text, "the private key's passphrase where there is a password as well", secret=True
    )
    vpn_args: tuple[str, ...] | None = _setting(
        "", parse.words, "more arguments for the client, quoted as in a shell"
    )
    vpn_command: tuple[str, ...] | None = _setting(
        "", parse.words, "`command`: what starts a vendor's client (it may stay or daemonise)"
    )
    vpn_stop_command: tuple[str, ...] | None = _setting(
        "", parse.words, "`command`: what stops it, before its processes are ended"
    )
    vpn_interface: str | None = _setting(
        "auto",
        parse.auto_or(parse_network.link_name),
        "the tunnel's name; `auto`: the tunnel link that appears; `none`: the one there is",
    )
    vpn_up_timeout: float = _setting("60s", parse.duration, "how long one attempt may take", unit="duration")
    vpn_dns: str | tuple[IPAddress, ...] = _setting(
        "keep",
        parse_network.dns,
        "`keep` the resolver, `vpn` for what the tunnel brings, or addresses",
    )
    restart_delay_max: float = _setting(
        "60s",
        parse.duration,
        "the longest wait between two attempts; the first restart is immediate",
        unit="duration",
    )
    lan_networks: tuple[IPNetwork, ...] | None = _setting(
        "",
        parse_network.networks,
        "networks that connections opened from inside also reach by the Docker gateway",
        unit="CIDRs",
    )
    gateways: tuple[tuple[str, IPAddress], ...] | None = _setting(
        "", parse_network.gateways, "gateways, in place of those that are detected, like `eth1=172.31.0.1`"
    )
    udp_reply_ports: tuple[range, ...] | None = _setting(
        "",
        parse_network.ports,
        "ports, ranges or `all`: UDP services on wildcard sockets that must answer both ways; they see the "
        "gateway as the client",
        unit="ports",
    )
    kill_switch: str = _setting("off", parse.choice("on", "off"), "`on`: nothing leaves past the tunnel")
    rule_priority: int = _setting(
        "90",
        parse.number(1, parse_network.RULE_PRIORITY_LAST),
        "our rules' priority, and the next; less where another's rule, which named none, stood before them",
    )
    route_table: int = _setting(
        "7100", parse_network.first_table, "our first routing table; one per interface"
    )
    health_listen: tuple[str, int] | None = _setting(
        "127.0.0.1:9797",
        parse_network.listen,
        "where the health endpoint listens, or `off`",
        unit="address:port",
    )
    health_target: Target | None = _setting(
        "",
        parse_network.target,
        "`host:port` (TCP) or `host` (ICMP), asked through the tunnel; empty: nobody is asked",
    )
    health_interval: float = _setting(
        "30s", parse.interval, "how often it is asked, at most once a second", unit="duration"
    )
    on_up: tuple[str, ...] | None = _setting(
        "", parse.command, "command run when the tunnel comes up, quoted as in a shell"
    )
    on_down: tuple[str, ...] | None = _setting("", parse.command, "command run when it goes down")
    log_level: str = _setting(
        "info", parse.choice("debug", "info", "warning", "error"), "`debug`, `info`, `warning`, `error`"
    )
    log_format: str = _setting("text", parse.choice("text", "json"), "`text` or `json`")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that is set, less the user name: one called "openvpn" would black out the log."""
        values = (getattr(self, row.name.lower()) for row in TABLE if row.name != "VPN_USERNAME")
        return tuple(value for value in values if isinstance(value, Secret))


def _row(declared: Field[Any]) -> Setting:
    return Setting(declared.name.upper(), *declared.metadata["row"])


TABLE: tuple[Setting, ...] = tuple(_row(declared) for declared in fields(Settings))
"""Every setting, in the order of the documents."""


def load(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Read the settings; returns them with warnings about names that look like typos.

    Raises BadSettings with every fault at once.
    """
    faults: list[str] = []
    given = {name: value for name, value in environ.items() if value}
    # A name that the environment sets in either way silences both ways in the file.
    spoken = {name.removesuffix(FILE_SUFFIX) for name in given}
    given |= {
        name: value
        for name, value in read_env_file(given, faults).items()
        if value and name.removesuffix(FILE_SUFFIX) not in spoken
    }
    values: dict[str, Any] = {}
    for row in TABLE:
        try:
            values[row.name.lower()] = _value(row, given)
        except ValueError as error:
            faults.append(str(error))
        except BadSettings as fault:
            faults.extend(fault.texts)
    texts = [row.name for row in TABLE if row.parser is parse.text]
    warnings = [*strangers.warnings(given, [row.name for row in TABLE]), *strangers.quotes(given, texts)]
    if faults:
        raise BadSettings(*faults, *warnings)
    return Settings(**values), warnings


def markdown_table() -> str:
    """Return the reference of the settings, as it stands in the README."""
    lines = ["| name | default | unit | meaning |", "| --- | --- | --- | --- |"]
    for row in TABLE:
        default = f"`{row.default}`" if row.default else "–"  # noqa: RUF001 - a dash for "none"
        lines.append(f"| `{row.name}` | {default} | {row.unit or '–'} | {row.help} |")  # noqa: RUF001 - as above
    return "\n".join(lines) + "\n"


def _value(row: Setting, given: Mapping[str, str]) -> Any:
    name_file = row.name + FILE_SUFFIX
    value, file = given.get(row.name), given.get(name_file)
    if value is not None and file is not None:
        raise ValueError(f"{row.name} and {name_file} are both set; leave one of them")
    held_by: Path | None = None
    if file is not None:
        held_by = Setting(name_file, "", _IN_FILE, "", "", row.secret).parse(file)
        value = read_value(row.name, held_by)
    elif value is None:
        value = row.default
    if not value:
        return None
    parsed = row.parse(value)
    if not row.secret:
        return parsed
    return Secret(row.name, file=held_by) if held_by else Secret(row.name, value=parsed)
