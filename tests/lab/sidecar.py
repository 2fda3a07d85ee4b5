"""The program under test, started as a container would start it, and seen only from outside."""

import contextlib
import http.client
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.traffic import ROOT
from tests.lab.waiting import until

HEALTH = ("127.0.0.1", 9797)
"""Where the health endpoint listens by default."""

# A container has a /run, a /tmp, a hosts file and a resolv.conf of its own, and only the devices it was
# given. What stands in "$0" outlives the process, as a container's files do.
_MOUNTS = """
set -e
mount --bind "$0/resolv.conf" /etc/resolv.conf
mount --bind "$0/hosts" /etc/hosts
mount --bind "$0/run" /run
"""
_NO_DEVICE = 'mount --bind "$0/dev-net" /dev/net\n'
# The machine has no /vpn and shall get none: the program sees a root that has one more folder.
_VPN_FOLDER = """
mount -t tmpfs root "$0/root"
for each in /*; do
    if [ -L "$each" ]; then cp --no-dereference "$each" "$0/root"
    elif [ -d "$each" ]; then mkdir "$0/root$each"; mount --rbind "$each" "$0/root$each"
    fi
done
mkdir "$0/root/vpn"
mount --bind "$0/vpn" "$0/root/vpn"
exec chroot "$0/root" env --chdir="$PWD" "$@"
"""


class Sidecar:
    """`python -m entrypoint` in a namespace, with an environment that holds only what it is given."""

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        environment: Mapping[str, str],
        *,
        capabilities: Sequence[str] | None = None,
        tun_device: bool = True,
        vpn_folder: bool = False,
    ) -> None:
        """Describe it; `start` starts it.

        `directory` holds what its container would keep between two starts. `capabilities`: names as
        setpriv takes them (`net_admin`), all others are taken away; None leaves all of root's.
        `tun_device` off hides /dev/net/tun. `vpn_folder` mounts `directory`/vpn at /vpn.
        """
        self.host = host
        self.directory = directory
        self.environment = dict(environment)
        self.capabilities = capabilities
        self.tun_device = tun_device
        self.vpn_folder = vpn_folder
        self._process: LoggedProcess | None = None

    @property
    def process(self) -> LoggedProcess:
        """The running program and its log."""
        if self._process is None:
            raise AssertionError("the sidecar was not started")
        return self._process

    @property
    def lines(self) -> list[str]:
        """The log so far."""
        return self.process.lines

    def start(self, *argv: str) -> "Sidecar":
        """Start `python -m entrypoint` with these arguments (none: `run`)."""
        program = (sys.executable, "-u", "-m", "entrypoint", *(argv or ("run",)))
        self._process = self._spawn(program, "sidecar")
        return self

    def knows(self, name: str, *addresses: str) -> None:
        """Have a name stand for these addresses, from now on and in its hosts file alone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # In place: the file is mounted.
        (self.directory / "hosts").write_text("".join(f"{address} {name}\n" for address in addresses))

    def run(self, *argv: str, timeout: float = 20.0) -> tuple[int, str]:
        """Run a command such as `plan` beside it, to its end; return exit status and output."""
        return self._to_its_end(sys.executable, "-m", "entrypoint", *argv, timeout=timeout)

    def healthcheck(self, timeout: float = 10.0) -> tuple[int, str]:
        """Run the container's HEALTHCHECK command; return exit status and what it said."""
        return self._to_its_end(sys.executable, "-m", "healthcheck", timeout=timeout)

    def wait_for_line(self, pattern: str, timeout: float = 10.0, *, after: int = 0) -> str:
        """Return the first line of the log that `pattern` is found in, from line number `after` on."""
        return self.process.wait_for_line(pattern, timeout, after=after)

    def terminate(self, timeout: float = 15.0) -> int:
        """SIGTERM, as `docker stop` sends it; return the exit status."""
        return self.process.terminate(timeout)

    def kill(self) -> int:
        """SIGKILL of the program alone: its client lives on; return the exit status."""
        return self.process.kill()

    def get(self, path: str, timeout: float = 2.0) -> tuple[int, str]:
        """Ask the health endpoint from inside; return HTTP status and body.

        Raises OSError where nobody listens.
        """

        def ask() -> tuple[int, str]:
            connection = http.client.HTTPConnection(*HEALTH, timeout=timeout)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read().decode()
            finally:
                connection.close()

        return self.host.call(ask)

    def status(self) -> dict[str, Any]:
        """Return /status."""
        code, body = self.get("/status")
        if code != http.HTTPStatus.OK:
            raise AssertionError(f"/status answered {code}: {body}")
        return cast("dict[str, Any]", json.loads(body))

    def readiness(self) -> tuple[bool, str]:
        """Return whether /readyz says ready, and what it says; nobody listening is not ready."""
        try:
            code, body = self.get("/readyz")
        except (OSError, http.client.HTTPException) as error:
            return False, str(error)
        return code == http.HTTPStatus.OK, body

    def ready(self) -> bool:
        """Whether /readyz says ready."""
        return self.readiness()[0]

    def wait_until_ready(self, timeout: float = 15.0) -> "Sidecar":
        """Wait for readiness; AssertionError with the log, at once when the program ends."""
        self._wait_for_readiness(timeout, wanted=True)
        return self

    def wait_until_unready(self, timeout: float = 15.0) -> str:
        """Wait for unreadiness and return what /readyz says."""
        self._wait_for_readiness(timeout, wanted=False)
        return self.readiness()[1]

    def look_up(self, name: str) -> str | None:
        """Ask the container's C library for the IPv4 address of a name, or the name of an address."""
        family = "hosts" if name[0].isdigit() else "ahostsv4"
        inside = ("nsenter", f"--target={self.process.pid}", "--mount", "--", "getent", family, name)
        words = self.host.run(*inside, check=False).stdout.split()
        return words[family == "hosts"] if words else None

    def client_pids(self) -> list[int]:
        """Return the processes below it: the VPN client and what that started."""
        found: list[int] = []
        parents = [self.process.pid]
        while parents:
            parent = parents.pop()
            # What ends while we look has no children any more.
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                found += map(int, children)
                parents += map(int, children)
        return found

    def _wait_for_readiness(self, timeout: float, *, wanted: bool) -> None:
        try:
            until(
                lambda: not self.process.running or self.ready() == wanted,
                timeout,
                f"the sidecar to be {'' if wanted else 'un'}ready",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.readiness()[1]}\n{self.process.tail()}") from None
        if not self.process.running:
            raise AssertionError(f"the sidecar ended with {self.process.wait()}\n{self.process.tail()}")

    def _to_its_end(self, *argv: str, timeout: float) -> tuple[int, str]:
        process = self._spawn(argv, " ".join(argv[1:]))
        status = process.wait(timeout)
        return status, "".join(f"{line}\n" for line in process.lines)

    def _spawn(self, argv: Sequence[str], name: str) -> LoggedProcess:
        """Start a program as in the container: its mounts, capabilities and environment."""
        for part in ("run", "dev-net", "root", "vpn"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        for file in ("resolv.conf", "hosts"):
            (self.directory / file).touch()
        mounts = _MOUNTS + ("" if self.tun_device else _NO_DEVICE)
        mounts += _VPN_FOLDER if self.vpn_folder else 'exec "$@"'
        limits = []
        if self.capabilities is not None:
            kept = ",".join(["-all", *(f"+{capability}" for capability in self.capabilities)])
            limits = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", "--"]
        return self.host.spawn(
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("sh", "-c", mounts, str(self.directory)),
            *limits,
            *argv,
            environment={"PATH": os.environ["PATH"], **self.environment},
            directory=ROOT,
            name=name,
        )
