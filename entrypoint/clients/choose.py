"""Finds the configuration and makes the client that fits it."""

from pathlib import Path

from entrypoint.clients import config_file
from entrypoint.clients.base import Client
from entrypoint.clients.command import Command
from entrypoint.clients.none import NoClient
from entrypoint.clients.openconnect import OpenConnect
from entrypoint.clients.openvpn import OpenVPN
from entrypoint.clients.wg_tools import kernel_has_wireguard
from entrypoint.clients.wireguard import WireGuard
from entrypoint.faults import BadSettings
from entrypoint.files import why_forbidden
from entrypoint.settings import CONFIG_FOLDER, TABLE, Settings

_USED_BY = {
    "VPN_CONFIG": ("openvpn", "wireguard"),
    "VPN_SERVER": ("openconnect", "command"),
    "VPN_PROTOCOL": ("openconnect",),
    "VPN_USERNAME": ("openvpn", "openconnect"),
    "VPN_PASSWORD": ("openvpn", "openconnect"),
    "VPN_TOTP_SECRET": ("openvpn", "openconnect"),
    "VPN_KEY_PASSPHRASE": ("openvpn", "openconnect"),
    "VPN_ARGS": ("openvpn", "openconnect", "command"),
    "VPN_COMMAND": ("command",),
    "VPN_STOP_COMMAND": ("command",),
}
"""Settings that not every client uses; the others refuse them, rather than ignore what somebody relies on."""


def create(settings: Settings, run_dir: Path, *, ipv6: bool) -> Client:
    """Make the client that the settings ask for; raises BadSettings with every fault of its configuration.

    `ipv6` says whether this network namespace has IPv6.
    """
    kind, client = settings.vpn_client, None
    if kind == "auto" and settings.vpn_server:
        kind = "openconnect"
    faults: list[str] = []
    try:
        config = settings.vpn_config
        if config is None and kind in {"auto", *_USED_BY["VPN_CONFIG"]}:
            config = _only_config()
        if kind == "auto":
            kind = "wireguard" if config and _is_wireguard(config) else "openvpn"
        client = _make(kind, config or Path(), settings, run_dir, ipv6=ipv6)
    except BadSettings as fault:
        faults += fault.texts
    faults += _unused(kind, settings)
    if settings.vpn_dns == "vpn" and kind in {"command", "none"}:
        faults.append(
            f"cannot use VPN_DNS=vpn: VPN_CLIENT={kind} tells of no resolver; name the VPN's in VPN_DNS"
        )
    faults += cannot_close(settings)
    if faults or client is None:
        raise BadSettings(*faults)
    return client


def cannot_close(settings: Settings) -> list[str]:
    """Say why the kill switch, where it is on, cannot tell the client's packets from all others."""
    if settings.kill_switch == "off":
        return []
    if settings.vpn_client == "none":
        fault = (
            "cannot use KILL_SWITCH=on: with VPN_CLIENT=none nothing tells the packets of the tunnel's maker "
            "from all others, and they would be stopped; use the kill switch of that VPN"
        )
        return [fault]
    if settings.vpn_client == "command" and not settings.vpn_server:
        fault = (
            "cannot use KILL_SWITCH=on: the packets of VPN_COMMAND's program carry no mark, and nothing says "
            "where they may go; name its servers in VPN_SERVER"
        )
        return [fault]
    return []


def _unused(kind: str, settings: Settings) -> list[str]:
    """Return a fault for each setting that this kind of client has no use for."""
    return [
        f"cannot use {setting}: VPN_CLIENT={kind} has no use for it; "
        f"leave it out, or set VPN_CLIENT={' or '.join(users)}"
        for setting, users in _USED_BY.items()
        # Where no configuration is found, a command explains what was meant.
        if kind not in users and (kind != "auto" or users == ("command",)) and _is_set(settings, setting)
    ]


def _is_set(settings: Settings, name: str) -> bool:
    (row,) = (row for row in TABLE if row.name == name)
    value = getattr(settings, name.lower())
    return value is not None and value != row.parser(row.default)


def _make(kind: str, config: Path, settings: Settings, run_dir: Path, *, ipv6: bool) -> Client:
    match kind:
        case "none":
            return NoClient()
        case "command":
            return Command(
                settings.vpn_command,
                settings.vpn_stop_command,
                args=settings.vpn_args or (),
                servers=settings.vpn_server,
            )
        case "openconnect":
            return OpenConnect(
                settings.vpn_server,
                protocol=settings.vpn_protocol,
                username=settings.vpn_username,
                password=settings.vpn_password,
                passphrase=settings.vpn_key_passphrase,
                totp=settings.vpn_totp_secret,
                interface=settings.vpn_interface,
                args=settings.vpn_args or (),
                ipv6=ipv6,
                run_dir=run_dir,
            )
        case "wireguard":
            return WireGuard(config, interface=settings.vpn_interface, ipv6=ipv6, kernel=kernel_has_wireguard)
        case _:
            return OpenVPN(
                config,
                username=settings.vpn_username,
                password=settings.vpn_password,
                passphrase=settings.vpn_key_passphrase,
                totp=settings.vpn_totp_secret,
                interface=settings.vpn_interface,
                args=settings.vpn_args or (),
                ipv6=ipv6,
                run_dir=run_dir,
            )


def _only_config() -> Path:
    try:
        found = sorted(path for path in CONFIG_FOLDER.iterdir() if path.suffix in {".ovpn", ".conf"})
    except PermissionError:
        raise BadSettings(
            f"cannot look for a configuration in {CONFIG_FOLDER}: {why_forbidden(CONFIG_FOLDER)}"
        ) from None
    except OSError as error:
        raise BadSettings(
            f"cannot look for a configuration in {CONFIG_FOLDER}: {error.strerror}; "
            f"mount it there (compose: `volumes: [./vpn:{CONFIG_FOLDER}:ro]`) or set VPN_CONFIG"
        ) from None
    if len(found) != 1:
        seen = ", ".join(path.name for path in found) or "no *.ovpn and no *.conf"
        raise BadSettings(
            f"cannot choose the configuration in {CONFIG_FOLDER}: saw {seen}; "
            "leave one there, or set VPN_CONFIG to the one that is meant"
        )
    return found[0]


def _is_wireguard(config: Path) -> bool:
    """Tell by the section that every WireGuard configuration has and no OpenVPN one can have."""
    try:
        text = config_file.read(config)
    except ValueError:
        return False  # the client that reads it says why
    return any(line.strip().lower() == b"[interface]" for line in text.splitlines())
