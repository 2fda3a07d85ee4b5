"""Reads a client's configuration, and says why it cannot be read."""

import stat
from pathlib import Path

from entrypoint.files import DOCKERS_DIRECTORY, why_forbidden

MAX_BYTES = 1024 * 1024
"""The largest configuration; one with every certificate inside has some ten thousand bytes."""


def read(config: Path) -> bytes:
    """Read the file; raises ValueError with what is wrong and what to do."""
    try:
        # Reading a pipe that nobody writes to would never end.
        if not stat.S_ISREG(config.stat().st_mode):
            kind = "a directory" if config.is_dir() else "no plain file"
            raise ValueError(f"it is {kind}; {DOCKERS_DIRECTORY}")
        with config.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError("no such file; mount it there, or correct VPN_CONFIG") from None
    except PermissionError:
        raise ValueError(why_forbidden(config)) from None
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
