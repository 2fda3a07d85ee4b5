"""Which replies the kernel is asked about, and what its answers mean. No kernel in here."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from entrypoint.detect import ContainerNetwork
from entrypoint.network import IPAddress, Lookup, Snapshot
from entrypoint.tunnels import tunnels

SOMEWHERE = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
"""Off every link: addresses kept for documentation (RFC 5737, RFC 3849). Nothing is sent to them."""


@dataclass(frozen=True, slots=True)
class Question:
    """One reply, and the way it must leave by."""

    source: IPAddress
    destination: IPAddress
    link: str
    gateway: IPAddress | None = None
    by_any_gateway: bool = False
    """Of a tunnel only the link is known; what `gateway` says does not count then."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The kernel's answer about one reply."""

    source: IPAddress
    destination: IPAddress
    problem: str | None


def questions(
    snapshot: Snapshot, networks: Iterable[ContainerNetwork], destinations: Iterable[IPAddress]
) -> list[Question]:
    """Return one question for each tunnel's address, and for each network one a destination.

    The destinations are an address on no link, neighbours in the tunnels, and `destinations`, to which the
    tunnel leads. Before a tunnel stands, every way leads out by the gateway and the answers would prove
    nothing: then there are no questions.
    """
    standing = tunnels(snapshot)
    if not standing:
        return []
    own = {address.interface.ip for address in snapshot.addresses}
    found: list[Question] = []
    peers: list[IPAddress] = []
    for tunnel in standing:
        for interface in tunnel.addresses:
            # A point-to-point address has no neighbours.
            if interface.network.prefixlen < interface.max_prefixlen - 1:
                first, second = interface.network[1], interface.network[2]
                peers.append(second if first in own else first)
                found.append(Question(interface.ip, peers[-1], tunnel.link.name, by_any_gateway=True))
    outside = [d for d in dict.fromkeys((*SOMEWHERE.values(), *peers, *destinations)) if d not in own]
    return found + [
        Question(network.interface.ip, destination, network.link, network.gateway.address)
        for network in networks
        if network.up and network.gateway
        for destination in outside
        if destination.version == network.interface.version and destination not in network.network
    ]


def judge(question: Question, answer: Lookup | str) -> Reply:
    """Compare the kernel's answer, or its refusal, with what must be."""
    problem = None
    if isinstance(answer, str):
        problem = f"would not leave at all: {answer}"
    elif answer.link != question.link or not (question.by_any_gateway or answer.gateway == question.gateway):
        by = f"{answer.link} via {answer.gateway}" if answer.gateway else answer.link
        wanted = f"{question.link} via {question.gateway}" if question.gateway else question.link
        problem = f"would leave by {by} (table {answer.table}) and not by {wanted}"
    return Reply(question.source, question.destination, problem)
