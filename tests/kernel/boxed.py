"""The whole program in a container's namespace, with a server that nobody reaches."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.kernel.conftest import Container
from tests.lab.processes import LoggedProcess
from tests.lab.sidecar import Sidecar
from tests.lab.traffic import ROOT

CONFIG = "client\ndev tun\nproto udp\nremote 198.51.100.10 1194\npeer-fingerprint " + ":".join(["00"] * 32)
CREDENTIALS = {"VPN_USERNAME": "bob", "VPN_PASSWORD": "of nobody"}
OWN_RUN = 'mount --bind "$0" /run\n'


def config(directory: Path, *more: str) -> str:
    """Write a configuration and return its path."""
    file = directory / "work.ovpn"
    file.write_text("\n".join((CONFIG, *more, "")))
    return str(file)


def sidecar(container: Container, directory: Path, **environ: str) -> Sidecar:
    """Describe the program; its client never comes up."""
    return Sidecar(
        container.host, directory / "box", {"VPN_CONFIG": config(directory), **CREDENTIALS, **environ}
    )


def _argv(mounts: str, directory: Path) -> tuple[str, ...]:
    program = f'{mounts}exec "$@"'
    run = directory / "run"
    run.mkdir(exist_ok=True)
    apart = ("unshare", "--mount", "--propagation", "private", "--")
    return (*apart, "sh", "-ec", program, str(run), sys.executable, "-m", "entrypoint")


def _environment(directory: Path, environ: Mapping[str, str], *more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "VPN_CONFIG": config(directory, *more), **CREDENTIALS, **environ}


def mounted(
    container: Container, directory: Path, mounts: str, environ: Mapping[str, str] | None = None
) -> LoggedProcess:
    """Start it after these lines of a shell, which have /run to themselves; "$0" is a folder."""
    return container.host.spawn(
        *_argv(mounts, directory),
        environment=_environment(directory, environ or {}),
        directory=ROOT,
        name="sidegate",
    )


def unread(container: Container, directory: Path) -> subprocess.Popen[bytes]:
    """Start it with a log that nobody reads, and a client that has much to say."""
    return subprocess.Popen(
        container.host.command(*_argv(OWN_RUN, directory)),
        stdout=subprocess.PIPE,
        env=_environment(directory, {}, "verb 4"),
        cwd=ROOT,
        start_new_session=True,
        bufsize=0,
    )
