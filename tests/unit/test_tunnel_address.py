"""Which addresses a tunnel may not have."""

from ipaddress import ip_address, ip_network

import pytest

from entrypoint.detect import container_networks
from entrypoint.tunnel_address import Neighbourhood, refusal
from tests.unit.kernel_values import DUAL

SEEN = DUAL.link("tun0", "tun").address("tun0", "10.99.0.2/24").snapshot
AROUND = Neighbourhood(
    SEEN,
    container_networks(SEEN, {}, {}),
    lan_networks=[ip_network("10.20.0.0/24")],
    resolvers=[ip_address("10.21.0.53")],
    peers=[ip_address("10.22.0.5")],
)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("172.30.0.2", "the address of eth0"),
        ("172.30.0.1", "the gateway of eth0"),
        ("fd00:30::2", "the address of eth0"),
        ("fd00:30::1", "the gateway of eth0"),
        ("10.21.0.53", "a resolver of the container"),
        ("10.22.0.5", "the address of a host that is connected with us"),
    ],
)
def test_an_address_that_somebody_has_is_refused(address: str, whose: str) -> None:
    """With whose it is."""
    told = refusal([ip_address("10.98.0.1"), ip_address(address)], AROUND)
    assert told == (
        f"its tunnel was given {address}, which is {whose}: who has it would never be answered; "
        "have the VPN give another address"
    )


def test_an_address_of_the_lan_names_the_setting_that_says_so() -> None:
    """Most likely the VPN's own network was put there."""
    assert refusal([ip_address("10.20.0.77")], AROUND) == (
        "its tunnel was given 10.20.0.77, which is in LAN_NETWORKS (10.20.0.0/24): who has it would never be "
        "answered; have the VPN give another address, or take it out of LAN_NETWORKS"
    )


@pytest.mark.parametrize("address", ["10.99.0.2", "172.30.99.2", "fe80::1", "10.20.1.5"])
def test_any_other_is_taken(address: str) -> None:
    """Its own, one within a container network that nobody is known to have, and what is on every link."""
    assert refusal([ip_address(address)], AROUND) is None
