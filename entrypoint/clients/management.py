"""openvpn's management interface: its lines as events. No IO here.

Source: doc/management-notes.txt of openvpn 2.6, and what openvpn 2.6.14 was seen to send.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from entrypoint.network import IPAddress

TEXT_MAX = 200
"""Characters that are kept of a text from the server."""


@dataclass(frozen=True, slots=True)
class State:
    """Where openvpn stands."""

    name: str
    """CONNECTING, WAIT, AUTH, CONNECTED and so on."""
    reason: str = ""
    """SUCCESS, ROUTE_ERROR or ERROR of CONNECTED; why, of RECONNECTING and EXITING."""
    addresses: tuple[IPAddress, ...] = ()
    server: IPAddress | None = None
    announced: bool = True
    """False for one that we asked for."""


@dataclass(frozen=True, slots=True)
class Question:
    """openvpn waits for a secret, and does nothing else until it has it."""

    about: str
    """Auth, Private Key, HTTP Proxy, ..."""
    username: bool


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks for beside the password, told as a refusal (dynamic challenge, CRV1)."""

    state: str
    """To be given back with the answer."""
    username: str
    """The user name of the answer; empty for the one that was given."""
    text: str
    wants_answer: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A secret was refused, by the server or by the key it should open."""

    about: str
    reason: str | None = None
    challenge: Challenge | None = None


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The tunnel's link was made or is about to go; the variables of a script follow."""

    up: bool


@dataclass(frozen=True, slots=True)
class Variable:
    """One of them."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class VariablesEnd:
    """All of them were told."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """openvpn ends because of this."""

    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """Something that a person would have to do: a token to insert, a page to open."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """A command succeeded."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The answer of several lines is complete."""


@dataclass(frozen=True, slots=True)
class Other:
    """What we have no use for: the greeting, a token that may not be shown."""


Event = State | Question | Refusal | Tunnel | Variable | VariablesEnd | Fatal | Request | Done | End | Other

_QUESTION = re.compile(r"Need '(?P<about>.*?)' (?P<what>username/password|password)(?: SC:\d,(?P<text>.*))?")
_REFUSAL = re.compile(r"Verification Failed: '(?P<about>.*?)'(?: \['(?P<reason>.*)'\])?")
_KINDS_OF_REQUEST = frozenset({"OPEN_URL", "WEB_AUTH", "CR_TEXT"})
_STATE = re.compile(r"\d+,(?P<name>[A-Z_]+),")


def parse(line: str) -> Event:
    """Understand one line, without its end; what is unknown is Other."""
    if not line.startswith(">"):
        return _answer(line)
    source, _, text = line[1:].partition(":")
    return _SOURCES.get(source, _other)(text)


def shown(text: str) -> str:
    """Make a foreign text fit for a log: bounded, and without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:TEXT_MAX]).strip()


def _answer(line: str) -> Event:
    if line == "END":
        return End()
    if line.startswith("SUCCESS: "):
        return Done(line.removeprefix("SUCCESS: "))
    return _state(line, announced=False) or Other()


def _state(text: str, *, announced: bool) -> State | None:
    found = _STATE.match(text)
    if not found:
        return None
    # time, name, reason, local IPv4, server, its port, local address, its port, local IPv6
    fields = text.split(",") + [""] * 9
    addresses = (_address(fields[3]), _address(fields[8]))
    return State(
        found["name"],
        shown(fields[2]),
        tuple(address for address in addresses if address),
        _address(fields[4]),
        announced,
    )


def _announced(text: str) -> Event:
    return _state(text, announced=True) or Other()


def _fatal(text: str) -> Event:
    return Fatal(shown(text))


def _request(text: str) -> Event:
    return Request(shown(text))


def _request_of_server(text: str) -> Event:
    # What comes behind the kind may be good for a login. Any other text of a server asks for nothing.
    kind = text.partition(":")[0]
    return Request(kind) if kind in _KINDS_OF_REQUEST else Other()


def _other(_text: str) -> Event:
    return Other()


def _password(text: str) -> Event:
    if found := _QUESTION.fullmatch(text):
        return Question(found["about"], found["what"].startswith("username"))
    if found := _REFUSAL.fullmatch(text):
        reason = found["reason"]
        return Refusal(found["about"], shown(reason) if reason else None, _challenge(reason or ""))
    # Among others Auth-Token:, which is a secret.
    return Other()


def _challenge(reason: str) -> Challenge | None:
    # CRV1:flags:state:user name in base64:text
    kind, _, rest = reason.partition(":")
    fields = rest.split(":", 3)
    if kind != "CRV1" or len(fields) != 4:  # noqa: PLR2004 - as above
        return None
    flags, state, username, text = fields
    try:
        named = base64.b64decode(username, validate=True).decode()
    except ValueError:
        return None
    return Challenge(state, named, shown(text), "R" in flags.split(","))


def _updown(text: str) -> Event:
    kind, _, rest = text.partition(",")
    if kind in {"UP", "DOWN"}:
        return Tunnel(up=kind == "UP")
    if kind != "ENV":
        return Other()
    if rest == "END":
        return VariablesEnd()
    name, _, value = rest.partition("=")
    return Variable(name, value)


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


_SOURCES: Mapping[str, Callable[[str], Event]] = {
    "STATE": _announced,
    "PASSWORD": _password,
    "UPDOWN": _updown,
    "FATAL": _fatal,
    "NEED-OK": _request,
    "NEED-STR": _request,
    "INFOMSG": _request_of_server,
}
