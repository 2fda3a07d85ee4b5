"""Snapshots written down as `ip` would take them: `address("eth0", "172.30.0.2/16")`."""

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network

from entrypoint.network import MAIN_TABLE, PROTOCOL, Address, LastResort, Link, Route, Rule, Snapshot

KERNEL_PROTOCOL = 2
BOOT_PROTOCOL = 3


@dataclass(frozen=True)
class Seen:
    """A snapshot to add to; each method returns a new one."""

    snapshot: Snapshot = Snapshot(links=(Link(1, "lo", "", up=True, loopback=True),))  # noqa: RUF009 - frozen

    def link(self, name: str, kind: str = "veth", *, up: bool = True, carrier: bool = True) -> "Seen":
        """Add a link."""
        links = self.snapshot.links
        added = Link(len(links) + 1, name, kind, up, carrier=up and carrier)
        return Seen(replace(self.snapshot, links=(*links, added)))

    def address(self, link: str, interface: str) -> "Seen":
        """Add an address to a link that is there."""
        index = next(found.index for found in self.snapshot.links if found.name == link)
        added = Address(index, ip_interface(interface))
        return Seen(replace(self.snapshot, addresses=(*self.snapshot.addresses, added)))

    def routes(self, *routes: Route) -> "Seen":
        """Add routes."""
        return Seen(replace(self.snapshot, routes=(*self.snapshot.routes, *routes)))

    def ends(self, *ends: LastResort) -> "Seen":
        """Add last resorts."""
        return Seen(replace(self.snapshot, last_resorts=(*self.snapshot.last_resorts, *ends)))

    def rules(self, *rules: Rule) -> "Seen":
        """Add rules."""
        return Seen(replace(self.snapshot, rules=(*self.snapshot.rules, *rules)))


def route(
    destination: str,
    link: str = "eth0",
    *,
    via: str | None = None,
    table: int = MAIN_TABLE,
    metric: int = 0,
    protocol: int = BOOT_PROTOCOL,
    onlink: bool = False,
) -> Route:
    """Write a route; `default` and `default6` stand for everything."""
    everything = {"default": "0.0.0.0/0", "default6": "::/0"}
    return Route(
        ip_network(everything.get(destination, destination)),
        link,
        table,
        ip_address(via) if via else None,
        onlink=onlink,
        metric=metric,
        protocol=protocol,
    )


def rule(
    source: str,
    table: int = 7100,
    priority: int = 90,
    *,
    to: str | None = None,
    mark: int = 0,
    protocol: int = PROTOCOL,
) -> Rule:
    """Write a rule, ours unless another protocol is given."""
    return Rule(ip_network(source), table, priority, ip_network(to) if to else None, mark, protocol)


DOCKER = (
    Seen()
    .link("eth0")
    .address("eth0", "172.30.0.2/16")
    .routes(route("default", via="172.30.0.1"), route("172.30.0.0/16", protocol=KERNEL_PROTOCOL))
)
"""A container in one IPv4 network."""

DUAL = (
    DOCKER.address("eth0", "fd00:30::2/64")
    .address("eth0", "fe80::42:acff:fe1e:2/64")
    .routes(
        route("default6", via="fd00:30::1", metric=1024),
        route("fd00:30::/64", protocol=KERNEL_PROTOCOL, metric=256),
        route("fe80::/64", protocol=KERNEL_PROTOCOL, metric=256),
    )
)
"""The same with IPv6."""
