"""A real OpenVPN server, and the configuration of a client for it."""

import functools
import hashlib
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from tests.lab.addresses import V4, V6
from tests.lab.namespaces import Namespace
from tests.lab.vpn_server import ServerProcess

PORT = 1194
READY = "Initialization Sequence Completed"

PUSH_VPN = f"route {ip_network(V4.vpn_network).network_address} {ip_network(V4.vpn_network).netmask}"
"""The route of the picture: it covers the LAN."""
PUSH_VPN_V6 = f"route-ipv6 {V6.vpn_network}"


@dataclass(frozen=True, slots=True)
class Identity:
    """A self-signed certificate, in PEM."""

    certificate: str
    key: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 in OpenVPN's spelling."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate)).digest().hex(":").upper()

    def inline(self) -> str:
        """Return it as blocks of a configuration."""
        return f"<cert>\n{self.certificate}</cert>\n<key>\n{self.key}</key>\n"


@functools.cache
def identity(name: str) -> Identity:
    """Make a certificate for a name, once in a run."""
    # An elliptic curve: a key takes milliseconds where RSA takes a second.
    with tempfile.NamedTemporaryFile("r") as key:
        made = subprocess.run(
            [
                *("openssl", "req", "-x509", "-noenc", "-days", "3650", "-subj", f"/CN={name}"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key.name),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return Identity(made.stdout, key.read())


class OpenVPNServer(ServerProcess):
    """An OpenVPN 2.6 server in a namespace, between `start` and `stop`, `kill` or the lab's end."""

    title = "OpenVPN server"
    tunnel = "tun0"

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        *,
        protocol: Literal["udp", "tcp"] = "udp",
        push: Sequence[str] = (PUSH_VPN,),
        ipv6: bool = False,
        keepalive: tuple[int, int] = (1, 4),
        login: tuple[str, str] | None = None,
    ) -> None:
        """Describe the server.

        `directory` is its own, for its files. `push` are options for the client, as written after
        `push`. `ipv6` gives the tunnel IPv6 addresses. `keepalive`: seconds between pings, and seconds
        of silence after which the client reconnects. `login`: the user name and password that it asks for.
        """
        super().__init__()
        self.host = host
        self.directory = directory
        self.protocol = protocol
        self.push = tuple(push)
        self.ipv6 = ipv6
        self.keepalive = keepalive
        self.login = login

    def start(self) -> "OpenVPNServer":
        """Start it; it accepts clients when this returns."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.login:
            self.accept_login(*self.login)
        file = self.directory / "server.conf"
        file.write_text(self._config())
        file.chmod(0o600)
        self._process = self.host.spawn("openvpn", "--config", str(file), name=self.title)
        self._process.wait_for_line(READY)
        return self

    def accept_login(self, user: str, password: str) -> None:
        """Take this user name and password from now on."""
        self.login = (user, password)
        (self.directory / "login").write_text(f"{user}\n{password}\n")
        script = self.directory / "verify"
        # OpenVPN hands over the name of a file with two lines, and starts the script for each attempt.
        script.write_text(
            "#!/bin/sh\n"
            f"echo attempt >>'{self.directory}/attempts'\n"
            f"exec cmp --quiet \"$1\" '{self.directory}/login'\n"
        )
        script.chmod(0o700)

    def login_attempts(self) -> int:
        """Return how often a user name and password were shown to the server."""
        file = self.directory / "attempts"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def client_config(self, *more: str) -> str:
        """Return a complete `.ovpn` file for this server; `more` lines are added to it."""
        lines = [
            "client",
            "dev tun",
            f"proto {'udp' if self.protocol == 'udp' else 'tcp-client'}",
            f"remote {V4.vpn_endpoint} {PORT}",
            "nobind",
            "connect-retry 1 2",
            "data-ciphers AES-256-GCM:CHACHA20-POLY1305",
            f"peer-fingerprint {identity('server').fingerprint}",
            *(["auth-user-pass"] if self.login else []),
            *more,
        ]
        return "\n".join(lines) + "\n" + identity("client").inline()

    def settings(self, directory: Path) -> dict[str, str]:
        """Write the client's configuration; return the settings that a sidecar needs."""
        config = self.write_client_config(directory / "client.ovpn")
        return {"VPN_CONFIG": str(config)}

    def write_client_config(self, file: Path, *more: str) -> Path:
        """Write `client_config` to a file that only its owner reads, and return it."""
        file.write_text(self.client_config(*more))
        file.chmod(0o600)
        return file

    def _config(self) -> str:
        tunnel = ip_network(V4.tunnel)
        lines = [
            f"server {tunnel.network_address} {tunnel.netmask}",
            "topology subnet",
            "dev tun0",
            "dev-type tun",
            f"proto {'udp' if self.protocol == 'udp' else 'tcp-server'}",
            f"port {PORT}",
            "dh none",
            "data-ciphers AES-256-GCM:CHACHA20-POLY1305",
            f"peer-fingerprint {identity('client').fingerprint}",
            f"keepalive {self.keepalive[0]} {self.keepalive[1]}",
            *([f"server-ipv6 {V6.tunnel}"] if self.ipv6 else []),
            *(f'push "{option}"' for option in self.push),
        ]
        if self.login:
            lines += ["script-security 2", f"auth-user-pass-verify '{self.directory}/verify' via-file"]
        return "\n".join(lines) + "\n" + identity("server").inline()
