"""Reads a client's configuration, and says why it cannot be read or is no text."""

import stat
from pathlib import Path

from entrypoint.files import DOCKERS_DIRECTORY, why_forbidden

MAX_BYTES = 1024 * 1024
"""The largest configuration; one with every certificate inside has some ten thousand bytes."""


def read(config: Path, *, advice: str = "mount it there, or correct VPN_CONFIG") -> bytes:
    """Read the file; raises ValueError with what is wrong and what to do, `advice` where it is not there."""
    try:
        # Reading a pipe that nobody writes to would never end.
        if not stat.S_ISREG(config.stat().st_mode):
            kind = "a directory" if config.is_dir() else "no plain file"
            raise ValueError(f"it is {kind}; {DOCKERS_DIRECTORY}")
        with config.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(f"no such file; {advice}") from None
    except PermissionError:
        raise ValueError(why_forbidden(config)) from None
    except OSError as error:
        raise ValueError(f"it cannot be read: saw {error.strerror}") from None


def decode(data: bytes) -> str:
    """Turn the file into text; raises ValueError with what is wrong and what to do."""
    if not data.strip():
        raise ValueError("it is empty; put the configuration of your VPN there")
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes; name the configuration of your VPN")
    if b"\0" in data:
        raise ValueError("it is not a text, it has NUL bytes; name the configuration of your VPN")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not a text in UTF-8, see byte {error.start}; save it as UTF-8") from None
