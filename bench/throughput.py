"""What iperf3 gets through the published port and through the tunnel: bare, Sidegate, and its kill switch."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bench import procfs
from bench.clients import Contender
from bench.trial import Stage
from tests.lab.addresses import V4
from tests.lab.namespaces import Namespace
from tests.lab.topology import Lab

PORT = 5201
"""iperf3's own."""
SECONDS = 1
"""Of each run. Many short ones in turn share the machine's moods more evenly than a few long ones."""
TABLE = "inet sidegate"
_STALLED = 10.0
"""Seconds after which a run is given up: iperf3 itself has no limit for a connection that stalls."""


@dataclass(frozen=True, slots=True)
class Run:
    """What iperf3 saw in one run."""

    rate: float
    """Bits per second that arrived."""
    cpu: float
    """Seconds that all processes of the contender took for a byte."""


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of TCP between a peer and a service in the shared namespace."""

    name: str
    peer: Namespace
    address: str
    options: tuple[str, ...]
    by_client: bool
    """Whether the client carries the bytes; else only the kernel has a part in it."""
    runs: tuple[list[Run], list[Run], list[Run]] = field(default_factory=lambda: ([], [], []))
    """Of the bare client, of Sidegate, and of Sidegate with KILL_SWITCH=on."""


def measure(stage: Stage, rounds: int) -> list[Way]:
    """Have all three run each way once in a round; each round begins with another of them.

    The bare client has a route to the LAN that was set by hand: without it no reply from the published
    port would arrive. The port has to be published.
    """
    lab, bare, sidegate = stage.lab, stage.match.bare, stage.match.sidegate
    closed = with_setting(sidegate, "KILL_SWITCH", "on")
    published, back = "published port (bare: LAN route by hand)", ("--reverse",)
    ways = [
        Way(f"{published}: laptop sends", lab.laptop, V4.server_a, (), by_client=False),
        Way(f"{published}: service sends", lab.laptop, V4.server_a, back, by_client=False),
        Way("tunnel: server B sends", lab.server_b, stage.address, (), by_client=True),
        Way("tunnel: service sends", lab.server_b, stage.address, back, by_client=True),
    ]
    order = list(enumerate((bare, sidegate, closed)))
    for _ in range(rounds):
        for place, contender in order:
            by_hand = _lan_by_hand(lab) if contender is bare else contextlib.nullcontext()
            with stage.up(contender) as process, by_hand:
                for way in ways:
                    way.runs[place].append(_run(lab.sidecar, way, process.pid))
            if contender is closed:
                open_gate(lab.sidecar)
        order.append(order.pop(0))
    return ways


def publish(lab: Lab) -> None:
    """Publish the port on server A, for TCP and UDP."""
    rule = f"fib daddr type local meta l4proto {{ tcp, udp }} th dport {PORT} dnat ip to {V4.sidecar}:{PORT}"
    lab.server_a.run("nft", f"add rule inet docker prerouting meta nfproto ipv4 {rule}")


def with_setting(sidegate: Contender, name: str, value: str) -> Contender:
    """Return Sidegate with one more setting."""
    environment = {**sidegate.environment, name: value}
    return replace(sidegate, name=f"{sidegate.name} with {name}={value}", environment=environment)


def open_gate(host: Namespace) -> None:
    """Take away the gate that stays closed after a stop."""
    host.run("nft", f"delete table {TABLE}")


@contextlib.contextmanager
def _lan_by_hand(lab: Lab) -> Iterator[None]:
    route = f"{V4.lan} via {V4.docker_gateway} dev eth0"
    lab.sidecar.ip(f"route add {route}")
    try:
        yield
    finally:
        lab.sidecar.ip(f"route del {route}")


def _run(service: Namespace, way: Way, contender: int) -> Run:
    port = ("--port", str(PORT))
    server = service.spawn("iperf3", "--server", "--one-off", "--forceflush", *port)
    try:
        server.wait_for_line("^Server listening")
        before = procfs.cpu_of_tree(contender)
        client = way.peer.run(
            *("iperf3", "--client", way.address, *port, "--connect-timeout", "3000"),
            *("--time", str(SECONDS), "--json", *way.options),
            check=False,
            timeout=SECONDS + _STALLED,
        )
        spent = procfs.cpu_of_tree(contender) - before
    finally:
        server.kill()
    said = json.loads(client.stdout or "{}")
    if client.returncode or "error" in said:
        raise AssertionError(f"cannot measure {way.name}: iperf3 says {said.get('error') or client.stderr}")
    arrived = said["end"]["sum_received"]
    return Run(arrived["bits_per_second"], spent / arrived["bytes"])
