"""What a container has for itself, as far as it shows in the figures: its /run, and its files."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.image import PYTHON
from bench.procfs import PROC
from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.traffic import ROOT

# "$0" is the container's directory.
_ENTER = """
set -e
mount --bind "$0/resolv.conf" /etc/resolv.conf
mount --bind "$0/run" /run
while read -r copy path; do mount --bind "$0/files/$copy" "$path"; done <"$0/own"
exec "$@"
"""


_PATH = 5
"""The field of /proc/PID/maps that names the file, where there is one."""


class Container:
    """A private view of the file system for what is started in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for part in ("run", "files"):
            (directory / part).mkdir(parents=True)
        (directory / "resolv.conf").touch()
        self._own = directory / "own"
        self._own.touch()
        self._files: set[Path] = set()

    def own_files_of(self, pids: Iterable[int]) -> None:
        """Give copies of all files that these processes map to everything that is started from now on.

        The kernel shares the pages of a file among all who map it. An image's files are its own, so that
        nothing outside the container takes a share; here the lab's own Pythons and openvpn would.
        """
        mapped = {
            Path(fields[_PATH])
            for pid in pids
            for line in (PROC / str(pid) / "maps").read_text().splitlines()
            if len(fields := line.split(maxsplit=_PATH)) > _PATH and fields[_PATH].startswith("/")
        }
        for path in sorted(mapped - self._files):
            if path.is_file():
                copy = str(len(self._files))
                shutil.copy2(path, self._directory / "files" / copy)
                with self._own.open("a") as own:
                    own.write(f"{copy} {path}\n")
                self._files.add(path)

    def spawn(
        self, host: Namespace, argv: Sequence[str], environment: Mapping[str, str], name: str
    ) -> LoggedProcess:
        """Start a program in it; its first line of output is that of the gate."""
        return host.spawn(
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("sh", "-c", _ENTER, str(self._directory)),
            *(*PYTHON, "-m", "bench.gate"),
            *("env", "-i", *(f"{key}={value}" for key, value in environment.items())),
            *argv,
            environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            directory=ROOT,
            name=name,
        )
