"""What our rules and chains cost a packet: CPU time of who sends it, with and without them, in turn.

On a veth pair the sender's system call carries a packet through every hook to the socket that it is for.
Nobody reads there: what is too much is dropped behind the last hook.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.clients import Contender
from bench.throughput import PORT, TABLE, open_gate, with_setting
from bench.trial import Stage
from tests.lab.addresses import V4
from tests.lab.namespaces import Namespace
from tests.lab.topology import Lab

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


def measure(untouched: Stage, stage: Stage) -> list[Cost]:
    """Return what Sidegate's rules, its kill switch and UDP_REPLY_PORTS cost a packet.

    The port has to be published in both labs. No rule was ever set in the untouched one.
    """
    bare, ours = untouched.lab, stage.lab
    with (
        _bound(bare.sidecar, V4.sidecar, PORT) as service_there,
        _bound(ours.sidecar, V4.sidecar, PORT) as service,
    ):
        return [*_rules(bare, service_there, stage, service), *_chains(stage, service)]


def _rules(bare: Lab, service_there: socket.socket, stage: Stage, service: socket.socket) -> list[Cost]:
    """Compare a namespace that Sidegate keeps with one that never had a rule."""
    reply, question = costs = [Cost("a reply, with our rules"), Cost("a datagram in, with our rules")]
    with stage.up(stage.match.sidegate):
        for _ in range(TURNS):
            reply.without.append(_reply(bare, service_there))
            reply.ours.append(_reply(stage.lab, service))
            question.without.append(_question(bare))
            question.ours.append(_question(stage.lab))
    return costs


def _chains(stage: Stage, service: socket.socket) -> list[Cost]:
    """Compare a namespace with itself: with the chains that Sidegate made, and without. No client is up."""
    lab, sidegate = stage.lab, stage.match.sidegate
    gate = _made(stage, with_setting(sidegate, "KILL_SWITCH", "on"))
    open_gate(lab.sidecar)
    udp = _made(stage, with_setting(sidegate, "UDP_REPLY_PORTS", str(PORT)))
    cases: list[tuple[str, str, Callable[[], float]]] = [
        ("a reply, with KILL_SWITCH=on", gate, lambda: _reply(lab, service)),
        ("a datagram in, with UDP_REPLY_PORTS", udp, lambda: _question(lab)),
    ]
    costs = []
    for name, chains, turn in cases:
        for where, there in (("as in Docker", _DOCKER), ("nothing else tracked", "")):
            cost = Cost(f"{name}, {where}")
            for _ in range(TURNS):
                for seconds, text in ((cost.without, there), (cost.ours, there + chains)):
                    lab.sidecar.run("nft", "--file", "-", stdin=f"flush ruleset\n{text}")
                    seconds.append(turn())
            costs.append(cost)
    lab.sidecar.run("nft", "flush ruleset")
    return costs


def _made(stage: Stage, sidegate: Contender) -> str:
    with stage.up(sidegate):
        return stage.lab.sidecar.run("nft", "--stateless", "list", "table", *TABLE.split()).stdout


# Each turn is a connection of its own: connection tracking decides by the first packet.
def _reply(lab: Lab, service: socket.socket) -> float:
    """Have the laptop ask once at the published port, and the service reply again and again."""
    with _bound(lab.laptop, V4.laptop) as laptop:
        laptop.sendto(_DATA, (V4.server_a, PORT))
        return _cpu(service, laptop.getsockname())


def _question(lab: Lab) -> float:
    with _bound(lab.laptop, V4.laptop) as laptop:
        return _cpu(laptop, (V4.server_a, PORT))


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
