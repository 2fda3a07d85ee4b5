"""What programs without any capability try at the closed gate, and whom it must not shut out."""

import contextlib
import socket
import struct
from pathlib import Path

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, OUTSIDE, OUTSIDE6, Container
from tests.kernel.test_gate import CLIENT, closed, table
from tests.lab.addresses import SERVICE_PORT, V4, V6
from tests.lab.leak_probe import PORT
from tests.lab.leaks import outward
from tests.lab.router_advertisement import advertise
from tests.lab.traffic import reaches, serve
from tests.lab.waiting import until

IPV6_FREEBIND = 78
"""Of linux/in6.h; no capability is asked for."""
LSRR = bytes([1, 131, 7, 4]) + socket.inet_aton(V4.docker_gateway)
"""An IPv4 option (RFC 791): by way of the gateway. Before Linux 6.18 everybody may set it."""
SEGMENTS = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + b"".join(
    socket.inet_pton(socket.AF_INET6, address) for address in (OUTSIDE6, V6.docker_gateway)
)
"""A routing header of IPv6 (RFC 8754): by way of the gateway. Everybody may set it."""


def test_a_foreign_source_does_not_turn_what_is_sent_into_a_reply(routed: Container, tmp_path: Path) -> None:
    """Who asks himself by the loopback in the name of somebody outside has not been asked by him."""
    closed(routed, tmp_path)
    inside, foreign = routed.host.call(
        lambda: [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2)]
    )
    with inside, foreign, outward(routed.router, "to-eth0", routed.host, CLIENT) as capture:
        foreign.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        foreign.bind((OUTSIDE6, PORT))
        inside.bind((V6.sidecar, PORT))
        for sender, receiver in ((foreign, V6.sidecar), (inside, OUTSIDE6)):
            with contextlib.suppress(PermissionError):
                sender.sendto(b"leak", (receiver, PORT))
    assert capture.packets == []


@pytest.mark.parametrize(
    ("far", "option"),
    [
        (OUTSIDE, (socket.IPPROTO_IP, socket.IP_OPTIONS, LSRR)),
        (OUTSIDE6, (socket.IPPROTO_IPV6, socket.IPV6_RTHDR, SEGMENTS)),
    ],
    ids=["ipv4", "ipv6"],
)
def test_no_neighbour_is_told_to_send_on(
    routed: Container, tmp_path: Path, far: str, option: tuple[int, int, bytes]
) -> None:
    """A packet to the gateway that says where it goes on from there is no packet to a neighbour."""
    closed(routed, tmp_path)
    family = socket.AF_INET6 if ":" in far else socket.AF_INET
    sender = routed.host.call(lambda: socket.socket(family, socket.SOCK_DGRAM))
    with sender, outward(routed.router, "to-eth0", routed.host, CLIENT) as capture:
        sender.setsockopt(*option)
        with pytest.raises(PermissionError):
            sender.sendto(b"leak", (far, PORT))
    assert capture.packets == []


def test_a_neighbour_of_a_foreign_network_learns_our_link_address(routed: Container, tmp_path: Path) -> None:
    """As a node that asks a pod, or a LAN with two prefixes: its address is in no network of ours."""
    stranger = "2001:db8:77::1"
    routed.router.ip(
        f"address add {stranger}/128 dev to-eth0 nodad",
        f"route add {V6.sidecar}/128 dev to-eth0 src {stranger}",
    )
    serve(routed.host)
    closed(routed, tmp_path)
    routed.router.ip("neigh flush all")
    assert reaches(routed.router, V6.sidecar, SERVICE_PORT, source=stranger) is None


def test_a_network_that_somebody_announces_is_not_opened(routed: Container, tmp_path: Path) -> None:
    """A router of the link may name any network: who is there is reached by the tunnel, or where listed."""
    sidecar = closed(routed, tmp_path)
    for address in (OUTSIDE6, "fe80::aa"):
        routed.router.ip(f"address add {address}/64 dev to-eth0 nodad")
    advertise(routed.router, "to-eth0", "fe80::aa", "2001:db8:100::/64", lifetime=600)
    sidecar.wait_for_line("ip -6 rule add from 2001:db8:100::/64")
    routed.connect("eth1", f"{V4.second_sidecar}/16")
    until(lambda: "172.30.0.0/15" in table(routed.host), LIMIT_SECONDS, "a network that came later")
    with outward(routed.router, "to-eth0", routed.host, CLIENT) as capture:
        assert reaches(routed.host, OUTSIDE6, PORT, timeout=0.3) == "timed out"
    assert capture.packets == []
