"""Reads a client's configuration, and says why it cannot be read."""

import contextlib
import os
import pwd
import stat
from pathlib import Path

MAX_BYTES = 1024 * 1024
"""The largest configuration; one with every certificate inside has some ten thousand bytes."""


def read(config: Path) -> bytes:
    """Read the file; raises ValueError with what is wrong and what to do."""
    try:
        # Reading a pipe that nobody writes to would never end.
        if not stat.S_ISREG(config.stat().st_mode):
            kind = "a directory" if config.is_dir() else "no plain file"
            raise ValueError(
                f"it is {kind}; mount the file itself (Docker makes a directory where the host has no file)"
            )
        with config.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError("no such file; mount it there, or correct VPN_CONFIG") from None
    except PermissionError:
        raise ValueError(_unreadable(config)) from None
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None


def _unreadable(config: Path) -> str:
    advice = "make it readable on the host (chmod o+r), or owned by the container's user"
    seen = "nothing of it can be seen"
    for path in (config, *config.absolute().parents):
        with contextlib.suppress(OSError):
            status = path.stat()
            seen = f"{path} is {stat.filemode(status.st_mode)}, owner {_user(status.st_uid)}"
            break
    return f"user {os.geteuid()} may not read it without CAP_DAC_OVERRIDE, {seen}; {advice}"


def _user(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    return str(uid)
