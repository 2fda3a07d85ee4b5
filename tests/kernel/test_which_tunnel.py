"""Which of the namespace's tunnels is the client's, and what is said where that can be doubted."""

from pathlib import Path

import pytest

from entrypoint.clients.base import Report
from entrypoint.lifecycle import State
from entrypoint.settings import load
from tests.kernel.conftest import Container
from tests.kernel.scripted import comes, inside, supervised, tunnel_lines
from tests.kernel.test_daemons import run

FIRST = "saw several tunnels, tun1 and tun2: health follows tun1; set VPN_INTERFACE to name another"


def make(container: Container, *names: str) -> None:
    """Make tunnels that somebody else has."""
    for number, name in enumerate(names):
        container.host.run("sh", "-ec", tunnel_lines(name, f"10.9{number}.0.2/24"))


def test_of_several_the_first_is_taken_and_told(
    container: Container, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each choice; when it goes, the other one stands in."""
    make(container, "tun1", "tun2")

    async def work() -> None:
        async with supervised(load({})[0], "", tmp_path, makes_tunnel=False) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            assert supervisor.tunnel and supervisor.tunnel.link.name == "tun1"  # noqa: PT018 - for the type
            await run("ip", "link", "delete", "tun1")
            await comes(lambda: supervisor.tunnel and supervisor.tunnel.link.name == "tun2")
            assert supervisor.state is State.UP

    inside(container, work)
    assert [line for line in caplog.messages if "several" in line] == [FIRST]


def test_the_one_that_is_named_is_taken(
    container: Container, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """VPN_INTERFACE leaves nothing to choose; without that one there is no tunnel."""
    make(container, "tun1", "tun2")

    async def work() -> None:
        settings = load({"VPN_INTERFACE": "tun2"})[0]
        async with supervised(settings, "", tmp_path, makes_tunnel=False) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            assert supervisor.tunnel and supervisor.tunnel.link.name == "tun2"  # noqa: PT018 - for the type
            await run("ip", "link", "delete", "tun2")
            await comes(lambda: supervisor.state is State.RECONNECTING)
            assert supervisor.tunnel is None

    inside(container, work)
    assert not [line for line in caplog.messages if "several" in line]


def test_a_link_that_is_no_tunnel_cannot_be_named(container: Container) -> None:
    """VPN_INTERFACE=eth0 would have the client fail at each attempt."""
    (fault,) = container.keep({"VPN_INTERFACE": "eth0"}).fault()
    assert fault.startswith("cannot use VPN_INTERFACE=eth0: saw a link of that name that is no tunnel; ")


def test_what_is_no_reason_is_not_told_as_one(
    container: Container, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that still says "connected" has not said why its tunnel is gone."""
    make(container, "tun1")
    report = Report(connected=True, detail="connected")

    async def work() -> None:
        async with supervised(load({})[0], "", tmp_path, report, makes_tunnel=False) as supervisor:
            await comes(lambda: supervisor.state is State.UP)
            await run("ip", "link", "delete", "tun1")
            await comes(lambda: supervisor.state is State.RECONNECTING)

    inside(container, work)
    (told,) = [line for line in caplog.messages if "the tunnel is gone" in line]
    assert told == "the tunnel is gone; replies to the LAN are kept"


def test_no_log_lines_are_pointed_at_where_there_is_no_process(container: Container, tmp_path: Path) -> None:
    """The kernel's WireGuard says nothing in the log."""

    async def work() -> None:
        async with supervised(load({"VPN_UP_TIMEOUT": "100ms"})[0], "", tmp_path) as supervisor:
            await comes(lambda: supervisor.failure)
            assert supervisor.failure == "brought up no tunnel within 0.1 s"

    inside(container, work)


def test_a_link_that_waits_without_an_address_is_the_clients(container: Container, tmp_path: Path) -> None:
    """A vendor's daemon keeps it while it is down; the command gives it its address."""
    container.host.ip("tuntap add tun0 mode tun")

    async def work() -> None:
        script = "ip address add 10.99.0.2/24 dev tun0; ip link set tun0 up; exec sleep 60"
        async with supervised(load({})[0], script, tmp_path) as supervisor:
            await comes(lambda: supervisor.state is State.UP)

    inside(container, work)


def test_a_tunnel_that_stood_before_the_client_is_named_when_none_comes(
    container: Container, tmp_path: Path
) -> None:
    """It may be the client's all the same: the setting that says so is told."""
    make(container, "tun1")

    async def work() -> None:
        async with supervised(load({"VPN_UP_TIMEOUT": "100ms"})[0], "sleep 60", tmp_path) as supervisor:
            await comes(lambda: supervisor.failure)
            assert supervisor.failure == (
                "brought up no tunnel within 0.1 s; see its log lines above; "
                "tun1 stood before it: set VPN_INTERFACE if that is its tunnel"
            )

    inside(container, work)
