"""Where openconnect connects to, and which of its options VPN_ARGS may hold. No process in here."""

import getopt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from entrypoint.clients import config_file
from entrypoint.names import is_address, is_host
from entrypoint.network import IPV6
from entrypoint.parse import number

SERVER_HERE = "the server stands in VPN_SERVER"
_SUPERVISED = "Sidegate supervises openconnect"
_OURS = "addresses and routes are set by Sidegate"
_SECRET = "a secret in an argument list can be read by everybody"  # noqa: S105 - what is said of one

REFUSED = {
    "background": _SUPERVISED,
    "pid-file": _SUPERVISED,
    "setuid": _SUPERVISED,
    "non-inter": "nobody can be asked in here anyhow",
    "syslog": "its output belongs into the container's log",
    "script": _OURS,
    "script-tun": _OURS,
    "interface": "set VPN_INTERFACE",
    "protocol": "set VPN_PROTOCOL",
    "juniper": "set VPN_PROTOCOL=nc",
    "server": SERVER_HERE,
    "config": "write its lines into VPN_ARGS",
    "xmlconfig": SERVER_HERE,
    "user": "set VPN_USERNAME",
    "passwd-on-stdin": "set VPN_PASSWORD",
    "no-passwd": "set no VPN_PASSWORD",
    "key-password": f"{_SECRET}; set VPN_KEY_PASSPHRASE",
    "mca-key-password": _SECRET,
    "token-mode": "set VPN_TOTP_SECRET; no other token is built",
    "token-secret": f"{_SECRET}; set VPN_TOTP_SECRET",
    "cookie": _SECRET,
    "cookie-on-stdin": "a cookie is good for one session; set VPN_USERNAME and VPN_PASSWORD",
    "cookieonly": "it would print a secret",
    "printcookie": "it would print a secret",
    "verbose": "it would print the session's cookie",
    "authenticate": "it would print a secret",
    "dump-http-traffic": "it would print secrets",
    "external-browser": "there is no browser in here",
    "no-cert-check": "a server that cannot be told from others is not connected to; name its certificate by "
    "--servercert",
    "proxy": "a proxy is not built",
    "libproxy": "a proxy is not built",
    "proxy-auth": "a proxy is not built",
    "resolve": "give the container that name (docker run --add-host, compose: `extra_hosts`)",
    "help": "that connects nobody",
    "version": "that connects nobody",
}
"""Long options that fight the supervision or show secrets -> why, or what to do instead."""

TAKEN = frozenset(
    (
        *(
            "allow-insecure-crypto",
            "authgroup=",
            "base-mtu=",
            "cafile=",
            "cert-expire-warning=",
            "certificate=",
        ),
        *("ciphersuites=", "compression=", "csd-user=", "csd-wrapper=", "deflate", "disable-ipv6"),
        *(
            "dtls-ciphers=",
            "dtls-local-port=",
            "dtls12-ciphers=",
            "force-dpd=",
            "force-trojan=",
            "form-entry=",
        ),
        *("gnutls-debug=", "http-auth=", "key-password-from-fsid", "local-hostname=", "mca-certificate="),
        *("mca-key=", "mtu=", "no-deflate", "no-dtls", "no-external-auth", "no-http-keepalive", "no-proxy"),
        *("no-system-trust", "no-xmlpost", "os=", "passtos", "pfs", "queue-len=", "quiet"),
        *("reconnect-timeout=", "servercert=", "sni=", "sslkey=", "timestamp", "useragent=", "usergroup="),
        "version-string=",
    )
)
"""The others of openconnect 9, those that take a value with `=`."""

_WITHOUT_VALUE = frozenset(
    (
        *(
            "authenticate",
            "background",
            "cookie-on-stdin",
            "cookieonly",
            "dump-http-traffic",
            "help",
            "juniper",
        ),
        *("libproxy", "no-cert-check", "no-passwd", "non-inter", "passwd-on-stdin", "printcookie"),
        *("script-tun", "syslog", "verbose", "version"),
    )
)
_SHORT = "bC:c:dDe:F:g:hi:k:lm:P:p:Q:qs:Su:U:vVx:"
_LONG_OF_SHORT = {
    "-b": "background",
    "-C": "cookie",
    "-c": "certificate",
    "-h": "help",
    "-k": "sslkey",
    "-i": "interface",
    "-l": "syslog",
    "-P": "proxy",
    "-p": "key-password",
    "-s": "script",
    "-S": "script-tun",
    "-u": "user",
    "-U": "setuid",
    "-v": "verbose",
    "-V": "version",
    "-x": "xmlconfig",
}
"""Those that are refused, and those that are looked for."""
_FILES = frozenset({"cafile", "certificate", "sslkey", "mca-certificate", "mca-key"})


@dataclass(frozen=True, slots=True)
class Arguments:
    """What VPN_ARGS says, as far as we have to know it."""

    faults: tuple[str, ...] = ()
    certificate: bool = False
    """Whether it names a client certificate."""
    files: tuple[tuple[str, str], ...] = ()
    """(option, file) for each file that it names."""


_SERVER = re.compile(
    r"(https://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*[A-Za-z0-9])"
    r"(:(?P<port>[0-9]{1,5}))?(/[!-~]*)?"
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server of openconnect is, as the user wrote it."""

    text: str
    host: str
    """Its name or address alone, IPv6 without brackets."""

    def __str__(self) -> str:
        """Read as it was written."""
        return self.text


def server(value: str) -> Server:
    """Take `host`, `host:port` or an https address; IPv6 in brackets."""
    match = _SERVER.fullmatch(value)
    try:
        if not match:
            raise ValueError  # noqa: TRY301 - one text for every shape that does not fit
        number(1, 65535)(match["port"] or "443")
        host = match["host"].strip("[]")
        bracketed = host != match["host"]
        if is_address(host):
            fits = bracketed == (ip_address(host).version == IPV6)
        else:
            fits = is_host(host) and not bracketed
        if not fits:
            raise ValueError  # noqa: TRY301 - as above
    except ValueError:
        raise ValueError(
            "is no server; write vpn.example.com, vpn.example.com:8443, [2001:db8::1] or "
            "https://vpn.example.com/group"
        ) from None
    return Server(value, host)


def check(args: Sequence[str]) -> Arguments:
    """Read VPN_ARGS as openconnect does, which takes abbreviations."""
    refused = (name if name in _WITHOUT_VALUE else f"{name}=" for name in REFUSED)
    try:
        options, words = getopt.gnu_getopt(list(args), _SHORT, [*TAKEN, *refused])
    except getopt.GetoptError as error:
        return Arguments((f"cannot use VPN_ARGS: {error.msg}; see `openconnect --help`",))
    names = dict.fromkeys(_LONG_OF_SHORT.get(option, option.removeprefix("--")) for option, _ in options)
    faults = [
        f"cannot use VPN_ARGS: --{name}: {REFUSED[name]}; leave it out" for name in names if name in REFUSED
    ]
    # After a bare "--" openconnect takes our options for servers. The word may be a part of a secret.
    if words or "--" in args:
        faults.append(
            "cannot use VPN_ARGS: a word in it is no option; quote a value that has a blank, "
            "remove `--`, and name the server in VPN_SERVER"
        )
    named = [(_LONG_OF_SHORT.get(option, option.removeprefix("--")), value) for option, value in options]
    # A key may lie in a token, and has an address then (RFC 7512: "pkcs11:...").
    files = tuple((name, value) for name, value in named if name in _FILES and ":" not in value)
    return Arguments(tuple(faults), "certificate" in names, files)


def missing_files(arguments: Arguments) -> list[str]:
    """Return a fault for each file that cannot be read."""
    faults = []
    for name, file in arguments.files:
        try:
            config_file.read(Path(file), advice="mount it there, or correct VPN_ARGS")
        except ValueError as error:
            faults.append(f"cannot use VPN_ARGS: --{name} names {file!r}: {error}")
    return faults
