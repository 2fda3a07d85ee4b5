import asyncio
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.clients.base import Report
from entrypoint.clients.openvpn import SOCKET_NAME, OpenVPN
from entrypoint.clients.ovpn_report import CHECK_THEM
from tests.lab.addresses import V4, V6
from tests.lab.openvpn_server import PUSH_VPN, PUSH_VPN_V6, OpenVPNServer
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.attempt import Attempt, Word

USER, PASSWORD = 'al "ice" #1', "p\\w ä;'x\""
CLIENT_ADDRESS = "10.99.0.2"


def links(lab: Lab) -> set[str]:
    """Return the names of the sidecar's links."""
    return {str(entry["ifname"]) for entry in lab.sidecar.ip_json("link")}


async def until_no_tunnel(lab: Lab) -> None:
    """Return when the sidecar has no tunnel link."""
    await asyncio.to_thread(until, lambda: "tun0" not in links(lab), 10, "the end of the tunnel's link")


def user_of(pid: int) -> int:
    """Return the user that a process runs as."""
    found = re.search(r"^Uid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_a_connection_is_reported_with_addresses_server_interface_and_pushed_options(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """All that health shows of the tunnel comes from the management interface."""
    server = make_server(
        ipv6=True,
        push=(PUSH_VPN, PUSH_VPN_V6, "dhcp-option DNS 10.0.0.53", "dhcp-option DOMAIN corp.example"),
    )
    client = make_client(server.client_config())

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            return await attempt.connected()

    report = asyncio.run(scenario())
    assert report.detail == "connected"
    assert report.failure is None
    assert report.interface == "tun0"
    assert str(report.server) == V4.vpn_endpoint
    assert [address.version for address in report.addresses] == [4, 6]
    assert str(report.addresses[0]) == CLIENT_ADDRESS
    assert set(report.pushed) == {
        f"route {V4.vpn_network}",
        f"route {V6.vpn_network}",
        "dns 10.0.0.53",
        "domain corp.example",
    }


def test_credentials_reach_the_server_and_nothing_else(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """Neither arguments, environment nor the most talkative log hold user name or password."""
    server = make_server(login=(USER, PASSWORD))
    client = make_client(server.client_config("verb 4"), username=Word(USER), password=Word(PASSWORD))

    async def scenario() -> bytes:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            seen = attempt.seen_from_outside()
            attempt.process.terminate()
            await attempt.ended()
            return seen + attempt.output + repr(attempt.reports).encode()

    seen = asyncio.run(scenario())
    assert server.login_attempts() == 1
    assert b"Initialization Sequence Completed" in seen
    assert b"DATA CHANNEL" in seen.upper(), "verbosity 4 was not put back"
    for secret in (USER, PASSWORD, USER.replace('"', '\\"')):
        assert secret.encode() not in seen


def test_refused_credentials_are_named_and_not_tried_again_by_openvpn(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """One attempt, one refusal, the end of the process: the back-off is the supervisor's."""
    server = make_server(login=(USER, PASSWORD))
    client = make_client(
        server.client_config("auth-retry nointeract"), username=Word(USER), password=Word("wrong")
    )

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.ended()
            return attempt.report

    report = asyncio.run(scenario())
    assert report.rejected
    assert not report.connected
    assert report.failure == f"the server refused the user name or password; {CHECK_THEM}"
    assert server.login_attempts() == 1


def test_the_servers_own_reason_for_a_refusal_is_told(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """A provider says here that an account has expired."""
    server = make_server(login=(USER, PASSWORD))
    (server.directory / "verify").write_text(
        "#!/bin/sh\nprintf 'account has expired' >\"$auth_failed_reason_file\"\nexit 1\n"
    )
    client = make_client(server.client_config(), username=Word(USER), password=Word(PASSWORD))

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.ended()
            return attempt.report

    failure = asyncio.run(scenario()).failure
    assert failure == f"the server refused the user name or password: account has expired; {CHECK_THEM}"


def test_openvpn_reconnects_by_itself_with_the_password_of_that_moment(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """The server goes and comes back with another password; the process stays and the tunnel returns."""
    server = make_server(login=(USER, PASSWORD))
    password = Word(PASSWORD)
    client = make_client(server.client_config("auth-nocache"), username=Word(USER), password=password)

    async def scenario() -> list[Report]:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            password.value = "the next one"
            await asyncio.to_thread(server.stop)
            server.accept_login(USER, password.value)
            gone = await attempt.until(lambda report: not report.connected)
            await until_no_tunnel(lab)
            assert await client.mends_itself(), attempt.report
            await asyncio.to_thread(server.start)
            back = await attempt.connected()
            assert attempt.process.returncode is None
            return [gone, back]

    gone, back = asyncio.run(scenario())
    assert gone.detail.startswith("reconnecting")
    assert gone.interface is None
    assert back.interface == "tun0"
    assert back.failure is None


def test_a_deleted_tunnel_is_not_mended_by_openvpn(
    lab: Lab, server: OpenVPNServer, make_client: Callable[..., OpenVPN]
) -> None:
    """It goes on believing that it is connected: the supervisor has to start it again."""
    client = make_client(server.client_config())

    async def scenario() -> bool:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            lab.sidecar.ip("link delete tun0")
            return await client.mends_itself()

    assert asyncio.run(scenario()) is False


def test_a_hanging_openvpn_does_not_mend_itself(
    lab: Lab, server: OpenVPNServer, make_client: Callable[..., OpenVPN]
) -> None:
    """No answer within the deadline, after CONNECTED, is the answer no."""
    client = make_client(server.client_config())

    async def scenario() -> tuple[bool, float]:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            attempt.process.send_signal(signal.SIGSTOP)
            started = asyncio.get_running_loop().time()
            return await client.mends_itself(), asyncio.get_running_loop().time() - started

    mends, seconds = asyncio.run(scenario())
    assert not mends
    assert 0.9 < seconds < 2


def test_a_configuration_for_a_daemon_works_in_the_foreground(
    lab: Lab, server: OpenVPNServer, make_client: Callable[..., OpenVPN], tmp_path: Path
) -> None:
    """What fights supervision is left out, and each line of it is told."""
    fights = ("daemon", "user nobody", "group nogroup", "chroot /var/empty", f"log {tmp_path}/log", "mlock")
    client = make_client(server.client_config(*fights, "management 127.0.0.1 7505", "block-outside-dns"))

    async def scenario() -> bytes:
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            assert user_of(attempt.process.pid) == 0
            assert attempt.process.returncode is None
            return attempt.output

    assert b"Initialization Sequence Completed" in asyncio.run(scenario())
    assert not (tmp_path / "log").exists()
    assert len(client.notes) == 8


@pytest.mark.parametrize("lab", [{"sidecar_ipv6": False}], indirect=True)
@pytest.mark.parametrize("ipv6", [False, True])
def test_without_ipv6_in_the_container_a_server_that_pushes_it_is_no_harm(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN], *, ipv6: bool
) -> None:
    """And if we did not know, openvpn would die of it."""
    server = make_server(ipv6=True, push=(PUSH_VPN, PUSH_VPN_V6))
    client = make_client(server.client_config("route-ipv6 fd00:77::/32"), ipv6=ipv6)

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            return await attempt.until(lambda report: report.connected or report.failure is not None)

    report = asyncio.run(scenario())
    if ipv6:
        assert report.failure == "Linux can't add IPv6 to interface tun0"
    else:
        assert report.detail == "connected"
        assert [str(address) for address in report.addresses] == [CLIENT_ADDRESS]


def test_the_tunnel_gets_the_wanted_name(
    lab: Lab, server: OpenVPNServer, make_client: Callable[..., OpenVPN]
) -> None:
    """VPN_INTERFACE wins over the configuration, whose kind of tunnel stays."""
    client = make_client(server.client_config(), interface="vpn7")

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            report = await attempt.connected()
            assert "vpn7" in links(lab)
            return report

    assert asyncio.run(scenario()).interface == "vpn7"


def test_the_longest_password_passes(
    lab: Lab, make_server: Callable[..., OpenVPNServer], make_client: Callable[..., OpenVPN]
) -> None:
    """256 bytes are what the management interface reads; one more is refused at the start."""
    longest = '"\\' * 128
    server = make_server(login=(USER, longest))
    client = make_client(server.client_config(), username=Word(USER), password=Word(longest))

    async def scenario() -> Report:
        async with Attempt(client, lab.sidecar) as attempt:
            return await attempt.until(lambda report: report.connected or report.failure is not None)

    assert asyncio.run(scenario()).connected


def test_a_fatal_error_is_told_although_openvpn_ends_at_once(
    lab: Lab, server: OpenVPNServer, make_client: Callable[..., OpenVPN]
) -> None:
    """The last words are read after the process has ended, however short its life."""
    without_key = re.sub(r"(<key>\n).*(</key>)", r"\1nonsense\n\2", server.client_config(), flags=re.DOTALL)
    client = make_client(without_key)

    async def scenario() -> tuple[int, Report]:
        async with Attempt(client, lab.sidecar) as attempt:
            return await attempt.ended(), attempt.report

    status, report = asyncio.run(scenario())
    assert status == 1
    assert report.failure
    assert "private key" in report.failure


def test_the_socket_is_ours_alone_and_goes(
    lab: Lab, server: OpenVPNServer, make_client: Callable[..., OpenVPN], tmp_path: Path
) -> None:
    """Mode 0600 while openvpn is awaited, nothing left afterwards, and a leftover is no obstacle."""
    path = tmp_path / SOCKET_NAME
    path.write_text("left behind")
    client = make_client(server.client_config())

    async def scenario() -> None:
        await client.open(lambda _report: None)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await client.close()
        assert not path.exists()
        await client.close()
        async with Attempt(client, lab.sidecar) as attempt:
            await attempt.connected()
            assert not path.exists()

    asyncio.run(scenario())
