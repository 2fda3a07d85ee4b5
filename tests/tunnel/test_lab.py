"""The lab itself: what it shows without Sidegate, so that a green test elsewhere means something."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.addresses import SECOND_PORT, SERVICE_PORT, V4, V6, Family
from tests.lab.echo_client import DEADLINE
from tests.lab.namespaces import NETNS, Namespaces
from tests.lab.openvpn_server import PUSH_VPN, PUSH_VPN_V6, READY, OpenVPNServer
from tests.lab.processes import LoggedProcess
from tests.lab.topology import Lab
from tests.lab.traffic import ROOT, Capture, MillisecondEcho, connects, reaches, serve
from tests.lab.waiting import until

TABLE, PRIORITY = 7100, 90
TUNNEL = "tun0"

both_families = pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])


@pytest.fixture
def dual_server(make_server: Callable[..., OpenVPNServer]) -> OpenVPNServer:
    """Give a server that brings and pushes both families, and is missed soon."""
    return make_server(push=(PUSH_VPN, PUSH_VPN_V6), ipv6=True, keepalive=(1, 2))


@pytest.fixture
def client(lab: Lab, dual_server: OpenVPNServer, tmp_path: Path) -> LoggedProcess:
    """Give a bare OpenVPN client beside the service, its tunnel up and no rule anywhere."""
    serve(lab.sidecar)
    return connect(lab, dual_server, tmp_path)


def connect(lab: Lab, server: OpenVPNServer, directory: Path) -> LoggedProcess:
    """Start a bare OpenVPN client in the sidecar's namespace and wait for its tunnel."""
    config = server.write_client_config(directory / "client.ovpn")
    process = lab.sidecar.spawn("openvpn", "--config", str(config), name="bare OpenVPN client")
    process.wait_for_line(READY)
    return process


def tunnel_address(lab: Lab, family: Family) -> str:
    """Return the address that the server gave to the client."""
    return lab.sidecar.addresses(TUNNEL, family.option)[0]


def keep_replies(lab: Lab, family: Family) -> None:
    """Do by hand what Sidegate is for."""
    lab.sidecar.ip(
        f"{family.option} rule add from {family.docker} iif lo lookup {TABLE} priority {PRIORITY}",
        f"{family.option} route add {family.docker} dev eth0 table {TABLE}",
        f"{family.option} route add default via {family.docker_gateway} dev eth0 table {TABLE}",
    )


@both_families
def test_the_lan_reaches_the_service_before_the_tunnel(lab: Lab, family: Family) -> None:
    """Publishing a port works as Docker does it, also for the neighbours and for server A itself."""
    serve(lab.sidecar)
    assert reaches(lab.laptop, family.server_a, SERVICE_PORT) is None
    assert reaches(lab.server_a, family.server_a, SERVICE_PORT) is None
    assert reaches(lab.neighbour, family.sidecar, SERVICE_PORT) is None


@both_families
@pytest.mark.usefixtures("client")
def test_without_the_rule_the_tunnel_takes_the_lan_replies(lab: Lab, family: Family) -> None:
    """A bare client loses the laptop and keeps the VPN's hosts: the problem is there to be solved."""
    address = tunnel_address(lab, family)
    with Capture(lab.sidecar, TUNNEL, f"src host {family.sidecar} and dst host {family.laptop}") as stray:
        assert reaches(lab.laptop, family.server_a, SERVICE_PORT, timeout=0.5) == "timed out"
    assert stray.packets
    assert connects(lab.server_b, address, SERVICE_PORT)
    assert connects(lab.twin, address, SERVICE_PORT)


@pytest.mark.parametrize("lab", [{"rp_filter": 0}, {"rp_filter": 1}], ids=["loose", "strict"], indirect=True)
@both_families
@pytest.mark.usefixtures("client")
def test_rules_by_hand_bring_both_ways(lab: Lab, family: Family) -> None:
    """With the rule everybody is answered, also the host that has the laptop's own address."""
    keep_replies(lab, family)
    address = tunnel_address(lab, family)
    assert reaches(lab.laptop, family.server_a, SERVICE_PORT) is None
    assert reaches(lab.server_b, address, SERVICE_PORT) is None
    assert reaches(lab.twin, address, SERVICE_PORT) is None
    assert reaches(lab.twin, address, SERVICE_PORT, source=family.laptop) is None


def test_the_reverse_path_filter_is_the_one_asked_for(make_lab: Callable[..., Lab]) -> None:
    """The sidecar's links have the filter's mode, also a link that comes later."""
    lab = make_lab(rp_filter=1)
    lab.connect_second_network()
    for link in ("all", "eth0", "eth1"):
        assert lab.sidecar.run("sysctl", "-n", f"net.ipv4.conf.{link}.rp_filter").stdout == "1\n"


def test_the_echo_sees_what_a_bare_client_loses(lab: Lab, dual_server: OpenVPNServer, tmp_path: Path) -> None:
    """An established LAN connection loses its echoes as soon as a tunnel without a rule is up."""
    serve(lab.sidecar)
    echo = MillisecondEcho(lab.laptop, V4.server_a)
    connect(lab, dual_server, tmp_path)
    with Capture(lab.sidecar, TUNNEL, f"src host {V4.sidecar}") as stray:
        assert not connects(lab.laptop, V4.server_a, SERVICE_PORT, timeout=0.5)
    result = echo.stop()
    assert stray.packets
    assert result.lost > 100
    assert result.longest_gap > 0.5
    assert result.answered == result.sent - result.lost


def test_the_echo_sees_a_short_loss_that_tcp_mends(lab: Lab) -> None:
    """Ten lost answers are told, although TCP delivers them all in the end."""
    serve(lab.sidecar)
    echo = MillisecondEcho(lab.laptop, V4.server_a)
    with Capture(lab.laptop, "eth0", f"src port {SERVICE_PORT}") as before:
        until(lambda: len(before.packets) > 20, 5, "echoes on the wire")
    drop = f"tcp sport {SERVICE_PORT} limit rate 1/day burst 10 packets drop"
    lab.server_a.run("nft", "add table netdev loss")
    lab.server_a.run(
        "nft", "add chain netdev loss in { type filter hook ingress device veth-sidecar priority 0; }"
    )
    lab.server_a.run("nft", f"add rule netdev loss in {drop}")
    with Capture(lab.laptop, "eth0", f"src port {SERVICE_PORT}") as after:
        until(lambda: len(after.packets) > 20, 5, "echoes after the loss")
    result = echo.stop()
    assert result.answered == result.sent
    assert result.resent > 0


def test_an_answer_that_comes_late_counts_as_lost(lab: Lab) -> None:
    """A service that hangs for longer than the deadline loses no segment, and is seen."""
    service = serve(lab.sidecar)
    echo = MillisecondEcho(lab.laptop, V4.server_a)
    service.signal(signal.SIGSTOP)
    time.sleep(2 * DEADLINE)  # what is to be seen is that so much time has passed
    service.signal(signal.SIGCONT)
    result = echo.stop()
    assert result.answered == result.sent
    assert result.lost > 10
    assert result.slowest > DEADLINE


def test_an_undisturbed_echo_loses_nothing(lab: Lab) -> None:
    """The echo does not cry wolf."""
    serve(lab.sidecar)
    result = MillisecondEcho(lab.laptop, V4.server_a, longest=0.5).stop_at_its_end()
    assert result.sent > 100
    assert (result.answered, result.lost, result.resent) == (result.sent, 0, 0)


def test_a_second_network_comes_and_goes(lab: Lab) -> None:
    """The sidecar's second network is published too; it brings an address and no default route."""
    serve(lab.sidecar)
    before = lab.sidecar.ip_json("route", "show", "default")
    lab.connect_second_network()
    assert lab.sidecar.ip_json("route", "show", "default") == before
    assert connects(lab.server_a, V4.second_sidecar, SERVICE_PORT)
    # Its replies to the LAN leave by the other network: the problem in its second form.
    with Capture(lab.sidecar, "eth0", f"src host {V4.second_sidecar}") as strayed:
        reaches(lab.laptop, V4.server_a, SECOND_PORT, timeout=0.5)
    assert strayed.packets
    lab.disconnect_second_network()
    assert not connects(lab.server_a, V4.second_sidecar, SERVICE_PORT, timeout=0.2)


@both_families
def test_a_pod_has_a_single_address_and_is_reached(make_lab: Callable[..., Lab], family: Family) -> None:
    """A /32 or /128 with an on-link gateway works as Calico's and Cilium's do."""
    lab = make_lab(pod=True)
    serve(lab.sidecar)
    addresses = lab.sidecar.ip_json(family.option, "address", "show", "dev", "eth0", "scope", "global")
    assert f"/{addresses[0]['addr_info'][0]['prefixlen']}" == family.host_length
    assert reaches(lab.laptop, family.server_a, SERVICE_PORT) is None


def test_a_sidecar_can_be_without_ipv6(make_lab: Callable[..., Lab]) -> None:
    """The sidecar has no IPv6 at all and serves IPv4, while the picture keeps both."""
    lab = make_lab(sidecar_ipv6=False)
    serve(lab.sidecar)
    assert lab.sidecar.ip_json("-6", "address") == []
    assert connects(lab.laptop, V4.server_a, SERVICE_PORT)
    assert connects(lab.server_a, V4.sidecar, SERVICE_PORT)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_login_is_asked_for_and_counted(
    lab: Lab, make_server: Callable[..., OpenVPNServer], tmp_path: Path, protocol: str
) -> None:
    """A wrong password is refused, the right one let in, and each attempt is counted."""
    server = make_server(protocol=protocol, login=("ada", "right"))
    config = server.write_client_config(tmp_path / "client.ovpn", "auth-nocache")
    login = tmp_path / "login"

    def attempt() -> LoggedProcess:
        return lab.sidecar.spawn("openvpn", "--config", str(config), "--auth-user-pass", str(login))

    login.write_text("ada\nwrong\n")
    assert attempt().wait_for_line("AUTH_FAILED")
    assert server.login_attempts() == 1
    login.write_text("ada\nright\n")
    assert attempt().wait_for_line(READY)
    assert server.login_attempts() == 2


def test_a_client_comes_back_when_the_server_does(
    lab: Lab, client: LoggedProcess, dual_server: OpenVPNServer
) -> None:
    """A server that was killed and started again gets its client back on short timers."""
    seen = len(client.lines)
    dual_server.kill()
    dual_server.start()
    client.wait_for_line(READY, 20, after=seen)
    assert connects(lab.server_b, tunnel_address(lab, V4), SERVICE_PORT)


def test_a_cut_and_mended_internet_lets_the_client_reconnect(lab: Lab, client: LoggedProcess) -> None:
    """The way to the VPN server can be taken away and given back."""
    seen = len(client.lines)
    lab.cut_internet()
    client.wait_for_line("Inactivity timeout", 20, after=seen)
    lab.mend_internet()
    client.wait_for_line(READY, 20, after=seen)
    assert connects(lab.sidecar, V4.vpn_endpoint, SERVICE_PORT, timeout=0.2) is False


def test_no_host_of_the_lab_has_a_way_out(lab: Lab) -> None:
    """Every link's other end lies in the lab, so that nothing can reach the machine's network."""
    mine = {host.name for host in lab.namespaces.members}
    for host in lab.namespaces.members:
        names = {entry["nsid"]: entry["name"] for entry in host.ip_json("netns", "list-id")}
        links = {link["ifname"]: link for link in host.ip_json("link")}
        kinds = {name: link.get("linkinfo", {}).get("info_kind") for name, link in links.items()}
        cables = [link for name, link in links.items() if kinds[name] == "veth"]
        assert cables
        assert {names[cable["link_netnsid"]] for cable in cables} <= mine
        assert {name for name, kind in kinds.items() if kind != "veth"} <= {"lo", "docker0", "docker1"}


def test_the_end_of_a_lab_leaves_neither_process_nor_namespace() -> None:
    """What was started in the lab ends with it, also what left its parent."""
    with Lab() as lab:
        lab.sidecar.run("sh", "-c", "sleep 300 >/dev/null 2>&1 &")
        child = until(lab.sidecar.pids, 2, "the process to be there")[0]
        hosts = list(lab.namespaces.members)
    # What process 1 has not collected yet is dead all the same, and has no namespace any more.
    assert not Path(f"/proc/{child}/ns/net").exists()
    assert not [host for host in hosts if host.path.exists()]


def test_leftovers_of_a_killed_run_are_swept_and_never_disturb() -> None:
    """A lab whose program was killed is taken down by the next one, and not while its program lives."""
    program = (
        "from tests.lab.topology import Lab\n"
        "with Lab() as lab:\n"
        "    print(lab.namespaces.prefix, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        prefix = run.stdout.readline().strip()
        with Namespaces():
            assert list(NETNS.glob(f"{prefix}-*"))
        os.kill(run.pid, signal.SIGKILL)
    assert list(NETNS.glob(f"{prefix}-*"))
    with Namespaces():
        assert not list(NETNS.glob(f"{prefix}-*"))
