"""Makes the client that the settings ask for, and refuses what it has no use for."""

from pathlib import Path

from entrypoint.clients import find_config
from entrypoint.clients.base import Client
from entrypoint.clients.command import Command
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.none import NoClient
from entrypoint.clients.openconnect import OpenConnect
from entrypoint.clients.openvpn import OpenVPN
from entrypoint.clients.wg_tools import kernel_has_wireguard
from entrypoint.clients.wireguard import WireGuard
from entrypoint.faults import BadSettings
from entrypoint.settings import TABLE, Settings

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


def create(settings: Settings, run_dir: Path, *, ipv6: bool, group: int | None = None) -> Client:
    """Make the client that the settings ask for; raises BadSettings with every fault of its configuration.

    `ipv6` says whether this network namespace has IPv6; `group` is that of a client that cannot mark its
    packets.
    """
    kind, client = settings.vpn_client, None
    by = f"VPN_CLIENT={kind}"
    if kind == "auto" and settings.vpn_server:
        find_config.see_that_none_is_meant(settings)
        kind, by = "openconnect", "openconnect, which VPN_SERVER chooses,"
    faults: list[str] = []
    try:
        config = settings.vpn_config
        if config is None and kind in {"auto", *_USED_BY["VPN_CONFIG"]}:
            config = find_config.the_only_one(settings)
        if config and kind in {"auto", *_USED_BY["VPN_CONFIG"]}:
            kind, by = find_config.whose(kind, config)
        client = _make(kind, config or Path(), settings, run_dir, ipv6=ipv6, group=group)
    except BadSettings as fault:
        faults += fault.texts
    faults += _unused(kind, by, settings)
    if settings.vpn_dns == "vpn" and kind in {"command", "none"}:
        faults.append(
            f"cannot use VPN_DNS=vpn: saw VPN_CLIENT={kind}, which tells of no resolver; "
            "name the VPN's in VPN_DNS"
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
            "cannot use KILL_SWITCH=on: saw VPN_CLIENT=none, with which nothing tells the packets of the "
            "tunnel's maker from all others; leave it out and use the kill switch of that VPN"
        )
        return [fault]
    if settings.vpn_client == "command" and not settings.vpn_server:
        fault = (
            "cannot use KILL_SWITCH=on: saw no mark on the packets of VPN_COMMAND's program, and nothing "
            "that says where they may go; name its servers in VPN_SERVER"
        )
        return [fault]
    return []


def _unused(kind: str, by: str, settings: Settings) -> list[str]:
    """Return a fault for each setting that this kind of client has no use for; `by` is what chose it."""
    # A file or VPN_SERVER is not there by chance; a command is no part of either.
    chosen = settings.vpn_client != "auto"
    return [
        f"cannot use {setting}: saw that {by} has no use for it; leave it out"
        + (f", or set VPN_CLIENT={' or '.join(users)}" if chosen or users == ("command",) else "")
        for setting, users in _USED_BY.items()
        if kind not in {"auto", *users} and _is_set(settings, setting)
    ]


def _is_set(settings: Settings, name: str) -> bool:
    (row,) = (row for row in TABLE if row.name == name)
    value = getattr(settings, name.lower())
    return value is not None and value != row.parser(row.default)


def _make(
    kind: str, config: Path, settings: Settings, run_dir: Path, *, ipv6: bool, group: int | None
) -> Client:
    credentials = Credentials(
        username=settings.vpn_username,
        password=settings.vpn_password,
        passphrase=settings.vpn_key_passphrase,
        totp=settings.vpn_totp_secret,
    )
    match kind:
        case "none":
            return NoClient()
        case "command":
            return Command(
                settings.vpn_command,
                settings.vpn_stop_command,
                args=settings.vpn_args or (),
                servers=settings.vpn_server,
                group=group,
            )
        case "openconnect":
            return OpenConnect(
                settings.vpn_server,
                credentials,
                protocol=settings.vpn_protocol,
                interface=settings.vpn_interface,
                args=settings.vpn_args or (),
                ipv6=ipv6,
                run_dir=run_dir,
                group=group,
            )
        case "wireguard":
            return WireGuard(config, interface=settings.vpn_interface, ipv6=ipv6, kernel=kernel_has_wireguard)
        case _:
            return OpenVPN(
                config,
                credentials,
                interface=settings.vpn_interface,
                args=settings.vpn_args or (),
                ipv6=ipv6,
                run_dir=run_dir,
            )
