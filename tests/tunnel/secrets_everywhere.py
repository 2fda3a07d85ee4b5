"""Looks for secrets in every place where a running sidecar could show one.

    assert seen(sidecar, [password, key], known=[config]) == []

A client's test calls it while its client runs, and `left` after the end. What the user himself wrote down is
named by `known`, and the program's own environment, where he may have put the value, does not count.
"""

import base64
import json
import os
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from tests.lab.sidecar import Sidecar

PATHS = ("/livez", "/readyz", "/status", "/metrics", "/no-such-path")
COMMANDS = (("plan",), ("status",), ("wait", "--timeout", "1"), ("no-such-command",))
OF_TESTS = "pytest-of-"
"""How folders in /tmp begin that hold what the tests themselves wrote down."""
LARGEST_BYTES = 64 * 1024 * 1024
"""A core dump is smaller."""


def seen(
    sidecar: Sidecar, secrets: Sequence[str], *, folders: Iterable[Path] = (), known: Collection[Path] = ()
) -> list[str]:
    """Return each place where a secret can be seen, as `place: secret`.

    `folders` are searched beside the sidecar's own: where the client works. `known` are files that hold a
    secret because the user put it there.
    """
    return _found(_places(sidecar, folders, known), secrets)


def left(
    sidecar: Sidecar, secrets: Sequence[str], *, folders: Iterable[Path] = (), known: Collection[Path] = ()
) -> list[str]:
    """Return the same of a sidecar that has ended: its log and its files."""
    places = (*_log(sidecar), *_files((sidecar.directory, *folders), known), *_temporary_files(sidecar))
    return _found(places, secrets)


def _found(places: Iterable[tuple[str, bytes]], secrets: Sequence[str]) -> list[str]:
    forms = {form: secret for secret in secrets for form in _forms(secret)}
    return [f"{place}: {secret}" for place, text in places for form, secret in forms.items() if form in text]


def _forms(secret: str) -> set[bytes]:
    """Return how a secret may be written."""
    raw = secret.encode()
    return {
        raw,
        raw.hex().encode(),
        json.dumps(secret)[1:-1].encode(),
        urllib.parse.quote(secret).encode(),
        urllib.parse.quote_plus(secret).encode(),
        # Without the end, which depends on what follows.
        base64.b64encode(raw).rstrip(b"=")[: len(raw) // 3 * 4],
    }


def _places(
    sidecar: Sidecar, folders: Iterable[Path], known: Collection[Path]
) -> Iterator[tuple[str, bytes]]:
    yield from _processes(sidecar)
    for path in PATHS:
        yield path, sidecar.get(path)[1].encode()
    for command in COMMANDS:
        yield f"sidegate {' '.join(command)}", sidecar.run(*command)[1].encode()
    yield "python -m healthcheck", sidecar.healthcheck()[1].encode()
    yield from _files((sidecar.directory, *folders), known)
    yield from _temporary_files(sidecar)
    yield from _log(sidecar)


def _processes(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    """Give arguments, environment and open files' names of every process in the sidecar's namespace."""
    for pid in sidecar.host.pids():
        folder = Path(f"/proc/{pid}")
        try:
            name = (folder / "comm").read_text().strip()
            yield f"argument list of {name}", (folder / "cmdline").read_bytes()
            if pid != sidecar.process.pid:
                yield f"environment of {name}", (folder / "environ").read_bytes()
            for descriptor in (folder / "fd").iterdir():
                yield f"open file of {name}", os.fsencode(descriptor.readlink())
        except OSError:
            continue  # it ended while we looked


def _log(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    yield "log", "\n".join(sidecar.lines).encode()


def _files(folders: Iterable[Path], known: Collection[Path]) -> Iterator[tuple[str, bytes]]:
    """Give names and contents of the files in folders."""
    for folder in folders:
        for file in folder.rglob("*"):
            yield f"name of {file}", os.fsencode(file)
            if file.is_file() and file not in known and file.stat().st_size < LARGEST_BYTES:
                yield str(file), file.read_bytes()


def _temporary_files(sidecar: Sidecar) -> Iterator[tuple[str, bytes]]:
    """Give what came to /tmp since the sidecar's container was made; it shares that with the tests."""
    since = (sidecar.directory / "resolv.conf").stat().st_mtime
    for path in Path("/tmp").iterdir():  # noqa: S108 - it is there that we look
        try:
            if path.name.startswith(OF_TESTS) or path.stat().st_mtime < since:
                continue
            yield f"name of {path}", os.fsencode(path)
            yield from _files((path,), ()) if path.is_dir() else [(str(path), path.read_bytes())]
        except OSError:
            continue  # it is somebody else's, and gone
