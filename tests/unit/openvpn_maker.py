"""The OpenVPN client as the tests make it."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from entrypoint.clients.credentials import Credentials
from entrypoint.clients.openvpn import OpenVPN

SECRETS = {field.name for field in fields(Credentials)}


def make_openvpn(directory: Path, text: str | None, **options: Any) -> OpenVPN:
    """Make a client for `vpn.ovpn` in the directory; None writes no file.

    `options` are the keywords of `OpenVPN` and of `Credentials`.
    """
    config = directory / "vpn.ovpn"
    if text is not None:
        config.write_text(text)
    usual: dict[str, Any] = {
        "interface": None,
        "args": (),
        "ipv6": True,
        "run_dir": directory,
    }
    secrets = {name: options.pop(name) for name in SECRETS if name in options}
    return OpenVPN(config, Credentials(**secrets), **{**usual, **options})
