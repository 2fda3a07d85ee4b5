"""A real OpenVPN server, and the configuration of a client for it."""

import functools
import hashlib
import re
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from tests.lab.addresses import V4, V6
from tests.lab.namespaces import Namespace
from tests.lab.openvpn_login import Form, write_verify_script
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


def with_locked_key(config: str, passphrase: str, *, legacy: bool = False) -> str:
    """Return the configuration with its private key encrypted, as PKCS#8 or as older programs do."""
    key = re.search(r"<key>\n(.*?)</key>", config, re.DOTALL)
    if not key:
        raise AssertionError("the configuration has no inline key")
    program = ("ec", "-aes256") if legacy else ("pkey", "-aes256")
    made = subprocess.run(
        ["openssl", *program, "-passout", f"pass:{passphrase}"],
        input=key[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return config.replace(key[1], made.stdout)


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
        codes: Form | None = None,
        period: int = 30,
        address: str | None = None,
        number: int = 0,
        lines: Sequence[str] = (),
    ) -> None:
        """Describe the server.

        `directory` is its own, for its files. `push` are options for the client, as written after
        `push`. `ipv6` gives the tunnel IPv6 addresses. `keepalive`: seconds between pings, and seconds
        of silence after which the client reconnects. `login`: the user name and password that it asks for;
        `codes`: how it wants a one-time code beside them, a new one each `period` seconds. `address`: the
        only one that it serves, the host gets it if need be. `number`: of several servers on one host, each
        has its own. `lines` are added to its configuration.
        """
        super().__init__()
        self.host = host
        self.directory = directory
        self.protocol = protocol
        self.push = tuple(push)
        self.ipv6 = ipv6
        self.keepalive = keepalive
        self.login = login
        self.codes = codes
        self.period = period
        self.address = address
        self.number = number
        self.lines = tuple(lines)

    def start(self) -> Self:
        """Start it; it accepts clients when this returns."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.login:
            self.accept_login(*self.login)
        if self.address and ":" not in self.address:
            self.host.ip(f"address replace {self.address}/24 dev internet")
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
        write_verify_script(self.directory, self.codes, self.period)

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
            f"remote {self.address or V4.vpn_endpoint} {PORT}",
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
        first, second, *rest = V4.tunnel.split(".")
        tunnel = ip_network(".".join([first, str(int(second) - self.number), *rest]))
        version = "6" if self.address and ":" in self.address else ""
        lines = [
            f"server {tunnel.network_address} {tunnel.netmask}",
            "topology subnet",
            f"dev tun{self.number}",
            "dev-type tun",
            f"proto {'udp' + version if self.protocol == 'udp' else f'tcp{version}-server'}",
            *([f"local {self.address}"] if self.address else []),
            f"port {PORT}",
            "dh none",
            "data-ciphers AES-256-GCM:CHACHA20-POLY1305",
            f"peer-fingerprint {identity('client').fingerprint}",
            f"keepalive {self.keepalive[0]} {self.keepalive[1]}",
            *([f"server-ipv6 {V6.tunnel}"] if self.ipv6 else []),
            *(f'push "{option}"' for option in self.push),
            *self.lines,
        ]
        if self.login:
            lines += ["script-security 2", f"auth-user-pass-verify '{self.directory}/verify' via-file"]
        return "\n".join(lines) + "\n" + identity("server").inline()
