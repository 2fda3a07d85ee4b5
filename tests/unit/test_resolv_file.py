"""resolv.conf is written whole, or not at all."""

import contextlib
import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint import resolv_file

ROOM = 100


@contextlib.contextmanager
def little_room() -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_in_the_middle_leaves_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel writes what fits and says how much that was."""
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(resolv_file, "FILE", file)
    old = b"nameserver 192.0.2.1\n"
    file.write_bytes(old)
    with pytest.raises(OSError, match="No space left") as raised, little_room():
        resolv_file.write("search " + "x" * ROOM + "\n")
    assert raised.value.errno == errno.ENOSPC
    assert file.read_bytes() == old
