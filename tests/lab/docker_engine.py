"""Docker Engines of the lab's own: each with its own socket, data and containerd, in a namespace or not.

The machine's own engine, if it has one, is never spoken to.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess

START_TIMEOUT = 60.0
"""Seconds that dockerd may take to listen; 0.3 s where nothing else runs."""

STOP_TIMEOUT = 30.0
"""Seconds that dockerd may take to end once its containers are gone."""

TAIL = 4000
"""Characters of each output that an error shows."""

LEAVE_THE_MACHINE_ALONE = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
)
"""Options of an engine in the machine's own namespace that only builds: no link, rule or sysctl changes."""

_OWNED = re.compile(r"engine-(?P<pid>[0-9a-f]+)-[0-9a-f]{4}")


class Engine:
    """A dockerd of our own and the docker command that speaks to it; a context manager that ends it.

    It dies with this process: the kernel sends it SIGTERM when the tests are killed, and the next run
    removes what it left under `parent`.
    """

    def __init__(
        self,
        parent: Path,
        *options: str,
        namespace: Namespace | None = None,
        data: Path | None = None,
        configuration: Path | None = None,
    ) -> None:
        """Keep everything below `parent`.

        `namespace` None is the machine's own. `data` keeps images for other runs; without it they go
        with the engine. `configuration` is the directory of the docker command's own settings and
        plugins.
        """
        self.directory = parent / f"engine-{os.getpid():x}-{secrets.token_hex(2)}"
        self.socket = self.directory / "docker.sock"
        self._parent = parent
        self._options = options
        self._namespace = namespace
        self._data = data or self.directory / "data"
        self._configuration = configuration or self.directory / "config"
        self._daemon: LoggedProcess | None = None

    def __enter__(self) -> Self:
        remove_leftovers(self._parent)
        self.directory.mkdir(parents=True)
        argv = [
            *("setpriv", "--pdeathsig", "TERM", "dockerd"),
            *("--host", f"unix://{self.socket}"),
            *("--data-root", str(self._data)),
            *("--exec-root", str(self.directory / "exec")),
            *("--pidfile", str(self.directory / "pid")),
            # An empty file: the machine's daemon.json is not ours.
            *("--config-file", str(self._empty_settings())),
            *self._options,
        ]
        command = self._namespace.command(*argv) if self._namespace else argv
        self._daemon = LoggedProcess(command, environment=_environment(), name="dockerd")
        try:
            self._daemon.wait_for_line("API listen on", START_TIMEOUT)
        except AssertionError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the containers and the engine, and remove its directory."""
        daemon, self._daemon = self._daemon, None
        if daemon and daemon.running:
            # Without containers there is nothing whose grace period dockerd would wait for.
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                self.remove_all()
            daemon.terminate(STOP_TIMEOUT)
        _remove(self.directory)

    @property
    def environment(self) -> dict[str, str]:
        """What the docker command needs in its environment to speak to this engine."""
        return _environment() | {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self._configuration),
            # Debian's command comes without buildx; the classic builder is also the stricter reader.
            "DOCKER_BUILDKIT": "0",
        }

    def docker(
        self, *argv: str, check: bool = True, timeout: float = 60.0, directory: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker command to its end; AssertionError with what it said when it fails under `check`."""
        done = subprocess.run(
            [_program("docker"), *argv],
            env=self.environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout[-TAIL:]}{done.stderr[-TAIL:]}"
            if self._daemon and not self._daemon.running:
                said += f"\nfor dockerd has ended:\n{self._daemon.tail()}"
            raise AssertionError(f"docker {' '.join(argv)} ended with {done.returncode}:\n{said}")
        return done

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of a container, image or network."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name).stdout)
        return found[0]

    def remove_all(self, *, keep_network: str | None = None) -> None:
        """Remove every container, and every network that was made but `keep_network`."""
        containers = self.docker("ps", "--all", "--quiet").stdout.split()
        if containers:
            self.docker("rm", "--force", "--volumes", *containers)
        listed = self.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}")
        networks = [name for name in listed.stdout.split() if name != keep_network]
        if networks:
            self.docker("network", "rm", *networks)

    def _empty_settings(self) -> Path:
        file = self.directory / "daemon.json"
        file.write_text("{}\n")
        return file


def remove_leftovers(parent: Path) -> None:
    """Remove the directories of engines whose run is gone, and that have ended since."""
    for directory in parent.glob("engine-*"):
        match = _OWNED.fullmatch(directory.name)
        if match and not Path(f"/proc/{int(match['pid'], 16)}").exists() and not _alive(directory / "pid"):
            _remove(directory)


def _alive(pidfile: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return Path(f"/proc/{int(pidfile.read_text())}").exists()
    return False


def _remove(directory: Path) -> None:
    """Remove a directory tree; what dockerd left mounted below it is unmounted first, innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = sorted((mount for mount in mounts if mount.startswith(f"{directory}/")), reverse=True)
    if below:
        subprocess.run(["umount", "--lazy", *below], check=True)
    shutil.rmtree(directory, ignore_errors=not directory.exists())


def _environment() -> dict[str, str]:
    """Return a small environment: nothing of the machine's settings for docker reaches ours."""
    return {"PATH": _path(), "HOME": "/root", "LC_ALL": "C.UTF-8"}


def _program(name: str) -> str:
    # Debian's own before any other: it is of the daemon's version.
    found = shutil.which(name, path=_path())
    if not found:
        raise AssertionError(f"cannot find the program {name}: run tests/setup as root")
    return found


def _path() -> str:
    return f"/usr/bin:/usr/sbin:/bin:/sbin:{os.environ.get('PATH', '')}"
