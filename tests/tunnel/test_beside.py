"""Beside a tunnel that another container makes: ours win for replies, and theirs stay as they were."""

from pathlib import Path
from typing import Any

import pytest

from tests.lab import others
from tests.lab.addresses import SERVICE_PORT, V4, V6, Family
from tests.lab.others import Other, WgQuick
from tests.lab.topology import Lab
from tests.lab.traffic import MillisecondEcho, reaches
from tests.tunnel.product import PROTOCOL, PUSH, TABLE, AnyProduct, Kernel, kill, programs, untouched

OTHERS: dict[str, dict[str, Any]] = {
    "openvpn": others.PLAIN,
    "openvpn-full": others.FULL,
    "gluetun": others.GLUETUN,
    "tailscale": others.TAILSCALE,
    "wg-quick-rules": others.WG_QUICK,
    "wg-quick": {},
}


class Beside(AnyProduct):
    """The sidecar, and somebody else's client."""

    vpn: Other | WgQuick

    def theirs(self) -> tuple[tuple[str, ...], ...]:
        """Return rules and routes of the namespace, less ours, as iproute2 says them."""
        kernel = Kernel.of(self.host)
        ours = f'"protocol": "{PROTOCOL}"'
        return tuple(
            tuple(line for line in lines if ours not in line) for lines in (kernel.rules, kernel.routes)
        )

    def ours_decide(self, f: Family) -> bool:
        """Whether our table is asked for a reply to the laptop."""
        (way,) = self.host.ip_json(f.option, "route", "get", f.laptop, "from", f.sidecar)
        return (str(way.get("table")), way["dev"]) == (str(TABLE), "eth0")


@pytest.fixture(params=OTHERS)
def beside(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Beside:
    """Give each kind of other, described and not yet up."""
    where = lab.vpn_server, tmp_path / "server", lab.sidecar
    if request.param == "wg-quick":
        return Beside(lab, tmp_path, WgQuick(*where))
    return Beside(lab, tmp_path, Other(*where, **{"push": PUSH, "ipv6": True, **OTHERS[request.param]}))


def test_a_tunnel_that_is_there_already(lab: Lab, beside: Beside) -> None:
    """Routes are taken, the default route may be gone: both ways, and theirs byte for byte as they were."""
    beside.vpn.bring_up()
    before, theirs = Kernel.of(lab.sidecar), beside.theirs()
    sidecar = beside.start()
    assert beside.theirs() == theirs
    assert beside.ours_decide(V4)
    assert beside.ours_decide(V6)
    assert beside.unreached(V4) == beside.unreached(V6) == {}
    assert sidecar.terminate() == 0
    assert Kernel.of(lab.sidecar) == before


def test_a_tunnel_that_comes_and_goes(lab: Lab, beside: Beside) -> None:
    """It is waited for without end; health follows it; nothing of the main table is put back by us."""
    empty = beside.theirs()
    sidecar = beside.sidecar({"VPN_UP_TIMEOUT": "500ms"}).start()
    sidecar.wait_for_line("saw no tunnel within 0.5 s; waiting on")
    running = [MillisecondEcho(lab.laptop, family.server_a, longest=60) for family in (V4, V6)]
    for _ in range(2):
        beside.vpn.bring_up()
        theirs = beside.theirs()
        sidecar.wait_until_ready()
        assert beside.unreached(V4) == beside.unreached(V6) == {}
        assert beside.theirs() == theirs
        beside.vpn.take_down()
        sidecar.wait_until_unready()
    for echo in running:
        result = echo.stop()
        # A rule that names no priority stands before ours until we are in front again: TCP mends these few
        # milliseconds.
        assert result.answered == result.sent if beside.vpn.names_no_priority else untouched(result), result
    assert beside.theirs() == empty
    assert sidecar.status()["restarts"] == 0
    assert sidecar.terminate() == 0


def test_what_a_killed_one_took_is_not_ours_to_put_back(lab: Lab, tmp_path: Path) -> None:
    """Another's client dies and leaves no default route: replies are kept, the main table as it left it."""
    described = {"push": PUSH, "ipv6": True, **OTHERS["openvpn-full"]}
    beside = Beside(lab, tmp_path, Other(lab.vpn_server, tmp_path / "server", lab.sidecar, **described))
    beside.vpn.bring_up()
    sidecar = beside.start()
    (pid,) = programs(lab.sidecar, "openvpn")
    kill(pid)
    sidecar.wait_until_unready()
    left = beside.theirs()
    assert lab.sidecar.ip_json("-4", "route", "show", "default") == []
    assert reaches(lab.laptop, V4.server_a, SERVICE_PORT) is None
    assert sidecar.terminate() == 0
    assert beside.theirs() == left
