"""Tells that a file was written, by inotify(7): the standard library has no call for it."""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

IN_CLOSE_WRITE = 0x8
"""Of linux/inotify.h: somebody who had it open for writing has closed it."""
READ_BYTES = 4096

_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Calls back in the event loop each time that the file was written, until closed."""

    def __init__(self, file: Path, on_write: Callable[[], None]) -> None:
        """Begin; raises OSError where the kernel gives no watch."""
        self._on_write = on_write
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), file)
        try:
            _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(file), IN_CLOSE_WRITE), file)
        except OSError:
            os.close(self._descriptor)
            raise
        asyncio.get_running_loop().add_reader(self._descriptor, self._hear)

    def close(self) -> None:
        """End it."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _hear(self) -> None:
        # What it says is not looked at: the file itself is.
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, READ_BYTES)
        self._on_write()


def _checked(result: int, file: Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(file))
    return result
