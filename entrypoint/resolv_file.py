"""/etc/resolv.conf as a file: it is a mount, written in place, and noted for a run that is killed.

Bytes that are no text go through unchanged.
"""

import contextlib
import errno
import os
from pathlib import Path

from entrypoint import resolv_conf
from entrypoint.resolv_conf import FILE


def read() -> str:
    """Return what it says; raises OSError."""
    return _decoded(FILE.read_bytes())


def write(text: str) -> None:
    """Write it in place: the file is a mount, and who shares it would keep the old one. Raises OSError.

    One call, longer or as long as what it covers: whoever reads it or kills us meanwhile finds one of the
    two whole, at worst with empty lines behind it.
    """
    content = _encoded(text)
    descriptor = os.open(FILE, os.O_RDWR)
    try:
        old = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        wanted = content.ljust(len(old), b"\n")
        if os.pwrite(descriptor, wanted, 0) < len(wanted):
            # A disk that is full in the middle of it.
            os.pwrite(descriptor, old, 0)
            os.ftruncate(descriptor, len(old))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(FILE))
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


class Note:
    """What the file said before us, for the next run: a client that is killed may have written over it."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "resolv.conf"

    def as_it_was(self, present: str) -> str:
        """Return what stood there before a run that was killed, or what stands there."""
        if not resolv_conf.is_ours(present):
            # Where the client of a killed run wrote the file, that run's note says it.
            with contextlib.suppress(OSError):
                return _decoded(self._file.read_bytes())
        return resolv_conf.original(present)

    def write(self, before: str) -> None:
        """Note what the file says without us, as far as there is room."""
        with contextlib.suppress(OSError):
            self._file.write_bytes(_encoded(before))

    def forget(self) -> None:
        """Drop the note: the file is put back."""
        self._file.unlink(missing_ok=True)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _decoded(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
