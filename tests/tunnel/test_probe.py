"""A tunnel that looks alive and is dead: told by asking through it, and only where that is wished."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.processes import LoggedProcess
from tests.lab.sidecar import Sidecar
from tests.lab.traffic import Capture, serve
from tests.lab.waiting import until
from tests.tunnel.product import TUNNEL, Product, echoes, first_line

SLOW = {"keepalive": (60, 600)}
"""OpenVPN's own silence alarm is ten minutes away: the client believes in its tunnel."""
TARGET = f"{V4.server_b}:{SERVICE_PORT}"
OFTEN = {"HEALTH_TARGET": TARGET, "HEALTH_INTERVAL": "1s"}
DEAD_WITHIN = 14.0
"""Three asks of three seconds each, and some for a loaded machine."""


@pytest.fixture
def slow(make_product: Callable[..., Product]) -> Product:
    """Give the product beside a server whose silence its client would not notice."""
    return make_product(**SLOW)


@pytest.fixture
def service(slow: Product) -> LoggedProcess:
    """Let server B answer."""
    return serve(slow.lab.server_b)


def probe_line(sidecar: Sidecar) -> str:
    """Return what /readyz says of the probe; empty where it says nothing."""
    return next((line for line in sidecar.readiness()[1].splitlines() if "] probe: " in line), "")


def silence_server(product: Product, _: Sidecar) -> None:
    """Leave the server there, and have it say nothing."""
    product.server.pause()


def silence_client(_: Product, sidecar: Sidecar) -> None:
    """Leave the client's process there, and have it do nothing."""
    os.kill(sidecar.status()["client"]["pid"], signal.SIGSTOP)


def delete_routes(product: Product, _: Sidecar) -> None:
    """Take the pushed route away."""
    product.host.ip(f"route del {V4.vpn_network} dev {TUNNEL}")


def test_a_tunnel_is_ready_once_the_target_answered(slow: Product) -> None:
    """Client and tunnel stand, and it is not ready before somebody answered through it."""
    sidecar = slow.sidecar(OFTEN).start()
    until(lambda: "refused" in probe_line(sidecar), 10, "the first ask")
    status = sidecar.status()
    assert (status["ready"], status["probe"]["alive"]) == (False, False)
    assert first_line(sidecar).startswith(
        f"[-] probe: {TARGET} does not answer through the tunnel (1 in a row)"
    )
    assert [c["name"] for c in status["checks"] if not c["ok"]] == ["probe"]
    serve(slow.lab.server_b)
    sidecar.wait_until_ready()
    assert probe_line(sidecar).startswith(f"[+] probe: {TARGET} answers through the tunnel in ")
    seconds = sidecar.status()["probe"]["round_trip_seconds"]
    assert 0 < seconds < 1
    assert f"sidegate_probe_round_trip_seconds {seconds}" in sidecar.get("/metrics")[1]


@pytest.mark.parametrize("fault", [silence_server, silence_client, delete_routes])
def test_a_dead_tunnel_is_told_and_its_client_restarted(
    slow: Product, service: LoggedProcess, fault: Callable[[Product, Sidecar], None]
) -> None:
    """The client believes in it: 503 at the third failure, another client, and not one LAN echo lost."""
    assert service.running
    sidecar = slow.start(**OFTEN)
    with echoes(slow.lab):
        fault(slow, sidecar)
        until(lambda: not sidecar.ready(), DEAD_WITHIN, "health to tell")
        # A client that does nothing does not hear SIGTERM either.
        sidecar.wait_for_line(f"openvpn: its tunnel is dead: {TARGET} did not .* next attempt now$", 12)
        slow.server.resume()
        sidecar.wait_until_ready(20)
    assert sidecar.status()["restarts"] == 1
    assert slow.unreached() == {}


def test_restarts_slow_down_and_end_when_the_target_answers(slow: Product) -> None:
    """A target that refuses from the start costs attempts with the usual back-off, then none."""
    sidecar = slow.sidecar(OFTEN).start()
    for delay in ("now", "in 1 s", "in 2 s"):
        line = sidecar.wait_for_line(f"its tunnel is dead.*; next attempt {delay}", 15)
        assert "Connection refused" in line
    serve(slow.lab.server_b)
    sidecar.wait_until_ready()
    asks = sidecar.status()["probe"]["asks_total"]
    until(lambda: sidecar.status()["probe"]["asks_total"] >= asks + 3, 10, "three more answers")
    status = sidecar.status()
    assert (status["ready"], status["restarts"], status["probe"]["failures"]) == (True, 3, 0)


@pytest.mark.parametrize("target", [V4.server_b, V6.server_b, f"[{V6.server_b}]:{SERVICE_PORT}"])
def test_both_families_are_asked_by_ping_and_by_tcp(slow: Product, target: str) -> None:
    """An address without a port is pinged."""
    serve(slow.lab.server_b)
    sidecar = slow.start(HEALTH_TARGET=target)
    assert f"{target} answers through the tunnel" in probe_line(sidecar)


def test_it_is_asked_through_the_tunnel_and_by_no_other_way(slow: Product) -> None:
    """Each ask is seen on the tunnel, and none on the container's own link, dead or alive."""
    serve(slow.lab.server_b)
    sidecar = slow.start(**OFTEN)
    about = f"host {V4.server_b}"
    with Capture(slow.host, "eth0", about) as outside, Capture(slow.host, TUNNEL, about) as inside:
        until(lambda: len(inside.packets) >= 5, 10, "asks through the tunnel")
        slow.host.ip(f"route del {V4.vpn_network} dev {TUNNEL}")
        until(lambda: sidecar.status()["probe"]["failures"] >= 2, 10, "asks without a route")
    assert outside.packets == []
    assert f"sent from {V4.sidecar} and not by {TUNNEL}: no route leads there" in probe_line(sidecar)


def test_nobody_is_asked_by_default(slow: Product) -> None:
    """Without HEALTH_TARGET there is no check, no metric, and no packet but the client's own."""
    sidecar = slow.sidecar({"HEALTH_INTERVAL": "1s"})
    own = f"not (udp port 1194 and host {V4.vpn_endpoint}) and not arp and not icmp6 and not multicast"
    with Capture(slow.host, "eth0", own) as outside:
        sidecar.start().wait_until_ready()
        with Capture(slow.host, TUNNEL, "not icmp6") as inside:
            slow.server.pause()
            slow.host.run("sleep", "2.5")  # that nothing happens can only be seen by waiting
    assert (outside.packets, inside.packets) == ([], [])
    assert sidecar.status()["probe"] is None
    assert probe_line(sidecar) == ""
    assert "sidegate_probe" not in sidecar.get("/metrics")[1]
    assert sidecar.ready()
