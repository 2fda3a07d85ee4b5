"""What the tests of WireGuard share."""

from collections.abc import Callable
from pathlib import Path

from tests.lab.addresses import V4, V6
from tests.tunnel.product import AnyProduct

EVERYTHING = ("0.0.0.0/0", "::/0", V4.internet, V6.internet)
"""A full tunnel, and routes to the very network that the server is in."""


def with_config(product: AnyProduct, change: Callable[[str], str]) -> AnyProduct:
    """Change the client's configuration."""
    file = Path(product.settings["VPN_CONFIG"])
    file.write_text(change(file.read_text()))
    return product


def stand_in(product: AnyProduct, name: str, script: str) -> str:
    """Put a program in another's place; returns the PATH that finds it."""
    folder = product.directory / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}")
    (folder / name).chmod(0o755)
    return f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"
