"""openvpn's management interface: its lines as events, and our lines to it. No IO here.

Source: doc/management-notes.txt of openvpn 2.6, and what openvpn 2.6.14 was seen to send.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from entrypoint.clients.ovpn_text import PARAMETER_MAX_BYTES
from entrypoint.network import IPAddress

ASK_STATE = b"state\n"
"""Answered by one State that is not announced, and End."""
FOLLOW_STATE = b"state on all\n"
"""Answered by every State so far, and End; from then on each change is announced."""
ASK_VERBOSITY = b"verb\n"
"""Answered by Done with `verb=N`."""
STOP = b"signal SIGTERM\n"

TEXT_MAX = 200
"""Characters that are kept of a text from the server."""

_VERBOSITY_OF_COMMANDS = 3
"""From this level on openvpn logs each command that it is given, except passwords (D_MANAGEMENT_DEBUG)."""


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
    challenge: str | None = None
    """The text of a static challenge."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A secret was refused, by the server or by the key it should open."""

    about: str
    reason: str | None = None


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

_QUESTION = re.compile(
    r"Need '(?P<about>.*?)' (?P<what>username/password|password)(?: SC:[01],(?P<text>.*))?"
)
_REFUSAL = re.compile(r"Verification Failed: '(?P<about>.*?)'(?: \['(?P<reason>.*)'\])?")
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


def quote(value: str) -> str:
    """Write a value so that openvpn reads this very value.

    Raises ValueError with "holds ..." or "is ..." where openvpn could not, or would see a second command.
    """
    if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in value):
        raise ValueError("holds a line break or another control character, which openvpn cannot be given")
    if len(value.encode()) > PARAMETER_MAX_BYTES:
        raise ValueError(
            f"is longer than the {PARAMETER_MAX_BYTES} bytes that openvpn's management interface reads"
        )
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def credentials(about: str, username: str, password: str, verbosity: int) -> bytes:
    """Write the answer to a Question; raises ValueError as `quote` does.

    openvpn logs the user name from verbosity 3 on, so that is lowered for this one command.
    """
    named = f"username {quote(about)} {quote(username)}\n"
    if verbosity >= _VERBOSITY_OF_COMMANDS:
        named = f"verb {_VERBOSITY_OF_COMMANDS - 1}\n{named}verb {verbosity}\n"
    return f"{named}password {quote(about)} {quote(password)}\n".encode()


def verbosity(text: str) -> int | None:
    """Read the answer to ASK_VERBOSITY; None where the text is another answer."""
    found = re.fullmatch(r"verb=(\d{1,2})", text, re.ASCII)
    return int(found[1]) if found else None


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
    # OPEN_URL:, WEB_AUTH: or CR_TEXT: and what may be good for a login.
    return Request(shown(text.partition(":")[0]))


def _other(_text: str) -> Event:
    return Other()


def _password(text: str) -> Event:
    if found := _QUESTION.fullmatch(text):
        challenge = found["text"]
        return Question(
            found["about"],
            found["what"].startswith("username"),
            None if challenge is None else shown(challenge),
        )
    if found := _REFUSAL.fullmatch(text):
        return Refusal(found["about"], shown(found["reason"]) if found["reason"] else None)
    # Among others Auth-Token:, which is a secret.
    return Other()


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
