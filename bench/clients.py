"""The clients that are measured: a real server for each, what a user would start bare, and Sidegate."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.image import Image
from tests.lab.namespaces import Namespace
from tests.lab.ocserv_server import PASSWORD, USER, OcservServer
from tests.lab.openvpn_server import OpenVPNServer
from tests.lab.vendor import VendorServer
from tests.lab.vpn_server import VPNServer
from tests.lab.wireguard_server import TUNNEL_V4, TUNNEL_V6, WireGuardServer

# What wg-quick does, without its detours. "$0" is the link, "$1" what wg understands, "$2" lines of iproute2.
_WIREGUARD = """
set -e
if ip link add dev "$0" type wireguard 2>/dev/null; then
    sleep infinity &
else
    WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error wireguard-go "$0" &
    until test -S "/run/wireguard/$0.sock"; do sleep 0.01; done
fi
trap 'ip link delete dev "$0"; kill $! 2>/dev/null; wait; exit 0' TERM
wg setconf "$0" "$1"
ip -batch "$2"
wait
"""
# "$0" holds the password. The script that makes the routes is Debian's vpnc-script, openconnect's default.
_OPENCONNECT = 'exec openconnect "$@" <"$0"'
# Two containers of one namespace, started and stopped at once. "$0" is the configuration of the other.
_BESIDE = """
"$@" & sidegate=$!
openvpn --config "$0" & other=$!
trap 'kill $sidegate $other' TERM
wait
wait
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that makes the tunnel, or sees to it that it is made."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    has_readiness: bool


@dataclass(frozen=True, slots=True)
class Match:
    """Two contenders for the same server."""

    server: VPNServer
    bare: Contender
    sidegate: Contender


def _openvpn(host: Namespace, directory: Path, image: Image) -> Match:
    server = OpenVPNServer(host, directory / "server")
    settings = server.settings(directory)
    return _match(server, ("openvpn", "--config", settings["VPN_CONFIG"]), image, settings)


def _command(host: Namespace, directory: Path, image: Image) -> Match:
    server = VendorServer(host, directory / "server")
    settings = server.settings(directory)
    return _match(server, shlex.split(settings["VPN_COMMAND"]), image, settings)


def _none(host: Namespace, directory: Path, image: Image) -> Match:
    server = OpenVPNServer(host, directory / "server")
    config = server.settings(directory)["VPN_CONFIG"]
    beside = ("sh", "-c", _BESIDE, config)
    return _match(server, ("openvpn", "--config", config), image, {"VPN_CLIENT": "none"}, beside)


def _wireguard(host: Namespace, directory: Path, image: Image) -> Match:
    server = WireGuardServer(host, directory / "server")
    config, bare, lines = (directory / name for name in ("client.conf", "bare.conf", "bare.ip"))
    # Whoever is to be reached by peers behind the server has it set: somebody must begin.
    server.write_client_config(config, "PersistentKeepalive = 25")
    text = config.read_text().splitlines(keepends=True)
    bare.write_text("".join(line for line in text if not line.startswith(("Address", "DNS"))))
    bare.chmod(0o600)
    link = server.tunnel
    lines.write_text(
        f"address add {TUNNEL_V4}/32 dev {link}\n"
        f"address add {TUNNEL_V6}/128 dev {link}\n"
        f"link set dev {link} mtu 1420 up\n"
        + "".join(f"route add {network} dev {link}\n" for network in server.allowed)
    )
    script = ("sh", "-c", _WIREGUARD, link, str(bare), str(lines))
    return _match(server, script, image, {"VPN_CONFIG": str(config)})


def _openconnect(host: Namespace, directory: Path, image: Image) -> Match:
    server = OcservServer(host, directory / "server")
    settings = server.settings(directory)
    password = directory / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    login = (f"--user={USER}", "--passwd-on-stdin", settings["VPN_SERVER"])
    script = ("sh", "-c", _OPENCONNECT, str(password), *shlex.split(settings["VPN_ARGS"]), *login)
    return _match(server, script, image, settings)


def _match(
    server: VPNServer,
    bare: Sequence[str],
    image: Image,
    settings: dict[str, str],
    before: Sequence[str] = (),
) -> Match:
    """Return the match of a bare client and of Sidegate; `before` is what starts the latter."""
    path = {"PATH": os.environ["PATH"]}
    ours = (*before, *image.entrypoint)
    return Match(
        server,
        Contender("bare", tuple(bare), path, has_readiness=False),
        Contender("Sidegate", ours, {**path, **image.environment, **settings}, has_readiness=True),
    )


CLIENTS: dict[str, Callable[[Namespace, Path, Image], Match]] = {
    "openvpn": _openvpn,
    "wireguard": _wireguard,
    "openconnect": _openconnect,
    "command": _command,
    "none": _none,
}
"""By the names of VPN_CLIENT: where the server runs, a directory for all files, how Sidegate is started."""
