"""Finds the configuration and makes the client that fits it."""

from pathlib import Path

from entrypoint.clients import config_file
from entrypoint.clients.base import Client
from entrypoint.clients.openvpn import OpenVPN
from entrypoint.clients.wg_tools import kernel_has_wireguard
from entrypoint.clients.wireguard import WireGuard
from entrypoint.faults import BadSettings
from entrypoint.files import why_forbidden
from entrypoint.settings import CONFIG_FOLDER, Settings


def create(settings: Settings, run_dir: Path, *, ipv6: bool) -> Client:
    """Make the client that the settings ask for; raises BadSettings with every fault of its configuration.

    `ipv6` says whether this network namespace has IPv6.
    """
    config = settings.vpn_config or _only_config()
    if settings.vpn_client == "wireguard" or (settings.vpn_client == "auto" and _is_wireguard(config)):
        unused = {
            "VPN_USERNAME": settings.vpn_username,
            "VPN_PASSWORD": settings.vpn_password,
            "VPN_ARGS": settings.vpn_args,
        }
        return WireGuard(
            config,
            interface=settings.vpn_interface,
            unused=[name for name, value in unused.items() if value],
            ipv6=ipv6,
            kernel=kernel_has_wireguard,
        )
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
