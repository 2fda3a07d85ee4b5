"""What a client's configuration cannot do without, and what is told of it. No IO here."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from entrypoint.clients.ovpn_text import Directive, directives

Form = Literal["scrv1", "concat"]
"""How a server wants a one-time code: encoded with the password, or behind it."""
STATIC_CHALLENGE = "static-challenge"
_CONCAT = "concat"
CONCAT_WISH = f'VPN_ARGS="--{STATIC_CHALLENGE} Code 1 {_CONCAT}"'
"""How a user says that the server wants the one-time code behind the password, in openvpn 2.7's own words."""
_OWN_CERTIFICATE = frozenset({"cert", "key"})
_PROXIES = frozenset({"http-proxy", "socks-proxy"})
_TRUST = frozenset({"ca", "capath", "pkcs12", "peer-fingerprint"})
"""One of these says which server is the right one."""
_SERVERS_ONLY = frozenset(
    {
        *("remote-cert-tls", "remote-cert-eku", "remote-cert-ku", "verify-x509-name", "verify-hash"),
        *("peer-fingerprint", "tls-verify"),
    }
)
"""Any of these tells a server's certificate from another client's."""
_ADDRESS = re.compile(r"[0-9.]*|.*:.*")
"""An address of IPv4 or IPv6, or an empty text: there is nothing to look up."""
_COMPRESSION = frozenset({"comp-lzo", "compress"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the settings say about the configuration."""

    scripts: bool
    """openvpn may start programs."""
    credentials: bool
    """User name and password are set."""
    passphrase: bool
    """The private key's passphrase is set."""
    codes: bool
    """One-time codes can be made."""
    interface: bool
    """The tunnel's name is set."""
    ipv6: bool
    """The container has IPv6."""


def missing(everything: Sequence[Directive], wishes: Wishes) -> Iterator[str]:
    """Say what is missing for any connection."""
    if not any(_hosts(directive, {"remote"}) for directive in everything):
        yield 'no line names the server; add "remote ADDRESS PORT"'
    kind = device_type(everything)
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


def unidentified(everything: Sequence[Directive], wishes: Wishes) -> Iterator[str]:
    """Say what is missing for both sides to know each other."""
    names = {directive.name for directive in everything}
    if names & {"client", "tls-client"}:
        own = names & _OWN_CERTIFICATE
        if not names & _TRUST:
            yield "no line says which server to trust; add ca (or peer-fingerprint) as your VPN gives it out"
        if len(own) == 1:
            (lacking,) = _OWN_CERTIFICATE - own
            yield f"there is {next(iter(own))} but no {lacking}; add {lacking}, they go together"
        elif not (own or names & {"pkcs12", "pkcs11-id", "auth-user-pass"} or wishes.credentials):
            yield (
                "no line says who you are; add cert and key as your VPN gives them out, or set VPN_USERNAME "
                "and VPN_PASSWORD"
            )
    if STATIC_CHALLENGE in names and not wishes.codes:
        yield "static-challenge says that the server wants a one-time code; set VPN_TOTP_SECRET"


def advice(found: Sequence[Directive], everything: Sequence[Directive], wishes: Wishes) -> Iterator[str]:
    """Say what works, but may surprise."""
    names = {directive.name for directive in everything}
    if not names & _SERVERS_ONLY:
        yield (
            "no line has the server's certificate checked to be a server's: any certificate of that CA is "
            'trusted; add "remote-cert-tls server" if your VPN\'s certificates allow it'
        )
    for directive in found:
        if directive.name in _COMPRESSION:
            yield (
                f"line {directive.first} ({directive.name}) fits only a server that has it, too; if nothing "
                "comes through the tunnel, remove it"
            )
    if wishes.codes and STATIC_CHALLENGE not in names:
        yield (
            "VPN_TOTP_SECRET is used once the server asks for a code; if it wants the code behind the "
            f"password instead, set {CONCAT_WISH}"
        )


def challenge(everything: Sequence[Directive]) -> Form | None:
    """Return how the server wants a one-time code; None where no line says that it does."""
    asked = [directive.values for directive in everything if directive.name == STATIC_CHALLENGE]
    if not asked:
        return None
    return "concat" if _CONCAT in asked[-1][2:] else "scrv1"


def names(everything: Sequence[Directive]) -> tuple[str, ...]:
    """Return the names of servers and proxies, less those that are addresses."""
    found = dict.fromkeys(
        host for directive in everything for host in _hosts(directive, {"remote", *_PROXIES})
    )
    return tuple(host for host in found if not _ADDRESS.fullmatch(host))


def _hosts(directive: Directive, of: Collection[str]) -> list[str]:
    """Return the hosts that directives of these names have; an empty text for what openvpn has to explain."""
    if directive.name in of:
        return [directive.values[0] if directive.values else ""]
    if directive.name != "connection" or directive.block is None:
        return []
    try:
        return [host for inner in directives("\n".join(directive.block)) for host in _hosts(inner, of)]
    except ValueError:
        return [""]


def device_type(everything: Sequence[Directive]) -> str | None:
    """Return tun or tap; None where that does not follow."""
    given = {directive.name: directive.values[0] for directive in everything if directive.values}
    name = given.get("dev-type") or given.get("dev", "")
    return next((kind for kind in ("tun", "tap") if name.startswith(kind)), None)
