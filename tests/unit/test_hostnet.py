from ipaddress import ip_address

import pytest

from entrypoint.hostnet import why_host
from entrypoint.network import IPAddress
from tests.unit.kernel_values import DOCKER, DUAL, Seen, route

LAN = ip_address("10.20.0.2")


def host(kind: str = "") -> Seen:
    """Return a host before any engine: a hardware link, unless another kind is given."""
    return Seen().link("eth0", kind).address("eth0", "10.20.0.2/24").routes(route("default", via="10.20.0.1"))


@pytest.mark.parametrize("bridge", ["docker0", "br-1f9", "cni0", "podman0"])
@pytest.mark.parametrize(("uplink", "hosts"), [("", {LAN}), ("veth", set()), ("bond", {LAN})])
def test_a_bridge_of_an_engine_is_the_hosts(bridge: str, uplink: str, hosts: set[IPAddress]) -> None:
    """Also where the host is a container of LXC, or has its address in /etc/hosts."""
    seen = host(uplink).link(bridge, "bridge", carrier=False).address(bridge, "172.17.0.1/16")
    why = why_host(seen.snapshot, hosts)
    assert why is not None
    assert f"saw the bridge {bridge} (172.17.0.1/16)" in why
    assert "leave `network_mode: host` out" in why


@pytest.mark.parametrize("seen", [DOCKER, DUAL, host(), Seen()])
def test_no_bridge_is_no_host(seen: Seen) -> None:
    """A container, one in a virtual machine of its own, and one without any network."""
    assert why_host(seen.snapshot, set()) is None


def test_a_bridge_without_an_address_of_ours_is_none_of_an_engines() -> None:
    """Whoever bridges links inside of a container gives no way out of it."""
    seen = DOCKER.link("br0", "bridge").address("br0", "fe80::1/64")
    assert why_host(seen.snapshot, set()) is None


def test_a_container_that_runs_docker_inside_is_no_host() -> None:
    """Its engine gave it a link, and wrote its address into /etc/hosts."""
    seen = DOCKER.link("docker0", "bridge").address("docker0", "172.17.0.1/16")
    assert why_host(seen.snapshot, {ip_address("172.30.0.2")}) is None
    assert why_host(seen.snapshot, {ip_address("172.17.0.1")}) is not None
