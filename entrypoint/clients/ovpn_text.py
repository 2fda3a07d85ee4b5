"""The text of an OpenVPN configuration, cut into directives as openvpn's own parser cuts it.

Source of the rules: `parse_line`, `read_config_file` and `read_inline_file` of openvpn 2.6's options.c.
They are followed to the byte, because what is dropped or refused must be what openvpn would obey.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from entrypoint.parse import shown

LINE_MAX_BYTES = 254
"""The longest line outside of a block; openvpn ends with an error at a longer one, be it a comment."""
PARAMETER_MAX_BYTES = 256
"""OPTION_PARM_SIZE: the longest single value."""

_END = "\0"
_BLANK = " \t\n\v\f\r" + _END
_ESCAPABLE = '\\"' + _BLANK
_BLANKS = re.compile(r"\s")
_PIECE_BYTES = 255
"""How much openvpn reads of a block at once: what follows in the line counts as a line of its own."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive, where it stands, and what it is given."""

    name: str
    values: tuple[str, ...] = ()
    first: int = 0
    """Its first line, counted from 1; 0 for one from the command line."""
    last: int = 0
    """Its last line: that of the closing tag for a block."""
    block: tuple[str, ...] | None = None
    """The lines between `<name>` and `</name>`; None for a plain line."""


def split(line: str) -> list[str]:  # noqa: C901 - openvpn's own state machine, in one piece to be compared
    """Cut a line into a directive's name and values; raises ValueError where quoting is broken."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    escaped = False
    for letter in line + "\n" + _END:
        if letter == "\\" and not escaped and quote != "'":
            escaped = True
            continue
        out = letter
        if word is None:
            # A backslash helps neither a blank nor a comment sign here: openvpn looks at those first.
            if letter in "#;":
                break
            if letter in _BLANK:
                out = ""
            else:
                word = []
                if letter in "\"'" and not escaped:
                    quote, out = letter, ""
        elif not escaped and (letter == quote if quote else letter in _BLANK):
            words.append("".join(word))
            word, quote, out = None, "", ""
        if escaped and out and out not in _ESCAPABLE:
            raise ValueError("a backslash before a letter that needs none: write two backslashes for one")
        escaped = False
        if word is not None and out != _END:
            word.append(out)
    if quote:
        raise ValueError(f"a quotation mark ({quote}) that is not closed")
    return words


def directives(text: str) -> Iterator[Directive]:
    """Yield the directives of a configuration; raises ValueError("line N ...") where openvpn cannot read."""
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        first = position + 1
        line = lines[position]
        position += 1
        if len(line.encode()) > LINE_MAX_BYTES:
            raise ValueError(f"line {first} is longer than the {LINE_MAX_BYTES} bytes that openvpn reads")
        try:
            words = split(line)
        except ValueError as error:
            raise ValueError(f"line {first} has {error}") from None
        if not words:
            continue
        name = _without_dashes(words[0])
        if len(words) == 1 and name.startswith("<") and name.endswith(">"):
            end = _closing(lines, position, f"</{name[1:-1]}>")
            if end is None:
                raise ValueError(f"line {first} opens {name}, and no line closes it")
            yield Directive(name[1:-1], (), first, end + 1, tuple(lines[position:end]))
            position = end + 1
        else:
            yield _plain(name, words[1:], first)


def arguments(args: Sequence[str]) -> Iterator[Directive]:
    """Yield the directives of a command line; raises ValueError where one does not begin with `--`."""
    words: list[str] = []
    for arg in args:
        if arg.startswith("--"):
            if _BLANKS.search(arg):
                raise ValueError(f'"{arg.split()[0]} …" with a blank in one word')
            if words:
                yield _plain(words[0], words[1:], 0)
            words = [arg.removeprefix("--")]
        elif words:
            words.append(arg)
        else:
            raise ValueError(f'{shown(arg)}, which does not begin with "--"')
    if words:
        yield _plain(words[0], words[1:], 0)


def _plain(name: str, values: Sequence[str], line: int) -> Directive:
    # "setenv opt X" is X that an older openvpn may ignore (add_option of options.c).
    if name == "setenv" and len(values) > 1 and values[0] == "opt":
        name, values = values[1], values[2:]
    return Directive(name, tuple(values), line, line)


def _without_dashes(word: str) -> str:
    return word[2:] if word.startswith("--") and len(word) > len("--") else word


def _closing(lines: Sequence[str], start: int, tag: str) -> int | None:
    for index in range(start, len(lines)):
        encoded = lines[index].encode()
        for offset in range(0, max(len(encoded), 1), _PIECE_BYTES):
            if (
                encoded[offset : offset + _PIECE_BYTES]
                .decode(errors="replace")
                .lstrip(_BLANK)
                .startswith(tag)
            ):
                return index
    return None
