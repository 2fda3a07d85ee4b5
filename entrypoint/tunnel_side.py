"""Replies that bear a tunnel's address leave by that tunnel. No kernel in here."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network

from entrypoint.network import ANYWHERE, MAIN_TABLE, TABLES_HELD, IPInterface, Link, Route, Rule, Snapshot
from entrypoint.policy import Wanted
from entrypoint.tunnels import tunnels


def tunnel_tables(snapshot: Snapshot, held: Mapping[str, int], first_table: int) -> dict[str, int]:
    """Give each tunnel a table: the one that it holds, else the highest of ours that is free.

    Container networks take the lowest, so the two meet only where all are given away.
    """
    names = [tunnel.link.name for tunnel in tunnels(snapshot) if tunnel.link.point_to_point]
    tables = {name: held[name] for name in names if name in held}
    for name in names:
        if name not in tables:
            last = first_table + TABLES_HELD - 1
            tables[name] = next(table for table in range(last, 0, -1) if table not in tables.values())
    return tables


def with_tunnel_side(want: Wanted, snapshot: Snapshot, tables: Mapping[str, int], priority: int) -> Wanted:
    """Add a rule for each tunnel's address, and a table that leads into the tunnel.

    Without them a reply to a VPN peer whose address lies in one of the container's networks would be sent
    into that network, by the main table; one in IPv6 to a network of LAN_NETWORKS would go to the gateway,
    by our rule for that network.
    """
    routes: dict[Route, None] = {}
    rules: dict[Rule, None] = {}
    for tunnel in tunnels(snapshot):
        link = tunnel.link
        for interface in tunnel.addresses:
            if _is_shared(link, interface, snapshot):
                continue
            table = MAIN_TABLE
            # Behind a link with neighbours (tap), only the main table knows by whom.
            if link.point_to_point:
                table = tables[link.name]
                routes[Route(ANYWHERE[interface.version], link.name, table)] = None
            rules[Rule(ip_network(interface.ip), table, priority)] = None
    return replace(want, routes=(*want.routes, *routes), rules=(*rules, *want.rules))


def _is_shared(tunnel: Link, interface: IPInterface, snapshot: Snapshot) -> bool:
    """Tell whether another link has the same address."""
    return any(name != tunnel.name and held.ip == interface.ip for name, held in snapshot.named_addresses())
