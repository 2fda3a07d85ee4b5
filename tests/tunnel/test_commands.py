"""The commands beside `run`."""

import json
import time

import pytest

from tests.lab.addresses import V4, V6
from tests.lab.sidecar import Sidecar
from tests.lab.waiting import until
from tests.tunnel.product import PRIORITY, TABLE, Kernel, Product, kernel_events

PLAN = [
    f"ip route add {V4.docker} dev eth0 scope link table {TABLE} proto 83",
    f"ip -6 route add {V6.docker} dev eth0 table {TABLE} proto 83",
    f"ip route add default via {V4.docker_gateway} dev eth0 table {TABLE} proto 83",
    f"ip -6 route add default via {V6.docker_gateway} dev eth0 table {TABLE} proto 83",
    f"ip route add unreachable default metric 4294967295 table {TABLE} proto 83",
    f"ip -6 route add unreachable default metric 4294967295 table {TABLE} proto 83",
    f"ip rule add from {V4.docker} iif lo lookup {TABLE} priority {PRIORITY} protocol 83",
    f"ip -6 rule add from {V6.docker} iif lo lookup {TABLE} priority {PRIORITY} protocol 83",
]


def lines_of(text: str) -> list[str]:
    """Return the lines of a plan about replies: without notes and what is for the client's own packets."""
    return [line for line in text.splitlines() if not line.startswith("#") and "fwmark" not in line]


def test_plan_says_what_run_would_do_and_touches_nothing(standing: Product) -> None:
    """On a fresh namespace: the iproute2 lines that `run` then logs."""
    with kernel_events(standing.host) as events:
        code, said = standing.sidecar().run("plan")
    assert code == 0
    assert lines_of(said) == PLAN
    assert events == []


def test_plan_beside_a_running_one_changes_nothing(standing: Product) -> None:
    """It sees that all stands, and disturbs neither kernel nor run."""
    sidecar = standing.start()
    try:
        before = Kernel.of(standing.host)
        with kernel_events(standing.host) as events:
            code, said = sidecar.run("plan")
        assert (code, lines_of(said)) == (0, [])
        assert "# nothing to change" in said
        assert events == []
        assert Kernel.of(standing.host) == before
        assert sidecar.ready()
    finally:
        sidecar.terminate()


def test_plan_without_the_right_to_change_anything(standing: Product) -> None:
    """It needs no NET_ADMIN, no tun device and no configuration."""
    sidecar = standing.sidecar({"VPN_CONFIG": "/no/such/file"}, capabilities=[], tun_device=False)
    assert [line for line in lines_of(sidecar.run("plan")[1]) if line] == PLAN


def test_status_prints_the_running_ones_status(standing: Product) -> None:
    """As JSON; without a run it says why there is none and fails."""
    sidecar = standing.start()
    code, said = sidecar.run("status")
    assert code == 0
    assert json.loads(said)["client"] == sidecar.status()["client"]
    sidecar.terminate()
    code, said = sidecar.run("status")
    assert code == 1
    assert "is sidegate running in this network namespace?" in said


def test_version_is_told(standing: Product) -> None:
    """With the name before it."""
    code, said = standing.sidecar().run("version")
    assert code == 0
    assert said.split()[0] == "sidegate"
    assert said.split()[1][0].isdigit()


def test_wait_returns_when_ready(product: Product) -> None:
    """Begun before the run, it tells what it waits for and ends with 0 at ready."""
    product.server.pause()
    waiting = product.sidecar().start("wait")
    waiting.wait_for_line("is sidegate running")
    sidecar = product.sidecar().start()
    waiting.wait_for_line("client: openvpn has no session yet")
    assert waiting.process.running
    product.server.resume()
    sidecar.wait_until_ready()
    assert waiting.process.wait(5) == 0


@pytest.mark.parametrize("timeout", ["0.5", "1"])
def test_wait_gives_up_in_time(standing: Product, timeout: str) -> None:
    """`--timeout` ends it with 1."""
    began = time.monotonic()
    code, said = standing.sidecar().run("wait", "--timeout", timeout)
    assert code == 1
    assert said
    assert float(timeout) <= time.monotonic() - began < float(timeout) + 3


def test_commands_find_a_moved_endpoint(standing: Product) -> None:
    """HEALTH_LISTEN of the run alone is enough: `docker exec` may not have it."""
    running = standing.sidecar({"HEALTH_LISTEN": "127.0.0.1:9900"}).start()
    try:
        asking = Sidecar(standing.host, running.directory, {})
        assert asking.run("wait", "--timeout", "10")[0] == 0
        assert asking.run("status")[0] == 0
        assert asking.healthcheck()[0] == 0
    finally:
        running.terminate()


def test_an_endpoint_that_is_off_is_told(standing: Product) -> None:
    """Nothing listens, the VPN works, and the HEALTHCHECK command says what to do."""
    running = standing.sidecar({"HEALTH_LISTEN": "off"}).start()
    try:
        running.wait_for_line("test replies the right way")
        assert standing.unreached(V4) == {}
        until(lambda: "off" in running.healthcheck()[1], 3, "the endpoint to be told off")
        assert standing.host.run("ss", "-Hltn", "sport", "9797").stdout == ""
    finally:
        running.terminate()
