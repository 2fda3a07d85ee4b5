"""The demo's own promises: it tells the truth, and it takes everything away."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.demo.stage import ROWS
from tests.demo.standing import Standing
from tests.lab.addresses import SERVICE_PORT, V4
from tests.lab.namespaces import NETNS, Namespace
from tests.lab.traffic import ROOT, connects
from tests.lab.waiting import until


def demo(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tests.demo", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def hosts_of(pid: int) -> list[str]:
    """Return the names of the hosts that a process made."""
    return [path.name for path in NETNS.glob(f"sg-{pid:x}-*")]


@pytest.fixture
def standing() -> Iterator[Standing]:
    """Give a lab's name that nobody else uses; what stands under it goes in the end."""
    lab = Standing(f"sgdemo-{secrets.token_hex(3)}")
    yield lab
    lab.down()


def test_the_demo_shows_both_columns_and_ends_with_0() -> None:
    """Every row, the kernel's changes and the health are there, and all came out as it must."""
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    for row in ROWS:
        line = next(line for line in done.stdout.splitlines() if line.startswith(row.question))
        assert line.split()[-1] == "answered"
        assert ("timed out" in line) == row.breaks
    assert f"ip rule add from {V4.docker} iif lo lookup 7100 priority 90" in done.stdout
    assert "[+] tunnel: " in done.stdout
    assert "\n    ready: " in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_takes_all_away(number: signal.Signals) -> None:
    """Ctrl-C in the middle leaves no host, and an exit status that tells of the signal."""
    # A shell's background job has its children ignore SIGINT.
    argv = ["env", "--default-signal=INT", sys.executable, "-m", "tests.demo"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        next(line for line in run.stdout if "the lab stands" in line)
        assert hosts_of(run.pid)
        run.send_signal(number)
        run.communicate(timeout=20)
    assert run.returncode == 128 + number
    assert not hosts_of(run.pid)


def test_up_stands_until_down_is_called_elsewhere(standing: Standing) -> None:
    """Up returns with a lab that works, a second one is refused, and down leaves nothing."""
    up = demo("--name", standing.name, "up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"{standing.name} down" in up.stdout
    assert connects(Namespace(f"{standing.name}-laptop"), V4.server_a, SERVICE_PORT)
    assert demo("--name", standing.name, "up").returncode == 1
    down = demo("--name", standing.name, "down")
    assert (down.returncode, down.stdout) == (0, "taken away\n")
    assert not list(NETNS.glob(f"{standing.name}-*"))
    assert not standing.directory.exists()
    assert demo("--name", standing.name, "down").stdout == "nothing stood\n"


def test_down_removes_what_a_killed_keeper_left(standing: Standing) -> None:
    """A lab whose keeper was killed does not stand in the way."""
    assert demo("--name", standing.name, "up").returncode == 0
    keeper = standing.keeper()
    assert keeper
    os.kill(keeper, signal.SIGKILL)
    until(lambda: standing.keeper() is None, 5, "the keeper's end")
    assert list(NETNS.glob(f"{standing.name}-*"))
    assert demo("--name", standing.name, "down").stdout == "taken away\n"
    assert not list(NETNS.glob(f"{standing.name}-*"))
    assert not standing.directory.exists()
