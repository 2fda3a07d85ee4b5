"""Whether anything gets out of the sidecar that should not."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.lab.addresses import SERVICE_PORT
from tests.lab.namespaces import Namespace
from tests.lab.traffic import ROOT, Capture

_NEIGHBOURS = "(icmp6 and ip6[40] >= 131 and ip6[40] <= 136) or (ip6 proto 0)"
"""Neighbour discovery, and multicast reports, which have a hop-by-hop header."""
_LONGEST_SECONDS = 60.0


class LeakProbe:
    """leak_probe.py in a namespace while the context lasts."""

    def __init__(self, host: Namespace, addresses: Sequence[str], longest: float = _LONGEST_SECONDS) -> None:
        """Describe it; the context starts it, and sees in the end that it tried indeed.

        After `longest` seconds it ends by itself.
        """
        self._host = host
        self._addresses = addresses
        self._longest = longest

    def __enter__(self) -> Self:
        self._process = self._host.spawn(
            *(sys.executable, "-m", "tests.lab.leak_probe", str(self._longest), *self._addresses),
            directory=ROOT,
            name="leak probe",
        )
        self._process.wait_for_line("^trying$")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._process.wait_for_line("^tried enough$")
        self._process.end_input()
        self._process.wait()


def outward(router: Namespace, link: str, host: Namespace, allowed: str) -> Capture:
    """Capture what a host sends by its eth0 but ARP, neighbour discovery, its replies and `allowed`.

    `link` is the other end of its cable at the router; `allowed` is a filter as in pcap-filter(7).
    """
    (eth0,) = host.ip_json("link", "show", "dev", "eth0")
    return Capture(router, link, f"ether src {eth0['address']} and {_unwanted(allowed)}")


def into(router: Namespace, bridge: str, allowed: str) -> Capture:
    """Capture the same of whoever sends to a router by its bridge, be his cable there yet or not."""
    # Not by "inbound": what comes first libpcap filters itself, where it does not know the direction, and
    # throws it away.
    (its,) = router.ip_json("link", "show", "dev", bridge)
    return Capture(router, bridge, f"not ether src {its['address']} and {_unwanted(allowed)}")


def track_connections(host: Namespace) -> None:
    """Have connections tracked from the start on, as Docker's rules for its resolver do in each container."""
    for family, address in (("ip", "127.0.0.11"), ("ip6", "::1")):
        chain = f"chain {family} docker out {{ type nat hook output priority -100; }}"
        rule = f"rule {family} docker out {family} daddr {address} udp dport 53 redirect to :5353"
        host.run("nft", f"add table {family} docker; add {chain}; add {rule}")


def _unwanted(allowed: str) -> str:
    return f"not arp and not src port {SERVICE_PORT} and not ({_NEIGHBOURS}) and not ({allowed})"
