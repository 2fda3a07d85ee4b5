"""Networks written down, and what they need."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network

from entrypoint.changes import difference
from entrypoint.detect import ContainerNetwork, NextHop
from entrypoint.network import Snapshot
from entrypoint.policy import Wanted, assign_tables, wanted
from tests.unit.kernel_values import Seen

DOCKER_LINES = [
    "ip route add 172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    "ip route add default via 172.30.0.1 dev eth0 table 7100 proto 83",
    "ip route add unreachable default metric 4294967295 table 7100 proto 83",
    "ip rule add from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83",
    "ip rule add from all fwmark 0x5347 iif lo lookup 7100 priority 90 protocol 83",
]


def container(
    interface: str, gateway: str | None = None, link: str = "eth0", *, up: bool = True
) -> ContainerNetwork:
    """Write a network with its gateway; without one it cannot be served."""
    way = NextHop(ip_address(gateway)) if gateway else None
    return ContainerNetwork(link, up, up, ip_interface(interface), way)


def want(*networks: ContainerNetwork, lan: Iterable[str] = ()) -> Wanted:
    """Want what these networks need, with the tables and the priority of the defaults."""
    tables = assign_tables(networks, {}, 7100)
    return wanted(networks, tables, 90, [ip_network(text) for text in lan])


def from_nothing(wanted: Wanted) -> list[str]:
    """Return the lines that make it in an empty kernel."""
    return [str(step) for step in difference(wanted, Snapshot())]


def standing(wanted: Wanted) -> Seen:
    """Return the kernel in which it stands."""
    return Seen().routes(*wanted.routes).ends(*wanted.last_resorts).rules(*wanted.rules)
