"""The whole product in the lab: `python -m entrypoint` beside a service, a server that it connects to."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.lab.addresses import SERVICE_PORT, V4, V6, Family
from tests.lab.namespaces import Namespace
from tests.lab.openvpn_server import PUSH_VPN, PUSH_VPN_V6, OpenVPNServer
from tests.lab.processes import LoggedProcess
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import EchoResult, MillisecondEcho, reaches, serve
from tests.lab.vpn_server import VPNServer

TUNNEL = "tun0"
TABLE, PRIORITY, PROTOCOL = 7100, 90, "83"
"""The defaults of the contract, and the tag on everything that is the product's own."""
PUSH = (PUSH_VPN, PUSH_VPN_V6)
TOLD_WITHIN = 1.5
"""Seconds in which health has to name a fault: one is promised, and a loaded machine needs some more."""
BACK_WITHIN = 1.0
"""Seconds in which rules and routes have to be back: a tenth is promised."""

_MARK = "192.0.2.0/24"
"""Set and taken away to see where `ip monitor` stands. A route of the main table that is no default
does not wake the product."""


class AnyProduct:
    """One sidecar to be, with a service beside it and a server of any kind to connect to."""

    def __init__(self, lab: Lab, directory: Path, vpn: VPNServer) -> None:
        """Start the service and the server, which is described already."""
        self.lab = lab
        self.directory = directory
        self.host = lab.sidecar
        self.vpn = vpn.start()
        self.settings = vpn.settings(directory)
        serve(lab.sidecar)

    def sidecar(self, environment: dict[str, str] | None = None, **options: Any) -> Sidecar:
        """Describe the program with this environment beside the client's own; the caller starts it."""
        given = {**self.settings, **(environment or {})}
        return Sidecar(self.host, self.directory / "container", given, **options)

    def start(self, **environment: str) -> Sidecar:
        """Start the program with these settings and wait until it says that it is ready."""
        return self.sidecar(environment).start().wait_until_ready()

    def tunnel_address(self, family: Family = V4) -> str:
        """Return the address that the server gave to the client."""
        return self.host.addresses(self.vpn.tunnel, family.option)[0]

    def unreached(self, family: Family = V4) -> dict[str, str | None]:
        """Return who is not answered, and what happened instead: the laptop and the VPN's hosts are asked."""
        address = self.tunnel_address(family)
        lab = self.lab
        asked = {
            "laptop": partial(reaches, lab.laptop, family.server_a),
            "neighbour": partial(reaches, lab.neighbour, family.sidecar),
            "server B": partial(reaches, lab.server_b, address),
            "twin": partial(reaches, lab.twin, address),
            "twin with the laptop's address": partial(reaches, lab.twin, address, source=family.laptop),
        }
        # At the same time: where nobody answers, a look is over as soon as where one does not.
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = pool.map(lambda ask: ask(SERVICE_PORT), asked.values())
            return {who: why for who, why in zip(asked, answers, strict=True) if why}


class Product(AnyProduct):
    """The same beside a server of OpenVPN."""

    def __init__(self, lab: Lab, directory: Path, **server: Any) -> None:
        """Start the service and a server with the keywords of `OpenVPNServer`."""
        ipv6 = len(lab.families) > 1
        described = {"push": PUSH if ipv6 else (PUSH_VPN,), "ipv6": ipv6, **server}
        self.server = OpenVPNServer(lab.vpn_server, directory / "server", **described)
        super().__init__(lab, directory, self.server)
        self.config = directory / "client.ovpn"


@dataclass(frozen=True, slots=True)
class Kernel:
    """What iproute2 says of a namespace, both families, comparable."""

    rules: tuple[str, ...]
    routes: tuple[str, ...]
    links: tuple[str, ...]
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, host: Namespace) -> "Kernel":
        """Read it."""
        both = ("-4", "-6")
        links = host.ip_json("address")
        return cls(
            rules=_texts(entry for option in both for entry in host.ip_json(option, "rule")),
            routes=_texts(
                e for option in both for e in host.ip_json(option, "route", "show", "table", "all")
            ),
            links=tuple(sorted(str(link["ifname"]) for link in links)),
            addresses=tuple(
                sorted(
                    f"{link['ifname']} {info['local']}/{info['prefixlen']}"
                    for link in links
                    for info in link["addr_info"]
                    if info
                )
            ),
        )


def our_rules(host: Namespace, family: Family = V4) -> list[dict[str, Any]]:
    """Return the rules that carry the product's tag."""
    return [rule for rule in host.ip_json(family.option, "rule") if str(rule.get("protocol")) == PROTOCOL]


def our_routes(host: Namespace, family: Family = V4) -> list[dict[str, Any]]:
    """Return the routes that carry the product's tag, of all tables."""
    routes = host.ip_json(family.option, "route", "show", "table", "all")
    return [route for route in routes if str(route.get("protocol")) == PROTOCOL]


def programs(host: Namespace, name: str) -> list[int]:
    """Return the living processes of a namespace whose program is called so."""
    found = []
    for pid in host.pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
    return found


def kill(pid: int) -> None:
    """SIGKILL one process."""
    os.kill(pid, signal.SIGKILL)


def seconds_until(condition: Callable[[], object], limit: float, what: str) -> float:
    """Return how long it took until the condition was true; AssertionError after twice the limit."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > 2 * limit:
            raise AssertionError(f"waited {2 * limit:g} s for {what}")
        time.sleep(0.005)
    return time.monotonic() - began


def first_line(sidecar: Sidecar) -> str:
    """Return the first line of /readyz."""
    return sidecar.readiness()[1].split("\n", 1)[0]


def untouched(result: EchoResult, *, at_least: int = 30) -> bool:
    """Whether an echo lost nothing: none late, none sent twice, and there were enough to tell."""
    assert result.sent > at_least, result
    assert (result.lost, result.resent, result.answered) == (0, 0, result.sent), result
    return True


@contextlib.contextmanager
def echoes(lab: Lab) -> Iterator[None]:
    """Hold a LAN connection of each family with an echo every millisecond; none may be lost meanwhile."""
    running = [MillisecondEcho(lab.laptop, family.server_a, longest=60) for family in (V4, V6)]
    yield
    for echo in running:
        assert untouched(echo.stop())


@contextlib.contextmanager
def kernel_events(host: Namespace) -> Iterator[list[str]]:
    """Collect what `ip monitor` tells of links, addresses, routes and rules while the context lasts."""
    events: list[str] = []
    monitor = host.spawn("ip", "monitor", "link", "address", "route", "rule", name="ip monitor")
    try:
        _mark(host, monitor)
        seen = len(monitor.lines)
        yield events
        _mark(host, monitor)
        lines = monitor.lines[seen:]
        events += [line for line in lines if line.strip() and _MARK not in line]
    finally:
        monitor.kill()


def _mark(host: Namespace, monitor: LoggedProcess) -> None:
    seen = len(monitor.lines)
    while True:
        host.ip(f"route add {_MARK} dev lo", f"route del {_MARK} dev lo")
        # The monitor may not listen yet at the first try.
        with contextlib.suppress(AssertionError):
            monitor.wait_for_line(f"^Deleted {_MARK}", 0.2, after=seen)
            return


def _texts(entries: Iterator[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted(json.dumps(entry, sort_keys=True) for entry in entries))
