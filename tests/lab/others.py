"""Tunnels that other containers of the namespace make, each in its own way, by a real OpenVPN client.

What gluetun and tailscale leave in the kernel is set by the lines that their sources have for it: gluetun
`internal/routing/{local,outbound,inbound}.go` and `internal/wireguard/rule.go`, tailscale
`wgengine/router/osrouter/router_linux_test.go` ("addr and routes"). What wg-quick leaves is in its script
(`add_default`).
"""

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab.addresses import V4, V6, Family
from tests.lab.namespaces import Namespace
from tests.lab.openvpn_server import READY, OpenVPNServer
from tests.lab.processes import LoggedProcess
from tests.lab.waiting import until
from tests.lab.wireguard_server import WireGuardServer

Lines = Callable[[str, Family], Sequence[str]]
"""The tunnel's link, family -> lines of iproute2 without the leading `ip`, or with -6."""


class Other(OpenVPNServer):
    """A server, and somebody else's client for it in the sidecar's namespace."""

    def __init__(self, host: Namespace, directory: Path, client: Namespace, **described: Any) -> None:
        """Describe it by what differs.

        `options` are words for the client's command line; `lines` what is set once its tunnel is up.
        All others are the server's.
        """
        self._options: Sequence[str] = described.pop("options", ())
        self._lines: Lines | None = described.pop("lines", None)
        self.names_no_priority = self._lines is wg_quick
        super().__init__(host, directory, **described)
        self._client_host = client
        self._client: LoggedProcess | None = None

    def settings(self, directory: Path) -> dict[str, str]:
        """Write the client's configuration; the sidecar has no use for it."""
        self.write_client_config(directory / "other.ovpn")
        self._config_file = directory / "other.ovpn"
        return {"VPN_CLIENT": "none"}

    def bring_up(self) -> None:
        """Start the client and set what goes with it; all stands when this returns."""
        self._client = self._client_host.spawn(
            "openvpn", "--config", str(self._config_file), *self._options, name="another's client"
        )
        self._client.wait_for_line(READY)
        for line in self._every_line():
            self._client_host.run("ip", *shlex.split(line))

    def take_down(self) -> None:
        """Take away what was set, and end the client in order."""
        for line in reversed(self._every_line()):
            self._client_host.run("ip", *shlex.split(line.replace(" add ", " del ")))
        if self._client is None:
            raise AssertionError("the other's client was not started")
        self._client.terminate()

    def _every_line(self) -> list[str]:
        families = ((V4, ""), (V6, "-6 ")) if self._lines else ()
        return [prefix + line for f, prefix in families for line in (self._lines or _none)(self.tunnel, f)]


class WgQuick(WireGuardServer):
    """A server, and wg-quick itself in the sidecar's namespace, with all of the tunnel's traffic."""

    names_no_priority = True

    def __init__(self, host: Namespace, directory: Path, client: Namespace) -> None:
        """Describe it."""
        super().__init__(host, directory, allowed=("0.0.0.0/0", "::/0"))
        self._client_host = client

    def settings(self, directory: Path) -> dict[str, str]:
        """Write the client's configuration; the sidecar has no use for it."""
        self._file = self.write_client_config(directory / f"{self.tunnel}.conf", "PersistentKeepalive = 1")
        (directory / "wg-quick").mkdir()
        return {"VPN_CLIENT": "none"}

    def client_config(self, *more: str) -> str:
        """Return a provider's file less its DNS, for which the lab has no resolvconf."""
        lines = super().client_config(*more).splitlines()
        return "\n".join(line for line in lines if not line.startswith("DNS"))

    def bring_up(self) -> None:
        """`wg-quick up`, until the server has answered."""
        began = int(time.time())
        self._wg_quick("up")
        until(lambda: self.handshake() >= began, 5, "a handshake")

    def take_down(self) -> None:
        """`wg-quick down`."""
        self._wg_quick("down")

    def _wg_quick(self, what: str) -> None:
        # The daemon, wireguard-go where the kernel has no WireGuard, would hold our pipe open.
        environment = ("env", "LOG_LEVEL=silent", "WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go")
        self._client_host.run(
            *("unshare", "--mount", "--propagation", "private", "--"),
            *("sh", "-ec", 'mount --bind "$0" /run; exec "$@"', str(self._file.parent / "wg-quick")),
            *(*environment, "wg-quick", what, str(self._file)),
        )


def _none(_link: str, _family: Family) -> Sequence[str]:
    return ()


def gluetun(link: str, f: Family) -> Sequence[str]:
    """Return what gluetun sets with WireGuard and an outbound subnet."""
    subnet = "192.168.77.0/24" if f is V4 else "fd00:77::/64"
    return (
        f"rule add to {f.docker} lookup main priority 98",
        f"route add {subnet} via {f.docker_gateway} dev eth0 table 199",
        f"rule add to {subnet} lookup 199 priority 99",
        f"route add default via {f.docker_gateway} dev eth0 table 200",
        f"rule add from {f.sidecar}{f.host_length} lookup 200 priority 100",
        f"route add default dev {link} table 51820",
        "rule add not fwmark 51820 lookup 51820 priority 101",
    )


def tailscale(link: str, _family: Family) -> Sequence[str]:
    """Return what tailscale sets with an exit node."""
    return (
        f"route add default dev {link} table 52",
        "rule add pref 5210 fwmark 0x80000/0xff0000 table main",
        "rule add pref 5230 fwmark 0x80000/0xff0000 table default",
        "rule add pref 5250 fwmark 0x80000/0xff0000 type unreachable",
        "rule add pref 5270 table 52",
    )


def wg_quick(link: str, _family: Family) -> Sequence[str]:
    """Return what wg-quick sets for a tunnel that takes everything; it names no priority."""
    return (
        f"route add default dev {link} table 51820",
        "rule add not fwmark 51820 table 51820",
        "rule add table main suppress_prefixlength 0",
    )


PLAIN: dict[str, Any] = {}
FULL = {"push": ("redirect-gateway ipv6",)}
"""Without `def1`: the default route of the main table is gone."""
GLUETUN = {"options": ("--route-noexec", "--mark", "51820"), "lines": gluetun}
TAILSCALE = {"options": ("--route-noexec", "--mark", str(0x80000)), "lines": tailscale}
WG_QUICK = {"options": ("--route-noexec", "--mark", "51820"), "lines": wg_quick}
"""OpenVPN's packets bear the mark that the other's would."""
