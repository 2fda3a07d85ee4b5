"""What iperf3 gets through the published port and through the tunnel: bare, Sidegate, and its kill switch."""

import json
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
    tunnel: bool
    """Server B is the peer, and the client carries all; else it is the laptop, at the published port."""
    reverse: bool
    """The service sends."""
    runs: tuple[list[Run], list[Run], list[Run]] = field(default_factory=lambda: ([], [], []))
    """Of the bare client, of Sidegate, and of Sidegate with KILL_SWITCH=on."""


def measure(untouched: Stage, stage: Stage, rounds: int) -> list[Way]:
    """Have all three run each way once in a round; each round begins with another of them.

    The bare client runs in the untouched lab, where no rule was ever set: a namespace's first one slows its
    look-ups for good. It has a route to the LAN that was set by hand: without it no reply from the published
    port would arrive. The port has to be published in both labs.
    """
    bare, sidegate = untouched.match.bare, stage.match.sidegate
    closed = with_setting(sidegate, "KILL_SWITCH", "on")
    published = "published port (bare: LAN route by hand)"
    ways = [
        Way(f"{published}: laptop sends", tunnel=False, reverse=False),
        Way(f"{published}: service sends", tunnel=False, reverse=True),
        Way("tunnel: server B sends", tunnel=True, reverse=False),
        Way("tunnel: service sends", tunnel=True, reverse=True),
    ]
    order = [(0, untouched, bare), (1, stage, sidegate), (2, stage, closed)]
    for _ in range(rounds):
        for place, where, contender in order:
            with where.up(contender) as process:
                if contender is bare:
                    _set_lan_route(where.lab)
                for way in ways:
                    way.runs[place].append(_run(where, way, process.pid))
            if contender is closed:
                open_gate(where.lab.sidecar)
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


def _set_lan_route(lab: Lab) -> None:
    lab.sidecar.ip(f"route replace {V4.lan} via {V4.docker_gateway} dev eth0")


def _run(stage: Stage, way: Way, contender: int) -> Run:
    lab, port = stage.lab, ("--port", str(PORT))
    peer, address = (lab.server_b, stage.address) if way.tunnel else (lab.laptop, V4.server_a)
    server = lab.sidecar.spawn("iperf3", "--server", "--one-off", "--forceflush", *port)
    try:
        server.wait_for_line("^Server listening")
        before = procfs.cpu_of_tree(contender)
        client = peer.run(
            *("iperf3", "--client", address, *port, "--connect-timeout", "3000"),
            *("--time", str(SECONDS), "--json", *(["--reverse"] if way.reverse else [])),
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
