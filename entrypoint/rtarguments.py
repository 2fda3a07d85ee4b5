"""Our values written as the arguments that pyroute2 takes. Knows neither socket nor kernel."""

from typing import Any

from entrypoint.network import IPV6, LAST_METRIC, LastResort, LinkAddress, LinkState, Route, Rule
from entrypoint.rtmessages import RTNH_F_ONLINK, family

_RT_SCOPE_LINK = 253
_IFA_F_NODAD = 0x2


def of_rule(rule: Rule) -> dict[str, Any]:
    """Write a rule as pyroute2 takes it."""
    arguments: dict[str, Any] = {
        "family": family(rule.source.version),
        "iifname": "lo",
        "table": rule.table,
        "priority": rule.priority,
        "protocol": rule.protocol,
    }
    if rule.source.prefixlen:
        arguments["src"] = str(rule.source.network_address)
        arguments["src_len"] = rule.source.prefixlen
    if rule.mark:
        arguments["fwmark"] = rule.mark
    if rule.destination:
        # pyroute2 takes the address 0.0.0.0 or :: alone for no destination, and keeps the length.
        arguments["dst"] = str(rule.destination)
    return arguments


def of_route(route: Route, link_index: int) -> dict[str, Any]:
    """Write a route as pyroute2 takes it."""
    arguments: dict[str, Any] = {
        "family": family(route.destination.version),
        "dst": str(route.destination),
        "oif": link_index,
        "table": route.table,
        "proto": route.protocol,
    }
    if route.gateway and route.gateway.version != route.destination.version:
        arguments["via"] = {"family": family(route.gateway.version), "addr": str(route.gateway)}
    elif route.gateway:
        arguments["gateway"] = str(route.gateway)
    elif route.destination.version != IPV6:
        arguments["scope"] = _RT_SCOPE_LINK
    if route.onlink:
        arguments["flags"] = RTNH_F_ONLINK
    if route.metric:
        arguments["priority"] = route.metric
    if route.source:
        arguments["prefsrc"] = str(route.source)
    if route.mtu:
        arguments["metrics"] = {"mtu": route.mtu}
    return arguments


def of_last_resort(end: LastResort) -> dict[str, Any]:
    """Write a table's last resort as pyroute2 takes it."""
    return {
        "family": family(end.version),
        "type": "unreachable",
        "dst": "::/0" if end.version == IPV6 else "0.0.0.0/0",
        "priority": LAST_METRIC,
        "table": end.table,
        "proto": end.protocol,
    }


def of_address(address: LinkAddress, link_index: int) -> dict[str, Any]:
    """Write an address as pyroute2 takes it."""
    return {
        "family": family(address.interface.version),
        "index": link_index,
        "address": str(address.interface.ip),
        "prefixlen": address.interface.network.prefixlen,
    } | ({"flags": _IFA_F_NODAD} if address.nodad else {})


def of_link(state: LinkState, link_index: int) -> dict[str, Any]:
    """Write a link's state as pyroute2 takes it."""
    return {"index": link_index, "state": "up"} | ({"mtu": state.mtu} if state.mtu else {})
