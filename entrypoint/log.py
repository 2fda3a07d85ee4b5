"""The log: one line an event on standard output, secrets blacked out."""

import contextlib
import json
import logging
import os
import stat
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from entrypoint.faults import BadSettings
from entrypoint.files import Secret
from entrypoint.settings import Settings

REDACTED = "***"
_SHORTEST_SECRET = 4
"""A shorter one would black out half the log and is no secret anyhow."""


class Hider:
    """Blacks secrets out of any text."""

    def __init__(self) -> None:
        self._secrets: tuple[Secret, ...] = ()
        self._seen: tuple[str, ...] = ()
        """Every value so far, and as `printable` makes it, the longest first: one that begins with another is
        not to leave its rest. What a file held before it was rotated is hidden as well."""
        self._read: dict[Secret, tuple[int, ...]] = {}
        """When each file changed that was read last."""

    def know(self, secrets: tuple[Secret, ...]) -> None:
        """Hide these from now on."""
        self._secrets = secrets
        self._seen = ()
        self._read.clear()
        for secret in secrets:
            self._learn(secret)

    def begun(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a secret."""
        return max((_overlap(text, value) for value in self._seen), default=0)

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        for secret in self._secrets:
            self._learn(secret)
        for value in self._seen:
            text = text.replace(value, REDACTED)
        return text

    def _learn(self, secret: Secret) -> None:
        """Take the secret's value, unless its file is as it was."""
        # A file that is gone is told where its value is needed.
        with contextlib.suppress(BadSettings, OSError):
            status = secret.file.stat() if secret.file else None
            changed = (status.st_ino, status.st_size, status.st_mtime_ns) if status else ()
            if self._read.get(secret) == changed:
                return
            value = secret.reveal()
            self._read[secret] = changed
            known = {*self._seen, value, printable(value)}
            longest_first = sorted(known, key=lambda each: (-len(each), each))
            self._seen = tuple(each for each in longest_first if len(each) >= _SHORTEST_SECRET)


def printable(text: str) -> str:
    """Return the text without what could steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _overlap(text: str, value: str) -> int:
    """Return how long the end of a text is that is a beginning of the value, and not all of it."""
    longest = min(len(text), len(value) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(value[:length])), 0)


hide = Hider()
"""Knows the secrets of this process once they were loaded."""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write `time level message`; the time in UTC, to the millisecond."""
        when, level, message = self._parts(record)
        return f"{when} {level:<7} {message}"

    def _parts(self, record: logging.LogRecord) -> tuple[str, str, str]:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        # The base class adds a traceback where there is one.
        message = hide(super().format(record))
        return when.replace("+00:00", "Z"), record.levelname.lower(), message


class _Json(_Text):
    def format(self, record: logging.LogRecord) -> str:
        """Write one JSON object: time, level, message."""
        return json.dumps(dict(zip(("time", "level", "message"), self._parts(record), strict=True)))


class _Output(logging.Handler):
    """Writes lines to a descriptor, and never waits for whoever reads them.

    A log driver that stands still would otherwise stop the loop, and with it repairs, health and the stop.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost = 0
        # Not a terminal: the shell shares its mode.
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.set_blocking(descriptor, False)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it as lost."""
        lines = [self.format(record)]
        if self._lost:
            told = f"{self._lost} lines of this log were lost: nobody read it"
            lines.insert(0, self.format(logging.makeLogRecord({"levelname": "WARNING", "msg": told})))
        try:
            os.write(self._descriptor, "".join(f"{line}\n" for line in lines).encode(errors="replace"))
            self._lost = 0
        except OSError:
            self._lost += 1


def faults(texts: Iterable[str], *, as_json: bool) -> str:
    """Write why the program ends, a line each."""
    if not as_json:
        return "".join(f"sidegate: {hide(text)}\n" for text in texts)
    records = (logging.makeLogRecord({"levelname": "ERROR", "msg": text}) for text in texts)
    return "".join(f"{_Json().format(record)}\n" for record in records)


def set_up(settings: Settings) -> None:
    """Send all logging to standard output in the format that the settings ask for."""
    handler = _Output(sys.stdout.fileno())
    hide.know(settings.secrets)
    handler.setFormatter(_Json() if settings.log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # Of the libraries only what is wrong: their own chatter is no word of ours.
    for library in ("asyncio", "pyroute2", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
