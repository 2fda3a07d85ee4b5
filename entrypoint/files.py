"""Values that stand in files: NAME_FILE, secrets, ENV_FILE."""

import contextlib
import io
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint.faults import BadSettings

if TYPE_CHECKING:
    from dotenv.parser import Original

FILE_SUFFIX = "_FILE"
DOCKERS_DIRECTORY = "mount the file itself (Docker makes a directory where the host has no file)"
VALUE_MAX_BYTES = 64 * 1024
"""The most that a NAME_FILE may hold: a certificate chain fits, a wrong path to a disk does not."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is never shown; what stands in a file is read anew at each use."""

    name: str
    value: str | None = None
    file: Path | None = None

    def reveal(self) -> str:
        """Return the secret; raises BadSettings where its file is gone, empty or no text."""
        if self.file is None:
            return self.value or ""
        return read_value(self.name, self.file)

    def __repr__(self) -> str:
        return f"Secret({self.name})"


def read_value(name: str, file: Path) -> str:
    """Read what a NAME_FILE holds, less the line end; raises BadSettings that names it and the cause."""
    wrong = f"cannot read {name}{FILE_SUFFIX}={str(file)!r}"
    try:
        content = _read(file, VALUE_MAX_BYTES + 1)
    except PermissionError:
        raise BadSettings(f"{wrong}: {why_forbidden(file)}") from None
    except IsADirectoryError:
        raise BadSettings(f"{wrong}: it is a directory; {DOCKERS_DIRECTORY}") from None
    except OSError as error:
        raise BadSettings(f"{wrong}: {error.strerror}; mount the file there") from None
    if len(content) > VALUE_MAX_BYTES:
        raise BadSettings(
            f"{wrong}: it holds more than {VALUE_MAX_BYTES} bytes; name the file that holds the value alone"
        )
    try:
        value = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadSettings(f"{wrong}: it holds no UTF-8 text; write the value alone into it") from None
    if not value:
        raise BadSettings(f"{wrong}: it is empty; write the value into it, or leave {name}{FILE_SUFFIX} out")
    return value


def _read(file: Path, most_bytes: int) -> bytes:
    # Without O_NONBLOCK a pipe that nobody writes to would hold the start for ever.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read(most_bytes)


def read_env_file(given: Mapping[str, str], faults: list[str]) -> dict[str, str | None]:
    """Read the dotenv file that ENV_FILE names, if it does; what is wrong with it is added to `faults`."""
    if "ENV_FILE" not in given:
        return {}
    from dotenv.parser import parse_stream  # noqa: PLC0415 - 15 ms of start-up that only those pay who use it

    wrong = f"cannot read ENV_FILE={given['ENV_FILE']!r}"
    try:
        held = _read(Path(given["ENV_FILE"]), VALUE_MAX_BYTES + 1)
        if len(held) > VALUE_MAX_BYTES:
            faults.append(f"{wrong}: it holds more than {VALUE_MAX_BYTES} bytes; name the settings' file")
            return {}
        content = held.decode()
    except OSError as error:
        faults.append(f"{wrong}: {error.strerror}; mount the file there, readable for root")
        return {}
    except (UnicodeDecodeError, ValueError):
        faults.append(f"{wrong}: it holds no UTF-8 text; write NAME=value lines")
        return {}
    # Not by dotenv_values(): it warns of what it cannot read, in lines of its own.
    lines = list(parse_stream(io.StringIO(content)))
    broken = [str(_first_line(line.original)) for line in lines if line.error]
    if broken:
        where = ", ".join(broken)
        faults.append(
            f"{wrong}: no NAME=value in line {where}; close the quotes, or write # before a comment"
        )
    return {line.key: line.value for line in lines if line.key is not None}


def _first_line(original: "Original") -> int:
    # A statement takes the blank lines before it, and counts from the first of them.
    return original.line + original.string[: -len(original.string.lstrip())].count("\n")


def why_forbidden(file: Path) -> str:
    """Say why root may not read a file that is there, and what to do."""
    advice = "make it readable on the host (chmod o+r), or owned by the container's user"
    seen = "nothing of it can be seen"
    for path in (file, *file.absolute().parents):
        with contextlib.suppress(OSError):
            status = path.stat()
            seen = f"{path} is {stat.filemode(status.st_mode)}, owner {_user(status.st_uid)}"
            break
    return f"user {os.geteuid()} may not read it without CAP_DAC_OVERRIDE, {seen}; {advice}"


def _user(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    return str(uid)
