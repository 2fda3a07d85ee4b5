"""A tunnel that is up and left alone costs nothing and says nothing."""

import time
from pathlib import Path

import pytest

from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.lab.wireguard_server import WireGuardServer
from tests.tunnel.product import AnyProduct, Product, kernel_events

IDLE_SECONDS = 5.0
CPU_MAX_SECONDS = 0.02


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process' threads, to the nanosecond (proc(5), schedstat)."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9 for task in Path(f"/proc/{pid}/task").iterdir()
    )


@pytest.fixture(params=["openvpn", "wireguard"])
def quiet(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> AnyProduct:
    """Give the product beside a server that sends nothing by itself."""
    if request.param == "wireguard":
        return AnyProduct(lab, tmp_path, WireGuardServer(lab.vpn_server, tmp_path / "server"))
    return Product(lab, tmp_path)


def test_idle_means_idle(quiet: AnyProduct) -> None:
    """Five seconds with the tunnel up: no CPU to speak of, no line, no event of the kernel."""
    sidecar = quiet.start()
    sidecar.wait_for_line("test replies the right way")
    with kernel_events(quiet.host) as events:
        lines = len(sidecar.lines)
        before = cpu_seconds(sidecar.process.pid)
        time.sleep(IDLE_SECONDS)  # that nothing happens can only be seen by waiting
        used = cpu_seconds(sidecar.process.pid) - before
    assert used < CPU_MAX_SECONDS
    assert [line for line in sidecar.lines[lines:] if "openvpn: " not in line] == []
    assert events == []


def test_the_measure_sees_work(product: Product) -> None:
    """The control: a few questions to the endpoint are seen."""
    sidecar = product.start()
    before = cpu_seconds(sidecar.process.pid)
    until(
        lambda: sidecar.get("/metrics") and cpu_seconds(sidecar.process.pid) - before > CPU_MAX_SECONDS,
        10,
        "work",
    )
