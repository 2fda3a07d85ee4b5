"""Functions of this program called inside a network namespace."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""Of linux/sched.h; os.setns exists only from Python 3.12 on."""

_libc = ctypes.CDLL(None, use_errno=True)


def call_in(namespace: Path, function: Callable[[], T]) -> T:
    """Call `function` in the namespace that the file stands for; sockets that it makes stay there."""
    return _InNamespace(namespace, function).answer()


def _enter(namespace: Path) -> None:
    with namespace.open("rb") as file:
        if _libc.setns(file.fileno(), CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter {namespace}: {os.strerror(number)}")


class _InNamespace(threading.Thread, Generic[T]):
    """A thread that moves into a namespace, calls a function there and ends; others stay where they are."""

    def __init__(self, namespace: Path, function: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._namespace = namespace
        self._function = function
        self._answer: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            _enter(self._namespace)
            self._answer.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            self._error = error

    def answer(self) -> T:
        self.start()
        self.join()
        if self._error is not None:
            raise self._error
        return self._answer[0]
