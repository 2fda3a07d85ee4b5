"""What our chains cost a packet: CPU time of who sends it, with and without them, in turn.

On a veth pair the sender's system call carries a packet through every hook to the socket that it is for.
Nobody reads there: what is too much is dropped behind the last hook.
"""

import socket
import time
from dataclasses import dataclass, field

from bench.clients import Contender
from bench.throughput import PORT, TABLE, open_gate, with_setting
from bench.trial import Stage
from tests.lab.addresses import V4
from tests.lab.namespaces import Namespace

TURNS = 40
PACKETS = 2000
"""In each turn. Their size does not matter to a chain."""
_DATA = bytes(64)
_DOCKER = """table ip docker_dns { chain output { type nat hook output priority -100;
    ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:53535; }; }
"""
"""What Docker puts into a container for its DNS: the kernel tracks all connections from then on."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU for a packet, in each turn."""

    name: str
    without: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)


def measure(stage: Stage) -> list[Cost]:
    """Return what the kill switch costs a reply, and UDP_REPLY_PORTS a datagram that comes in.

    The chains are those that Sidegate made; no client is up meanwhile. The port has to be published.
    """
    host, sidegate = stage.lab.sidecar, stage.match.sidegate
    gate = _chains(stage, with_setting(sidegate, "KILL_SWITCH", "on"))
    open_gate(host)
    udp = _chains(stage, with_setting(sidegate, "UDP_REPLY_PORTS", str(PORT)))
    costs = []
    with _bound(host, V4.sidecar, PORT) as service:
        for name, chains, replying in (
            ("a reply with KILL_SWITCH=on", gate, service),
            ("a datagram in with UDP_REPLY_PORTS", udp, None),
        ):
            for where, there in (("as in Docker", _DOCKER), ("nothing else tracked", "")):
                cost = Cost(f"{name}, {where}")
                for _ in range(TURNS):
                    for seconds, text in ((cost.without, there), (cost.ours, there + chains)):
                        host.run("nft", "--file", "-", stdin=f"flush ruleset\n{text}")
                        seconds.append(_turn(stage, replying))
                costs.append(cost)
    host.run("nft", "flush ruleset")
    return costs


def _chains(stage: Stage, sidegate: Contender) -> str:
    with stage.up(sidegate):
        return stage.lab.sidecar.run("nft", "--stateless", "list", "table", *TABLE.split()).stdout


def _turn(stage: Stage, service: socket.socket | None) -> float:
    """Have the laptop ask the published port again and again, or the service, if given, reply as often."""
    # Each turn is a connection of its own: connection tracking decides by the first packet.
    with _bound(stage.lab.laptop, V4.laptop) as laptop:
        if not service:
            return _cpu(laptop, (V4.server_a, PORT))
        laptop.sendto(_DATA, (V4.server_a, PORT))
        return _cpu(service, laptop.getsockname())


def _bound(host: Namespace, address: str, port: int = 0) -> socket.socket:
    made = host.call(lambda: socket.socket(type=socket.SOCK_DGRAM))
    made.bind((address, port))
    return made


def _cpu(sender: socket.socket, to: tuple[str, int]) -> float:
    """Return the seconds for a packet; raises PermissionError where the gate drops it."""
    began = time.thread_time()
    for _ in range(PACKETS):
        sender.sendto(_DATA, to)
    return (time.thread_time() - began) / PACKETS
