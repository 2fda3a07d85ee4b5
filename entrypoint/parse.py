"""Parsers of setting values: text in, value out; ValueError says what was expected.

Each message completes the sentence "NAME='text' ...".
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Parser = Callable[[str], T]

SHOWN_MAX = 60
"""Characters of a value that an error shows."""
DURATION_MAX_SECONDS = 24 * 3600.0
"""Who waits for longer than a day has mistaken the unit."""
INTERVAL_MIN_SECONDS = 1.0
"""Of HEALTH_INTERVAL: somebody else's machine is asked, for as long as we run."""

_DURATION = re.compile(r"(\d{1,8})(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def shown(value: str) -> str:
    """Show a value in one line of bounded length."""
    return repr(value if len(value) <= SHOWN_MAX else value[:SHOWN_MAX] + "…")


def text(value: str) -> str:
    """Take the value as it is."""
    return value


def absolute(example: str) -> Parser[Path]:
    """Take an absolute path; `example` is one that would do."""

    def parse(value: str) -> Path:
        if not value.startswith("/") or "\0" in value:
            raise ValueError(f"is not an absolute path; write it from the root, like {example}")
        return Path(value)

    return parse


def quoted(value: str) -> bool:
    """Tell whether a value begins and ends with the same quotation mark, as lists of compose keep them."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def auto_or(parser: Parser[T]) -> Parser[T | None]:
    """Take `auto` as None and all else by `parser`."""
    return lambda value: None if value == "auto" else parser(value)


def choice(*names: str) -> Parser[str]:
    """Take one of the names."""

    def parse(value: str) -> str:
        if value not in names:
            raise ValueError(f"is not known; take one of {', '.join(names)}")
        return value

    return parse


def duration(value: str) -> float:
    """Take `500ms`, `30s`, `2m` or `1h`; returns seconds, more than zero and at most a day."""
    match = _DURATION.fullmatch(value)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= DURATION_MAX_SECONDS:
        raise ValueError("is no duration; write a whole number and its unit, like 500ms, 30s or 2m")
    return seconds


def interval(value: str) -> float:
    """Take a duration in which something of others is asked again and again; returns seconds."""
    seconds = duration(value)
    if seconds < INTERVAL_MIN_SECONDS:
        raise ValueError(f"asks too often; take {INTERVAL_MIN_SECONDS:g}s or more")
    return seconds


def number(first: int, last: int) -> Parser[int]:
    """Take a whole number from `first` to `last`."""

    def parse(value: str) -> int:
        # At most ten digits: int() of a text of thousands of digits raises an error of its own.
        if not re.fullmatch(r"[0-9]{1,10}", value) or not first <= int(value) <= last:
            raise ValueError(f"is no whole number from {first} to {last}")
        return int(value)

    return parse


def words(value: str) -> tuple[str, ...]:
    """Take words quoted as in a shell."""
    if "\0" in value:
        raise ValueError("has a null byte, which no program can be given; write text")
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"is not quoted as in a shell ({error}); close the quote") from None


def command(value: str) -> tuple[str, ...]:
    """Take a program and its arguments, quoted as in a shell."""
    found = words(value)
    if not found or not found[0]:
        raise ValueError("names no program; write it with its arguments, quoted as in a shell")
    return found


def items(value: str) -> list[str]:
    """Take a list, parted by commas or blanks, with one item at least."""
    found = re.split(r"[,\s]+", value.strip(", \t\n"))
    if not found[0]:
        raise ValueError("names nothing; leave it empty or list what is meant")
    return found
