"""Finds the client's configuration, and tells whose it is."""

import contextlib
from pathlib import Path

from entrypoint.clients import config_file
from entrypoint.clients.kind import OPENVPN, WIREGUARD, kind_of
from entrypoint.faults import BadSettings
from entrypoint.files import why_forbidden
from entrypoint.settings import CONFIG_FOLDER, Settings

OTHERS_TOLD = 5
"""Files that are no configuration and that a fault names."""


def the_only_one(settings: Settings) -> Path:
    """Return the configuration in the folder; raises BadSettings where there is none, or more than one."""
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


def see_that_none_is_meant(settings: Settings) -> None:
    """Raise BadSettings where there is a configuration beside VPN_SERVER, and no word on which is meant."""
    file = settings.vpn_config
    with contextlib.suppress(OSError):
        file = file or next(iter(_configs()[0]), None)
    if file:
        raise BadSettings(
            f"cannot choose the client: saw VPN_SERVER (openconnect's) and {file}; "
            "leave one of both out, or set VPN_CLIENT to the one that is meant"
        )


def whose(kind: str, config: Path) -> tuple[str, str]:
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


def _configs() -> tuple[list[Path], list[str]]:
    """Return the configurations in the folder, and the names of all else; raises OSError."""
    everything = sorted(CONFIG_FOLDER.iterdir())
    found = [path for path in everything if path.suffix.lower() in {".ovpn", ".conf"}]
    # A mounted secret of Kubernetes has folders of dots.
    return found, [path.name for path in everything if path not in found and not path.name.startswith(".")]
