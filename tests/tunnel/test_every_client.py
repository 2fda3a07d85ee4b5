"""The same verdicts for every client, each beside a real server of its own kind."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.ocserv_server import OcservServer
from tests.lab.openvpn_server import PUSH_VPN, PUSH_VPN_V6, OpenVPNServer
from tests.lab.topology import Lab
from tests.lab.traffic import reaches
from tests.lab.vendor import DaemonVendorServer, VendorServer
from tests.lab.vpn_server import VPNServer
from tests.lab.waiting import until
from tests.lab.wireguard_server import WireGuardServer
from tests.tunnel.product import AnyProduct, Kernel, echoes, kill

Describe = Callable[[Lab, Path], VPNServer]


def openvpn(
    lab: Lab, directory: Path, protocol: str = "udp", kind: type[OpenVPNServer] = OpenVPNServer
) -> VPNServer:
    """Describe a server of OpenVPN, whose client is started in one way or another."""
    return kind(
        lab.vpn_server,
        directory / "server",
        protocol=protocol,  # type: ignore[arg-type]
        push=(PUSH_VPN, PUSH_VPN_V6),
        ipv6=True,
    )


def wireguard(lab: Lab, directory: Path) -> VPNServer:
    """Describe a server of WireGuard."""
    return WireGuardServer(lab.vpn_server, directory / "server")


def openconnect(lab: Lab, directory: Path) -> VPNServer:
    """Describe a server of AnyConnect's kind."""
    return OcservServer(lab.vpn_server, directory / "server")


VPNS: dict[str, Describe] = {
    "openvpn": openvpn,
    "openvpn-tcp": partial(openvpn, protocol="tcp"),
    "wireguard": wireguard,
    "openconnect": openconnect,
    "command": partial(openvpn, kind=VendorServer),
    "command-daemon": partial(openvpn, kind=DaemonVendorServer),
}
"""Each pushes what covers the LAN, in both families."""
TELL = [kind for kind in VPNS if kind != "wireguard"]
"""Whose client knows within seconds that its server is gone; test_wireguard.py waits for the other."""


@pytest.fixture(params=list(VPNS.values()), ids=list(VPNS))
def any_product(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> AnyProduct:
    """Give the product beside each kind of server."""
    return AnyProduct(lab, tmp_path, request.param(lab, tmp_path))


def test_both_ways_without_a_gap_and_nothing_left(lab: Lab, any_product: AnyProduct) -> None:
    """From before the start until after the end: both answered, no echo lost, the kernel as before."""
    before = Kernel.of(lab.sidecar)
    with echoes(lab):
        sidecar = any_product.start()
        assert any_product.unreached(V4) == any_product.unreached(V6) == {}
        assert "# nothing to change" in sidecar.run("plan")[1]
        assert sidecar.terminate() == 0
    assert Kernel.of(lab.sidecar) == before


@pytest.mark.parametrize("any_product", [VPNS[kind] for kind in TELL], ids=TELL, indirect=True)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_is_gone_and_back(lab: Lab, any_product: AnyProduct, end: str) -> None:
    """One that says farewell, and one that falls silent: told, and both ways again without a lost echo."""
    sidecar = any_product.start()
    with echoes(lab):
        getattr(any_product.vpn, end)()
        sidecar.wait_until_unready(30)
        assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
        any_product.vpn.start()
        sidecar.wait_until_ready(30)
        assert any_product.unreached(V4) == any_product.unreached(V6) == {}


def test_a_killed_client_is_replaced(lab: Lab, any_product: AnyProduct) -> None:
    """SIGKILL of the client's process: a new one takes over, and the LAN does not notice."""
    before = Kernel.of(lab.sidecar)
    sidecar = any_product.start()
    with echoes(lab):
        old = sidecar.status()["client"]["pid"]
        kill(old)
        until(lambda: sidecar.status()["client"]["pid"] not in {None, old}, 5, "a new client")
        sidecar.wait_until_ready(30)
        assert any_product.unreached(V4) == {}
    assert sidecar.terminate() == 0
    assert Kernel.of(lab.sidecar) == before


def test_an_entrypoint_that_is_killed_is_succeeded(lab: Lab, any_product: AnyProduct) -> None:
    """SIGKILL of the entrypoint: the rules stay, the next run adopts them and owes nothing at its end."""
    before = Kernel.of(lab.sidecar)
    first = any_product.start()
    with echoes(lab):
        first.kill()
        second = any_product.start()
        assert any_product.unreached(V4) == {}
    assert second.terminate() == 0
    assert Kernel.of(lab.sidecar) == before
