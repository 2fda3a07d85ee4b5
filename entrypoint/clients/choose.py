"""Finds the configuration and makes the client that fits it."""

import contextlib
from pathlib import Path

from entrypoint.clients import config_file
from entrypoint.clients.base import Client
from entrypoint.clients.command import Command
from entrypoint.clients.credentials import Credentials
from entrypoint.clients.kind import OPENVPN, WIREGUARD, kind_of
from entrypoint.clients.none import NoClient
from entrypoint.clients.openconnect import OpenConnect
from entrypoint.clients.openvpn import OpenVPN
from entrypoint.clients.wg_tools import kernel_has_wireguard
from entrypoint.clients.wireguard import WireGuard
from entrypoint.faults import BadSettings
from entrypoint.files import why_forbidden
from entrypoint.settings import CONFIG_FOLDER, TABLE, Settings

OTHERS_TOLD = 5
"""Files that are no configuration and that a fault names."""
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
    by = f"VPN_CLIENT={kind}"
    if kind == "auto" and settings.vpn_server:
        _see_that_no_file_is_meant(settings)
        kind, by = "openconnect", "openconnect, which VPN_SERVER chooses,"
    faults: list[str] = []
    try:
        config = settings.vpn_config
        if config is None and kind in {"auto", *_USED_BY["VPN_CONFIG"]}:
            config = _only_config(settings)
        if config and kind in {"auto", *_USED_BY["VPN_CONFIG"]}:
            kind, by = _kind(kind, config)
        client = _make(kind, config or Path(), settings, run_dir, ipv6=ipv6)
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


def _make(kind: str, config: Path, settings: Settings, run_dir: Path, *, ipv6: bool) -> Client:
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


def _configs() -> tuple[list[Path], list[str]]:
    """Return the configurations in the folder, and the names of all else; raises OSError."""
    everything = sorted(CONFIG_FOLDER.iterdir())
    found = [path for path in everything if path.suffix.lower() in {".ovpn", ".conf"}]
    # A mounted secret of Kubernetes has folders of dots.
    return found, [path.name for path in everything if path not in found and not path.name.startswith(".")]


def _only_config(settings: Settings) -> Path:
    try:
        found, others = _configs()
        if len(found) == 1:
            return found[0]
        names = [path.name for path in found] or [
            *others[:OTHERS_TOLD],
            *(["…"] if others[OTHERS_TOLD:] else []),
        ]
        seen = ", ".join(names)
        if not found:
            seen = f"no *.ovpn and no *.conf{f' (but {seen})' if seen else ''}"
        why = (
            f"cannot choose the configuration in {CONFIG_FOLDER}: saw {seen}; "
            "leave one there, or set VPN_CONFIG to the one that is meant"
        )
    except NotADirectoryError:
        why = (
            f"cannot look for a configuration in {CONFIG_FOLDER}: saw a file there; mount its folder there "
            f"(compose: `volumes: [./vpn:{CONFIG_FOLDER}:ro]`), or set VPN_CONFIG={CONFIG_FOLDER}"
        )
    except PermissionError:
        why = f"cannot look for a configuration in {CONFIG_FOLDER}: {why_forbidden(CONFIG_FOLDER)}"
    except OSError as error:
        why = (
            f"cannot look for a configuration in {CONFIG_FOLDER}: saw {error.strerror}; "
            f"mount it there (compose: `volumes: [./vpn:{CONFIG_FOLDER}:ro]`) or set VPN_CONFIG"
        )
    if settings.vpn_client == "auto" and settings.vpn_command:
        why = "cannot use VPN_COMMAND: saw no VPN_CLIENT; set VPN_CLIENT=command, or leave it out"
    raise BadSettings(why)


def _see_that_no_file_is_meant(settings: Settings) -> None:
    """Raise BadSettings where there is a configuration beside VPN_SERVER, and no word on which is meant."""
    file = settings.vpn_config
    with contextlib.suppress(OSError):
        file = file or next(iter(_configs()[0]), None)
    if file:
        raise BadSettings(
            f"cannot choose the client: saw VPN_SERVER (openconnect's) and {file}; "
            "leave one of both out, or set VPN_CLIENT to the one that is meant"
        )


def _kind(kind: str, config: Path) -> tuple[str, str]:
    """Return whose configuration it is and what says so; raises BadSettings where it is another client's."""
    by = f"VPN_CLIENT={kind}"
    try:
        found = kind_of(config_file.decode(config_file.read(config)))
    except ValueError:
        # The client that reads it says why.
        return (OPENVPN, f"{config}") if kind == "auto" else (kind, by)
    if found is None:
        raise BadSettings(
            f"cannot use VPN_CONFIG={config}: saw no configuration of OpenVPN, nor of WireGuard: no "
            "line of it is one of theirs; download it anew, and look at what your browser saved"
        )
    if kind not in {"auto", found}:
        name = "WireGuard" if found == WIREGUARD else "OpenVPN"
        raise BadSettings(
            f"cannot use VPN_CONFIG={config}: saw a configuration of {name}; leave {by} out, or set "
            f"VPN_CLIENT={found}"
        )
    return found, f"{config}, which is {found}'s," if kind == "auto" else by
