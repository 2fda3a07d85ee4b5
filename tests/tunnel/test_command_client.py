"""A vendor's program: started, followed, stopped and ended, beside a real server."""

import os
import signal
import time
from pathlib import Path

import pytest

from entrypoint.clients.servers import PINNED_MAX
from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.dns_server import DnsServer
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.vendor import DaemonVendorServer, VendorServer
from tests.lab.waiting import until
from tests.tunnel.product import (
    PUSH,
    TOLD_WITHIN,
    AnyProduct,
    Kernel,
    echoes,
    first_line,
    kill,
    our_rules,
    programs,
    seconds_until,
)

TALK = """#!/usr/bin/env python3
import socket, sys
word, sends = {{"up": (b">HOLD", b"hold release\\n"), "down": (b">INFO", b"signal SIGTERM\\n")}}[sys.argv[1]]
with socket.socket(socket.AF_UNIX) as s:
    s.connect("{socket}")
    for awaited, said in ((word, sends), (b"SUCCESS", b"")):
        got = b""
        while awaited not in got:
            got += s.recv(4096) or sys.exit(1)
        s.sendall(said)
"""
"""A vendor's command line for a daemon that was there before."""

KINDS = {"foreground": VendorServer, "daemon": DaemonVendorServer}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def vendor(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> AnyProduct:
    """Give the sidecar with a vendor's program that stays, and with one that daemonises."""
    return AnyProduct(lab, tmp_path, request.param(lab.vpn_server, tmp_path / "server", push=PUSH, ipv6=True))


def test_a_tunnel_that_is_gone_is_told_and_made_again(lab: Lab, vendor: AnyProduct) -> None:
    """The program lives and its link is taken away: a new one, and the LAN does not notice."""
    sidecar = vendor.start()
    old = programs(lab.sidecar, "openvpn")
    with echoes(lab):
        seen = len(sidecar.lines)
        lab.sidecar.ip("link delete tun0")
        sidecar.wait_for_line("lost its tunnel and does not know it; next attempt now", after=seen)
        until(lambda: sidecar.status()["restarts"] == 1 and sidecar.ready(), 15, "the next tunnel")
        assert vendor.unreached(V4) == vendor.unreached(V6) == {}
    assert not set(programs(lab.sidecar, "openvpn")) & set(old)
    assert len(programs(lab.sidecar, "openvpn")) == 1


def test_a_killed_program_is_told_within_a_second(vendor: AnyProduct) -> None:
    """By the end of its process, daemon or not."""
    sidecar = vendor.start()
    kill(sidecar.status()["client"]["pid"])
    took = seconds_until(lambda: sidecar.status()["restarts"], TOLD_WITHIN, "the end to be told")
    assert took < TOLD_WITHIN


@pytest.mark.parametrize("vendor", [DaemonVendorServer], ids=["daemon"], indirect=True)
def test_a_program_that_ignores_sigterm_is_killed_in_the_end(lab: Lab, vendor: AnyProduct) -> None:
    """Stopped by SIGSTOP it hears nothing, its stop command reaches nobody: it is gone all the same."""
    before = Kernel.of(lab.sidecar)
    sidecar = vendor.start()
    (pid,) = programs(lab.sidecar, "openvpn")
    with echoes(lab):
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        assert sidecar.terminate() == 0
        assert time.monotonic() - began < 9
    assert programs(lab.sidecar, "openvpn") == []
    assert Kernel.of(lab.sidecar) == before


@pytest.mark.parametrize("vendor", [DaemonVendorServer], ids=["daemon"], indirect=True)
def test_the_stop_command_is_enough(lab: Lab, vendor: AnyProduct) -> None:
    """The daemon ends by what the vendor has for it, and says goodbye to its server."""
    sidecar = vendor.start()
    assert len(programs(lab.sidecar, "openvpn")) == 1
    assert sidecar.terminate() == 0
    assert programs(lab.sidecar, "openvpn") == []
    log = (vendor.directory / "vendor.log").read_text()
    assert "SIGTERM[hard,] received, process exiting" in log


def test_a_daemon_that_is_not_ours_is_told_what_to_do(lab: Lab, tmp_path: Path) -> None:
    """As `tailscale up` does it: the command ends with 0 and leaves no process, its tunnel alone counts."""
    product = AnyProduct(
        lab, tmp_path, VendorServer(lab.vpn_server, tmp_path / "server", push=PUSH, ipv6=True)
    )
    theirs = lab.sidecar.spawn(
        *("openvpn", "--config", str(tmp_path / "client.ovpn"), "--management-hold"),
        *("--management", str(tmp_path / "vendor.sock"), "unix", "--persist-tun"),
        name="the vendor's daemon",
    )
    talk = tmp_path / "vendor"
    talk.write_text(TALK.format(socket=tmp_path / "vendor.sock"))
    talk.chmod(0o755)
    until((tmp_path / "vendor.sock").exists, 5, "the vendor's daemon")
    sidecar = product.start(VPN_COMMAND=f"{talk} up", VPN_STOP_COMMAND=f"{talk} down")
    assert product.unreached(V4) == {}
    assert sidecar.status()["client"]["pid"] is None
    assert "[+] client: command was started, and tells nothing of its session" in sidecar.readiness()[1]
    assert sidecar.terminate() == 0
    assert theirs.wait() == 0


def test_a_server_inside_its_own_range_is_reached(vendor: AnyProduct) -> None:
    """A foreign program's packets bear no mark of ours: VPN_SERVER keeps them on the gateway."""
    covering = f"{V4.internet.split('/')[0]} 255.255.255.0"
    vendor.vpn.stop()
    vendor.vpn.push = (*PUSH, f"route {covering}")  # type: ignore[attr-defined]
    vendor.vpn.start()
    sidecar = vendor.start(VPN_SERVER=f"{V4.vpn_endpoint} {V6.vpn_endpoint}")
    assert vendor.unreached(V4) == vendor.unreached(V6) == {}
    assert sidecar.terminate() == 0


@pytest.mark.parametrize("vendor", [VendorServer], ids=["foreground"], indirect=True)
def test_a_program_that_fails_is_named_and_the_lan_is_kept(lab: Lab, vendor: AnyProduct) -> None:
    """Its last words are in the reason; it is tried again with the back-off."""
    with echoes(lab):
        sidecar = vendor.sidecar({"VPN_ARGS": "--no-such-option"}).start()
        sidecar.wait_for_line("next attempt in 1 s")
        assert "command is not running: ended with exit code 1; its last words: Options" in first_line(
            sidecar
        )
        assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
        assert sidecar.terminate() == 0


def test_a_name_with_very_many_addresses_does_not_fill_the_kernel(lab: Lab, tmp_path: Path) -> None:
    """The first ones are kept on the gateway: each is a rule that every packet is held against."""
    many = " ".join(f"203.0.113.{number}" for number in range(1, 200))
    DnsServer(lab.server_a, V4.internet_a, {"many.example": many}).start()
    command = {"VPN_CLIENT": "command", "VPN_COMMAND": "sleep 60", "VPN_SERVER": "many.example"}
    sidecar = Sidecar(lab.sidecar, tmp_path / "container", command)
    sidecar.directory.mkdir()
    (sidecar.directory / "resolv.conf").write_text(f"nameserver {V4.internet_a}\n")
    sidecar.start()

    def pinned() -> int:
        return len([rule for rule in our_rules(lab.sidecar) if rule.get("dst", "").startswith("203.0.113.")])

    until(lambda: programs(lab.sidecar, "sleep") and pinned(), 10, "the addresses")
    assert pinned() == PINNED_MAX
    assert sidecar.terminate() == 0
