"""What of a user's OpenVPN configuration is passed on, what is left out, and what is a fault. No IO here."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from entrypoint.clients import ovpn_needs
from entrypoint.clients.ovpn_directives import LEFT_OUT, OTHER_PURPOSE, PROGRAMS, REPLACED, SERVER
from entrypoint.clients.ovpn_needs import STATIC_CHALLENGE, Form, Wishes
from entrypoint.clients.ovpn_text import Directive, arguments, directives

SCRIPTS_WISH = 'VPN_ARGS="--script-security 2"'
"""How a user says that openvpn may start programs."""
_SCRIPTS_LEVEL = 2
"""The level of --script-security from which on openvpn starts programs of the user's choice."""

_MANAGEMENT = "management"
_MANAGEMENT_WHY = "Sidegate itself is at the other end of the management interface"
_DESKTOP_RESOLVERS = frozenset({"update-resolv-conf", "update-systemd-resolved"})
_DESKTOP_WHY = "it changes the resolver of a desktop; the container keeps its own (VPN_DNS)"
_NO_IPV6 = frozenset({"ifconfig-ipv6", "route-ipv6", "route-ipv6-gateway"})
_NO_IPV6_WHY = "the container has no IPv6"
_STDIN_WHY = "openvpn reads the configuration from its standard input, which it cannot do twice"
_CREDENTIALS_WHY = "VPN_USERNAME and VPN_PASSWORD are used"
_ASKPASS_WHY = "VPN_KEY_PASSPHRASE is used"


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration that is fit to be used."""

    text: str
    """What openvpn is given: what was left out is an empty line, so that line numbers stay true."""
    notes: tuple[str, ...]
    """What was left out and why, a text each."""
    args: tuple[str, ...]
    """VPN_ARGS, less what was left out."""
    device_type: str
    """tun or tap."""
    names: tuple[str, ...]
    """The servers' names; those that have an address are not among them."""
    challenge: Form | None
    """How the server wants a one-time code beside the password; None where no line says that it does."""


def scripts_wished(args: Sequence[str]) -> bool:
    """Tell whether VPN_ARGS let openvpn start programs."""
    try:
        return any(
            directive.name == "script-security" and _level(directive) >= _SCRIPTS_LEVEL
            for directive in arguments(args)
        )
    except ValueError:
        return False


def check(text: str, args: Sequence[str], wishes: Wishes) -> tuple[Checked | None, list[str]]:
    """Check the configuration together with VPN_ARGS.

    Returns it with no faults, or None with every fault: texts that go on after "cannot use VPN_CONFIG=...: ".
    """
    try:
        found = list(directives(text))
    except ValueError as error:
        return None, [f"{error}; correct that line"]
    try:
        more = list(arguments(args))
    except ValueError as error:
        return None, [
            f"VPN_ARGS has {error}; write openvpn's options as on a command line, quotes around values alone"
        ]
    everything = [*found, *more]
    faults = [
        *_faults_of_file(found, wishes),
        *_faults_of_args(more, wishes),
        *ovpn_needs.missing(everything, wishes),
        *ovpn_needs.unidentified(everything, wishes),
    ]
    if faults:
        return None, faults
    lines = text.split("\n")
    notes = []
    for directive in found:
        why = _why_left_out(directive, wishes)
        if why is None:
            continue
        for line in range(directive.first - 1, directive.last):
            lines[line] = ""
        if why:
            notes.append(f"line {directive.first} ({directive.name}) is left out: {why}")
    kept = [directive for directive in more if directive.name != STATIC_CHALLENGE]
    return Checked(
        text="\n".join(lines),
        notes=(*notes, *ovpn_needs.advice(found, everything, wishes)),
        args=tuple(word for directive in kept for word in (f"--{directive.name}", *directive.values)),
        device_type=ovpn_needs.device_type(everything) or "tun",
        names=ovpn_needs.names(everything),
        challenge=ovpn_needs.challenge(everything),
    ), []


def _faults_of_file(found: Iterable[Directive], wishes: Wishes) -> Iterator[str]:
    for directive in found:
        where = f"line {directive.first} has {directive.name}"
        if directive.name == "config":
            yield f"{where}, another file; put that file's lines in its place"
        elif directive.name in PROGRAMS and not (wishes.scripts or _is_desktop_resolver(directive)):
            yield f"{where}, which makes openvpn run programs; remove it, or allow it with {SCRIPTS_WISH}"
        elif directive.name in OTHER_PURPOSE:
            yield f"{where}, with which openvpn does not connect; remove the line"
        elif _is_server(directive):
            yield f"{where}, which makes a server; use the configuration of a client"
        elif directive.name in REPLACED:
            yield f'{where}, which openvpn has no more; write "{REPLACED[directive.name]}"'


def _faults_of_args(more: Iterable[Directive], wishes: Wishes) -> Iterator[str]:
    for directive in more:
        where = f"VPN_ARGS has --{directive.name}"
        if directive.name == "config":
            yield f"{where}; name the file in VPN_CONFIG"
        elif directive.name == "script-security" and _level(directive) > _SCRIPTS_LEVEL:
            yield f"{where} {directive.values[0]}, which hands passwords to programs; use {_SCRIPTS_LEVEL}"
        elif directive.name in PROGRAMS and not wishes.scripts:
            yield f"{where}, which makes openvpn run programs; remove it, or add --script-security 2"
        elif directive.name in OTHER_PURPOSE or _is_server(directive):
            yield f"{where}, with which openvpn is no client; remove it"
        elif directive.name != "auth-user-pass" and (why := _why_left_out(directive, wishes)):
            yield f"{where}, which cannot be used: {why}; remove it"


def _why_left_out(directive: Directive, wishes: Wishes) -> str | None:
    """Return why a directive is left out, an empty text where nobody needs to know, None where it stays."""
    name, values = directive.name, directive.values
    has_own_login = bool(values) or directive.block is not None
    reasons = (
        (name.startswith(_MANAGEMENT), _MANAGEMENT_WHY),
        (name == "auth-user-pass" and wishes.credentials, _CREDENTIALS_WHY if has_own_login else ""),
        (name in _NO_IPV6 and not wishes.ipv6, _NO_IPV6_WHY),
        (name == "remap-usr1" and values[:1] == ("SIGHUP",), _STDIN_WHY),
        (name == "script-security", ""),
        # Sidegate gives the answer in the server's form by itself, so that 2.6 need not know each form.
        (name == STATIC_CHALLENGE, ""),
        (name == "askpass" and wishes.passphrase, _ASKPASS_WHY),
        (_is_desktop_resolver(directive) and not wishes.scripts, _DESKTOP_WHY),
    )
    return next((why for applies, why in reasons if applies), LEFT_OUT.get(name))


def _is_desktop_resolver(directive: Directive) -> bool:
    """Tell whether it is the script of Debian's desktop that half of all providers' files name."""
    program = directive.values[0].split()[0] if directive.values and directive.values[0].strip() else ""
    return directive.name in {"up", "down"} and PurePosixPath(program).name in _DESKTOP_RESOLVERS


def _is_server(directive: Directive) -> bool:
    return directive.name in SERVER or (directive.name == "mode" and directive.values[:1] == ("server",))


def _level(directive: Directive) -> int:
    # As atoi of C: the number that the text begins with, else 0.
    found = re.match(r"\s*\+?(\d+)", directive.values[0], re.ASCII) if directive.values else None
    return int(found[1]) if found else 0
