"""The files that an OpenVPN configuration names: whether they are there, and whether the key is encrypted."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrypoint.clients import config_file
from entrypoint.clients.ovpn_text import Directive, arguments, directives
from entrypoint.files import why_forbidden

_FIRST = frozenset(
    {
        *("ca", "cert", "key", "extra-certs", "pkcs12", "dh", "secret", "tls-auth", "tls-crypt"),
        *("tls-crypt-v2", "crl-verify", "auth-user-pass", "askpass", "http-proxy-user-pass"),
    }
)
"""Directives whose first value is a file."""
_THIRD = frozenset({"http-proxy", "socks-proxy"})
"""Directives whose third value may be a file: ADDRESS PORT FILE."""
_NO_FILE = frozenset({"stdin", "auto", "auto-nct", "[inline]"})
"""What may stand in a file's place."""
_ENCRYPTED = b"ENCRYPTED"
"""In PKCS#8's first line, and in the Proc-Type of older keys."""
_ADVICE = "put it there (a relative name starts at the configuration's folder), or correct the line"


@dataclass(frozen=True, slots=True)
class Files:
    """What the files are found to be."""

    faults: tuple[str, ...]
    """Texts that go on after "cannot use VPN_CONFIG=...: ", one a file."""
    key_locked: bool
    """The private key is encrypted, and no file holds its passphrase."""
    key_in_pkcs12: bool
    """The private key lies in a PKCS#12 file, of which one cannot tell."""


def look(text: str, args: Sequence[str], folder: Path, left_out: Iterable[str]) -> Files:
    """Look at each file that configuration and VPN_ARGS name, less those of directives that are left out.

    What openvpn could not read as directives is passed over.
    """
    faults: list[str] = []
    encrypted = opened = pkcs12 = False
    unused = frozenset(left_out)
    for directive, where in _all(text, args):
        if directive.name in unused:
            continue
        pkcs12 |= directive.name == "pkcs12"
        opened |= directive.name == "askpass" and bool(directive.values)
        content = "\n".join(directive.block or ()).encode()
        if name := _file(directive):
            try:
                content = _read(folder / name)
            except ValueError as error:
                faults.append(f"{where} names {folder / name}: {error}")
        encrypted |= directive.name == "key" and _ENCRYPTED in content
    return Files(tuple(faults), encrypted and not opened, pkcs12)


def _all(text: str, args: Sequence[str]) -> Iterator[tuple[Directive, str]]:
    """Yield every directive with the words that say where it stands."""
    with contextlib.suppress(ValueError):
        for directive in directives(text):
            yield directive, f"line {directive.first} ({directive.name})"
            if directive.name == "connection" and directive.block:
                for inner in directives("\n".join(directive.block)):
                    yield inner, f"line {directive.first + inner.first} ({inner.name})"
    with contextlib.suppress(ValueError):
        for directive in arguments(args):
            yield directive, f"VPN_ARGS (--{directive.name})"


def _file(directive: Directive) -> str | None:
    position = 0 if directive.name in _FIRST else 2 if directive.name in _THIRD else None
    if position is None or len(directive.values) <= position:
        return None
    name = directive.values[position]
    return None if name in _NO_FILE else name


def _read(file: Path) -> bytes:
    if file.is_dir():
        # crl-verify takes a directory, too.
        if os.access(file, os.R_OK | os.X_OK):
            return b""
        raise ValueError(why_forbidden(file))
    return config_file.read(file, advice=_ADVICE)
