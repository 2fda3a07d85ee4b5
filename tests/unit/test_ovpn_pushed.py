"""Routes from the variables of an up script."""

from ipaddress import ip_address, ip_network

from entrypoint.clients.ovpn_pushed import routes


def test_routes_are_told_with_their_gateways() -> None:
    """As openvpn 2.6 writes them; what is no address is passed over."""
    variables = {
        "route_network_1": "203.0.113.0",
        "route_netmask_1": "255.255.255.0",
        "route_gateway_1": "172.30.0.1",
        "route_network_2": "10.0.0.0",
        "route_netmask_2": "255.0.0.0",
        "route_gateway_2": "nonsense",
        "route_network_3": "198.51.100.7",
        "route_gateway_3": "172.30.0.3",
        "route_ipv6_network_1": "fd00:50::/64",
        "route_ipv6_gateway_1": "fd00:30::1",
        "route_net_gateway": "172.30.0.1",
    }
    assert routes(variables) == {
        (ip_network("203.0.113.0/24"), ip_address("172.30.0.1")),
        (ip_network("198.51.100.7/32"), ip_address("172.30.0.3")),
        (ip_network("fd00:50::/64"), ip_address("fd00:30::1")),
    }
