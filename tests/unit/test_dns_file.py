"""resolv.conf is written whole, or not at all."""

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrypoint import dns


@pytest.fixture
def little_room() -> Iterator[int]:
    """Let no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_in_the_middle_leaves_what_stood_there(
    tmp_path: Path, little_room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel writes what fits and says how much that was."""
    monkeypatch.setattr(dns, "FILE", tmp_path / "resolv.conf")
    old = b"nameserver 192.0.2.1\n"
    dns.FILE.write_bytes(old)
    with pytest.raises(OSError, match="No space left") as raised:
        dns.write("search " + "x" * little_room + "\n")
    assert raised.value.errno == errno.ENOSPC
    assert dns.FILE.read_bytes() == old
