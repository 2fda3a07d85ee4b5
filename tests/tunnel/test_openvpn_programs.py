"""No word in a configuration, and none of a server, makes openvpn run a program unasked."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.clients.openvpn import OpenVPN
from entrypoint.faults import BadSettings
from tests.lab.openvpn_server import PUSH_VPN, OpenVPNServer
from tests.lab.topology import Lab
from tests.tunnel.attempt import Attempt

LEVEL = "script-security 2\n"
SPELLINGS = {
    "plain": LEVEL + "up {}",
    "quoted": LEVEL + '"up" "{}"',
    "dashes": LEVEL + "--up {}",
    "optional": LEVEL + "setenv opt up {}",
    "optional twice": LEVEL + "setenv opt setenv opt up {}",
    "after a block's piece": LEVEL + "<extra-certs>\n" + "A" * 255 + "</extra-certs>\nup {}",
    "in a connection": LEVEL
    + "<connection>\nremote 198.51.100.10 1194\nscript-security 2\nup {}\n</connection>",
    "as a block": LEVEL + "<up>\n{}\n</up>",
    "each certificate": LEVEL + "tls-verify {}",
    "each route": LEVEL + "route-up {}",
    "before the end": LEVEL + "route-pre-down {}",
    "address": LEVEL + "ipchange {}",
    "netlink's stand-in": LEVEL + "iproute {}",
    "shared object": "plugin {}",
    "provider": "providers {}",
    "level by the environment": 'setenv script-security "2"\nsetenv-safe up {}',
    "carriage return": LEVEL.replace("\n", "\r\n") + "up {}\r",
    "vertical tab": LEVEL + "\vup\f{}",
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a program that leaves a trace."""
    file = tmp_path / "program"
    file.write_text(f"#!/bin/sh\necho ran >>'{tmp_path}/trace'\n")
    file.chmod(0o700)
    return file


@pytest.fixture
def ran(lab: Lab, make_client: Callable[..., OpenVPN], tmp_path: Path) -> Callable[..., bool]:
    """Give a way to tell whether the program runs where a configuration is used, or refused."""

    async def scenario(client: OpenVPN) -> None:
        async with Attempt(client, lab.sidecar) as attempt:
            up = asyncio.ensure_future(attempt.connected())
            await asyncio.wait(
                {up, asyncio.ensure_future(attempt.process.wait())}, return_when="FIRST_COMPLETED"
            )
            up.cancel()
            with contextlib.suppress(ProcessLookupError):
                attempt.process.terminate()
            await attempt.ended()

    def look(config: str, *args: str) -> bool:
        with contextlib.suppress(BadSettings):
            asyncio.run(scenario(make_client(config, args=args)))
        return (tmp_path / "trace").exists()

    return look


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_configuration_runs_no_program(
    server: OpenVPNServer, ran: Callable[..., bool], program: Path, spelling: str
) -> None:
    """However it is written: it is refused, or openvpn does not do it."""
    assert not ran(server.client_config() + SPELLINGS[spelling].format(program) + "\n")


def test_a_server_makes_no_program_run(
    make_server: Callable[..., OpenVPNServer], ran: Callable[..., bool], program: Path
) -> None:
    """Pushed options that would start one are not obeyed, even where programs are allowed."""
    pushed = [f"{name} {program}" for name in ("up", "route-up", "ipchange", "plugin", "tls-verify")]
    server = make_server(push=(PUSH_VPN, "script-security 2", "setenv-safe PATH /tmp", *pushed))
    assert not ran(server.client_config(), "--script-security", "2")


def test_a_program_that_is_wished_runs(
    server: OpenVPNServer, ran: Callable[..., bool], program: Path
) -> None:
    """The control, and the way to have it."""
    assert ran(server.client_config(f"up {program}"), "--script-security", "2")
