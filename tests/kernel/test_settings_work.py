"""Each setting that is not refused, seen to change what the program does."""

import asyncio
import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from entrypoint.clients import choose
from entrypoint.clients.base import AttemptFailed
from entrypoint.faults import BadSettings
from entrypoint.hooks import Hooks, TunnelEvent
from entrypoint.launch import Launch
from entrypoint.lifecycle import State
from entrypoint.probe import Probe
from entrypoint.resolv_conf import LISTEN
from entrypoint.settings import TABLE, load
from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.probing import probing
from tests.kernel.scripted import comes, inside, supervised, tunnel_lines
from tests.lab.addresses import V4
from tests.lab.sidecar import Sidecar
from tests.lab.waiting import until
from tests.unit.samples import SAMPLES

FINGERPRINT = "peer-fingerprint " + ":".join(["00"] * 32)
IDENTITY = "<cert>\n</cert>\n<key>\n</key>\n"
OVPN = "client\ndev tun\nproto udp\nremote 198.51.100.10 1194\nauth-user-pass\n<ca>\n</ca>\n"


def launch(tmp_path: Path, **environ: str) -> Launch:
    """Return how OpenVPN would be started with these settings."""
    config = tmp_path / "work.ovpn"
    config.write_text(OVPN)
    settings, _ = load({"VPN_CONFIG": str(config), **environ})
    client = choose.create(settings, tmp_path, ipv6=True)

    async def started() -> Launch:
        try:
            return await client.open(lambda _: None)
        finally:
            await client.close()

    return asyncio.run(started())


def credentials(**changes: str) -> dict[str, str]:
    """Return the two that go together."""
    return {"VPN_USERNAME": "bob", "VPN_PASSWORD": "secret", **changes}


def vpn_client(_: Container, tmp_path: Path, sample: str) -> None:
    """Look at the configuration for `auto` only."""
    config = tmp_path / "work.conf"
    config.write_text("[Interface]\nPrivateKey = x\n")
    for client, why in (("auto", "PrivateKey is no key"), (sample, "saw a configuration of WireGuard")):
        settings = load({"VPN_CLIENT": client, "VPN_CONFIG": str(config)})[0]
        with pytest.raises(BadSettings, match=why):
            choose.create(settings, tmp_path, ipv6=True)


def vpn_config(_: Container, tmp_path: Path, sample: str) -> None:
    """Read the file that is named."""
    settings = load({"VPN_CONFIG": sample})[0]
    with pytest.raises(BadSettings, match=f"cannot use VPN_CONFIG={sample}: no such file"):
        choose.create(settings, tmp_path, ipv6=True)
    assert b"remote 198.51.100.10 1194" in launch(tmp_path, **credentials()).stdin


def told_to_openvpn(tmp_path: Path, question: str = "'Auth' username/password", **environ: str) -> bytes:
    """Ask for user name and password as openvpn does, and return the answer."""
    config = tmp_path / "work.ovpn"
    config.write_text(OVPN)
    settings, _ = load({"VPN_CONFIG": str(config), **environ})
    client = choose.create(settings, tmp_path, ipv6=True)

    async def ask() -> bytes:
        started = await client.open(lambda _: None)
        path = started.argv[started.argv.index("--management") + 1]
        try:
            reader, writer = await asyncio.open_unix_connection(path)
            # The second line answers the question for its verbosity, which is asked before the answer.
            writer.write(f">PASSWORD:Need {question}\r\nSUCCESS: verb=1\r\n".encode())
            async with asyncio.timeout(LIMIT_SECONDS):
                heard = await reader.readuntil(b"password ")
                heard += await reader.readline()
            writer.close()
            return heard
        finally:
            await client.close()

    return asyncio.run(ask())


def vpn_username(_: Container, tmp_path: Path, sample: str) -> None:
    """Answer openvpn's question with it."""
    assert f'"{sample}"'.encode() in told_to_openvpn(tmp_path, **credentials(VPN_USERNAME=sample))


def vpn_password(_: Container, tmp_path: Path, sample: str) -> None:
    """Answer with this one, too."""
    assert f'"{sample}"'.encode() in told_to_openvpn(tmp_path, **credentials(VPN_PASSWORD=sample))


def of_a_command(tmp_path: Path, **environ: str) -> Launch:
    """Return how a vendor's client would be started with these settings."""
    settings, _ = load({"VPN_CLIENT": "command", "VPN_COMMAND": "true", **environ})
    return asyncio.run(choose.create(settings, tmp_path, ipv6=True).open(lambda _: None))


def vpn_command(_: Container, tmp_path: Path, sample: str) -> None:
    """Start the program that it names, with its arguments."""
    with pytest.raises(BadSettings, match=r"cannot run VPN_COMMAND: saw No such file .* for /opt/vendor/vpn"):
        of_a_command(tmp_path, VPN_COMMAND=sample)
    assert of_a_command(tmp_path, VPN_COMMAND="echo 'a b'", VPN_ARGS="c").argv == ("echo", "a b", "c")


def vpn_stop_command(_: Container, tmp_path: Path, sample: str) -> None:
    """Run that one at the stop."""
    with pytest.raises(BadSettings, match="cannot run VPN_STOP_COMMAND: saw No such file"):
        of_a_command(tmp_path, VPN_STOP_COMMAND=sample)
    assert of_a_command(tmp_path, VPN_STOP_COMMAND="echo 'a b'").stop == ("echo", "a b")


def vpn_totp_secret(_: Container, tmp_path: Path, sample: str) -> None:
    """Answer with a code of it where the server wants one, and with none where not."""
    wish = {"VPN_ARGS": "--static-challenge Code 1", "VPN_TOTP_SECRET": sample}
    assert b'"SCRV1:' in told_to_openvpn(tmp_path, **credentials(**wish))
    assert b'"SCRV1:' not in told_to_openvpn(tmp_path, **credentials(VPN_TOTP_SECRET=sample))


def vpn_key_passphrase(_: Container, tmp_path: Path, sample: str) -> None:
    """Answer the question for the private key with it."""
    environ = credentials(VPN_KEY_PASSPHRASE=sample)
    assert f'"{sample}"'.encode() in told_to_openvpn(tmp_path, "'Private Key' password", **environ)


def openconnect(tmp_path: Path, **environ: str) -> Launch:
    """Return how openconnect would be started with these settings."""
    return launch(tmp_path, **{"VPN_SERVER": "198.51.100.10", "VPN_CONFIG": "", **credentials(), **environ})


def vpn_server(_: Container, tmp_path: Path, sample: str) -> None:
    """Choose openconnect, and look its addresses up for each attempt; so for a command."""
    assert openconnect(tmp_path, VPN_SERVER="198.51.100.11").argv[-1] == "198.51.100.11"
    for start in (openconnect, of_a_command):
        with pytest.raises(AttemptFailed, match=f"the server's name {sample} cannot be looked up"):
            start(tmp_path, VPN_SERVER=sample)


def vpn_protocol(_: Container, tmp_path: Path, sample: str) -> None:
    """Tell openconnect."""
    argv = openconnect(tmp_path, VPN_PROTOCOL=sample).argv
    assert argv[argv.index("--protocol") + 1] == sample


def vpn_args(_: Container, tmp_path: Path, sample: str) -> None:
    """Hand them to openvpn as a shell would."""
    argv = launch(tmp_path, VPN_ARGS=sample, **credentials()).argv
    assert "--setenv UV_SITE head office" in " ".join(argv)
    assert "head office" in argv


def vpn_interface(container: Container, tmp_path: Path, sample: str) -> None:
    """Tell openvpn the name, and count no other tunnel."""
    argv = launch(tmp_path, VPN_INTERFACE=sample, **credentials()).argv
    assert argv[argv.index("--dev") + 1] == sample
    settings, _ = load({"VPN_INTERFACE": sample})
    other, named = tunnel_lines("tun3", "10.98.0.2/24"), tunnel_lines(sample, "10.97.0.2/24")

    async def work() -> None:
        script = f"{other}; read wait < {fifo}; {named}; sleep 60"
        async with supervised(settings, script, tmp_path) as supervisor:
            reconciler = supervisor._reconciler  # noqa: SLF001 - its view tells that tun3 was seen
            await comes(
                lambda: any(
                    a.interface.ip.exploded == "10.98.0.2" for a in reconciler.view.snapshot.addresses
                )
            )
            assert (supervisor.tunnel, supervisor.state) == (None, State.CONNECTING)
            await asyncio.to_thread(fifo.write_text, "go\n")
            await comes(lambda: supervisor.state is State.UP)
            assert supervisor.tunnel is not None
            assert supervisor.tunnel.link.name == sample

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    inside(container, work)


def vpn_up_timeout(container: Container, tmp_path: Path, sample: str) -> None:
    """End an attempt that makes no tunnel."""
    settings, _ = load({"VPN_UP_TIMEOUT": sample})

    async def work() -> None:
        async with supervised(settings, "sleep 60", tmp_path) as supervisor:
            await comes(lambda: supervisor.failure)
            assert supervisor.failure == "brought up no tunnel within 0.3 s; see its log lines above"

    inside(container, work)


def restart_delay_max(container: Container, tmp_path: Path, sample: str) -> None:
    """Restart sooner than after one, two and four seconds."""
    settings, _ = load({"RESTART_DELAY_MAX": sample})

    async def work() -> None:
        began = asyncio.get_running_loop().time()
        async with supervised(settings, "exit 1", tmp_path) as supervisor:
            await comes(lambda: supervisor.restarts >= 4)
        assert asyncio.get_running_loop().time() - began < 3.0

    inside(container, work)


def planned(container: Container, *settings: str) -> str:
    """Return the plan."""
    status, text = container.plan(*settings)
    assert status == 0, text
    return text


def lan_networks(container: Container, _: Path, sample: str) -> None:
    """Make a rule for each."""
    text = planned(container, f"LAN_NETWORKS={sample}")
    for network in ("10.20.0.0/24", "10.21.0.0/24"):
        assert f"rule add from 0.0.0.0/32 to {network} iif lo lookup 7100" in text


def gateways(container: Container, _: Path, sample: str) -> None:
    """Take it before the one that is seen."""
    assert "default via 172.30.0.9 dev eth0 table 7100" in planned(container, f"GATEWAYS={sample}")


def rule_priority(container: Container, _: Path, sample: str) -> None:
    """Find it in every rule."""
    text = planned(container, f"RULE_PRIORITY={sample}")
    assert text.count(f"priority {sample}") == text.count("rule add") == 4


def route_table(container: Container, _: Path, sample: str) -> None:
    """Find it in every route and rule."""
    text = planned(container, f"ROUTE_TABLE={sample}")
    assert text.count(f"table {sample} proto") == text.count("route add")
    assert text.count(f"lookup {sample} ") == text.count("rule add")


def started(container: Container, tmp_path: Path, **environ: str) -> Sidecar:
    """Start the whole program with a server that nobody reaches."""
    config = tmp_path / "work.ovpn"
    config.write_text(OVPN.replace("auth-user-pass\n", IDENTITY).replace("<ca>\n</ca>", FINGERPRINT))
    return Sidecar(container.host, tmp_path / "box", {"VPN_CONFIG": str(config), **environ}).start()


def health_listen(container: Container, tmp_path: Path, sample: str) -> None:
    """Find the endpoint there."""
    sidecar = started(container, tmp_path, HEALTH_LISTEN=sample)
    host, _, port = sample.partition(":")

    def alive() -> bool:
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    until(lambda: container.host.call(alive), LIMIT_SECONDS, f"/livez on {sample}")
    assert sidecar.terminate() == 0


def asked_twice(container: Container, **environ: str) -> Probe:
    """Ask twice through what stands for a tunnel, and return what that found."""
    settings, _ = load(environ)
    assert settings.health_target is not None
    probe = probing(container, settings.health_target, settings.health_interval)

    async def work() -> None:
        probe.begin()
        await comes(lambda: probe.asks == 2)
        probe.end()

    inside(container, work)
    return probe


def health_target(container: Container, _: Path, sample: str) -> None:
    """Get an answer from there."""
    probe = asked_twice(container, HEALTH_TARGET=sample, HEALTH_INTERVAL="1s")
    assert (probe.failed, probe.problem) == (0, None)
    assert probe.round_trip is not None


def health_interval(container: Container, _: Path, sample: str) -> None:
    """Ask as often as that: the second time within a second or two."""
    began = time.monotonic()
    asked_twice(container, HEALTH_TARGET="10.50.0.10:80", HEALTH_INTERVAL=sample)
    assert 1 <= time.monotonic() - began < 3


def hooked(tmp_path: Path, **environ: str) -> list[str]:
    """Tell the hooks of a tunnel that came and went; returns the files that they made."""

    async def work() -> None:
        hooks = Hooks(load(environ)[0])
        hooks.up(TunnelEvent(client="openvpn", interface="tun0"))
        await hooks.ended()
        hooks.down()
        await hooks.ended()

    with contextlib.chdir(tmp_path):
        asyncio.run(work())
    return sorted(path.name for path in tmp_path.iterdir())


def on_up(_: Container, tmp_path: Path, sample: str) -> None:
    """Run it, and not at the end."""
    assert hooked(tmp_path, ON_UP=sample) == ["told of up"]


def on_down(_: Container, tmp_path: Path, sample: str) -> None:
    """Run it, and not at the beginning."""
    assert hooked(tmp_path, ON_DOWN=sample) == ["told of down"]


def vpn_dns(container: Container, tmp_path: Path, sample: str) -> None:
    """Find our own resolver named in resolv.conf while it runs."""
    sidecar = started(container, tmp_path, VPN_DNS=sample)
    sidecar.wait_for_line("ip rule add")
    file = tmp_path / "box/resolv.conf"
    until(lambda: f"nameserver {LISTEN}\n" in file.read_text(), LIMIT_SECONDS, "our resolver")
    assert sidecar.terminate() == 0
    assert file.read_text() == ""


def kill_switch(container: Container, tmp_path: Path, sample: str) -> None:
    """Close the gate before all else, and leave it closed."""
    sidecar = started(container, tmp_path, KILL_SWITCH=sample)
    sidecar.wait_for_line("ip rule add")
    assert sidecar.terminate() == 0
    assert "policy drop" in container.host.run("nft", "list", "table", "inet", "sidegate").stdout


def log_level(container: Container, tmp_path: Path, sample: str) -> None:
    """Miss the rule's line, which is of level info."""
    sidecar = started(container, tmp_path, LOG_LEVEL=sample)
    until(lambda: "7100" in container.host.run("ip", "rule").stdout, LIMIT_SECONDS, "our rule")
    assert sidecar.terminate() == 0
    assert not [line for line in sidecar.lines if " info " in line or "ip rule add" in line]


def udp_reply_ports(container: Container, tmp_path: Path, sample: str) -> None:
    """Have what comes for these ports from beyond the network seem to come from its gateway."""
    sidecar = started(container, tmp_path, UDP_REPLY_PORTS=sample)
    sidecar.wait_for_line("openvpn: ")
    rule = container.host.run("nft", "list", "chain", "inet", "sidegate", "udp_replies").stdout
    assert "saddr != 172.30.0.0/16 udp dport { 53, 5000-5100 } snat" in rule
    assert f"to {V4.docker_gateway}" in rule


def log_format(container: Container, tmp_path: Path, sample: str) -> None:
    """Read each line as an object."""
    sidecar = started(container, tmp_path, LOG_FORMAT=sample)
    sidecar.wait_for_line("ip rule add")
    assert sidecar.terminate() == 0
    assert all({"time", "level", "message"} == set(json.loads(line)) for line in sidecar.lines)


EFFECTS: dict[str, Callable[[Container, Path, str], None]] = {
    "VPN_CLIENT": vpn_client,
    "VPN_CONFIG": vpn_config,
    "VPN_SERVER": vpn_server,
    "VPN_PROTOCOL": vpn_protocol,
    "VPN_COMMAND": vpn_command,
    "VPN_STOP_COMMAND": vpn_stop_command,
    "VPN_USERNAME": vpn_username,
    "VPN_PASSWORD": vpn_password,
    "VPN_TOTP_SECRET": vpn_totp_secret,
    "VPN_KEY_PASSPHRASE": vpn_key_passphrase,
    "VPN_ARGS": vpn_args,
    "VPN_INTERFACE": vpn_interface,
    "VPN_UP_TIMEOUT": vpn_up_timeout,
    "VPN_DNS": vpn_dns,
    "RESTART_DELAY_MAX": restart_delay_max,
    "LAN_NETWORKS": lan_networks,
    "GATEWAYS": gateways,
    "UDP_REPLY_PORTS": udp_reply_ports,
    "KILL_SWITCH": kill_switch,
    "RULE_PRIORITY": rule_priority,
    "ROUTE_TABLE": route_table,
    "HEALTH_LISTEN": health_listen,
    "HEALTH_TARGET": health_target,
    "HEALTH_INTERVAL": health_interval,
    "ON_UP": on_up,
    "ON_DOWN": on_down,
    "LOG_LEVEL": log_level,
    "LOG_FORMAT": log_format,
}


def test_every_setting_that_is_taken_has_its_effect_below() -> None:
    """A row that is parsed, stored and forgotten would have none."""
    taken = set()
    for row in TABLE:
        with contextlib.suppress(BadSettings):
            load({row.name: SAMPLES[row.name]})
            taken.add(row.name)
    assert taken == set(EFFECTS)


@pytest.mark.parametrize("name", EFFECTS)
def test_a_setting_changes_what_the_program_does(name: str, container: Container, tmp_path: Path) -> None:
    """With the sample it does what it does not do by default."""
    EFFECTS[name](container, tmp_path, SAMPLES[name])
