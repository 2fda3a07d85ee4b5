"""VPN_DNS: who is asked for which name while the tunnel stands, comes and goes."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.addresses import V4, V6
from tests.lab.dns_server import DnsServer
from tests.lab.ocserv_server import OcservServer
from tests.lab.openvpn_server import PUSH_VPN, PUSH_VPN_V6, OpenVPNServer
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import Capture
from tests.lab.vpn_server import VPNServer
from tests.lab.waiting import until
from tests.lab.wireguard_server import WireGuardServer
from tests.tunnel.product import AnyProduct, kill, programs
from tests.tunnel.wireguarded import EVERYTHING

DOCKERS = "127.0.0.11"
"""Where Docker's own resolver listens in each container of a user-defined network."""
ORIGINAL = "# by the engine\nnameserver {}\nsearch home.lan\noptions ndots:0 edns0\n"
OURS = "nameserver 127.0.0.83\n"
PUSH_DNS = (f"dhcp-option DNS {V4.server_b}", "dhcp-option DOMAIN corp.example")
INTRANET, WEB, NEIGHBOUR, NAS = "10.50.0.80", "192.0.2.80", V4.neighbour, "10.20.0.9"
UNROUTED = "203.0.113.53"
"""A resolver of the VPN's that none of its routes leads to."""
ENDPOINT = "vpn.corp.example"
ASKED = "names are asked of "


@dataclass(frozen=True, slots=True)
class Names:
    """The product, and both resolvers: the VPN's, and the one that was there before."""

    product: AnyProduct
    vpn: DnsServer
    before: DnsServer

    @property
    def file(self) -> Path:
        """What the container has at /etc/resolv.conf."""
        return self.product.directory / "container/resolv.conf"

    @property
    def original(self) -> str:
        """What it has there before the start."""
        return ORIGINAL.format(self.before.address)

    def configure(self, old: str, new: str) -> None:
        """Change OpenVPN's configuration."""
        config = Path(self.product.settings["VPN_CONFIG"])
        config.write_text(config.read_text().replace(old, new))

    def sidecar(self, dns: str = "vpn", **environment: str) -> Sidecar:
        """Describe the program in a container whose resolv.conf is as the engine made it."""
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(self.original)
        return self.product.sidecar({"VPN_DNS": dns, **environment})

    def up(self, dns: str = "vpn", **environment: str) -> Sidecar:
        """Start it, and wait until the tunnel's resolver is asked."""
        sidecar = self.sidecar(dns, **environment).start().wait_until_ready()
        sidecar.wait_for_line(f"{ASKED}{self.vpn.address}")
        return sidecar


def names(
    lab: Lab,
    directory: Path,
    *,
    push: tuple[str, ...] = PUSH_DNS,
    behind_at: str = V4.server_b,
    lan: bool = False,
    vpn: VPNServer | None = None,
) -> Names:
    """Start a server (None: OpenVPN's, which pushes these options), and both resolvers.

    `behind_at`: the address of the VPN's, on server B. `lan`: the one from before is the laptop's.
    """
    host, address = (lab.laptop, V4.laptop) if lan else (lab.sidecar, DOCKERS)
    behind = {
        "intranet.corp.example": INTRANET,
        "intranet.lab.example": INTRANET,
        "www.example.org": WEB,
        "neighbour": WEB,
    }
    before = {"neighbour": NEIGHBOUR, "nas.home.lan": NAS, ENDPOINT: V4.vpn_endpoint}
    server = vpn or OpenVPNServer(lab.vpn_server, directory / "server", push=(PUSH_VPN, *push))
    return Names(
        AnyProduct(lab, directory, server),
        DnsServer(lab.server_b, behind_at, behind).start(),
        DnsServer(host, address, before).start(),
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Names, Sidecar]]:
    """Give a product that stands with VPN_DNS=vpn, for tests that only look."""
    with Lab(ipv6=False) as lab:
        made = names(lab, tmp_path_factory.mktemp("names"))
        yield made, made.up()


def test_names_are_asked_where_they_are_known(up: tuple[Names, Sidecar]) -> None:
    """Behind the tunnel, also by its search domain; neighbours and the file's own domains by Docker's."""
    _, sidecar = up
    assert sidecar.look_up("intranet.corp.example") == INTRANET
    assert sidecar.look_up("intranet") == INTRANET
    assert sidecar.look_up("www.example.org") == WEB
    assert sidecar.look_up("neighbour") == NEIGHBOUR
    assert sidecar.look_up("nas.home.lan") == NAS
    assert sidecar.look_up("nas") == NAS
    assert sidecar.look_up(NEIGHBOUR) == "neighbour"


def test_options_of_the_file_are_kept(up: tuple[Names, Sidecar]) -> None:
    """The tunnel's search domain comes behind the file's own."""
    made, _ = up
    lines = made.file.read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        OURS.strip(),
        "search home.lan corp.example",
        "options ndots:0 edns0",
    ]


def ours(made: Names) -> list[int]:
    """Return the product's own dnsmasq; the lab's answers beside it."""
    found = programs(made.product.host, "dnsmasq")
    return [pid for pid in found if pid != made.before.process.pid]


def test_a_resolver_that_dies_is_told_and_started_again(up: tuple[Names, Sidecar]) -> None:
    """At once, then after a second: health warns of it meanwhile, and stays ready."""
    made, sidecar = up
    (first,) = ours(made)
    kill(first)
    until(lambda: ours(made) not in ([], [first]), 5, "dnsmasq to be started again")
    kill(ours(made)[0])
    warned = until(lambda: "[!] dns: dnsmasq was ended by SIGKILL" in sidecar.readiness()[1], 5, "a warning")
    assert warned
    assert sidecar.ready()
    until(lambda: "[!] dns" not in sidecar.readiness()[1], 5, "dnsmasq to be started again")
    assert sidecar.look_up("intranet.corp.example") == INTRANET


def test_no_question_about_the_vpn_leaves_past_the_tunnel(lab: Lab, tmp_path: Path) -> None:
    """Each resolver is asked by its own link: the LAN's though a route has it, the VPN's without one."""
    lab.server_b.ip(f"address add {UNROUTED}/32 dev lo")
    lab.vpn_server.ip(f"route add {UNROUTED} via {V4.server_b}")
    made = names(lab, tmp_path, push=(f"dhcp-option DNS {UNROUTED}",), behind_at=UNROUTED, lan=True)
    with Capture(lab.sidecar, "eth0", "port 53") as capture:
        sidecar = made.up()
        assert sidecar.look_up("intranet.corp.example") == INTRANET
        assert sidecar.look_up("www.example.org") == WEB
        assert sidecar.look_up("nas.home.lan") == NAS
        assert sidecar.look_up("neighbour") == NEIGHBOUR
    seen = {match[1] for line in capture.packets if (match := re.search(r"\? (\S+)\. ", line))}
    assert seen == {"nas.home.lan", "neighbour"}
    assert set(made.before.asked) == seen
    assert not re.search(r"\d+ overlap on .*resolver", "\n".join(sidecar.lines))


def test_the_file_is_put_back_at_the_stop(lab: Lab, tmp_path: Path) -> None:
    """In place: a service that has the same file mounted sees both texts."""
    made = names(lab, tmp_path)
    sidecar = made.up()
    inode = made.file.stat().st_ino
    assert OURS in made.file.read_text()
    assert sidecar.terminate() == 0
    assert made.file.read_text() == made.original
    assert made.file.stat().st_ino == inode
    assert ours(made) == []


@pytest.mark.parametrize("dns", ["keep", "vpn"])
def test_what_a_killed_run_left_is_mended(lab: Lab, tmp_path: Path, dns: str) -> None:
    """With an emptied /run: the file itself holds what stood there before."""
    made = names(lab, tmp_path)
    sidecar = made.up()
    sidecar.kill()
    until(lambda: ours(made) == [], 5, "dnsmasq to end with its parent")
    assert OURS in made.file.read_text()
    for left in (made.file.parent / "run").rglob("*"):
        if left.is_file():
            left.unlink()
    again = made.product.sidecar({"VPN_DNS": dns}).start().wait_until_ready()
    if dns == "keep":
        assert made.file.read_text() == made.original
        again.wait_for_line("/etc/resolv.conf had been changed and is put back")
    else:
        again.wait_for_line(f"{ASKED}{V4.server_b}")
        assert again.look_up("intranet.corp.example") == INTRANET
    assert again.terminate() == 0
    assert made.file.read_text() == made.original


def test_a_client_that_is_started_again_finds_its_server_by_name(lab: Lab, tmp_path: Path) -> None:
    """By the resolver from before, also where the name is in the VPN's own domain."""
    made = names(lab, tmp_path)
    made.configure(f"remote {V4.vpn_endpoint}", f"remote {ENDPOINT}")
    sidecar = made.up()
    asked, told = len(made.before.asked), len(sidecar.lines)
    kill(sidecar.status()["client"]["pid"])
    sidecar.wait_for_line(f"{ASKED}{V4.server_b}", after=told)
    assert ENDPOINT in made.before.asked[asked:]
    assert ENDPOINT not in made.vpn.asked
    assert not [line for line in sidecar.lines if "Cannot resolve" in line]
    assert sidecar.look_up("intranet.corp.example") == INTRANET


def test_while_the_client_reconnects_the_old_resolver_is_asked(lab: Lab, tmp_path: Path) -> None:
    """Although the tunnel's link stays: nobody answers behind it."""
    # The end of a TCP connection is seen at once.
    server = OpenVPNServer(lab.vpn_server, tmp_path / "server", push=(PUSH_VPN, *PUSH_DNS), protocol="tcp")
    made = names(lab, tmp_path, vpn=server)
    made.configure("client\n", "client\npersist-tun\n")
    sidecar = made.up()
    told = len(sidecar.lines)
    made.product.vpn.stop()
    sidecar.wait_for_line(f"{ASKED}{DOCKERS}", after=told)
    assert lab.sidecar.addresses("tun0")
    assert sidecar.look_up("nas.home.lan") == NAS
    made.product.vpn.start()
    sidecar.wait_for_line(f"{ASKED}{V4.server_b}", after=told)
    assert sidecar.look_up("intranet.corp.example") == INTRANET


def test_the_resolver_of_a_wireguard_file_is_asked(lab: Lab, tmp_path: Path) -> None:
    """Behind a full tunnel; Docker's for the neighbours, and the LAN's by the gateway."""
    vpn = WireGuardServer(lab.vpn_server, tmp_path / "server", allowed=EVERYTHING)
    made = names(lab, tmp_path, vpn=vpn, lan=True)
    sidecar = made.up()
    assert sidecar.look_up("intranet") == INTRANET
    assert sidecar.look_up("www.example.org") == WEB
    assert sidecar.look_up("neighbour") == NEIGHBOUR
    assert set(made.before.asked) == {"intranet", "intranet.home.lan", "neighbour"}
    assert sidecar.terminate() == 0
    assert made.file.read_text() == made.original


def test_the_resolver_that_openconnect_is_told_is_asked(lab: Lab, tmp_path: Path) -> None:
    """With its domain; and its own server, by the resolver from before, where that name is in this domain."""
    vpn = OcservServer(lab.vpn_server, tmp_path / "server", address=ENDPOINT, resolver=V4.server_b)
    made = names(lab, tmp_path, vpn=vpn)
    sidecar = made.up()
    assert sidecar.look_up("intranet") == INTRANET
    assert sidecar.look_up("neighbour") == NEIGHBOUR
    asked, told = len(made.before.asked), len(sidecar.lines)
    kill(sidecar.status()["client"]["pid"])
    sidecar.wait_for_line(f"{ASKED}{V4.server_b}", after=told)
    assert ENDPOINT in made.before.asked[asked:]
    assert ENDPOINT not in made.vpn.asked


def test_a_tunnel_that_brings_no_resolver_is_told(lab: Lab, tmp_path: Path) -> None:
    """The old one is asked on; health warns and stays ready."""
    made = names(lab, tmp_path, push=("dhcp-option DOMAIN corp.example",))
    sidecar = made.sidecar().start().wait_until_ready()
    sidecar.wait_for_line("the tunnel brings no resolver")
    ready, text = sidecar.readiness()
    assert ready
    assert re.search(r"(?m)^\[!\] dns: the tunnel brings no resolver", text)
    assert sidecar.look_up("neighbour") == NEIGHBOUR
    assert "corp.example" not in made.file.read_text()


def test_a_resolver_that_never_answers_is_a_warning(lab: Lab, tmp_path: Path) -> None:
    """Within seconds, with its address; nothing is unready for it, and it is asked for nobody's name."""
    silent = "10.50.0.99"
    site = names(lab, tmp_path)
    with Capture(lab.sidecar, "any", f"udp and dst host {silent} and dst port 53") as seen:
        sidecar = site.sidecar(silent).start().wait_until_ready()
        told = sidecar.wait_for_line(f"warning {silent} did not answer when asked for names", 15)
    assert "VPN_DNS" in told
    ready, text = sidecar.readiness()
    assert ready
    assert f"[!] dns: {silent} did not answer" in text
    assert seen.packets
    assert all(re.search(r" NS\? \. ", packet) for packet in seen.packets)


def test_addresses_are_asked_while_the_tunnel_stands(lab: Lab, tmp_path: Path) -> None:
    """Whatever the tunnel brings; neighbours are Docker's all the same."""
    made = names(lab, tmp_path, push=("dhcp-option DNS 10.50.0.99",))
    sidecar = made.up(V4.server_b)
    assert sidecar.look_up("intranet.corp.example") == INTRANET
    assert sidecar.look_up("neighbour") == NEIGHBOUR
    assert "dns" not in sidecar.readiness()[1]


def test_nonsense_from_the_server_breaks_nothing(lab: Lab, tmp_path: Path) -> None:
    """No resolver that is nobody, no domain that is none, no line that musl could not read."""
    junk = ("dhcp-option DNS 0.0.0.0", "dhcp-option DNS 127.0.0.83", "dhcp-option DNS 224.0.0.1")
    search = tuple(f"dhcp-option DOMAIN-SEARCH {n}{'x' * 50}.example" for n in range(9))
    made = names(lab, tmp_path, push=(*junk, "dhcp-option DOMAIN ../#/x", *search, *PUSH_DNS))
    sidecar = made.up()
    assert sidecar.look_up("intranet.corp.example") == INTRANET
    text = made.file.read_text()
    assert max(map(len, text.splitlines())) < 255
    assert ".." not in text


def test_without_what_it_takes_it_does_not_start(lab: Lab, tmp_path: Path) -> None:
    """A port that it may not have: the fix is named, and the file is as it was."""
    made = names(lab, tmp_path)
    lab.sidecar.sysctl("net/ipv4/ip_unprivileged_port_start", 1024)
    sidecar = made.sidecar()
    sidecar.capabilities = ("net_admin", "dac_override")
    sidecar.start()
    assert sidecar.process.wait() == 77
    sidecar.wait_for_line("port 53.*cap_add.*NET_BIND_SERVICE.*ip_unprivileged_port_start")
    assert made.file.read_text() == made.original


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_beside_another_dns_server_it_does_not_start(
    lab: Lab, tmp_path: Path, kind: socket.SocketKind
) -> None:
    """One that listens on every address: the fix is named, and the file is as it was."""
    made = names(lab, tmp_path, lan=True)
    with lab.sidecar.call(lambda: socket.socket(socket.AF_INET, kind)) as other:
        other.bind(("0.0.0.0", 53))  # noqa: S104 - that is the case
        if kind == socket.SOCK_STREAM:
            other.listen()
        sidecar = made.sidecar().start()
        assert sidecar.process.wait() == 78
    sidecar.wait_for_line("Address already in use.*leaves no room: set VPN_DNS=keep")
    assert made.file.read_text() == made.original


def test_a_resolver_of_ipv6_is_asked(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    """By the tunnel's link as well."""
    lab = make_lab()
    push = (PUSH_VPN, PUSH_VPN_V6, f"dhcp-option DNS {V6.server_b}", "dhcp-option DOMAIN corp.example")
    vpn = OpenVPNServer(lab.vpn_server, tmp_path / "server", push=push, ipv6=True)
    made = names(lab, tmp_path, vpn=vpn, behind_at=V6.server_b)
    sidecar = made.up()
    assert sidecar.look_up("intranet") == INTRANET
    assert sidecar.look_up("neighbour") == NEIGHBOUR


def test_what_somebody_else_writes_is_undone(lab: Lab, tmp_path: Path) -> None:
    """Ours comes back, and at the stop what stood there before us."""
    made = names(lab, tmp_path)
    sidecar = made.up()
    sidecar.wait_for_line("ready: ")
    written = made.file.read_text()
    for _ in range(2):  # the first may be seen by a wake-up of the start
        made.file.write_text("nameserver 192.0.2.53\n")
        until(lambda: made.file.read_text() == written, 5, "our text to come back")
    assert sum("resolv.conf was written by somebody else" in line for line in sidecar.lines) == 1
    assert sidecar.terminate() == 0
    assert made.file.read_text() == made.original


def test_with_keep_the_file_is_left_to_others(lab: Lab, tmp_path: Path) -> None:
    """The engine may write it while we run, as for a second network."""
    made = names(lab, tmp_path)
    sidecar = made.sidecar("keep").start().wait_until_ready()
    assert sidecar.look_up("intranet.corp.example") is None
    made.file.write_text("nameserver 192.0.2.53\n")
    kill(sidecar.status()["client"]["pid"])
    until(lambda: sidecar.status()["restarts"] == 1, 5, "the client to be started again")
    assert sidecar.terminate() == 0
    assert made.file.read_text() == "nameserver 192.0.2.53\n"
    assert not [line for line in sidecar.lines if "resolv.conf" in line]


def test_what_a_killed_client_made_of_the_file_is_undone(lab: Lab, tmp_path: Path) -> None:
    """With keep: a client whose own script writes resolv.conf and never comes to put it back."""
    made = names(lab, tmp_path)
    script = tmp_path / "up"
    script.write_text("#!/bin/sh\necho nameserver 192.0.2.53 >/etc/resolv.conf\n")
    script.chmod(0o755)
    made.configure("client\n", f"client\nup {script}\n")
    sidecar = made.sidecar("keep", VPN_ARGS="--script-security 2").start().wait_until_ready()
    assert made.file.read_text() == "nameserver 192.0.2.53\n"
    kill(sidecar.status()["client"]["pid"])
    sidecar.wait_for_line("resolv.conf had been changed and is put back")
    sidecar.wait_until_ready()
    sidecar.kill()
    assert made.file.read_text() == "nameserver 192.0.2.53\n"
    again = made.product.sidecar({"VPN_DNS": "keep", "VPN_ARGS": "--script-security 2"}).start()
    again.wait_until_ready()
    assert again.terminate() == 0
    assert made.file.read_text() == made.original


def test_with_keep_the_file_need_not_be_readable(lab: Lab, tmp_path: Path) -> None:
    """Somebody else's and private: it is left alone, and so is what a killed run noted of it."""
    made = names(lab, tmp_path)
    sidecar = made.sidecar("keep", VPN_ARGS="--script-security 2")
    os.chown(made.file, 65534, 65534)
    made.file.chmod(0o600)
    sidecar.capabilities = ("net_admin",)
    sidecar.start().wait_until_ready()
    (folder,) = (made.file.parent / "run/sidegate").iterdir()
    (folder / "resolv.conf").write_text(made.original)
    assert sidecar.terminate() == 0
    assert (folder / "resolv.conf").read_text() == made.original
