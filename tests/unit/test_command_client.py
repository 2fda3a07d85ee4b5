"""What VPN_CLIENT=command and none are given, and what is said of it when it cannot work."""

import asyncio
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from entrypoint.clients import choose
from entrypoint.clients.base import Client, Report
from entrypoint.faults import BadSettings
from entrypoint.launch import Launch
from entrypoint.settings import load

COMMAND = {"VPN_CLIENT": "command", "VPN_COMMAND": "true"}
SECRETS = ("VPN_USERNAME", "VPN_PASSWORD")


def chosen(environ: Mapping[str, str]) -> Client:
    """Make the client that an environment asks for."""
    return choose.create(load(environ)[0], Path("/nowhere"), ipv6=True)


def faults(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with an environment."""
    with pytest.raises(BadSettings) as caught:
        chosen(environ)
    return caught.value.texts


def opened(client: Client) -> tuple[Launch, Report]:
    """Open an attempt; return how it is started and the last report before that."""
    reports: list[Report] = []
    launch = asyncio.run(client.open(reports.append))
    return launch, reports[-1]


def test_a_command_is_started_with_its_arguments_and_may_daemonise() -> None:
    """VPN_ARGS stand behind VPN_COMMAND; there is no word for a shell in it."""
    client = chosen(
        {**COMMAND, "VPN_COMMAND": "env A='b c' true;", "VPN_ARGS": "'d e' f", "VPN_STOP_COMMAND": "false x"}
    )
    launch, report = opened(client)
    assert launch.argv == ("env", "A=b c", "true;", "d e", "f")
    assert launch.may_daemonise
    assert launch.stop == ("false", "x")
    assert (report.connected, report.pinned) == (True, ())
    assert client.title == "command env"  # its arguments are nobody's business


def test_addresses_of_servers_are_pinned_as_they_are() -> None:
    """Both families, each once."""
    _, report = opened(chosen({**COMMAND, "VPN_SERVER": "198.51.100.10, fd00::1 198.51.100.10"}))
    assert [str(address) for address in report.pinned] == ["198.51.100.10", "fd00::1"]


@pytest.mark.parametrize("server", ["https://vpn.example.org", "vpn.example.org:443", "10.0.0", "a/b", "-x"])
def test_a_server_that_is_more_than_a_name_is_refused(server: str) -> None:
    """A port or a scheme would be looked up as part of the name."""
    (text,) = faults({**COMMAND, "VPN_SERVER": server})
    assert text == (
        f"cannot use VPN_SERVER: saw {server!r}; for VPN_CLIENT=command write names or addresses alone, "
        "without scheme, port or path"
    )


def script(directory: Path, content: bytes, mode: int = 0o755) -> str:
    """Write a program and return its path."""
    file = directory / "vendor"
    file.write_bytes(content)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(
    ("make", "saw"),
    [
        (lambda _: "no-such-program-here", "saw no program 'no-such-program-here' in PATH"),
        (lambda _: "/no/such/program", "saw No such file or directory for /no/such/program"),
        (str, "saw Is a directory for"),
        (lambda d: script(d, b"#!/bin/sh\n", stat.S_IRUSR), "is not executable; chmod +x it"),
        (lambda d: script(d, b"#!/no/shell -e\n"), "needs '/no/shell', which is not there"),
        (lambda d: script(d, b"#!\n"), "needs '', which is not there"),
        (lambda d: script(d, b"echo hello\n"), "saw neither a program nor a #! line"),
        (lambda d: script(d, b""), "saw neither a program nor a #! line"),
    ],
    ids=[
        "unknown",
        "nowhere",
        "directory",
        "plain-file",
        "no-interpreter",
        "empty-hash-bang",
        "text",
        "empty",
    ],
)
@pytest.mark.parametrize("setting", ["VPN_COMMAND", "VPN_STOP_COMMAND"])
def test_a_command_that_cannot_start_is_named(
    tmp_path: Path, setting: str, make: Callable[[Path], str], saw: str
) -> None:
    """At the start, before anything is changed, and not by the kernel's bare word at each attempt."""
    (text,) = faults({**COMMAND, setting: f"{make(tmp_path)} --option"})
    assert text.startswith(f"cannot run {setting}: saw ")
    assert saw in text


def test_a_client_without_its_command_is_refused() -> None:
    """Not set, and set to nothing but blanks."""
    for command in ({}, {"VPN_COMMAND": "  "}):
        (text,) = faults({"VPN_CLIENT": "command", **command})
        assert text == (
            "cannot use VPN_CLIENT=command: saw no VPN_COMMAND that names a program; "
            "set it to what starts the vendor's client"
        )


@pytest.mark.parametrize("name", ["VPN_USERNAME", "VPN_PASSWORD", "VPN_CONFIG"])
def test_what_a_command_does_not_use_is_refused(name: str) -> None:
    """Who sets a password believes that it is used; no value is shown."""
    (text,) = faults({**COMMAND, name: "/hunter2"})
    assert text.startswith(
        f"cannot use {name}: saw that VPN_CLIENT=command has no use for it; leave it out, or set "
    )
    assert "hunter2" not in text


@pytest.mark.parametrize("given", [COMMAND, {"VPN_CLIENT": "none"}], ids=["command", "none"])
def test_a_resolver_that_nobody_tells_is_not_waited_for(given: dict[str, str]) -> None:
    """The VPN's resolvers are named instead."""
    (text,) = faults({**given, "VPN_DNS": "vpn"})
    assert text.startswith("cannot use VPN_DNS=vpn: ")
    assert text.endswith("tells of no resolver; name the VPN's in VPN_DNS")
    assert chosen({**given, "VPN_DNS": "10.0.0.53"})


def test_beside_somebody_elses_tunnel_no_client_is_described() -> None:
    """Each is named, all at once."""
    unused = ("VPN_CONFIG", "VPN_SERVER", *SECRETS, "VPN_ARGS", "VPN_COMMAND", "VPN_STOP_COMMAND")
    texts = faults({"VPN_CLIENT": "none", **dict.fromkeys(unused, "/x")})
    assert [text.split(":")[0] for text in texts] == [f"cannot use {name}" for name in unused]
    assert "set VPN_CLIENT=openconnect or command" in texts[1]


def test_a_command_needs_its_client_to_be_named(tmp_path: Path) -> None:
    """With another one it would never be run."""
    (tmp_path / "a.ovpn").write_text("client\ndev tun\nremote 192.0.2.1 1194\n<ca>\n</ca>\n")
    found = {"VPN_CONFIG": str(tmp_path / "a.ovpn")}
    assert faults({**found, "VPN_COMMAND": "true"})[-1] == (
        f"cannot use VPN_COMMAND: saw that {found['VPN_CONFIG']}, which is openvpn's, has no use for it; "
        "leave it out, or set VPN_CLIENT=command"
    )
    assert faults({"VPN_COMMAND": "true"}) == (
        "cannot use VPN_COMMAND: saw no VPN_CLIENT; set VPN_CLIENT=command, or leave it out",
    )


def test_no_client_has_neither_process_nor_device() -> None:
    """Nothing is started; what there is counts as connected, and heals itself."""
    client = chosen({"VPN_CLIENT": "none"})
    launch, report = opened(client)
    assert (launch, report.connected) == (Launch(), True)
    assert (client.makes_tunnel, client.device) == (False, None)
    assert asyncio.run(client.mends_itself())
