"""The kill switch's rules in a namespace, with a client whose server nobody reaches."""

import contextlib
import json
import re
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.conftest import LAN_HOST, LAN_RESOLVER, LIMIT_SECONDS, OUTSIDE, OUTSIDE6, Container
from tests.kernel.test_settings_work import started
from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.dns_server import DnsServer
from tests.lab.leak_probe import NAME, PORT, question
from tests.lab.leaks import LeakProbe, outward, track_connections
from tests.lab.namespaces import Namespace, Namespaces, join
from tests.lab.sidecar import Sidecar
from tests.lab.traffic import Capture, connects, reaches, serve
from tests.lab.tun import attach, ping_packet
from tests.lab.waiting import until

BACK_SECONDS = 1.5
"""One second is promised; a loaded machine needs some more."""
EDNS = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
"""What a resolver adds to its question (RFC 6891, 6.1.2)."""
CLIENT = f"host {V4.vpn_endpoint}"
"""Where the client's packets go."""


def closed(container: Container, tmp_path: Path, **environ: str) -> Sidecar:
    """Start the program and wait until the gate is closed and the client at work."""
    sidecar = started(container, tmp_path, KILL_SWITCH="on", **environ)
    sidecar.wait_for_line("openvpn: ")
    return sidecar


def table(host: Namespace) -> str:
    """Return our table as nft lists it, byte by byte; empty where there is none."""
    listed = "nft list table inet sidegate | iconv -f latin1 -t utf8"
    return host.run("sh", "-c", listed, check=False).stdout


@contextmanager
def sealed(container: Container, *outside: str) -> Iterator[Capture]:
    """See that nothing gets out while something tries to."""
    with (
        outward(container.router, "to-eth0", container.host, CLIENT) as capture,
        LeakProbe(container.host, outside or (OUTSIDE, OUTSIDE6)),
    ):
        yield capture
    assert capture.packets == []


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_what_was_open_before_is_closed_as_well(routed: Container, tmp_path: Path, *, tracked: bool) -> None:
    """Neither what the inside sends on an old connection gets out, nor an answer to what comes on it.

    Docker's rules for names have connections tracked from the start; elsewhere nobody has before us.
    """
    if tracked:
        track_connections(routed.host)
    listener = routed.router.call(lambda: socket.create_server((OUTSIDE, PORT)))
    inside = [routed.host.call(lambda: socket.create_connection((OUTSIDE, PORT))) for _ in range(2)]
    outside = [listener.accept()[0] for _ in range(2)]
    inside[0].sendall(b"a")
    assert outside[0].recv(1) == b"a"
    closed(routed, tmp_path)
    with outward(routed.router, "to-eth0", routed.host, CLIENT) as capture:
        talks = Capture(routed.router, "to-eth0", f"src host {OUTSIDE} and tcp[13] & 8 != 0")
        with talks:
            outside[1].sendall(b"b")
            inside[0].sendall(b"c")
            # The far end repeats what nobody has acknowledged.
            until(lambda: len(talks.packets) > 3, LIMIT_SECONDS, "repetitions")
            inside[1].sendall(b"d")
    assert capture.packets == []
    for each in (listener, *inside, *outside):
        each.close()


def udp(
    where: Namespace, at: tuple[str, int] | None = None, to: tuple[str, int] | None = None
) -> socket.socket:
    """Return a UDP socket of a namespace, bound and connected as wished."""

    def opened() -> socket.socket:
        made = socket.socket(
            socket.AF_INET6 if ":" in (at or to or ("",))[0] else socket.AF_INET, socket.SOCK_DGRAM
        )
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.settimeout(LIMIT_SECONDS)
        if at:
            made.bind(at)
        if to:
            made.connect(to)
        return made

    return where.call(opened)


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize(("outside", "inside"), [(OUTSIDE, V4.sidecar), (OUTSIDE6, V6.sidecar)])
def test_a_udp_flow_from_before_stays_closed_when_its_far_end_speaks(
    routed: Container, tmp_path: Path, outside: str, inside: str, *, tracked: bool
) -> None:
    """It does not become the far end's; a service that stood before is asked and answers, as before.

    One that has a socket for each of its clients does so, too.
    """
    if tracked:
        track_connections(routed.host)
    far, client = udp(routed.router, (outside, 7777)), udp(routed.router, (outside, 7778))
    own = udp(routed.host, to=(outside, 7777))
    own.send(b"a")
    _, back = far.recvfrom(1)
    anywhere = "::" if ":" in inside else "0.0.0.0"  # noqa: S104 - a service of the container's
    service = udp(routed.host, (anywhere, SERVICE_PORT))
    of_client = udp(routed.host, (inside, SERVICE_PORT), (outside, 7778))
    closed(routed, tmp_path)
    with outward(routed.router, "to-eth0", routed.host, CLIENT) as capture:
        far.sendto(b"b", back[:2])
        # What is asked behind it has come, so that has come, too.
        far.sendto(b"c", (inside, SERVICE_PORT))
        asked, whose = service.recvfrom(1)
        with contextlib.suppress(PermissionError):
            own.send(b"d")
        service.sendto(asked, whose)
        assert far.recv(1) == b"c"
        client.sendto(b"e", (inside, SERVICE_PORT))
        assert of_client.recv(1) == b"e"
        of_client.send(b"f")
        assert client.recv(1) == b"f"
    assert capture.packets == []
    for each in (far, client, own, service, of_client):
        each.close()


def flushed(host: Namespace) -> None:
    """Do as a script of somebody's firewall does."""
    host.run("nft", "flush", "ruleset")


def opened_by_a_rule(host: Namespace) -> None:
    """Let everything through before our rules."""
    host.run("nft", "insert", "rule", "inet", "sidegate", "output", "accept")


def opened_by_policy(host: Namespace) -> None:
    """Let through what no rule decides on."""
    host.run("nft", "chain inet sidegate output { policy accept; }")


def opened_in_place(host: Namespace) -> None:
    """Change what a rule says, and keep its mark."""
    rules = json.loads(host.run("nft", "-j", "list", "chain", "inet", "sidegate", "output").stdout)[
        "nftables"
    ]
    (mark,) = [e["rule"] for e in rules if '{"meta": {"key": "mark"}}' in json.dumps(e.get("rule"))]
    line = f'replace rule inet sidegate output handle {mark["handle"]} accept comment "{mark["comment"]}"'
    host.run("nft", line)


def put_to_sleep(host: Namespace) -> None:
    """Switch the whole table off, which leaves all of it standing; nft 1.0.6 then writes what is no JSON."""
    host.run("nft", "add table inet sidegate { flags dormant; }")


def held_fast(host: Namespace) -> None:
    """Open it, with chains that cannot be deleted one by one: a rule leads to one, a map to another."""
    host.run(
        "nft",
        "add chain inet sidegate second; add chain inet sidegate first; add chain inet sidegate third;"
        "add rule inet sidegate first jump second;"
        "add map inet sidegate ways { type inet_service : verdict; elements = { 80 : jump third }; };"
        "insert rule inet sidegate output accept",
    )


def written_in_no_letters(host: Namespace) -> None:
    """Open it by a rule whose comment is no UTF-8."""
    rule = r'insert rule inet sidegate output accept comment "\377\376"'
    host.run("sh", "-c", f"printf '{rule}' | nft -f -")


DAMAGES = (
    flushed,
    opened_by_a_rule,
    opened_by_policy,
    opened_in_place,
    put_to_sleep,
    held_fast,
    written_in_no_letters,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_somebody_changes_is_put_back(
    container: Container, tmp_path: Path, damage: Callable[[Namespace], None]
) -> None:
    """Within a second, whatever was changed; then the program is silent again."""
    sidecar = closed(container, tmp_path)
    before = table(container.host)
    damage(container.host)
    until(lambda: table(container.host) == before, BACK_SECONDS, "the gate")
    until(lambda: sidecar.status()["gate"]["repairs"] == 1, LIMIT_SECONDS, "the count of it")
    assert table(container.host) == before


def test_a_storm_of_changes_is_over_within_a_second(container: Container, tmp_path: Path) -> None:
    """Whatever was read is gone when it is changed: it is read again."""
    sidecar = closed(container, tmp_path)
    before = table(container.host)
    storm = "for i in $(seq 300); do nft flush ruleset; done"
    container.host.run("sh", "-c", storm, timeout=60)
    until(lambda: table(container.host) == before, BACK_SECONDS, "the gate")
    until(lambda: "[+] gate" in sidecar.readiness()[1], BACK_SECONDS, "health to say so")
    assert sidecar.status()["gate"]["problem"] is None


def test_a_stop_leaves_it_closed_and_off_opens_it(routed: Container, tmp_path: Path) -> None:
    """Stopped, killed, refused by bad settings: closed. Adopted by the next, and opened only when asked."""
    first = closed(routed, tmp_path)
    with sealed(routed):
        assert first.terminate() == 0
        assert "the gate stays closed" in first.lines[-1]
        second = closed(routed, tmp_path)
        second.wait_for_line("adopting the closed gate")
        second.kill()
        refused = started(routed, tmp_path, KILL_SWITCH="on", VPN_USERNAME="bob")
        assert refused.process.wait() == 78
    with outward(routed.router, "to-eth0", routed.host, CLIENT) as capture, LeakProbe(routed.host, [OUTSIDE]):
        opened = started(routed, tmp_path)
        opened.wait_for_line("opening the gate that an earlier run left closed")
        until(lambda: capture.packets, LIMIT_SECONDS, "what gets out of the open gate")
    assert table(routed.host) == ""
    assert opened.terminate() == 0


def test_what_is_no_gate_is_not_called_one(routed: Container, tmp_path: Path) -> None:
    """A killed run's UDP replies alone open and close nothing; a gate beside them is opened aloud."""
    udp = {"UDP_REPLY_PORTS": "53"}
    first = started(routed, tmp_path, **udp)
    first.wait_for_line("openvpn: ")
    first.kill()
    second = started(routed, tmp_path)
    second.wait_for_line("nft delete table inet sidegate")
    second.kill()
    third = started(routed, tmp_path, **udp)
    third.wait_for_line("openvpn: ")
    third.kill()
    fourth = closed(routed, tmp_path, **udp)
    fourth.kill()
    fifth = started(routed, tmp_path, **udp)
    fifth.wait_for_line("opening the gate that an earlier run left closed")
    until(lambda: "chain output" not in table(routed.host), LIMIT_SECONDS, "the open gate")
    assert [line for each in (second, fourth) for line in each.lines if "gate that an earlier" in line] == []


def test_bad_settings_do_not_leave_it_open(routed: Container, tmp_path: Path) -> None:
    """A start that is refused has closed the gate before."""
    refused = started(routed, tmp_path, KILL_SWITCH="on", VPN_USERNAME="bob")
    assert refused.process.wait() == 78
    assert [line for line in refused.lines if "the gate stays closed" in line]
    with sealed(routed):
        pass


def test_what_is_listed_is_reached_and_nothing_else(routed: Container, tmp_path: Path) -> None:
    """Connected networks and LAN_NETWORKS, but for names: those only of a host that is listed by itself."""
    for port in (PORT, 53):
        serve(routed.router, port)
    closed(routed, tmp_path, LAN_NETWORKS=f"10.20.0.0/24 {LAN_RESOLVER}/32")
    asked = ((V4.docker_gateway, PORT), (V6.docker_gateway, PORT), (LAN_HOST, PORT), (LAN_RESOLVER, 53))
    assert {each: reaches(routed.host, *each) for each in asked} == dict.fromkeys(asked)
    shut = (
        (OUTSIDE, PORT),
        (OUTSIDE6, PORT),
        (V4.docker_gateway, 53),
        (V6.docker_gateway, 53),
        (LAN_HOST, 53),
    )
    assert [each for each in shut if connects(routed.host, *each, timeout=0.3)] == []


def test_a_network_that_comes_later_is_closed_and_its_neighbours_are_reached(
    routed: Container, tmp_path: Path
) -> None:
    """An interface that nobody told of leads nowhere; its own network is reached once it is known."""
    closed(routed, tmp_path)
    serve(routed.router, PORT)
    join(routed.router, "to-eth1", routed.host, "eth1")
    routed.router.ip(f"address add {V4.second_gateway}/16 dev to-eth1")
    routed.host.ip(f"route add {OUTSIDE}/32 dev eth1")
    with Capture(routed.router, "to-eth1", f"dst host {OUTSIDE}") as capture:
        routed.host.ip(f"address add {V4.second_sidecar}/16 dev eth1")
        until(lambda: connects(routed.host, V4.second_gateway, PORT), LIMIT_SECONDS, "the neighbour")
        assert not connects(routed.host, OUTSIDE, PORT, 0.3)
    assert capture.packets == []


def test_a_second_docker_network_is_opened_beside_the_first(routed: Container, tmp_path: Path) -> None:
    """Of both families, as `docker network connect` makes it: rules that stand are changed in place."""
    sidecar = closed(routed, tmp_path)
    routed.connect("eth1", f"{V4.second_sidecar}/16", f"{V6.second_sidecar}/64")
    until(lambda: V6.second in table(routed.host), BACK_SECONDS, "both networks in the gate")
    assert not any("cannot run nft" in line for line in sidecar.lines)


def behind(routed: Container, namespaces: Namespaces) -> Namespace:
    """Give a neighbour at 172.31.0.9, whose gateway is the container."""
    (neighbour,) = namespaces.add("neighbour")
    join(neighbour, "eth0", routed.host, "eth1")
    neighbour.ip("address add 172.31.0.9/16 dev eth0", "route add default via 172.31.0.2")
    routed.host.ip("address add 172.31.0.2/16 dev eth1")
    routed.host.sysctl("net/ipv4/ip_forward", 1)
    return neighbour


def test_what_is_forwarded_for_neighbours_does_not_leave_either(
    routed: Container, namespaces: Namespaces, tmp_path: Path
) -> None:
    """The sidecar as a gateway: a neighbour's packets go into the tunnel or nowhere."""
    neighbour = behind(routed, namespaces)
    routed.router.ip("route add 172.31.0.0/16 via 172.30.0.2")
    serve(routed.router, PORT)
    assert connects(neighbour, OUTSIDE, PORT)
    closed(routed, tmp_path)
    with Capture(routed.router, "to-eth0", f"src host 172.31.0.9 and dst host {OUTSIDE}") as capture:
        assert not connects(neighbour, OUTSIDE, PORT, 0.5)
        assert connects(neighbour, V4.docker_gateway, PORT)
        serve(neighbour, PORT)
        assert connects(routed.router, "172.31.0.9", PORT)
    assert capture.packets == []
    routed.tunnel(OUTSIDE)
    # Nobody reads from that tunnel: what would go into it is counted.
    chain = "chain inet seen out { type filter hook postrouting priority 0; }"
    rule = f"rule inet seen out oifname tun0 ip saddr 172.31.0.9 ip daddr {OUTSIDE} counter"
    routed.host.run("nft", f"add table inet seen; add {chain}; add {rule}")
    assert not connects(neighbour, OUTSIDE, PORT, 0.3)
    assert "counter packets 0" not in routed.host.run("nft", "list", "table", "inet", "seen").stdout


def test_what_comes_by_the_tunnel_is_answered_by_it_or_not_at_all(
    routed: Container, namespaces: Namespaces, tmp_path: Path
) -> None:
    """A VPN peer asks at the container's own address, and at a neighbour's behind it."""
    neighbour = behind(routed, namespaces)
    closed(routed, tmp_path)
    routed.tunnel()
    with (
        Capture(routed.router, "to-eth0", f"dst host {OUTSIDE}") as leaks,
        Capture(neighbour, "eth0", f"src host 172.31.0.9 and dst host {OUTSIDE}") as answers,
        routed.host.call(lambda: attach("tun0")) as tunnel,
    ):
        until(lambda: "LOWER_UP" in routed.host.run("ip", "link", "show", "tun0").stdout, 5, "the link")
        for asked in (V4.sidecar, "172.31.0.9"):
            tunnel.write(ping_packet(OUTSIDE, asked))
        until(lambda: answers.packets, LIMIT_SECONDS, "the neighbour's answer")
        asked_itself = routed.host.run("nstat", "-az", "IcmpInEchos").stdout
    assert re.search(r"IcmpInEchos +1 ", asked_itself), asked_itself
    assert leaks.packets == []


def test_the_longest_name_is_asked_for_and_its_neighbour_is_not(routed: Container, tmp_path: Path) -> None:
    """Letter by letter, in upper or lower case: a rule that is too long would be refused by nft."""
    longest = ".".join((*["vpn-" + "x" * 59] * 3, "y" * 61))
    resolver = DnsServer(routed.router, OUTSIDE, {}).start()
    sidecar = started(routed, tmp_path, KILL_SWITCH="on", VPN_ARGS=f"--remote {longest}")
    sidecar.wait_for_line("openvpn: ")
    assert asked(routed.host, OUTSIDE, longest.upper())
    for other in (longest[:-1] + "z", longest[:-1], "w" + longest[1:], longest[:100] + "-" + longest[101:]):
        assert not asked(routed.host, OUTSIDE, other)
    assert [name.lower() for name in resolver.asked] == [longest]


def asked(host: Namespace, resolver: str, name: str, more: bytes = b"") -> bool:
    """Whether a resolver answers a question for a name, with an additional record or without."""
    packet = bytearray(question(name) + more)
    packet[11] = bool(more)

    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.3)
            asking.connect((resolver, 53))
            try:
                asking.send(packet)
                return bool(asking.recv(512))
            except OSError:
                return False

    return host.call(ask)


def test_dockers_resolver_is_asked_for_neighbours_alone_where_it_asks_past_the_gate(
    routed: Container, tmp_path: Path
) -> None:
    """One that answers while nobody gets out is no way out either; the control: it was one before."""
    resolver = DnsServer(routed.host, "127.0.0.11", {"neighbour": "172.30.0.3"}).start()
    assert asked(routed.host, "127.0.0.11", NAME)
    before = len(resolver.asked)
    sidecar = closed(routed, tmp_path)
    assert sidecar.wait_for_line("Docker's resolver asks in the host's own network, past the gate")
    for name in (NAME, "a.b", "x.example.de", "neighbour.de"):
        assert not asked(routed.host, "127.0.0.11", name)
        assert not asked(routed.host, "127.0.0.11", name, EDNS)
    assert asked(routed.host, "127.0.0.11", "neighbour")
    assert asked(routed.host, "127.0.0.11", "neighbour", EDNS)
    nobodys, *neighbours = resolver.asked[before:]
    assert nobodys.endswith(".example")
    assert nobodys != NAME
    assert neighbours == ["neighbour"] * 2


def test_dockers_resolver_is_asked_for_neighbours_where_the_gate_holds_it(
    routed: Container, tmp_path: Path
) -> None:
    """One that asks in the container's own network is held by the gate, and left alone."""
    names = {"neighbour": "172.30.0.3"}
    resolver = DnsServer(routed.host, "127.0.0.11", names, upstream=OUTSIDE).start()
    outer = DnsServer(routed.router, OUTSIDE, {}).start()
    sidecar = closed(routed, tmp_path)
    assert asked(routed.host, "127.0.0.11", "neighbour")
    asked(routed.host, "127.0.0.11", NAME)
    assert NAME in resolver.asked
    assert outer.asked == []
    assert not [line for line in sidecar.lines if "past the gate" in line]


def test_without_net_admin_it_is_refused(container: Container, tmp_path: Path) -> None:
    """Exit code 77, and what to add."""
    sidecar = Sidecar(container.host, tmp_path / "box", {"KILL_SWITCH": "on"}, capabilities=())
    assert sidecar.start().process.wait() == 77
    assert "saw no NET_ADMIN" in sidecar.process.tail()


def test_without_nftables_it_is_refused(container: Container, tmp_path: Path) -> None:
    """Exit code 78, with what nft said and what to do; the client is not started."""
    empty = tmp_path / "bin"
    empty.mkdir()
    nft = empty / "nft"
    nft.write_text("#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n")
    nft.chmod(0o755)
    sidecar = started(container, tmp_path, KILL_SWITCH="on", PATH=f"{empty}:/usr/sbin:/usr/bin:/sbin:/bin")
    assert sidecar.process.wait() == 78
    told = sidecar.process.tail()
    assert "cannot close the gate that KILL_SWITCH=on asks for" in told
    assert told.count("Operation not supported") == 1


def without_nft(tmp_path: Path) -> str:
    """Return a PATH with what starts the program here, and no nft."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mount", "nsenter", "unshare", "ip", "openvpn"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return str(folder)


def test_without_nft_it_is_refused(container: Container, tmp_path: Path) -> None:
    """Exit code 78, and what to install."""
    sidecar = started(container, tmp_path, KILL_SWITCH="on", PATH=without_nft(tmp_path))
    assert sidecar.process.wait() == 78
    told = sidecar.process.tail()
    assert "KILL_SWITCH=on asks for: cannot run nft: saw No such file or directory; install nftables" in told


def test_a_gate_that_cannot_be_opened_is_told(container: Container, tmp_path: Path) -> None:
    """KILL_SWITCH=off without nft: it stays closed, and nobody takes it for open."""
    closed(container, tmp_path).kill()
    started(container, tmp_path, PATH=without_nft(tmp_path)).wait_for_line(
        "cannot run nft: saw No such file or directory; install nftables"
    )
    assert "policy drop" in table(container.host)


SEND = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 443))"
PYTHON = "/usr/bin/python3"


@pytest.mark.parametrize("capabilities", [None, ("net_admin",)], ids=["by its group", "by its user"])
def test_a_client_without_a_mark_is_told_by_its_servers_address_and_its_owner(
    routed: Container, tmp_path: Path, capabilities: tuple[str, ...] | None
) -> None:
    """It reaches the server that is named, and no other; no service does, unless it cannot be told apart."""
    by_group, other = capabilities is None, "198.51.100.78"
    client = tmp_path / "client"
    client.write_text(
        f'#!/bin/sh\nuntil {PYTHON} -c "{SEND}" {OUTSIDE}; do :; done\n'
        f'{PYTHON} -c "{SEND}" {other} || echo told apart\nexec sleep 99\n'
    )
    client.chmod(0o755)
    command = {"VPN_CLIENT": "command", "VPN_COMMAND": str(client), "VPN_SERVER": OUTSIDE}
    settings = {"KILL_SWITCH": "on", **command}
    sidecar = Sidecar(routed.host, tmp_path / "box", settings, capabilities=capabilities)

    def refused(address: str, *user: str) -> bool:
        done = routed.host.run(*user, PYTHON, "-c", SEND, address, check=False)
        assert done.returncode == 0 or "PermissionError" in done.stderr
        return done.returncode != 0

    with outward(routed.router, "to-eth0", routed.host, f"dst host {OUTSIDE}") as others:
        with Capture(routed.router, "to-eth0", f"dst host {OUTSIDE} and udp port 443") as reached:
            sidecar.start().wait_for_line("told apart")
            until(lambda: reached.packets, LIMIT_SECONDS, "the client's packet")
            assert refused(OUTSIDE, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
            assert refused(other)
            assert refused(OUTSIDE) == by_group
        assert len(reached.packets) == (1 if by_group else 2)
    assert others.packets == []
    assert sidecar.process.running
    told = [
        line for line in sidecar.lines if "lets all of root's packets to the VPN's server through" in line
    ]
    assert len(told) == (0 if by_group else 1)


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"VPN_CLIENT": "none"}, "VPN_CLIENT=none, with which nothing tells the packets"),
        ({"VPN_CLIENT": "command", "VPN_COMMAND": "true"}, "name its servers in VPN_SERVER"),
    ],
)
def test_a_client_that_nothing_tells_apart_is_refused(
    container: Container, tmp_path: Path, environ: dict[str, str], why: str
) -> None:
    """Exit code 78, and what to do instead."""
    sidecar = Sidecar(container.host, tmp_path / "box", {"KILL_SWITCH": "on", **environ}).start()
    assert sidecar.process.wait() == 78
    assert why in sidecar.process.tail()
    assert table(container.host) == ""


def test_the_hosts_own_network_is_never_closed(container: Container, tmp_path: Path) -> None:
    """Refused before anything is done: it would lock out whoever could open it again."""
    container.host.ip(
        "link add docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set docker0 up"
    )
    sidecar = started(container, tmp_path, KILL_SWITCH="on")
    assert sidecar.process.wait() == 78
    assert "cannot work in the host's own network" in sidecar.process.tail()
    assert table(container.host) == ""


def test_a_gateway_that_no_route_tells_is_found_through_it(routed: Container, tmp_path: Path) -> None:
    """By an empty datagram of one hop, which is all that is let through to that address."""
    routed.router.sysctl("net/ipv4/ip_forward", 1)
    sidecar = closed(routed, tmp_path)
    with sealed(routed, "192.0.2.83"):
        routed.connect("eth1", f"{V4.second_sidecar}/16")
        routed.router.ip(f"address add {V4.second_gateway}/16 dev to-eth1")
        sidecar.wait_for_line("found the gateway of eth1")
