"""The text of a WireGuard configuration: sections, keys and what stands behind them. No IO here.

Keys and sections are those of wg(8) and wg-quick(8), which ignore case and blanks as well.
"""

import base64
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from entrypoint.names import is_domain
from entrypoint.network import MAIN_TABLE, IPAddress, IPInterface, IPNetwork
from entrypoint.parse import number, shown

T = TypeVar("T")

KEY_CHARACTERS = 44
"""A key in base64: 32 bytes and one `=`."""
KEY_BYTES = 32
MTU_MIN, MTU_MAX = 576, 65535
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,23}")
_LIKE_A_KEY = re.compile(r"[A-Za-z0-9+/]{40}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer is called."""

    host: str
    """A name, or an address without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    line: int
    key: str
    """As WireGuard spells it."""
    value: str = field(repr=False)


@dataclass(slots=True)
class Section:
    """`[Interface]` or `[Peer]` with its lines."""

    name: str
    line: int
    entries: list[Entry] = field(default_factory=list)

    def has(self, key: str) -> bool:
        """Tell whether a line has this key."""
        return any(entry.key == key for entry in self.entries)


def sections_of(text: str, faults: list[str]) -> Iterator[Section]:
    """Give the sections, each once its lines are read; what cannot be read is added to `faults`."""
    section: Section | None = None
    for count, raw in enumerate(text.split("\n"), 1):
        line = raw.partition("#")[0].strip()
        where = f"line {count}"
        if line.startswith("["):
            name = _SECTIONS.get("".join(line.lower().split()))
            if name is None:
                faults.append(f"{where} begins a section that is neither [Interface] nor [Peer]; remove it")
            section = Section(name or "", count)
            if name:
                yield section
        elif line:
            key, equals, value = (part.strip() for part in line.partition("="))
            # What is no name of a key may be a key, which nobody is shown.
            if not equals or not _NAME.fullmatch(key):
                faults.append(f"{where} is no KEY = VALUE; correct it, or write # before a comment")
            elif section is None:
                faults.append(f"{where} stands before [Interface]; move it below")
            elif section.name:
                section.entries += _entries(section.name, Entry(count, key, value), faults)


def _entries(section: str, entry: Entry, faults: list[str]) -> Iterator[Entry]:
    """Give the entry with its key as WireGuard spells it, or add why it is none."""
    known = _KEYS[section]
    key = known.get(entry.key.lower())
    where = f"line {entry.line} has {shown(entry.key)}"
    if key is None:
        other = next((name for name, keys in _KEYS.items() if entry.key.lower() in keys), None)
        near = difflib.get_close_matches(entry.key.lower(), known, n=1)
        advice = f"it belongs into [{other}]" if other else "remove it"
        advice = f"did you mean {known[near[0]]}?" if near and not other else advice
        faults.append(f"{where}, which [{section}] does not know; {advice}")
    elif key in _HOOKS:
        faults.append(
            f"{where}, which starts a program; remove the line (ON_UP and ON_DOWN start programs, and "
            "replies and rules are kept without any)"
        )
    elif not entry.value and key != "AllowedIPs":
        faults.append(f"{where} without a value; complete it, or remove the line")
    else:
        yield Entry(entry.line, key, entry.value)


def values_of(section: Section, faults: list[str], *, needed: Iterable[str]) -> dict[str, Any]:
    """Read the values of a section; what stands in several lines is put together."""
    values: dict[str, Any] = {}
    first: dict[str, int] = {}
    for entry in section.entries:
        try:
            value = _PARSERS[entry.key](entry.value)
        except ValueError as error:
            advice = "" if ";" in str(error) else "; correct it"
            faults.append(f"line {entry.line}: {entry.key} {error}{advice}")
            first.setdefault(entry.key, entry.line)
            continue
        if entry.key not in values:
            values[entry.key] = value
        elif entry.key in _SEVERAL:
            values[entry.key] += value
        else:
            faults.append(
                f"line {entry.line} has {entry.key} again, after line {first[entry.key]}; leave one"
            )
        first.setdefault(entry.key, entry.line)
    faults += [
        f"the [{section.name}] of line {section.line} has no {key}; add it, as your provider gave it"
        for key in needed
        if key not in first or values.get(key) == ()
    ]
    return values


def _key(value: str) -> str:
    if len(value) != KEY_CHARACTERS:
        raise ValueError(
            f"is no key: saw {len(value)} characters; copy all {KEY_CHARACTERS}, the last of them is ="
        )
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:
        data = b""
    # The last character has two bits that no key uses.
    if len(data) != KEY_BYTES or base64.b64encode(data).decode() != value:
        raise ValueError(f"is no key: it is not {KEY_BYTES} bytes in base64; copy it anew")
    return value


def _interfaces(value: str) -> tuple[IPInterface, ...]:
    return tuple(_item(ip_interface, item, "10.2.0.2/32") for item in _items(value))


def _networks(value: str) -> tuple[IPNetwork, ...]:
    # Host bits are cleared, as WireGuard does.
    return tuple(
        _item(lambda text: ip_network(text, strict=False), item, "0.0.0.0/0") for item in _items(value)
    )


def _item(parser: Callable[[str], T], item: str, like: str) -> T:
    try:
        if "%" in item:
            raise ValueError  # noqa: TRY301 - a zone names a link, which is not known here
        return parser(item)
    except ValueError:
        raise ValueError(f"has {_shown(item)}; write addresses like {like}") from None


def _dns(value: str) -> tuple[IPAddress | str, ...]:
    found: list[IPAddress | str] = []
    for item in _items(value):
        try:
            found.append(ip_address(item))
        except ValueError:
            if not is_domain(item):
                raise ValueError(f"has {_shown(item)}, neither an address nor a search domain") from None
            found.append(item)
    return tuple(found)


def _table(value: str) -> bool:
    if value.lower() == "off":
        return False
    if value.lower() not in {"auto", "main", str(MAIN_TABLE)}:
        raise ValueError(
            "names a table of its own, which needs rules of its own; take auto (routes in the main table) "
            "or off (none)"
        )
    return True


def _endpoint(value: str) -> Endpoint:
    host, colon, port = value.rpartition(":")
    try:
        if not colon:
            raise ValueError  # noqa: TRY301 - one text for every shape that does not fit
        if host.startswith("[") and host.endswith("]"):
            return Endpoint(str(_item(IPv6Address, host[1:-1], "")), number(1, 65535)(port))
        if not is_domain(host):
            raise ValueError  # noqa: TRY301 - as above
        return Endpoint(host, number(1, 65535)(port))
    except ValueError:
        raise ValueError(
            f"is {_shown(value)}; write ADDRESS:PORT or NAME:PORT, an IPv6 address in brackets"
        ) from None


def _keepalive(value: str) -> int:
    return 0 if value.lower() == "off" else number(0, 65535)(value)


def _shown(item: str) -> str:
    """Show what stands in a line, unless a key got there."""
    return "a text as long as a key" if _LIKE_A_KEY.search(item) else shown(item)


def _items(value: str) -> list[str]:
    return [item for item in re.split(r"[,\s]+", value) if item]


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "PrivateKey": _key,
    "ListenPort": number(0, 65535),
    "FwMark": str,
    "Address": _interfaces,
    "DNS": _dns,
    "MTU": number(MTU_MIN, MTU_MAX),
    "Table": _table,
    "SaveConfig": str,
    "PublicKey": _key,
    "PresharedKey": _key,
    "AllowedIPs": _networks,
    "Endpoint": _endpoint,
    "PersistentKeepalive": _keepalive,
}
_SEVERAL = frozenset({"Address", "DNS", "AllowedIPs"})
_HOOKS = ("PreUp", "PostUp", "PreDown", "PostDown")
_OF_PEER = ("PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive")
_OF_INTERFACE = (*(key for key in _PARSERS if key not in _OF_PEER), *_HOOKS)
_KEYS = {
    "Interface": {key.lower(): key for key in _OF_INTERFACE},
    "Peer": {key.lower(): key for key in _OF_PEER},
}
_SECTIONS = {f"[{name.lower()}]": name for name in _KEYS}
