"""A stop at any moment leaves nothing behind and exits 0."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.addresses import V4
from tests.lab.namespaces import Namespace
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.product import PRIORITY, TABLE, Kernel, Product

FIRST_LINE = "ip route add"
MOMENTS = [round(0.05 * step, 2) for step in range(9)]
"""Seconds after the first line of the log; the tunnel is up at some 0.1."""


def processes(host: Namespace) -> set[int]:
    """Return what lives in a namespace."""
    return set(host.pids())


class Left:
    """What a sidecar may not leave behind: seen before, compared after."""

    def __init__(self, product: Product) -> None:
        self.host = product.host
        self.kernel = Kernel.of(self.host)
        self.processes = processes(self.host)
        self.directory = product.directory / "container"

    def nothing(self) -> bool:
        """Whether kernel and processes are what they were."""
        assert Kernel.of(self.host) == self.kernel
        assert processes(self.host) == self.processes
        return True


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_at_any_moment_of_the_start_leaves_nothing(standing: Product, moment: float) -> None:
    """From the first change to the kernel until the tunnel stands."""
    left = Left(standing)
    sidecar = standing.sidecar().start()
    sidecar.wait_for_line(FIRST_LINE)
    time.sleep(moment)  # the moment itself is what is tested
    assert sidecar.terminate() == 0, sidecar.process.tail()
    assert left.nothing()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_up_leaves_nothing(standing: Product, number: signal.Signals) -> None:
    """SIGINT is as good as SIGTERM; the log ends with what was done."""
    left = Left(standing)
    sidecar = standing.start()
    sidecar.process.signal(number)
    assert sidecar.process.wait() == 0
    assert left.nothing()
    assert "stopped: no rule, route or process of ours is left" in sidecar.lines[-1]


def test_a_signal_that_means_nothing_ends_nothing(standing: Product) -> None:
    """SIGHUP and its like are answered by a line, at the start too, and the client does not inherit it."""
    deaf = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    sidecar = standing.sidecar().start()
    until(lambda: masks(sidecar.process.pid, "SigCgt") & bit(signal.SIGHUP), 5, "the first handler")
    for number in deaf:
        sidecar.process.signal(number)
    sidecar.wait_until_ready()
    for number in deaf:
        sidecar.process.signal(number)
        sidecar.wait_for_line(f"warning {number.name} does nothing here")
    client = sidecar.status()["client"]["pid"]
    assert not any(masks(client, "SigIgn") & bit(number) for number in deaf)
    assert sidecar.ready()
    assert sidecar.terminate() == 0


def masks(pid: int, name: str) -> int:
    """Return a set of signals of /proc/PID/status."""
    words = (Path("/proc") / str(pid) / "status").read_text().split()
    return int(words[words.index(f"{name}:") + 1], 16)


def bit(number: signal.Signals) -> int:
    """Return a signal's place in such a set (proc(5))."""
    return 1 << number - 1


def test_a_stop_in_the_back_off_leaves_nothing(standing: Product) -> None:
    """Waiting for the next attempt does not delay the end."""
    left = Left(standing)
    sidecar = standing.sidecar({"VPN_ARGS": "--no-such-option"}).start()
    sidecar.wait_for_line("next attempt in 4 s", 20)
    began = time.monotonic()
    assert sidecar.terminate() == 0
    assert time.monotonic() - began < 1
    assert left.nothing()


def test_a_stop_while_reconnecting_leaves_nothing(product: Product) -> None:
    """The server is gone, the client looks for it."""
    left = Left(product)
    sidecar = product.start()
    product.server.kill()
    until(lambda: sidecar.status()["state"] == "reconnecting", 10, "the client to reconnect")
    assert sidecar.terminate() == 0
    assert left.nothing()


def test_a_stop_before_the_server_answers_leaves_nothing(product: Product) -> None:
    """The first attempt is under way and leads nowhere."""
    product.server.kill()
    left = Left(product)
    sidecar = product.sidecar().start()
    until(lambda: _state(sidecar) == "connecting", 10, "the first attempt")
    assert sidecar.terminate() == 0
    assert left.nothing()


def test_a_client_that_hangs_is_killed_in_time(make_product: Callable[..., Product]) -> None:
    """A client that ignores SIGTERM is gone before `docker stop` loses patience.

    So is its link, and the default route that it had taken is back.
    """
    product = make_product(push=("redirect-gateway ipv6",))
    left = Left(product)
    sidecar = product.start()
    os.kill(sidecar.status()["client"]["pid"], signal.SIGSTOP)
    began = time.monotonic()
    assert sidecar.terminate() == 0
    assert time.monotonic() - began < 9
    assert left.nothing()


def test_what_others_set_stays(lab: Lab, product: Product) -> None:
    """Rules of our priority and shape, routes in our table, tunnels: what has no tag of ours is not ours."""
    lab.sidecar.ip(
        f"rule add from {V4.neighbour} iif lo lookup {TABLE} priority {PRIORITY}",
        f"rule add from {V4.sidecar} lookup 9999 priority {PRIORITY + 1} protocol static",
        f"route add 203.0.113.0/24 via {V4.docker_gateway} dev eth0 table {TABLE} proto static",
        "tuntap add tun9 mode tun",
        "address add 10.98.0.2/24 dev tun9",
        "link set tun9 up",
    )
    left = Left(product)
    sidecar = product.start()
    assert product.unreached(V4) == {}
    assert sidecar.terminate() == 0
    assert left.nothing()


def test_a_second_signal_does_not_disturb_the_stop(standing: Product) -> None:
    """An impatient Ctrl-C, again and again, ends in the same clean end."""
    left = Left(standing)
    sidecar = standing.start()
    while sidecar.process.running:
        sidecar.process.signal(signal.SIGINT)
        sidecar.process.signal(signal.SIGTERM)
        time.sleep(0.005)  # between two key presses
    assert sidecar.process.wait() == 0, sidecar.process.tail()
    assert left.nothing()


def _state(sidecar: Sidecar) -> str | None:
    try:
        return str(sidecar.status()["state"])
    except OSError:
        return None
