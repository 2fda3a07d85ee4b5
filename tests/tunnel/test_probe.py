"""A tunnel that looks alive and is dead: told by asking through it, and only where that is wished."""

import http
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import others
from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.others import Other
from tests.lab.processes import LoggedProcess
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import Capture, serve
from tests.lab.waiting import until
from tests.lab.wireguard_server import WireGuardServer
from tests.tunnel.product import PUSH, TABLE, TUNNEL, AnyProduct, Product, echoes, first_line

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


@pytest.mark.parametrize("fault", [silence_server, delete_routes])
def test_a_dead_tunnel_is_told_and_its_client_restarted(
    slow: Product, service: LoggedProcess, fault: Callable[[Product, Sidecar], None]
) -> None:
    """The client believes in it: 503 at the third failure, another client, and not one LAN echo lost."""
    assert service.running
    sidecar = slow.start(**OFTEN)
    with echoes(slow.lab):
        fault(slow, sidecar)
        until(lambda: not sidecar.ready(), DEAD_WITHIN, "health to tell")
        sidecar.wait_for_line(f"openvpn: its tunnel is dead: {TARGET} did not .* next attempt now$", 8)
        slow.server.resume()
        sidecar.wait_until_ready(20)
    assert sidecar.status()["restarts"] == 1
    assert slow.unreached() == {}


def test_a_client_that_hangs_is_told(slow: Product) -> None:
    """Its process is there and does nothing: only who asks through its tunnel can know."""
    serve(slow.lab.server_b)
    sidecar = slow.start(**OFTEN)
    os.kill(sidecar.status()["client"]["pid"], signal.SIGSTOP)
    sidecar.wait_for_line(f"the tunnel is gone.*its tunnel is dead: {TARGET}", DEAD_WITHIN)
    assert sidecar.status()["state"] == "reconnecting"
    assert not sidecar.ready()


def test_restarts_slow_down_and_end_when_the_target_answers(slow: Product) -> None:
    """A target that refuses from the start costs attempts with the usual back-off, then none."""
    sidecar = slow.sidecar(OFTEN).start()
    for delay in ("now", "in 1 s"):
        line = sidecar.wait_for_line(f"its tunnel is dead.*; next attempt {delay}", 15)
        assert "Connection refused" in line
    serve(slow.lab.server_b)
    sidecar.wait_until_ready()
    asks = sidecar.status()["probe"]["asks_total"]
    until(lambda: sidecar.status()["probe"]["asks_total"] >= asks + 3, 10, "three more answers")
    status = sidecar.status()
    assert (status["ready"], status["restarts"], status["probe"]["failures"]) == (True, 2, 0)


def test_wireguard_is_restarted_as_well(lab: Lab, tmp_path: Path) -> None:
    """Its link is made anew, and not one LAN echo is lost."""
    product = AnyProduct(lab, tmp_path, WireGuardServer(lab.vpn_server, tmp_path / "server"))
    sidecar = product.sidecar(OFTEN).start()
    with echoes(lab):
        sidecar.wait_for_line("wireguard: its tunnel is dead.*; next attempt now", 15)
        serve(lab.server_b)
        sidecar.wait_until_ready()
        assert product.unreached() == {}
    assert sidecar.status()["restarts"] >= 1


@pytest.mark.parametrize("target", [V4.server_b, V6.server_b, f"[{V6.server_b}]:{SERVICE_PORT}"])
def test_both_families_are_asked_by_ping_and_by_tcp(slow: Product, target: str) -> None:
    """An address without a port is pinged."""
    serve(slow.lab.server_b)
    sidecar = slow.start(HEALTH_TARGET=target)
    assert f"{target} answers through the tunnel" in probe_line(sidecar)
    sidecar.wait_for_line(f" info    ready: .* {re.escape(target)} answers through the tunnel in ")
    assert not any("not ready" in line for line in sidecar.lines)


def test_it_is_asked_through_the_tunnel_and_by_no_other_way(slow: Product) -> None:
    """Each ask is seen on the tunnel, and none on the container's own link, dead or alive."""
    serve(slow.lab.server_b)
    sidecar = slow.start(**OFTEN)
    # A rule that takes TCP alone elsewhere is not seen by the question which way: the link decides then.
    slow.host.ip(f"rule add priority 50 to {V4.server_b} ipproto tcp lookup {TABLE}")
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


def test_a_dead_tunnel_of_somebody_else_is_told_and_left_alone(lab: Lab, tmp_path: Path) -> None:
    """VPN_CLIENT=none: there is nothing to restart, so health alone tells, also that it is over."""
    described = {"push": PUSH, "ipv6": True, **others.PLAIN}
    vpn = Other(lab.vpn_server, tmp_path / "server", lab.sidecar, **described)
    product = AnyProduct(lab, tmp_path, vpn)
    vpn.bring_up()
    serve(lab.server_b)
    sidecar = product.start(**OFTEN)
    lab.sidecar.ip(f"route del {V4.vpn_network} dev {TUNNEL}")
    until(lambda: "(3 in a row)" in first_line(sidecar), 8, "health to tell")
    asks = sidecar.status()["probe"]["asks_total"]
    until(lambda: sidecar.status()["probe"]["asks_total"] > asks, 8, "another ask")
    status = sidecar.status()
    assert (status["state"], status["restarts"], status["ready"]) == ("up", 0, False)
    lab.sidecar.ip(f"route add {V4.vpn_network} dev {TUNNEL}")
    sidecar.wait_until_ready()


def named(product: Product, target: str, resolver: str) -> Sidecar:
    """Describe a sidecar that asks a name, and whose resolver is there."""
    sidecar = product.sidecar({"HEALTH_TARGET": target, "HEALTH_INTERVAL": "1s"})
    sidecar.directory.mkdir(parents=True)
    (sidecar.directory / "resolv.conf").write_text(f"nameserver {resolver}\n")
    return sidecar


def resolver(lab: Lab, address: str) -> LoggedProcess:
    """Start a resolver in the neighbour that knows one name."""
    started = lab.neighbour.spawn(
        *("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"),
        *("--pid-file", "--bind-interfaces", f"--listen-address={V4.neighbour}"),
        f"--address=/intranet.example/{address}",
    )
    started.wait_for_line("started")
    return started


def test_a_name_is_looked_up_again_after_a_failure(slow: Product) -> None:
    """A target that moved is found at its new address."""
    serve(slow.lab.server_b)
    wrong = resolver(slow.lab, V4.server_b_gateway)
    sidecar = named(slow, f"intranet.example:{SERVICE_PORT}", V4.neighbour).start()
    until(lambda: "Connection refused" in probe_line(sidecar), 8, "the wrong address to refuse")
    wrong.terminate()
    resolver(slow.lab, V4.server_b)
    sidecar.wait_until_ready()


def test_a_name_that_nobody_knows_is_told(slow: Product) -> None:
    """With the resolver's own words."""
    resolver(slow.lab, V4.server_b)
    sidecar = named(slow, "nobody.example", V4.neighbour).start()
    told = "its name cannot be looked up: "
    until(lambda: told in probe_line(sidecar), 8, "the failure")


def test_a_resolver_that_is_silent_holds_up_nothing(slow: Product) -> None:
    """The ask fails in its time, health answers meanwhile, and the stop does not wait for the resolver."""
    silent = slow.lab.neighbour.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with silent:
        silent.bind((V4.neighbour, 53))
        sidecar = named(slow, "intranet.example", V4.neighbour).start()
        until(lambda: probe_line(sidecar), 8, "the tunnel")
        slowest = 0.0
        while "no answer within 3 s" not in probe_line(sidecar):
            began = time.monotonic()
            assert sidecar.get("/livez")[0] == http.HTTPStatus.OK
            slowest = max(slowest, time.monotonic() - began)
            assert sidecar.status()["probe"]["asks_total"] < 2
        assert slowest < 0.5
        # The log waits for the first ask as well, before it says how things stand.
        assert "no answer within 3 s" in sidecar.wait_for_line(" warning not ready: ")
        began = time.monotonic()
        assert sidecar.terminate() == 0
        assert time.monotonic() - began < 2


def test_a_ping_needs_no_capability_where_the_group_may(slow: Product) -> None:
    """As in a Docker container, whose net.ipv4.ping_group_range holds every group."""
    file = Path("/proc/sys/net/ipv4/ping_group_range")
    slow.host.call(lambda: file.write_text("0 2147483647"))
    for target in (V4.server_b, V6.server_b):
        sidecar = slow.sidecar({"HEALTH_TARGET": target}, capabilities=["net_admin"])
        sidecar.start().wait_until_ready()
        assert f"{target} answers" in probe_line(sidecar)
        assert sidecar.terminate() == 0


def test_a_ping_that_is_not_allowed_is_refused_at_the_start(slow: Product) -> None:
    """Neither ping sockets nor NET_RAW: exit 77, and the way out is named."""
    sidecar = slow.sidecar({"HEALTH_TARGET": V4.server_b}, capabilities=["net_admin"]).start()
    assert sidecar.process.wait() == 77
    assert f"cannot ping HEALTH_TARGET={V4.server_b}: saw no ping socket allowed" in sidecar.lines[-1]
    assert "name a TCP port (HEALTH_TARGET=host:port)" in sidecar.lines[-1]
