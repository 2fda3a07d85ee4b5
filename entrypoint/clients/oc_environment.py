"""What openconnect tells its script, as values. No process in here.

The variables are those of vpnc-script, written by openconnect's script.c. Their words are the server's: what
is no address, network or name is left out.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from entrypoint.names import is_domain
from entrypoint.network import ANYWHERE, IPV6, IPAddress, IPNetwork, TunnelSetup
from entrypoint.parse import number
from entrypoint.parse_network import link_name

MTU_MIN, MTU_MIN_IPV6, MTU_MAX = 576, 1280, 65535
"""In bytes. On a link with less than 1280 the kernel has no IPv6."""
EXCLUDED_MAX = 512
"""Each is a rule that the kernel looks at for every packet; what comes after goes through the tunnel."""
SEARCH_MAX = 32
_PREFIX = {4: "CISCO_SPLIT_", 6: "CISCO_IPV6_SPLIT_"}
_LOCAL_LAN = ip_network("0.0.0.0/32")
"""As what is excluded: Cisco's word for the network that the client is in, which has its rule already."""


@dataclass(frozen=True, slots=True)
class Told:
    """A tunnel as the server describes it."""

    setup: TunnelSetup
    resolvers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()

    @property
    def pushed(self) -> tuple[str, ...]:
        """What the server asks for, a text each."""
        return (
            *(f"route {route}" for route in self.setup.routes),
            *(f"exclude {network}" for network in self.setup.excluded),
            *(f"dns {resolver}" for resolver in self.resolvers),
            *(f"domain {domain}" for domain in self.search),
        )


def translate(told: Mapping[str, str], *, ipv6: bool) -> Told:
    """Turn what comes with the reason `connect` into the tunnel that is wanted, as vpnc-script reads it.

    `ipv6` says whether the container has IPv6. Raises ValueError where there is no link or no address.
    """
    link = link_name(told.get("TUNDEV", ""))
    own = list(_own(told, ipv6=ipv6))
    if not own:
        raise ValueError("the server gave the tunnel no address; ask its operator")
    words = f"{told.get('INTERNAL_IP4_DNS', '')} {told.get('INTERNAL_IP6_DNS', '')}".split()
    resolvers = tuple(dict.fromkeys(address for word in words if (address := _address(word))))
    routes: list[IPNetwork] = []
    excluded: list[IPNetwork] = []
    for address, network in own:
        version = address.version
        included = list(_listed(told, f"{_PREFIX[version]}INC"))
        # Without a list everything is meant; one of which nothing can be used means nothing.
        routes += included if f"{_PREFIX[version]}INC" in told else [ANYWHERE[version]]
        routes += [network] if network else []
        excluded += _listed(told, f"{_PREFIX[version]}EXC")
    versions = {address.version for address, _ in own}
    for resolver in resolvers:
        if resolver.version in versions and not any(resolver in route for route in routes):
            routes.append(ip_network(resolver))
    setup = TunnelSetup(
        link=link,
        mtu=_mtu(told, ipv6=IPV6 in versions),
        # The networks that they lie in are routes like the others: a link route of the kernel's own could
        # take the place of the container's.
        addresses=tuple(ip_interface(address) for address, _ in own),
        routes=tuple(dict.fromkeys(routes)),
        excluded=tuple(dict.fromkeys(n for n in excluded if n.prefixlen and n != _LOCAL_LAN))[:EXCLUDED_MAX],
    )
    return Told(setup, resolvers, _domains(told))


def gateway(told: Mapping[str, str]) -> IPAddress | None:
    """Return the address of the server that openconnect is connected with."""
    return _address(told.get("VPNGATEWAY", ""))


def _own(told: Mapping[str, str], *, ipv6: bool) -> Iterator[tuple[IPAddress, IPNetwork | None]]:
    """Yield the tunnel's addresses, each with the network that it lies in where the server names one."""
    text = told.get("INTERNAL_IP4_ADDRESS", "")
    if (address := _address(text)) and address.version != IPV6:
        yield address, _network(text, told.get("INTERNAL_IP4_NETMASKLEN", ""))
    # openconnect writes address/length here, and the address alone beside it.
    text, _, length = told.get("INTERNAL_IP6_NETMASK", "").partition("/")
    text = told.get("INTERNAL_IP6_ADDRESS", text)
    if ipv6 and (address := _address(text)) and address.version == IPV6:
        yield address, _network(text, length)


def _listed(told: Mapping[str, str], name: str) -> Iterator[IPNetwork]:
    """Yield the networks of a numbered list, `NAME_0_ADDR` with `NAME_0_MASKLEN` and so on."""
    place = 0
    while (text := told.get(f"{name}_{place}_ADDR")) is not None:
        network = _network(text, told.get(f"{name}_{place}_MASKLEN", ""))
        if network and (network.version == IPV6) == name.startswith(_PREFIX[6]):
            yield network
        place += 1


def _domains(told: Mapping[str, str]) -> tuple[str, ...]:
    words = re.split(r"[,\s]+", f"{told.get('CISCO_DEF_DOMAIN', '')} {told.get('CISCO_SPLIT_DNS', '')}")
    return tuple(dict.fromkeys(word for word in words if is_domain(word)))[:SEARCH_MAX]


def _mtu(told: Mapping[str, str], *, ipv6: bool) -> int | None:
    with contextlib.suppress(ValueError):
        mtu = number(MTU_MIN, MTU_MAX)(told.get("INTERNAL_IP4_MTU", ""))
        return max(mtu, MTU_MIN_IPV6) if ipv6 else mtu
    return None


def _address(text: str) -> IPAddress | None:
    with contextlib.suppress(ValueError):
        address = ip_address(text)
        # A zone names a link, and none of ours can be meant.
        if not (address.is_unspecified or address.is_loopback or address.is_multicast or "%" in text):
            return address
    return None


def _network(address: str, length: str) -> IPNetwork | None:
    with contextlib.suppress(ValueError):
        if "%" not in address:
            whole = ip_address(address).max_prefixlen
            return ip_network(f"{address}/{number(0, whole)(length)}", strict=False)
    return None
