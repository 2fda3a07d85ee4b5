"""What a tunnel brings, from the variables that openvpn hands to an up script. No IO here."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address

from entrypoint.clients.management import shown
from entrypoint.names import is_domain
from entrypoint.network import IPAddress, IPNetwork

PUSHED_MAX = 64
"""Routes that a report names; a server may push thousands."""
RESOLVER_PORT = "53"

_NUMBERED = re.compile(r"(.+?)_(\d+)")
_SERVER = re.compile(r"dns_server_(\d+)_address_(\d+)", re.ASCII)


def texts(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Write routes and resolvers as a person would, from the variables of an up script.

    The configuration's own routes are among them: openvpn does not tell them apart.
    """
    routes, others = [], []
    if variables.get("redirect_gateway") == "1":
        others.append("redirect-gateway")
    for name, number, value in sorted(_numbered(variables)):
        match name:
            case "route_network":
                mask = variables.get(f"route_netmask_{number}", "255.255.255.255")
                routes.append(_network(IPv4Network, f"{value}/{mask}"))
            case "route_ipv6_network":
                routes.append(_network(IPv6Network, value))
            case "foreign_option":
                others.append(_foreign(value))
            case "dns_search_domain":
                others.append(f"domain {shown(value)}")
            case _ if name.startswith("dns_server_") and name.endswith("_address"):
                others.append(f"dns {shown(value)}")
    named = [f"route {route}" for route in routes if route]
    rest = len(named) - PUSHED_MAX
    more = [f"and {rest} routes more"] if rest > 0 else []
    return (*others[:PUSHED_MAX], *named[:PUSHED_MAX], *more)


def routes(variables: Mapping[str, str]) -> frozenset[tuple[IPNetwork, IPAddress]]:
    """Return the routes that openvpn sets, with the gateways that they name (setenv_route() of route.c)."""
    found = set()
    for name, number, value in _numbered(variables):
        if name == "route_network":
            mask = variables.get(f"route_netmask_{number}", "255.255.255.255")
            network = _network(IPv4Network, f"{value}/{mask}")
            named = variables.get(f"route_gateway_{number}", "")
        elif name == "route_ipv6_network":
            network, named = _network(IPv6Network, value), variables.get(f"route_ipv6_gateway_{number}", "")
        else:
            continue
        if network:
            found |= {(network, gateway) for gateway in addresses([named])}
    return frozenset(found)


def _numbered(variables: Mapping[str, str]) -> Iterable[tuple[str, int, str]]:
    for name, value in variables.items():
        if found := _NUMBERED.fullmatch(name):
            yield found[1], int(found[2]), value


def _network(kind: type[IPv4Network | IPv6Network], text: str) -> IPv4Network | IPv6Network | None:
    try:
        return kind(text, strict=False)
    except ValueError:
        return None


def _foreign(value: str) -> str:
    kind, _, rest = shown(value).removeprefix("dhcp-option ").partition(" ")
    return f"{kind.removesuffix('6').lower() if kind in {'DNS', 'DNS6'} else kind.lower()} {rest}".strip()


def resolvers(variables: Mapping[str, str]) -> tuple[IPAddress, ...]:
    """Return the resolvers: those of `dns server`, by priority, else those of `dhcp-option DNS`.

    Of the former, those that want TLS or a port of their own are passed over: no resolv.conf can name one.
    """
    modern = sorted(
        (int(found[1]), int(found[2]), value)
        for name, value in variables.items()
        if (found := _SERVER.fullmatch(name)) and _is_plain(variables, found[1], found[2])
    )
    named = [value for _, _, value in modern] or [
        value for kind, value in _dhcp_options(variables) if kind in {"DNS", "DNS6"}
    ]
    return tuple(dict.fromkeys(addresses(named)))


def search(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the search domains of `dns search-domains`, else of `dhcp-option DOMAIN` and DOMAIN-SEARCH."""
    modern = [value for name, _, value in sorted(_numbered(variables)) if name == "dns_search_domain"]
    named = modern or [
        value for kind, value in _dhcp_options(variables) if kind in {"DOMAIN", "DOMAIN-SEARCH"}
    ]
    # They end up in a file whose lines mean something.
    return tuple(dict.fromkeys(name for name in named if is_domain(name)))


def addresses(candidates: Iterable[str]) -> Iterator[IPAddress]:
    """Yield those that are addresses; one with a zone is none, as Python takes any text for a zone."""
    for text in candidates:
        with contextlib.suppress(ValueError):
            if "%" not in text:
                yield ip_address(text)


def _is_plain(variables: Mapping[str, str], server: str, address: str) -> bool:
    port = variables.get(f"dns_server_{server}_port_{address}", RESOLVER_PORT)
    return port == RESOLVER_PORT and variables.get(f"dns_server_{server}_transport", "plain") == "plain"


def _dhcp_options(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, _, value in sorted(_numbered(variables)):
        if name == "foreign_option" and value.startswith("dhcp-option "):
            kind, _, rest = value.removeprefix("dhcp-option ").partition(" ")
            yield kind, rest
