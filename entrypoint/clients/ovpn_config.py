"""What of a user's OpenVPN configuration is passed on, what is left out, and what is a fault. No IO here."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from entrypoint.clients.ovpn_text import Directive, arguments, directives

SCRIPTS_WISH = 'VPN_ARGS="--script-security 2"'
"""How a user says that openvpn may start programs."""
_SCRIPTS_LEVEL = 2
"""The level of --script-security from which on openvpn starts programs of the user's choice."""

# fmt: off
_PROGRAMS = frozenset({
    "up", "down", "route-up", "route-pre-down", "ipchange", "tls-verify", "auth-user-pass-verify",
    "client-connect", "client-disconnect", "client-crresponse", "learn-address", "tls-crypt-v2-verify",
    "plugin", "iproute", "dns-updown", "engine", "pkcs11-providers", "providers",
})
"""Directives that start a program or load its code."""

_OTHER_PURPOSE = frozenset({
    "help", "version", "genkey", "mktun", "rmtun", "test-crypto", "show-ciphers", "show-curves",
    "show-digests", "show-engines", "show-gateway", "show-groups", "show-pkcs11-ids", "show-tls",
})
# fmt: on
"""Directives with which openvpn does something else and ends."""

_SERVER = frozenset({"server", "server-bridge", "server-ipv6"})

_FOREGROUND = "openvpn stays in the foreground, where it is supervised"
_RIGHTS = "openvpn keeps the rights that a container is given; it needs them to mend the tunnel"
_LOG = "openvpn's log goes into the container's log"
_FILES = "the container's file system may be read-only"
_WINDOWS = "it is for Windows"
_LEFT_OUT = {
    "daemon": _FOREGROUND,
    "cd": "relative files are looked for beside the configuration",
    "user": _RIGHTS,
    "group": _RIGHTS,
    "chroot": _RIGHTS,
    "setcon": _RIGHTS,
    "mlock": "without CAP_IPC_LOCK and CAP_SYS_RESOURCE openvpn may die of it",
    "log": _LOG,
    "log-append": _LOG,
    "syslog": _LOG,
    "writepid": _FILES,
    "status": _FILES,
    "memstats": _FILES,
    "auth-retry": "after a refusal Sidegate tries again, with growing delays",
    "block-outside-dns": _WINDOWS,
    "register-dns": _WINDOWS,
    "ip-win32": _WINDOWS,
    "win-sys": _WINDOWS,
    "windows-driver": _WINDOWS,
    "tap-sleep": _WINDOWS,
    "dhcp-renew": _WINDOWS,
    "dhcp-release": _WINDOWS,
    "dhcp-pre-release": _WINDOWS,
    "pause-exit": _WINDOWS,
    "service": _WINDOWS,
    "allow-nonadmin": _WINDOWS,
    "show-net-up": _WINDOWS,
    "msg-channel": _WINDOWS,
}
"""Directives that are left out, and why."""
_MANAGEMENT = "management"
_MANAGEMENT_WHY = "Sidegate itself is at the other end of the management interface"
_DESKTOP_RESOLVERS = frozenset({"update-resolv-conf", "update-systemd-resolved"})
_DESKTOP_WHY = "it changes the resolver of a desktop; the container keeps its own (VPN_DNS)"
_NO_IPV6 = frozenset({"ifconfig-ipv6", "route-ipv6", "route-ipv6-gateway"})
_NO_IPV6_WHY = "the container has no IPv6"
_STDIN_WHY = "openvpn reads the configuration from its standard input, which it cannot do twice"
_CREDENTIALS_WHY = "VPN_USERNAME and VPN_PASSWORD are used"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the settings say about the configuration."""

    scripts: bool
    """openvpn may start programs."""
    credentials: bool
    """User name and password are set."""
    interface: bool
    """The tunnel's name is set."""
    ipv6: bool
    """The container has IPv6."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration that is fit to be used."""

    text: str
    """What openvpn is given: what was left out is an empty line, so that line numbers stay true."""
    notes: tuple[str, ...]
    """What was left out and why, a text each."""
    device_type: str
    """tun or tap."""


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
        return None, [f"VPN_ARGS has {error}; write openvpn's options as on its command line"]
    faults = [
        *_faults_of_file(found, wishes),
        *_faults_of_args(more, wishes),
        *_missing([*found, *more], wishes),
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
    return Checked("\n".join(lines), tuple(notes), _device_type([*found, *more]) or "tun"), []


def _faults_of_file(found: Iterable[Directive], wishes: Wishes) -> Iterator[str]:
    for directive in found:
        where = f"line {directive.first} has {directive.name}"
        if directive.name == "config":
            yield f"{where}, another file; put that file's lines in its place"
        elif directive.name in _PROGRAMS and not (wishes.scripts or _is_desktop_resolver(directive)):
            yield f"{where}, which makes openvpn run programs; remove it, or allow it with {SCRIPTS_WISH}"
        elif directive.name in _OTHER_PURPOSE:
            yield f"{where}, with which openvpn does not connect; remove the line"
        elif _is_server(directive):
            yield f"{where}, which makes a server; use the configuration of a client"


def _faults_of_args(more: Iterable[Directive], wishes: Wishes) -> Iterator[str]:
    for directive in more:
        where = f"VPN_ARGS has --{directive.name}"
        if directive.name == "config":
            yield f"{where}; name the file in VPN_CONFIG"
        elif directive.name == "script-security" and _level(directive) > _SCRIPTS_LEVEL:
            yield f"{where} {directive.values[0]}, which hands passwords to programs; use {_SCRIPTS_LEVEL}"
        elif directive.name in _PROGRAMS and not wishes.scripts:
            yield f"{where}, which makes openvpn run programs; remove it, or add --script-security 2"
        elif directive.name in _OTHER_PURPOSE or _is_server(directive):
            yield f"{where}, with which openvpn is no client; remove it"
        elif directive.name != "auth-user-pass" and (why := _why_left_out(directive, wishes)):
            yield f"{where}, which cannot be used: {why}; remove it"


def _missing(everything: Sequence[Directive], wishes: Wishes) -> Iterator[str]:
    if not any(_names_remote(directive) for directive in everything):
        yield 'no line names the server; add "remote ADDRESS PORT"'
    kind = _device_type(everything)
    names = {directive.name for directive in everything}
    if "dev" not in names and not (wishes.interface and kind):
        yield 'no line names the kind of tunnel; add "dev tun"'
    elif kind is None:
        yield 'the kind of tunnel does not follow from "dev"; add "dev-type tun" or "dev-type tap"'
    logins = [directive for directive in everything if directive.name == "auth-user-pass"]
    # The last one counts; "stdin" is what openvpn makes of one without a file.
    if logins and not wishes.credentials and logins[-1].block is None:
        values = logins[-1].values
        if not values or values[0] == "stdin":
            yield "auth-user-pass asks for user name and password; set VPN_USERNAME and VPN_PASSWORD"


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
        (_is_desktop_resolver(directive) and not wishes.scripts, _DESKTOP_WHY),
    )
    return next((why for applies, why in reasons if applies), _LEFT_OUT.get(name))


def _is_desktop_resolver(directive: Directive) -> bool:
    """Tell whether it is the script of Debian's desktop that half of all providers' files name."""
    program = directive.values[0].split()[0] if directive.values and directive.values[0].strip() else ""
    return directive.name in {"up", "down"} and PurePosixPath(program).name in _DESKTOP_RESOLVERS


def _is_server(directive: Directive) -> bool:
    return directive.name in _SERVER or (directive.name == "mode" and directive.values[:1] == ("server",))


def _names_remote(directive: Directive) -> bool:
    if directive.name != "connection" or directive.block is None:
        return directive.name == "remote"
    try:
        return any(inner.name == "remote" for inner in directives("\n".join(directive.block)))
    except ValueError:
        # openvpn will say what it cannot read there.
        return True


def _device_type(everything: Sequence[Directive]) -> str | None:
    given = {directive.name: directive.values[0] for directive in everything if directive.values}
    name = given.get("dev-type") or given.get("dev", "")
    return next((kind for kind in ("tun", "tap") if name.startswith(kind)), None)


def _level(directive: Directive) -> int:
    # As atoi of C: the number that the text begins with, else 0.
    found = re.match(r"\s*\+?(\d+)", directive.values[0], re.ASCII) if directive.values else None
    return int(found[1]) if found else 0
