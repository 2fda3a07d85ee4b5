"""Clients whose processes do not let themselves be ended."""

import fcntl
import sys
from pathlib import Path

import pytest

from tests.lab.processes import lives
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.tunnel.product import kill

STOP_WITHIN = 9.0
"""`docker stop` grants 10 s."""
TUNNEL = "#!/bin/sh\nip tuntap add tun5 mode tun\nip address add 10.99.0.7/24 dev tun5\nip link set tun5 up\n"
COMET = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(held, fcntl.LOCK_EX)
end = time.monotonic() + 30
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    if "leave" in sys.argv:
        os.setsid()
"""
"""Each process lives for a moment and leaves another; all hold one lock."""


def _vendor(lab: Lab, directory: Path, script: str, capabilities: tuple[str, ...] | None = None) -> Sidecar:
    program = directory / "vendor"
    program.write_text(TUNNEL + script)
    program.chmod(0o755)
    given = {"VPN_CLIENT": "command", "VPN_COMMAND": str(program)}
    return Sidecar(lab.sidecar, directory / "container", given, capabilities=capabilities)


@pytest.mark.parametrize("how", ["stay", "leave"])
def test_one_that_forks_on_and_on_is_ended(lab: Lab, tmp_path: Path, how: str) -> None:
    """In its session, and in a new one each time: no look finds it twice."""
    comet, lock = tmp_path / "comet.py", tmp_path / "lock"
    comet.write_text(COMET)
    sidecar = _vendor(lab, tmp_path, f"exec {sys.executable} -S -E {comet} {lock} {how}\n").start()
    sidecar.wait_until_ready()
    assert sidecar.terminate(STOP_WITHIN) == 0
    assert sidecar.lines[-1].endswith("stopped: no rule, route or process of ours is left")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_of_another_user_is_named_and_no_end_of_us(lab: Lab, tmp_path: Path) -> None:
    """Without CAP_KILL: its process lives on, which is said, and how to end it."""
    pid_file = tmp_path / "pid"
    tmp_path.chmod(0o755)
    script = (
        f"setpriv --reuid 65534 --regid 65534 --clear-groups sleep 300 &\necho $! >{pid_file}\n"
        "while ! grep -q '^Uid:.65534' /proc/$!/status; do :; done\n"
    )
    kept = ("net_admin", "setuid", "setgid", "dac_override")
    sidecar = _vendor(lab, tmp_path, script, kept).start().wait_until_ready()
    pid = int(pid_file.read_text())
    try:
        assert sidecar.terminate(STOP_WITHIN) == 0
        denied = f"cannot end process {pid}: saw no permission, it is another user's; add `cap_add: [KILL]`"
        assert [line for line in sidecar.lines if denied in line]
        assert sidecar.lines[-1].endswith(f"stopped: process {pid} of ours is left")
        assert lives(pid)
    finally:
        kill(pid)
