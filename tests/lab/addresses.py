"""The addresses of the lab's picture, drawn in topology.py."""

from dataclasses import dataclass

SERVICE_PORT = 80
"""Published by server A; the service listens on it in the shared namespace."""
SECOND_PORT = 81
"""Published by server A for the container's address in its second network."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family's half of the picture."""

    option: str
    """iproute2's option for the family."""
    laptop: str
    server_a: str
    lan: str
    docker_gateway: str
    docker: str
    sidecar: str
    neighbour: str
    second_gateway: str
    second: str
    second_sidecar: str
    pod_gateway: str
    internet_a: str
    internet: str
    vpn_endpoint: str
    """Where the VPN client's packets go."""
    server_b_gateway: str
    server_b_network: str
    server_b: str
    twin_gateway: str
    twin: str
    """Behind the VPN, with an address of the LAN's range."""
    vpn_network: str
    """What the VPN's owner pushes: it covers the LAN."""
    tunnel: str
    """The network of the tunnel's own addresses."""
    tunnel_server: str
    host_length: str
    """The prefix length of a single address."""


V4 = Family(
    option="-4",
    laptop="10.20.0.5",
    server_a="10.20.0.2",
    lan="10.20.0.0/24",
    docker_gateway="172.30.0.1",
    docker="172.30.0.0/16",
    sidecar="172.30.0.2",
    neighbour="172.30.0.3",
    second_gateway="172.31.0.1",
    second="172.31.0.0/16",
    second_sidecar="172.31.0.2",
    pod_gateway="169.254.1.1",
    internet_a="198.51.100.2",
    internet="198.51.100.0/24",
    vpn_endpoint="198.51.100.10",
    server_b_gateway="10.50.0.1",
    server_b_network="10.50.0.0/24",
    server_b="10.50.0.10",
    twin_gateway="10.20.0.1",
    twin="10.20.0.77",
    vpn_network="10.0.0.0/8",
    tunnel="10.99.0.0/24",
    tunnel_server="10.99.0.1",
    host_length="/32",
)

V6 = Family(
    option="-6",
    laptop="fd00:20::5",
    server_a="fd00:20::2",
    lan="fd00:20::/64",
    docker_gateway="fd00:30::1",
    docker="fd00:30::/64",
    sidecar="fd00:30::2",
    neighbour="fd00:30::3",
    second_gateway="fd00:31::1",
    second="fd00:31::/64",
    second_sidecar="fd00:31::2",
    pod_gateway="fe80::1",
    internet_a="2001:db8:100::2",
    internet="2001:db8:100::/64",
    vpn_endpoint="2001:db8:100::10",
    server_b_gateway="fd00:50::1",
    server_b_network="fd00:50::/64",
    server_b="fd00:50::10",
    twin_gateway="fd00:20::1",
    twin="fd00:20::77",
    vpn_network="fd00::/16",
    tunnel="fd00:99::/64",
    tunnel_server="fd00:99::1",
    host_length="/128",
)
