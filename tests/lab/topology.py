"""The picture that Sidegate is made for, out of namespaces.

    laptop 10.20.0.5                                      server_b 10.50.0.10     twin 10.20.0.77
        |                                                     |                       | (and 10.20.0.5,
    LAN 10.20.0.0/24                                       10.50.0.0/24               |  the laptop's)
        |                                                     |      VPN 10.0.0.0/8   |
    server_a 10.20.0.2 --------- internet ---------------- vpn_server ----------------+
        |     198.51.100.2   198.51.100.0/24   198.51.100.10  :
        |  publishes :80, and :81 for the second network      :
        |                                                     :
        +-- docker0 172.30.0.1/16 --+-- neighbour 172.30.0.3  :
        |                           |                         :
        |                         eth0 172.30.0.2             :  tunnel 10.99.0.0/24
        |                      [ sidecar + service ] - - - - -+
        |                         eth1 172.31.0.2
        |                           |
        +-- docker1 172.31.0.1/16 --+   (only after connect_second_network)

IPv6 runs through the same picture: addresses.py holds both halves. No host has a way out of it.
"""

from types import TracebackType
from typing import Self

from tests.lab.addresses import SECOND_PORT, SERVICE_PORT, V4, V6, Family
from tests.lab.namespaces import Namespace, Namespaces, join

HOSTS = ("laptop", "server_a", "sidecar", "neighbour", "vpn_server", "server_b", "twin")


class Lab:
    """The picture, standing while the context lasts; each host is an attribute."""

    def __init__(
        self,
        *,
        prefix: str | None = None,
        rp_filter: int = 0,
        ipv6: bool = True,
        sidecar_ipv6: bool = True,
        pod: bool = False,
    ) -> None:
        """Describe what differs from the usual.

        `rp_filter`: the sidecar's reverse-path filter, 1 is strict. `ipv6`: whether the picture has
        an IPv6 half; `sidecar_ipv6` off takes IPv6 from the sidecar alone (disable_ipv6, as Docker
        does without an IPv6 network). `pod`: the sidecar gets a /32 and a /128 with an on-link
        gateway, as from Calico or Cilium. `prefix`: for a lab that shall outlive this process.
        """
        self.namespaces = Namespaces(prefix)
        self.rp_filter = rp_filter
        self.sidecar_ipv6 = ipv6 and sidecar_ipv6
        self.families = (V4, V6) if ipv6 else (V4,)
        self.sidecar_families = (V4, V6) if self.sidecar_ipv6 else (V4,)
        self.pod = pod

    def __enter__(self) -> Self:
        self.namespaces.__enter__()
        try:
            self._build()
        except BaseException:
            self.namespaces.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.namespaces.close()

    def connect_second_network(self) -> None:
        """Give the sidecar an eth1, as `docker network connect` does: no default route comes with it."""
        join(self.server_a, "veth-second", self.sidecar, "eth1")
        self.server_a.ip("link set veth-second master docker1")
        for f in self.sidecar_families:
            _address(self.sidecar, "eth1", f, f.second_sidecar, f.second)

    def disconnect_second_network(self) -> None:
        """Take the sidecar's eth1 away with all that is on it."""
        self.sidecar.ip("link delete eth1")

    def cut_internet(self) -> None:
        """Take the way between server A and the VPN server down."""
        self.vpn_server.ip("link set internet down")

    def mend_internet(self) -> None:
        """Set the way between server A and the VPN server up again."""
        self.vpn_server.ip("link set internet up")
        if V6 in self.families:
            # The kernel takes IPv6 addresses from a link that goes down, and leaves those of IPv4.
            _address(self.vpn_server, "internet", V6, V6.vpn_endpoint, V6.internet)

    def _build(self) -> None:
        (
            self.laptop,
            self.server_a,
            self.sidecar,
            self.neighbour,
            self.vpn_server,
            self.server_b,
            self.twin,
        ) = self.namespaces.add(*HOSTS)
        self._set_sysctls()
        # As Docker's bridges they have addresses of their own, and not those of whoever comes and goes.
        self.server_a.ip(
            "link add docker0 address 02:42:ac:1e:00:01 type bridge",
            "link add docker1 address 02:42:ac:1f:00:01 type bridge",
        )
        join(self.laptop, "eth0", self.server_a, "lan")
        join(self.server_a, "veth-sidecar", self.sidecar, "eth0")
        join(self.server_a, "veth-neighbour", self.neighbour, "eth0")
        join(self.server_a, "internet", self.vpn_server, "internet")
        join(self.vpn_server, "site", self.server_b, "eth0")
        join(self.vpn_server, "twin", self.twin, "eth0")
        self.server_a.ip(
            "link set veth-sidecar master docker0",
            "link set veth-neighbour master docker0",
            "link set docker0 up",
            "link set docker1 up",
        )
        for family in self.families:
            self._address_hosts(family)
        self.server_a.run("nft", "--file", "-", stdin=_docker_nat(self.families))

    def _set_sysctls(self) -> None:
        for router in (self.server_a, self.vpn_server):
            router.sysctl("net/ipv4/ip_forward", 1)
            router.sysctl("net/ipv6/conf/all/forwarding", 1)
        if not self.sidecar_ipv6:
            self.sidecar.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
            self.sidecar.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        for part in ("all", "default"):
            self.sidecar.sysctl(f"net/ipv4/conf/{part}/rp_filter", self.rp_filter)

    def _address_hosts(self, f: Family) -> None:
        _address(self.laptop, "eth0", f, f.laptop, f.lan)
        _address(self.server_a, "lan", f, f.server_a, f.lan)
        _address(self.server_a, "docker0", f, f.docker_gateway, f.docker)
        _address(self.server_a, "docker1", f, f.second_gateway, f.second)
        _address(self.server_a, "internet", f, f.internet_a, f.internet)
        _address(self.neighbour, "eth0", f, f.neighbour, f.docker)
        _address(self.vpn_server, "internet", f, f.vpn_endpoint, f.internet)
        _address(self.vpn_server, "site", f, f.server_b_gateway, f.server_b_network)
        _address(self.vpn_server, "twin", f, f.twin_gateway, f.lan)
        _address(self.server_b, "eth0", f, f.server_b, f.server_b_network)
        _address(self.twin, "eth0", f, f.twin, f.lan)
        _address(self.twin, "eth0", f, f.laptop, f.lan)
        for host, gateway in (
            (self.neighbour, f.docker_gateway),
            (self.server_b, f.server_b_gateway),
            (self.twin, f.twin_gateway),
        ):
            host.ip(f"route add default via {gateway} dev eth0")
        if f in self.sidecar_families:
            self._address_sidecar(f)

    def _address_sidecar(self, f: Family) -> None:
        if self.pod:
            _address(self.server_a, "docker0", f, f.pod_gateway, f.host_length)
            _address(self.sidecar, "eth0", f, f.sidecar, f.host_length)
            self.sidecar.ip(
                f"route add {f.pod_gateway} dev eth0", f"route add default via {f.pod_gateway} dev eth0"
            )
        else:
            _address(self.sidecar, "eth0", f, f.sidecar, f.docker)
            self.sidecar.ip(f"route add default via {f.docker_gateway} dev eth0")


def _address(host: Namespace, link: str, family: Family, address: str, network: str) -> None:
    """Give a link an address with the length of `network`."""
    # IPv6 would hold the address back for a second, to look for its double.
    nodad = "nodad" if family is V6 else ""
    host.ip(f"address add {address}/{network.rpartition('/')[2]} dev {link} {nodad}")


def _docker_nat(families: tuple[Family, ...]) -> str:
    """Return what Docker's NAT does to published ports and to what containers send, as nft reads it."""
    words = {V4: "ip", V6: "ip6"}
    publish = [
        f"meta nfproto {'ipv4' if f is V4 else 'ipv6'} fib daddr type local tcp dport {port} "
        f"dnat {words[f]} to {address if f is V4 else f'[{address}]'}:{SERVICE_PORT}"
        for f in families
        for port, address in ((SERVICE_PORT, f.sidecar), (SECOND_PORT, f.second_sidecar))
    ]
    hide = [
        f'{words[f]} saddr {network} oifname != "{bridge}" masquerade'
        for f in families
        for network, bridge in ((f.docker, "docker0"), (f.second, "docker1"))
    ]
    chains = {
        "prerouting": ("dstnat", publish),
        "output": ("-100", publish),
        "postrouting": ("srcnat", hide),
    }
    blocks = [
        f"chain {hook} {{ type nat hook {hook} priority {priority};\n" + "\n".join(rules) + "\n}"
        for hook, (priority, rules) in chains.items()
    ]
    return "table inet docker {\n" + "\n".join(blocks) + "\n}\n"
