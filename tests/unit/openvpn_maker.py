"""The OpenVPN client as the tests make it."""

from pathlib import Path
from typing import Any

from entrypoint.clients.openvpn import OpenVPN


def make_openvpn(directory: Path, text: str | None, **options: Any) -> OpenVPN:
    """Make a client for `vpn.ovpn` in the directory, with the keywords of `OpenVPN`; None writes no file."""
    config = directory / "vpn.ovpn"
    if text is not None:
        config.write_text(text)
    usual: dict[str, Any] = {
        "username": None,
        "password": None,
        "passphrase": None,
        "totp": None,
        "interface": None,
        "args": (),
        "ipv6": True,
        "run_dir": directory,
    }
    return OpenVPN(config, **{**usual, **options})
