"""Promise 8: health tells the truth, soon, and names the first broken link."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.addresses import V4, V6
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.product import TOLD_WITHIN, TUNNEL, Product, first_line, kill, seconds_until

SLOW = {"keepalive": (10, 60)}
"""A server that may be paused without its clients' noticing."""


@pytest.fixture(scope="module")
def up(standing: Product) -> Sidecar:
    """Give the standing product's program, ready, and with nothing more to find out."""
    sidecar = standing.start()
    sidecar.wait_for_line("test replies the right way")
    return sidecar


def test_ready_says_what_was_verified(up: Sidecar) -> None:
    """Each link of the chain has a line, with what was seen."""
    ready, text = up.readiness()
    assert ready
    assert [line.split(":")[0] for line in text.splitlines()] == [
        f"[+] {name}" for name in ("network", "policy", "client", "tunnel", "replies")
    ]
    for seen in (V4.docker_gateway, V6.docker_gateway, V4.vpn_endpoint, TUNNEL):
        assert seen in text
    assert up.get("/healthz") == up.get("/readyz")
    assert up.get("/livez") == (200, "alive\n")


def test_the_healthcheck_command_says_ready(up: Sidecar) -> None:
    """Docker's HEALTHCHECK: exit 0 and one line."""
    code, said = up.healthcheck()
    assert code == 0
    assert said.startswith("ready: ")
    assert said.count("\n") == 1


def test_status_tells_the_truth(up: Sidecar, standing: Product) -> None:
    """/status agrees with what iproute2 and /proc say."""
    status = up.status()
    assert (status["state"], status["ready"], status["restarts"]) == ("up", True, 0)
    age = datetime.now(UTC) - datetime.fromisoformat(status["since"])
    assert 0 <= age.total_seconds() < 60
    client = status["client"]
    assert client["pid"] in up.client_pids()
    assert (client["name"], client["alive"], client["connected"]) == ("openvpn", True, True)
    assert (client["server"], client["failure"]) == (V4.vpn_endpoint, None)
    assert set(client["pushed"]) == {f"route {V4.vpn_network}", f"route {V6.vpn_network}"}
    assert status["tunnel"]["interface"] == TUNNEL
    assert f"{standing.tunnel_address(V4)}/24" in status["tunnel"]["addresses"]
    assert f"{standing.tunnel_address(V6)}/64" in status["tunnel"]["addresses"]
    networks = [(n["interface"], n["network"], n["gateway"], n["address"]) for n in status["networks"]]
    assert networks == [("eth0", f.docker, f.docker_gateway, f.sidecar) for f in (V4, V6)]
    assert [check["name"] for check in status["checks"] if not check["ok"]] == []


def test_metrics_are_prometheus_and_agree_with_status(up: Sidecar) -> None:
    """Every family has our prefix, and the values are those of /status."""
    code, text = up.get("/metrics")
    assert code == 200
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert {name[0].split("_")[0] for name in samples} == {"sidegate"}
    status = up.status()
    assert samples["sidegate_ready",] == 1
    assert samples["sidegate_state", "up"] == 1
    assert samples["sidegate_state", "failed"] == 0
    assert samples["sidegate_client_restarts_total",] == status["restarts"]
    assert samples["sidegate_networks",] == len(status["networks"])
    assert samples["sidegate_overlaps",] == len(status["overlaps"])
    assert samples["sidegate_check", "replies"] == 1


def break_client(product: Product, sidecar: Sidecar) -> None:
    """End the client; the server does not let another in for now."""
    product.server.pause()
    kill(sidecar.status()["client"]["pid"])


def break_tunnel(product: Product, _: Sidecar) -> None:
    """Delete the tunnel's link."""
    product.server.pause()
    product.host.ip(f"link del {TUNNEL}")


def set_tunnel_down(product: Product, _: Sidecar) -> None:
    """Set the tunnel's link down."""
    product.server.pause()
    product.host.ip(f"link set {TUNNEL} down")


@pytest.mark.parametrize("fault", [break_client, break_tunnel, set_tunnel_down])
def test_a_fault_is_told_within_a_second_and_over_when_it_is(
    make_product: Callable[..., Product], fault: Callable[[Product, Sidecar], None]
) -> None:
    """503 names the client, the HEALTHCHECK command fails with the same words, and 200 comes back."""
    product = make_product(**SLOW)
    sidecar = product.start()
    before = sidecar.status()["since"]
    fault(product, sidecar)
    took = seconds_until(lambda: not sidecar.ready(), TOLD_WITHIN, "the fault to be told")
    assert took < TOLD_WITHIN
    # For a moment it may be the replies that were asked about last.
    named = ("[-] client: openvpn", "[-] tunnel: ")
    until(lambda: first_line(sidecar).startswith(named), TOLD_WITHIN, "the first broken link to be named")
    no_session = "client: openvpn has no session yet"
    until(lambda: sidecar.status()["restarts"] == 1, 5, "the client to be started again")
    until(lambda: first_line(sidecar).startswith(f"[-] {no_session}"), 5, "another client")
    status = sidecar.status()
    assert (status["state"], status["ready"], status["tunnel"]) == ("reconnecting", False, None)
    assert status["since"] > before
    code, said = sidecar.healthcheck()
    assert code == 1
    assert said.startswith(f"not ready: {no_session}")
    assert 'sidegate_state{state="reconnecting"} 1.0' in sidecar.get("/metrics")[1]
    product.server.resume()
    sidecar.wait_until_ready()
    assert sidecar.healthcheck()[0] == 0


def test_a_client_that_somebody_stopped_is_told(up: Sidecar) -> None:
    """It keeps its link and its address, and nothing passes; once it goes on, all is well again."""
    pid = up.status()["client"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: not up.ready(), TOLD_WITHIN, "health to tell")
        assert first_line(up).endswith(
            f"client: openvpn stands still: saw its process stopped; run: kill -CONT {pid}"
        )
        assert up.status()["client"]["stopped"] is True
    finally:
        os.kill(pid, signal.SIGCONT)
    until(up.ready, TOLD_WITHIN, "health to be well again")


def test_a_silent_server_is_told_with_its_reason(product: Product) -> None:
    """As soon as the client notices, health says so; the client mends it alone."""
    sidecar = product.start()
    product.server.kill()
    sidecar.wait_for_line("Inactivity timeout", 15)
    # For a moment it is the tunnel that is gone, before the client says why.
    told = seconds_until(lambda: "the server fell silent" in first_line(sidecar), TOLD_WITHIN, "the reason")
    assert told < TOLD_WITHIN
    assert not sidecar.ready()
    assert sidecar.status()["restarts"] == 0
    sidecar.wait_for_line(r"(?s)warning .*\(the server fell silent\)")
    assert not any("the tunnel is gone" in line and "connected" in line for line in sidecar.lines)


def test_a_network_that_is_gone_is_told(lab: Lab, product: Product) -> None:
    """eth0 down: the kernel is no longer as wanted, or replies would not leave."""
    sidecar = product.start()
    lab.sidecar.ip("link set eth0 down")
    took = seconds_until(lambda: not sidecar.ready(), TOLD_WITHIN, "the fault to be told")
    assert took < TOLD_WITHIN
    assert "eth0" in first_line(sidecar)


@pytest.mark.parametrize(
    "stranger",
    ["rule add priority 10 lookup main", "rule add from 172.30.0.0/16 priority 10 lookup main"],
    ids=["all", "ours"],
)
def test_a_strangers_rule_before_ours_is_told(lab: Lab, product: Product, stranger: str) -> None:
    """Replies that would leave by the tunnel make it unready; the setting that helps is named."""
    sidecar = product.start()
    lab.sidecar.ip(stranger)
    took = seconds_until(lambda: not sidecar.ready(), TOLD_WITHIN, "the fault to be told")
    assert took < TOLD_WITHIN
    line = first_line(sidecar)
    assert line.startswith("[-] replies: from 172.30.0.2 to ")
    assert f"would leave by {TUNNEL}" in line
    assert "RULE_PRIORITY" in line
    assert product.unreached(V4)["laptop"] == "timed out"
    lab.sidecar.ip(stranger.replace("add", "del"))
    took = seconds_until(sidecar.ready, TOLD_WITHIN, "the fault to be over")
    assert took < TOLD_WITHIN
    assert product.unreached(V4) == {}


def test_a_stop_is_told_until_the_end(product: Product) -> None:
    """While it stops it is not ready, and afterwards the HEALTHCHECK command says that nobody is there."""
    sidecar = product.start()
    product.host.run("kill", "-STOP", str(sidecar.status()["client"]["pid"]))
    sidecar.process.signal(signal.SIGTERM)
    until(
        lambda: first_line(sidecar).startswith("[-] state: the sidecar is stopping"), 3, "the stop to be told"
    )
    assert sidecar.process.wait(15) == 0
    code, said = sidecar.healthcheck()
    assert code == 1
    assert "is sidegate running in this network namespace?" in said
