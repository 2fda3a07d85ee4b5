"""The whole program where it is started twice, stopped half-way, or given no room."""

import array
import fcntl
import http.client
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.kernel.boxed import mounted, sidecar, unread
from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import Monitor, everything, ours
from tests.kernel.test_standing import DOCKER
from tests.lab.sidecar import HEALTH
from tests.lab.waiting import until

PIPE_BYTES = 4096
STOP_SECONDS = 10.0


def alive(container: Container) -> bool:
    """Ask /livez."""

    def ask() -> int:
        connection = http.client.HTTPConnection(*HEALTH, timeout=1)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    return container.host.call(ask) == http.HTTPStatus.OK


def test_a_second_run_in_the_namespace_ends_and_leaves_the_first_alone(
    container: Container, tmp_path: Path
) -> None:
    """Two would take each other's rules away; files of their own do not hide them from each other."""
    (tmp_path / "other").mkdir()
    first = sidecar(container, tmp_path).start()
    first.wait_for_line("ip -6 rule add from all fwmark")
    until(lambda: alive(container), LIMIT_SECONDS, "the first one's endpoint")
    monitor = Monitor(container.host)
    second = sidecar(container, tmp_path / "other", HEALTH_LISTEN="127.0.0.1:9798").start()
    assert second.process.wait() == 78
    (line,) = second.lines
    assert line == (
        "sidegate: cannot run: saw another sidegate in this network namespace; "
        "stop that one, or give this one a network of its own"
    )
    assert monitor.changes() == []
    assert ours(container.host) == DOCKER
    assert alive(container)
    assert first.terminate() == 0
    third = sidecar(container, tmp_path / "other").start()
    third.wait_for_line("ip -6 rule add from all fwmark")
    assert third.terminate() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_wait_that_is_interrupted_did_not_see_it_ready(
    container: Container, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """`sidegate wait && start-the-service` must not start it."""
    waiting = sidecar(container, tmp_path).start("wait")
    waiting.wait_for_line("cannot ask")
    waiting.process.signal(number)
    assert waiting.process.wait() == code


def test_a_wait_for_an_endpoint_that_is_off_ends_at_once(container: Container, tmp_path: Path) -> None:
    """Nobody would ever answer; the line says why."""
    running = sidecar(container, tmp_path, HEALTH_LISTEN="off").start()
    running.wait_for_line("ip -6 rule add from all fwmark")
    status, text = running.run("wait", timeout=LIMIT_SECONDS)
    assert (status, text.count("\n")) == (1, 1)
    assert "saw the endpoint off" in text
    assert running.terminate() == 0


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
def test_a_timeout_that_is_no_time_is_refused(container: Container, tmp_path: Path, seconds: str) -> None:
    """Nothing is later than not-a-number: it would wait for ever."""
    status, text = sidecar(container, tmp_path).run("wait", f"--timeout={seconds}", timeout=LIMIT_SECONDS)
    assert status == 2
    assert "--timeout" in text


@pytest.fixture
def stalled(container: Container, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a running program whose log's pipe is full."""
    running = unread(container, tmp_path)
    output = cast("int", running.stdout and running.stdout.fileno())
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        # Lines go whole or not at all, so that a rest of the pipe stays free.
        until(lambda: queued(output) > PIPE_BYTES - 300, LIMIT_SECONDS, "a full pipe")
        yield running
    finally:
        running.kill()
        running.wait()
        if running.stdout:
            running.stdout.close()


def queued(descriptor: int) -> int:
    """Return how many bytes wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def test_a_log_that_nobody_reads_stops_nothing(
    container: Container, stalled: subprocess.Popen[bytes]
) -> None:
    """A log driver that stands still: rules are mended, /livez answers, SIGTERM ends it in order."""
    until(lambda: alive(container), LIMIT_SECONDS, "/livez")
    container.host.ip("rule flush protocol 83")
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "the rules")
    stalled.terminate()
    assert stalled.wait(STOP_SECONDS) == 0
    assert not ours(container.host)


def test_a_log_whose_reader_is_gone_stops_nothing(
    container: Container, stalled: subprocess.Popen[bytes]
) -> None:
    """Neither a write to it nor Python's own last flush is a fault of ours."""
    assert stalled.stdout
    stalled.stdout.close()
    until(lambda: alive(container), LIMIT_SECONDS, "/livez")
    stalled.terminate()
    assert stalled.wait(STOP_SECONDS) == 0
    assert not ours(container.host)


FULL_AT_START = """
mount -t tmpfs -o size=16k tmpfs /run
cat /dev/zero > /run/fill 2> /dev/null || true
"""
ROOM_FOR_SOME = "mount -t tmpfs -o size=64k tmpfs /run\n"


def test_no_room_in_run_at_the_start_is_a_bad_setting(container: Container, tmp_path: Path) -> None:
    """Told before anything is changed."""
    before = everything(container.host)
    process = mounted(container, tmp_path, FULL_AT_START)
    assert process.wait() == 78
    (line,) = process.lines
    assert line.startswith("sidegate: cannot write ")
    assert "No space left on device" in line
    assert everything(container.host) == before


def test_no_room_in_run_later_is_a_warning(container: Container, tmp_path: Path) -> None:
    """The note is for a run that is killed: it must not cost the tunnel."""
    process = mounted(container, tmp_path, ROOM_FOR_SOME, {"VPN_UP_TIMEOUT": "700ms"})
    process.wait_for_line("ip -6 rule add from all fwmark")
    fill = Path(f"/proc/{process.pid}/root/run/fill")
    with pytest.raises(OSError, match="No space"):
        fill.write_bytes(bytes(128 * 1024))
    process.wait_for_line(r"warning cannot note the client in /run/.*: saw No space left on device")
    seen = len(process.lines)
    process.wait_for_line("openvpn:? brought up no tunnel within", after=seen)
    assert ours(container.host) == DOCKER
    assert process.terminate(STOP_SECONDS) == 0
    assert not ours(container.host)


def test_a_fault_of_ours_has_its_own_exit_code_and_leaves_nothing(
    container: Container, tmp_path: Path
) -> None:
    """Here the health server cannot be imported; rules, routes and the client are gone all the same."""
    shadow = tmp_path / "shadow" / "uvicorn"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise RuntimeError('shadowed')\n")
    before = everything(container.host)
    running = sidecar(container, tmp_path, PYTHONPATH=str(shadow.parent)).start()
    running.wait_for_line("ip -6 rule add from all fwmark")
    assert running.process.wait(STOP_SECONDS) == 70
    assert running.lines[-1] == "RuntimeError: shadowed"
    assert everything(container.host) == before
    assert container.host.pids() == []


def test_a_link_that_lost_its_carrier_is_told(container: Container, tmp_path: Path) -> None:
    """The bridge went, or the other end of the cable: the kernel keeps every route, and nobody answers."""
    running = sidecar(container, tmp_path).start()

    def told() -> bool:
        return "its link has no carrier: the other end is down" in running.readiness()[1]

    until(lambda: "eth0 172.30.0.0/16 by 172.30.0.1" in running.readiness()[1], LIMIT_SECONDS, "the network")
    assert not told()
    container.router.ip("link set to-eth0 down")
    until(told, LIMIT_SECONDS, "the lost carrier")
    running.wait_for_line("cannot reach anybody by eth0: saw that its link has no carrier")
    container.router.ip("link set to-eth0 up")
    until(lambda: not told(), LIMIT_SECONDS, "the carrier")
    assert ours(container.host) == DOCKER
    container.router.ip("link delete to-eth0")
    running.wait_for_line("cannot serve a network: saw none any more")
    assert len([line for line in running.lines if "warning cannot" in line]) == 2
    assert running.terminate() == 0
