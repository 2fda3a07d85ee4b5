"""A client that leaves its link to us, one without a process, and a tunnel that somebody else makes."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from entrypoint.changes import Change
from entrypoint.clients.base import Report
from entrypoint.lifecycle import State
from entrypoint.network import MAIN_TABLE, LinkAddress, LinkState, Route, TunnelSetup
from entrypoint.rtnl import Rtnl
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.held import everything, ours, rules
from tests.kernel.scripted import comes, inside, supervised

LINK = "ip tuntap add tun0 mode tun; exec sleep 60"
SETUP = TunnelSetup(
    link="tun0",
    mtu=1380,
    addresses=(ip_interface("10.99.0.2/32"), ip_interface("fd00:99::2/64")),
    routes=(ip_network("10.0.0.0/8"), ip_network("fd00::/16"), ip_network("0.0.0.0/0")),
    excluded=(ip_network("10.77.0.0/16"),),
)
LEFT_TO_US = Report(connected=True, interface="tun0", setup=SETUP)
ROUTES = {
    "10.0.0.0/8 dev tun0 scope link table main proto 83",
    "0.0.0.0/1 dev tun0 scope link table main proto 83",
    "128.0.0.0/1 dev tun0 scope link table main proto 83",
    "fd00::/16 dev tun0 table main proto 83",
    "90: from 0.0.0.0 to 10.77.0.0/16 iif lo lookup 7100 proto 83",
}
BEFORE_US = ("tuntap add tun5 mode tun", "address add 10.88.0.2/24 dev tun5", "link set tun5 up")


def stands(container: Container) -> bool:
    """Tell whether link, addresses, routes and rules are as the client said."""
    (link,) = container.host.ip_json("link", "show", "dev", "tun0")
    return (
        link["mtu"] == 1380
        and "UP" in link["flags"]
        and container.host.addresses("tun0") == ["10.99.0.2"]
        and "fd00:99::2" in container.host.addresses("tun0", "-6")
        and ours(container.host) >= ROUTES
    )


def test_what_a_client_leaves_to_us_is_made_and_gone_after_the_stop(
    container: Container, tmp_path: Path
) -> None:
    """Its link gets MTU, addresses and routes; nothing else of the main table moves."""
    settings, _ = load({})
    before = everything(container.host)

    async def work() -> None:
        async with supervised(settings, LINK, tmp_path, LEFT_TO_US) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            assert stands(container)
            assert before <= everything(container.host)

    inside(container, work)
    assert everything(container.host) == before


def test_an_address_that_the_gateway_has_is_never_set(container: Container, tmp_path: Path) -> None:
    """The attempt ends with the reason, and the next one comes."""
    settings, _ = load({})
    setup = replace(SETUP, addresses=(ip_interface("172.30.0.1/32"),))

    async def work() -> None:
        async with supervised(settings, LINK, tmp_path, replace(LEFT_TO_US, setup=setup)) as supervisor:
            await comes(lambda: supervisor.restarts == 1)
            assert "172.30.0.1, which is the gateway of eth0" in str(supervisor.failure)
            assert container.host.addresses("tun0") == []

    inside(container, work)


def test_a_route_by_a_link_that_has_just_gone_is_no_fault(
    container: Container, caplog: pytest.LogCaptureFixture
) -> None:
    """A killed client takes its link along while its routes are being made; nothing is told."""
    steps = [
        Change("set", LinkState("tun0")),
        Change("add", LinkAddress("tun0", ip_interface("10.99.0.2/32"))),
        Change("add", Route(ip_network("10.0.0.0/8"), "tun0", MAIN_TABLE)),
    ]

    async def work() -> None:
        async with Rtnl(7100) as rtnl:
            for step in steps:
                await rtnl.apply(step)

    inside(container, work)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "damage",
    [
        ("route del 10.0.0.0/8 dev tun0",),
        ("route del fd00::/16 dev tun0",),
        ("address del 10.99.0.2/32 dev tun0",),
        ("link set tun0 down",),
        ("link set tun0 mtu 1500",),
        ("rule del from 0.0.0.0/32 to 10.77.0.0/16",),
    ],
    ids=lambda damage: damage[0],
)
def test_what_somebody_takes_from_it_comes_back(
    container: Container, tmp_path: Path, damage: tuple[str, ...]
) -> None:
    """Level, not edge, as with our own rules; the client need not notice."""
    settings, _ = load({})

    async def work() -> None:
        async with supervised(settings, LINK, tmp_path, LEFT_TO_US) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            await asyncio.to_thread(container.host.ip, *damage)
            await comes(lambda: stands(container))
            assert supervisor.restarts == 0

    inside(container, work)


def test_a_server_is_pinned_before_its_client_starts(container: Container, tmp_path: Path) -> None:
    """The first thing that the client sees is the rule; it stays through the back-off."""
    settings, _ = load({})
    seen = tmp_path / "seen"
    report = Report(connected=True, pinned=(ip_address("10.5.5.5"), ip_address("fd00:5::5")))
    pinned = {
        "90: from 0.0.0.0 to 10.5.5.5 iif lo lookup 7100 proto 83",
        "91: from ::/0 to fd00:5::5 iif lo lookup 7100 proto 83",
    }

    async def work() -> None:
        script = f"test -e {seen} || ip rule > {seen}; exit 1"
        async with supervised(settings, script, tmp_path, report) as supervisor:
            await comes(lambda: supervisor.state is State.FAILED)
            assert set(rules(container.host)) >= pinned

    inside(container, work)
    assert "to 10.5.5.5" in seen.read_text()


def test_a_client_without_a_process_lives_by_its_tunnel(container: Container, tmp_path: Path) -> None:
    """The tunnel that comes after the start counts, and its end is the end of the attempt."""
    settings, _ = load({})

    async def work() -> None:
        async with supervised(settings, "", tmp_path) as supervisor:
            await comes(lambda: supervisor.state is State.CONNECTING)
            assert supervisor.alive
            await asyncio.to_thread(container.tunnel)
            await comes(lambda: supervisor.state is State.UP)
            await asyncio.to_thread(container.host.ip, "link del tun0")
            await comes(lambda: supervisor.restarts == 1)

    inside(container, work)


def test_the_tunnel_of_somebody_else_is_taken_as_it_comes(container: Container, tmp_path: Path) -> None:
    """It may be there before the start, go and come back; no time limit ends the wait."""
    settings, _ = load({"VPN_UP_TIMEOUT": "100ms"})
    container.host.ip(*BEFORE_US)

    async def work() -> None:
        async with supervised(settings, "", tmp_path, makes_tunnel=False) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            await asyncio.to_thread(container.host.ip, "link del tun5")
            await comes(lambda: supervisor.state is State.RECONNECTING)
            await asyncio.sleep(0.3)  # that the limit ends nothing can only be seen by letting it pass
            assert supervisor.state is State.RECONNECTING
            await asyncio.to_thread(container.host.ip, *BEFORE_US)
            await comes(lambda: supervisor.state is State.UP)
            assert supervisor.restarts == 0

    inside(container, work)


@pytest.mark.parametrize(("makes_tunnel", "back"), [(True, True), (False, False)], ids=["ours", "another's"])
def test_a_default_route_is_put_back_only_after_a_client_of_ours(
    container: Container, tmp_path: Path, *, makes_tunnel: bool, back: bool
) -> None:
    """What somebody else's client took from the main table is that one's to give back."""
    settings, _ = load({})

    def has_default() -> bool:
        return any(
            line.startswith("default via 172.30.0.1 dev eth0 table main")
            for line in everything(container.host)
        )

    async def work() -> None:
        async with supervised(settings, "sleep 60", tmp_path, makes_tunnel=makes_tunnel) as supervisor:
            await comes(lambda: supervisor.alive)
            assert has_default()
            await asyncio.to_thread(container.host.ip, "route del default via 172.30.0.1 dev eth0")

    inside(container, work)
    assert has_default() == back
