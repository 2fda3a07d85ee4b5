"""A real WireGuard server (wireguard-go: the kernel may have none), and the configuration of its client."""

import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.lab.addresses import V4, V6
from tests.lab.namespaces import Namespace
from tests.lab.vpn_server import ServerProcess
from tests.lab.waiting import until

PORT = 51820
LINK = "wg-lab"
SOCKETS = Path("/run/wireguard")
"""Where wireguard-go and `wg` meet: it belongs to the machine, so the server has one of its own."""

TUNNEL_V4, TUNNEL_V6 = "10.99.0.2", "fd00:99::2"
"""The client's addresses in the tunnel."""


@functools.cache
def private_key(_name: str) -> str:
    """Make a key for a name, once in a run."""
    return _wg("genkey")


@functools.cache
def preshared_key(_name: str) -> str:
    """Make a key that two share, once in a run."""
    return _wg("genpsk")


def public_key(private: str) -> str:
    """Return the public half of a key."""
    return _wg("pubkey", stdin=private)


class WireGuardServer(ServerProcess):
    """A wireguard-go in a namespace, between `start` and `stop`, `kill` or the lab's end."""

    title = "WireGuard server"
    tunnel = "client"
    """The client's link is called after its file."""

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        *,
        port: int = PORT,
        endpoint: str | None = None,
        allowed: Sequence[str] = (V4.vpn_network, V6.vpn_network),
        preshared: bool = False,
    ) -> None:
        """Describe the server.

        `directory` is its own. `endpoint` is the address or name that the client is given, by default
        the server's own; `allowed` what the client sends into the tunnel; `preshared` adds a PresharedKey.
        """
        super().__init__()
        self.host = host
        self.directory = directory
        self.port = port
        self.endpoint = endpoint or f"{V4.vpn_endpoint}:{port}"
        self.allowed = tuple(allowed)
        self.preshared = preshared_key("both") if preshared else None

    def start(self) -> Self:
        """Start it; it accepts clients when this returns."""
        run = self.directory / "run"
        run.mkdir(parents=True, exist_ok=True)
        socket = run / "wireguard" / f"{LINK}.sock"
        socket.unlink(missing_ok=True)  # of one that was killed
        # `wg` looks for its socket at one place of the file system, which namespaces share.
        self._process = self.host.spawn(
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("sh", "-c", 'mount --bind "$0" /run && exec wireguard-go "$1"', str(run), LINK),
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "WG_PROCESS_FOREGROUND": "1"},
            name=self.title,
        )
        until(self._listens, 5, "wireguard-go")
        self.wg("setconf", LINK, "/dev/stdin", stdin=self._config())
        self.host.ip(f"link set {LINK} up")
        for family in (V4, V6):
            length = family.tunnel.rpartition("/")[2]
            self.host.ip(f"address add {family.tunnel_server}/{length} dev {LINK}")
        return self

    def settings(self, directory: Path) -> dict[str, str]:
        """Write the client's configuration; return the settings that a sidecar needs."""
        return {"VPN_CONFIG": str(self.write_client_config(directory / "client.conf"))}

    def write_client_config(self, file: Path, *more: str) -> Path:
        """Write `client_config` to a file that only its owner reads, and return it."""
        file.write_text(self.client_config(*more))
        file.chmod(0o600)
        return file

    def client_config(self, *more: str) -> str:
        """Return a provider's `.conf` for this server; `more` lines are added to its [Peer]."""
        lines = [
            "[Interface]",
            f"PrivateKey = {private_key('client')}",
            f"Address = {TUNNEL_V4}/32, {TUNNEL_V6}/128",
            "DNS = 10.50.0.10, lab.example",
            "",
            "[Peer]",
            f"PublicKey = {public_key(private_key('server'))}",
            *([f"PresharedKey = {self.preshared}"] if self.preshared else []),
            f"AllowedIPs = {', '.join(self.allowed)}",
            f"Endpoint = {self.endpoint}",
            *more,
        ]
        return "\n".join(lines) + "\n"

    def wg(self, *argv: str, stdin: str | None = None) -> str:
        """Run `wg` beside the server; return what it says."""
        run = str(self.directory / "run")
        script = 'mount --bind "$0" /run && exec wg "$@"'
        return self.host.run(
            *("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, run, *argv),
            stdin=stdin,
        ).stdout

    def handshake(self) -> int:
        """Return when the client's last handshake was, in Unix time; 0 for never."""
        return int(self.wg("show", LINK, "latest-handshakes").split()[1])

    def _listens(self) -> bool:
        """Whether its socket takes connections (proc(5)): before that, `wg` would remove it."""
        accepts = "00010000"  # __SO_ACCEPTCON of linux/net.h
        sockets = self.host.run("cat", "/proc/net/unix").stdout.splitlines()
        return any(line.endswith(f"/{LINK}.sock") and line.split()[3] == accepts for line in sockets)

    def _config(self) -> str:
        lines = [
            "[Interface]",
            f"PrivateKey = {private_key('server')}",
            f"ListenPort = {self.port}",
            "[Peer]",
            f"PublicKey = {public_key(private_key('client'))}",
            *([f"PresharedKey = {self.preshared}"] if self.preshared else []),
            f"AllowedIPs = {TUNNEL_V4}/32, {TUNNEL_V6}/128",
        ]
        return "\n".join(lines) + "\n"


def _wg(*argv: str, stdin: str | None = None) -> str:
    return subprocess.run(
        ["wg", *argv], input=stdin, capture_output=True, text=True, check=True
    ).stdout.strip()
