"""A probe, and a link to the router that stands for the tunnel."""

from ipaddress import IPv4Interface, ip_interface

from entrypoint.network import Link
from entrypoint.parse_network import Target
from entrypoint.probe import Probe
from entrypoint.tunnels import Tunnel
from tests.kernel.conftest import Container
from tests.lab.traffic import serve

OURS = ip_interface("10.99.0.2/24")
assert isinstance(OURS, IPv4Interface)
TUNNEL = Tunnel(Link(1, "vpn0", "tun", up=True), (OURS,))
ANSWERS = "10.50.0.10"
"""Behind the link, with a service on port 80."""


def probing(container: Container, target: Target, interval_seconds: float) -> Probe:
    """Lay the link, start the service behind it, and describe the probe."""
    container.connect("vpn0", str(OURS))
    container.host.ip("route add 10.50.0.0/24 via 10.99.0.1 dev vpn0")
    container.router.ip("address add 10.99.0.1/24 dev to-vpn0", f"address add {ANSWERS}/32 dev lo")
    serve(container.router)
    return Probe(target, interval_seconds, lambda: TUNNEL)
