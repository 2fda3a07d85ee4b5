"""A real OpenConnect server (ocserv, which speaks AnyConnect), and the settings of a client for it."""

import base64
import contextlib
import hashlib
import os
import re
import signal
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from tests.lab.addresses import V4, V6
from tests.lab.namespaces import Namespace
from tests.lab.openvpn_server import identity
from tests.lab.processes import LoggedProcess
from tests.lab.waiting import until

PORT = 443
ROUTES = (V4.vpn_network, V6.vpn_network)
"""Those of the picture: they cover the LAN."""
USER, PASSWORD = "ada", "correct horse 7f3a"
TOTP_KEY = b"lab-secret-of-20-b!!"
TOTP_SECRET = base64.b32encode(TOTP_KEY).decode()
RESOLVER, DOMAIN = "10.0.0.53", "corp.example"
Login = Literal["password", "password+totp", "certificate", "certificate+password"]


def pin(certificate: str) -> str:
    """Return a certificate's public key as `openconnect --servercert` takes it."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-pubkey"],
        input=certificate,
        capture_output=True,
        text=True,
        check=True,
    )
    # A public key stands in PEM as a certificate does, under another name.
    der = ssl.PEM_cert_to_DER_cert(done.stdout.replace("PUBLIC KEY", "CERTIFICATE"))
    return "pin-sha256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


class OcservServer:
    """An ocserv in a namespace, between `start` and `stop`, `kill` or the lab's end."""

    tunnel = "tun0"

    def __init__(
        self,
        host: Namespace,
        directory: Path,
        *,
        login: Login = "password",
        user: str = USER,
        routes: Sequence[str] = ROUTES,
        address: str = V4.vpn_endpoint,
        ipv6: bool = True,
        pool: str = V4.tunnel,
        resolver: str = RESOLVER,
        certificate: str = "server",
        more: Sequence[str] = (),
    ) -> None:
        """Describe the server.

        `directory` is its own, for its files. `login` is what it asks for, and `user` whom it knows;
        `routes` what it tells the client to send, all where there are none; `address` where the client is
        told to find it; `ipv6` gives the tunnel an IPv6 address, and `pool` is where its IPv4 one comes from;
        `resolver` is what the client shall ask; `certificate` is the name in the server's own; `more` are
        lines of its configuration.
        """
        self.host = host
        self.directory = directory
        self.login = login
        self.user = user
        self.routes = tuple(routes)
        self.address = address
        self.ipv6 = ipv6
        self.pool = pool
        self.resolver = resolver
        self.identity = identity(certificate)
        self.more = tuple(more)
        self._process: LoggedProcess | None = None

    @property
    def process(self) -> LoggedProcess:
        """The running server and its log."""
        if self._process is None:
            raise AssertionError("ocserv was not started")
        return self._process

    def start(self) -> Self:
        """Start it; it accepts clients when this returns."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_files()
        file = self.directory / "ocserv.conf"
        file.write_text(self._config())
        self._process = self.host.spawn(
            "ocserv", "--foreground", "--debug", "1", "--config", str(file), name="ocserv"
        )
        # It says so before it can answer whoever logs in.
        self._process.wait_for_line("sec-mod initialized")
        return self

    def stop(self) -> None:
        """SIGTERM, as an orderly stop; the clients are told."""
        self.process.terminate()
        until(lambda: not self._pids(), 5, "the end of ocserv's processes")

    def kill(self) -> None:
        """SIGKILL of all its processes: it says no farewell, but the kernel closes its connections."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        until(lambda: not self._pids(), 5, "the end of ocserv's processes")

    def pause(self) -> None:
        """SIGSTOP: the server is there but says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        self._signal(signal.SIGCONT)

    def settings(self, directory: Path) -> dict[str, str]:
        """Write what a client needs into its directory, and return its settings."""
        args = f"--servercert {pin(self.identity.certificate)}"
        settings = {"VPN_CLIENT": "openconnect", "VPN_SERVER": self.address}
        if "certificate" in self.login:
            file = directory / "client.pem"
            file.write_text(identity(self.user).certificate + identity(self.user).key)
            file.chmod(0o600)
            args += f" --certificate {file}"
        if "password" in self.login:
            settings |= {"VPN_USERNAME": self.user, "VPN_PASSWORD": PASSWORD}
        if "totp" in self.login:
            settings["VPN_TOTP_SECRET"] = TOTP_SECRET
        return {**settings, "VPN_ARGS": args}

    def login_attempts(self) -> int:
        """Return how often a client has begun to log in."""
        return sum("to authenticate user" in line for line in self.process.lines)

    def _write_files(self) -> None:
        (self.directory / "server.pem").write_text(self.identity.certificate)
        (self.directory / "client.pem").write_text(identity(self.user).certificate)
        key = self.directory / "server.key"
        key.write_text(self.identity.key)
        key.chmod(0o600)
        subprocess.run(
            ["ocpasswd", "--group", "staff,guests", "--passwd", str(self.directory / "passwd"), self.user],
            input=f"{PASSWORD}\n{PASSWORD}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        # The server writes into it which code was used last.
        (self.directory / "otp").write_text(f"HOTP/T30 {self.user} - {TOTP_KEY.hex()}\n")

    def _config(self) -> str:
        folder = self.directory
        plain = f"plain[passwd={folder}/passwd{f',otp={folder}/otp' if 'totp' in self.login else ''}]"
        kinds = {"certificate": "certificate", "password": plain}
        lines = [
            *(f'auth = "{kind}"' for word, kind in kinds.items() if word in self.login),
            f"tcp-port = {PORT}",
            f"udp-port = {PORT}",
            "run-as-user = root",
            "run-as-group = root",
            f"socket-file = {folder}/socket",
            "use-occtl = false",
            f"server-cert = {folder}/server.pem",
            f"server-key = {folder}/server.key",
            f"ca-cert = {folder}/client.pem",
            "cert-user-oid = 2.5.4.3",
            "isolate-workers = false",
            "keepalive = 30",
            "dpd = 2",
            "max-ban-score = 0",
            "cookie-timeout = 60",
            "device = vpns",
            "predictable-ips = true",
            f"ipv4-network = {self.pool}",
            *((f"ipv6-network = {V6.tunnel}", "ipv6-subnet-prefix = 128") if self.ipv6 else ()),
            f"dns = {self.resolver}",
            f"default-domain = {DOMAIN}",
            *(f"route = {route}" for route in self.routes),
            *self.more,
        ]
        return "\n".join(lines) + "\n"

    def _pids(self) -> list[int]:
        # Its workers are sessions of their own.
        return [pid for pid in self.host.pids() if re.match("ocserv", _name(pid))]

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
