from ipaddress import ip_address, ip_interface, ip_network

import pytest

from entrypoint.detect import ContainerNetwork
from entrypoint.overlap import MAY_BE, in_use, overlaps
from tests.unit.kernel_values import route

DOCKER = ContainerNetwork("eth0", up=True, carrier=True, interface=ip_interface("172.30.0.2/16"))


def told(
    routes: list[str], *, used: list[tuple[str, str]] | None = None, tunnel: str = "10.99.0.0/24"
) -> list[str]:
    """Return the overlaps as the log says them."""
    found = overlaps(
        [route(destination, "tun0") for destination in routes],
        [ip_network(tunnel)],
        [(ip_network(network), seen) for network, seen in used or []],
    )
    return [str(overlap) for overlap in found]


def test_in_use_is_what_the_container_knows_of() -> None:
    """Its own networks, what the user named, its resolvers beyond, and who is connected now, each once."""
    laptop, resolver = ip_address("10.20.0.5"), ip_address("10.20.0.1")
    kept = ip_address("10.21.0.1")
    hint = "the container's resolver: asked through the tunnel from now on, unless LAN_NETWORKS has it"
    assert in_use([DOCKER], [ip_network("10.21.0.0/16")], [resolver, kept], [laptop, laptop]) == [
        (ip_network("172.30.0.0/16"), "the container's network on eth0"),
        (ip_network("10.21.0.0/16"), "LAN_NETWORKS"),
        (ip_network("10.20.0.1/32"), hint),
        (ip_network("10.20.0.5/32"), "connected now"),
    ]


def test_a_route_over_a_network_in_use_is_told() -> None:
    """Wider or narrower than that network."""
    used = [("172.30.0.0/16", "the container's network on eth0")]
    assert told(["172.16.0.0/12", "172.30.5.0/24"], used=used) == [
        "172.16.0.0/12 covers 172.30.0.0/16 (the container's network on eth0)",
        "172.30.5.0/24 covers 172.30.0.0/16 (the container's network on eth0)",
    ]


@pytest.mark.parametrize(
    "destination", ["10.0.0.0/8", "10.20.0.0/16", "192.168.0.0/16", "fd00::/16", "default"]
)
def test_a_route_into_private_space_may_cover_a_lan(destination: str) -> None:
    """From inside a container the LAN beyond the gateway cannot be seen."""
    lines = told([destination])
    assert lines
    assert all(line.endswith(MAY_BE) for line in lines)


def test_what_is_known_goes_before_what_may_be() -> None:
    """A route that covers a named LAN leaves no guess about that route, but about the others."""
    assert told(["10.0.0.0/8", "192.168.0.0/16"], used=[("10.20.0.0/24", "LAN_NETWORKS")]) == [
        "10.0.0.0/8 covers 10.20.0.0/24 (LAN_NETWORKS)",
        "192.168.0.0/16 reaches into private address space, where a LAN may be",
    ]


@pytest.mark.parametrize("destination", ["198.51.100.0/24", "10.50.0.10/32", "10.99.0.0/24", "2001:db8::/32"])
def test_a_harmless_route_is_not_told(destination: str) -> None:
    """Public space, a single host, and the tunnel's own network."""
    assert told([destination]) == []


def test_families_do_not_meet() -> None:
    """An IPv6 default says nothing of IPv4 networks in use."""
    assert told(["default6"], used=[("172.30.0.0/16", "x")]) == ["::/0 " + MAY_BE]


def test_a_route_is_told_once() -> None:
    """Two tables or metrics of one destination are one overlap."""
    assert len(told(["10.0.0.0/8", "10.0.0.0/8"])) == 1
