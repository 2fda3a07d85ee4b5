"""Bad settings and missing privileges: every fault named, the right exit code, nothing left in the kernel."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.addresses import V4
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import serve
from tests.tunnel.product import TABLE, Kernel, Product

BAD_SETTINGS, MISSING_PRIVILEGE = 78, 77

ALONE = {
    "client": ({"VPN_CLIENT": "openvpm"}, "VPN_CLIENT='openvpm'"),
    "duration": ({"VPN_UP_TIMEOUT": "60"}, "VPN_UP_TIMEOUT='60' is no duration"),
    "duration-zero": ({"RESTART_DELAY_MAX": "0s"}, "RESTART_DELAY_MAX='0s' is no duration"),
    "number": ({"RULE_PRIORITY": "ninety"}, "RULE_PRIORITY='ninety' is no whole number"),
    "table": ({"ROUTE_TABLE": "254"}, "ROUTE_TABLE='254'"),
    "gateway": ({"GATEWAYS": "eth0"}, "GATEWAYS='eth0'"),
    "gateway-address": ({"GATEWAYS": "eth0=172.30.0.999"}, "GATEWAYS='eth0=172.30.0.999'"),
    "network": ({"LAN_NETWORKS": "10.20.0.0/33"}, "LAN_NETWORKS='10.20.0.0/33'"),
    "listen": ({"HEALTH_LISTEN": "9797"}, "HEALTH_LISTEN='9797' is no place to listen"),
    "listen-elsewhere": ({"HEALTH_LISTEN": "192.0.2.1:9797"}, "take an address of the container's own"),
    "level": ({"LOG_LEVEL": "loud"}, "LOG_LEVEL='loud'"),
    "quoting": ({"VPN_ARGS": "--verb '3"}, "VPN_ARGS is not quoted as in a shell"),
    "hook": ({"ON_UP": "/no/such hook"}, "cannot run ON_UP: saw No such file or directory for /no/such"),
    "hook-mode": ({"ON_DOWN": "/etc/passwd"}, "cannot run ON_DOWN: saw that /etc/passwd is not executable"),
    "hook-path": (
        {"ON_UP": "no-such-program x"},
        "ON_UP: saw no program 'no-such-program' in PATH; install it",
    ),
    "hook-empty": ({"ON_UP": " "}, "ON_UP names no program"),
    "target": ({"HEALTH_TARGET": "http://x"}, "HEALTH_TARGET='http://x' is no target"),
    "interval": ({"HEALTH_INTERVAL": "10ms"}, "HEALTH_INTERVAL='10ms' asks too often"),
    "codes-without-login": ({"VPN_TOTP_SECRET": "JBSWY3DPEHPK3PXP"}, "VPN_TOTP_SECRET without"),
    "codes-of-nothing": (
        {"VPN_TOTP_SECRET": "no secret 1", "VPN_USERNAME": "a", "VPN_PASSWORD": "b"},
        "VPN_TOTP_SECRET is neither a secret in base32",
    ),
    "challenge-without-codes": (
        {"VPN_ARGS": "--static-challenge Code 1", "VPN_USERNAME": "a", "VPN_PASSWORD": "b"},
        "set VPN_TOTP_SECRET",
    ),
    "command": (
        {"VPN_CONFIG": "", "VPN_CLIENT": "command", "VPN_COMMAND": "/no/such vpn"},
        "cannot run VPN_COMMAND: saw No such file or directory for /no/such",
    ),
    "command-none": (
        {"VPN_CONFIG": "", "VPN_CLIENT": "command"},
        "saw no VPN_COMMAND that names a program",
    ),
    "beside": ({"VPN_CLIENT": "none"}, "cannot use VPN_CONFIG: saw that VPN_CLIENT=none has no use for it"),
    "name-without-password": ({"VPN_USERNAME": "ada"}, "VPN_USERNAME without VPN_PASSWORD"),
    "password-without-name": ({"VPN_PASSWORD": "x"}, "VPN_PASSWORD without VPN_USERNAME"),
    "scripts": ({"VPN_ARGS": "--up /bin/true"}, "VPN_ARGS"),
    "env-file": ({"ENV_FILE": "/no/such"}, "/no/such"),
    "secret-file": ({"VPN_PASSWORD_FILE": "/no/such", "VPN_USERNAME": "a"}, "VPN_PASSWORD_FILE"),
    "both": ({"VPN_PASSWORD": "x", "VPN_PASSWORD_FILE": "/x"}, "VPN_PASSWORD and VPN_PASSWORD_FILE"),
}


@pytest.fixture
def refused(standing: Product) -> Iterator[Callable[..., list[str]]]:
    """Give a starter of programs that must refuse; afterwards nothing of them may be left."""
    before, processes = Kernel.of(standing.host), set(standing.host.pids())

    def start(environment: dict[str, str], code: int = BAD_SETTINGS, **options: Any) -> list[str]:
        sidecar = standing.sidecar(environment, **options).start()
        assert sidecar.process.wait() == code, sidecar.process.tail()
        return told_well(sidecar)

    yield start
    assert Kernel.of(standing.host) == before
    assert set(standing.host.pids()) == processes


def told_well(sidecar: Sidecar) -> list[str]:
    """Return the faults that were told; each says what was wrong and what to do, without a traceback."""
    text = "\n".join(sidecar.lines)
    assert "Traceback" not in text
    faults = [line for line in sidecar.lines if line.startswith("sidegate: ")]
    assert faults, text
    for fault in faults:
        assert ";" in fault or " from " in fault, f"no fix in: {fault}"
    return faults


@pytest.mark.parametrize(("environment", "named"), ALONE.values(), ids=ALONE)
def test_a_bad_setting_is_named_with_its_fix(
    refused: Callable[..., list[str]], environment: dict[str, str], named: str
) -> None:
    """One wrong value: one fault, exit 78."""
    (fault,) = refused(environment)
    assert named in fault.replace('\\"', '"')


def test_all_faults_come_in_one_message(refused: Callable[..., list[str]]) -> None:
    """What is wrong is told at once, and not one at each start."""
    bad = {
        "VPN_CLIENT": "none-such",
        "VPN_UP_TIMEOUT": "soon",
        "RULE_PRIORITY": "-1",
        "GATEWAYS": "nonsense",
        "LAN_NETWORKS": "10.20.0.0/24 lan",
        "HEALTH_LISTEN": "everywhere",
    }
    told = refused(bad)
    assert len(told) == len(bad)
    for name, value in bad.items():
        assert any(f"{name}={value!r}" in fault for fault in told)


CONFIGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "no such file"),
    "empty": (lambda file: file.write_text(""), "it is empty"),
    "blank": (lambda file: file.write_text("\n \n"), "it is empty"),
    "binary": (lambda file: file.write_bytes(bytes(range(256)) * 16), "not a text"),
    "latin-1": (lambda file: file.write_bytes(b"# gr\xfc\xdfe\nclient\n"), "UTF-8"),
    "directory": (lambda file: file.mkdir(), "it is a directory"),
    "pipe": (os.mkfifo, "no plain file"),
    "huge": (lambda file: file.write_text("# x\n" * 500_000), "larger than"),
    "no-server": (lambda file: file.write_text("client\ndev tun\n"), 'add "remote'),
    "server": (
        lambda file: file.write_text("server 10.0.0.0 255.0.0.0\ndev tun\nremote x\n"),
        "makes a server",
    ),
    "asks": (lambda file: file.write_text("client\ndev tun\nremote x\nauth-user-pass\n"), "set VPN_USERNAME"),
    "no-trust": (
        lambda file: file.write_text("client\ndev tun\nremote x\n"),
        "which server to trust; add ca",
    ),
    "nobody": (lambda file: file.write_text("client\ndev tun\nremote x\n"), "who you are; add cert and key"),
    "no-key": (lambda file: file.write_text("client\ncert x\n"), "there is cert but no key; add key"),
    "no-file": (lambda file: file.write_text("client\nca certs/ca.crt\n"), "line 2 (ca) names /"),
    "locked": (
        lambda file: file.write_text("client\n<key>\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n</key>\n"),
        "the private key is encrypted; set VPN_KEY_PASSPHRASE",
    ),
    "unclosed": (lambda file: file.write_text("client\n<ca>\nx\n"), "VPN_CONFIG"),
    "prose": (lambda file: file.write_text("Dear user, your account is ready.\n"), "VPN_CONFIG"),
}


@pytest.mark.parametrize(("write", "named"), CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_that_is_none_is_named(
    refused: Callable[..., list[str]],
    tmp_path: Path,
    write: Callable[[Path], object],
    named: str,
) -> None:
    """VPN_CONFIG leads to something that no client can use: exit 78 with the path and the reason."""
    file = tmp_path / "my.ovpn"
    write(file)
    faults = refused({"VPN_CONFIG": str(file)})
    assert all(f"VPN_CONFIG={file}" in fault.replace("'", "") for fault in faults)
    assert any(named in fault for fault in faults), faults


@pytest.mark.parametrize("found", [(), ("a.ovpn", "b.conf"), ("notes.txt",)], ids=["none", "two", "other"])
def test_a_choice_that_is_none_is_named(
    refused: Callable[..., list[str]], standing: Product, found: tuple[str, ...]
) -> None:
    """VPN_CONFIG=auto with no configuration, or several: what lies there, and what to do."""
    folder = standing.directory / "container/vpn"
    folder.mkdir(parents=True, exist_ok=True)
    for name in found:
        (folder / name).write_text(standing.config.read_text())
    try:
        (fault,) = refused({"VPN_CONFIG": "auto"}, vpn_folder=True)
    finally:
        for name in found:
            (folder / name).unlink()
    assert "/vpn" in fault
    assert "VPN_CONFIG" in fault
    for name in found:
        assert name in fault


def test_the_only_configuration_is_found(product: Product) -> None:
    """The control, and the normal case: one file in /vpn and no settings at all."""
    folder = product.directory / "container/vpn"
    folder.mkdir(parents=True)
    (folder / "my.ovpn").write_text(product.config.read_text())
    (folder / "README.txt").write_text("not a configuration")
    product.sidecar({"VPN_CONFIG": "auto"}, vpn_folder=True).start().wait_until_ready()
    assert product.unreached() == {}


def test_a_missing_folder_is_named(refused: Callable[..., list[str]]) -> None:
    """Nothing was mounted at /vpn and no setting names another place."""
    (fault,) = refused({"VPN_CONFIG": ""})
    assert "volumes:" in fault


def test_missing_privileges_are_all_named(refused: Callable[..., list[str]]) -> None:
    """No NET_ADMIN and no tun device: exit 77, both told with the compose line."""
    faults = "\n".join(refused({}, MISSING_PRIVILEGE, capabilities=[], tun_device=False))
    assert "cap_add: [NET_ADMIN]" in faults
    assert "devices: [/dev/net/tun]" in faults
    assert "devices:" not in "\n".join(refused({}, MISSING_PRIVILEGE, capabilities=[]))
    assert "cap_add" not in "\n".join(refused({}, MISSING_PRIVILEGE, tun_device=False))


def test_a_taken_health_port_is_named(refused: Callable[..., list[str]], standing: Product) -> None:
    """Another program listens there: exit 78 before anything is changed."""
    holder = serve(standing.host, 9797)
    try:
        (fault,) = refused({})
        assert "HEALTH_LISTEN=127.0.0.1:9797" in fault
        assert "Address already in use" in fault
    finally:
        holder.kill()


def test_a_taken_table_is_named_and_left_alone(standing: Product) -> None:
    """Somebody else's default route stands where ours should: exit 78, theirs stays as it was."""
    theirs = f"route {{}} default via {V4.neighbour} dev eth0 table {TABLE}"
    standing.host.ip(theirs.format("add"))
    try:
        before = Kernel.of(standing.host)
        sidecar = standing.sidecar().start()
        assert sidecar.process.wait() == BAD_SETTINGS, sidecar.process.tail()
        assert "set ROUTE_TABLE" in "\n".join(told_well(sidecar))
        assert Kernel.of(standing.host) == before
    finally:
        standing.host.ip(theirs.format("del"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("link set eth0 down",), "set GATEWAYS=eth0="),
        (("route del default", "-6 route del default"), "set GATEWAYS=eth0="),
        (("link del eth0",), "cannot find a container network"),
    ],
    ids=["down", "no-gateway", "no-network"],
)
def test_a_network_that_cannot_be_served_is_named(
    lab: Lab, product: Product, change: tuple[str, ...], named: str
) -> None:
    """No link, no gateway: exit 78 with what was seen and what to set."""
    lab.sidecar.ip(*change)
    before = Kernel.of(lab.sidecar)
    sidecar = product.sidecar().start()
    assert sidecar.process.wait() == BAD_SETTINGS, sidecar.process.tail()
    assert any(named in fault for fault in told_well(sidecar))
    assert Kernel.of(lab.sidecar) == before


def test_a_typo_is_warned_of(standing: Product) -> None:
    """A name that begins like ours and is none: the run goes on and says which was meant."""
    sidecar = standing.sidecar({"VPN_PASWORD_FILE": "/run/secrets/x"}).start()
    sidecar.wait_for_line(r"VPN_PASWORD_FILE is no setting of ours.*did you mean VPN_PASSWORD")
    assert sidecar.wait_until_ready().terminate() == 0


def test_a_configuration_that_openvpn_rejects_keeps_the_container(standing: Product) -> None:
    """An unknown directive: the reason is told, the restarts back off, the LAN is served meanwhile."""
    file = standing.directory / "odd.ovpn"
    standing.server.write_client_config(file, "no-such-directive yes")
    sidecar = standing.sidecar({"VPN_CONFIG": str(file)}).start()
    for told in ("now", "in 1 s", "in 2 s"):
        line = sidecar.wait_for_line(f"next attempt {told}")
        assert "exit code 1" in line
        assert re.search("Unrecognized option.*no-such-directive", line)
    assert "no-such-directive" in sidecar.readiness()[1]
    assert sidecar.process.running
    assert sidecar.terminate() == 0
