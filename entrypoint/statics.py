"""Routes by a second router of a container's network, copied into our tables. No kernel in here.

Without the copy, a reply to a LAN behind that router would go by the default route of our table.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from entrypoint.main_table import main_routes
from entrypoint.network import CONFIGURED, COPIED_MAX, PROTOCOL, Route, Snapshot
from entrypoint.policy import Wanted, needs_onlink


def with_static_routes(
    want: Wanted, snapshot: Snapshot, tables: Mapping[str, int], before: Collection[Route]
) -> Wanted:
    """Copy into our tables the main table's routes by another router than the default's.

    A server can push routes to any neighbour, so only those are copied that stood `before` the client, or
    whose protocol says that they are of who is in charge of the link.
    """
    places = {(route.destination, route.table) for route in want.routes}
    ways = {(route.link, route.gateway) for route in want.routes if route.is_default}
    new: list[Route] = []
    for route in sorted(main_routes(snapshot), key=lambda route: route.metric):
        if route.link not in tables or route.is_default or not route.gateway:
            continue
        table = tables[route.link]
        trusted = route.protocol in CONFIGURED or route in before
        if trusted and (route.destination, table) not in places and (route.link, route.gateway) not in ways:
            places.add((route.destination, table))
            onlink = needs_onlink(route.gateway, snapshot.networks_on(route.link))
            new.append(replace(route, table=table, onlink=onlink, metric=0, protocol=PROTOCOL))
    return replace(want, routes=(*want.routes, *new[:COPIED_MAX]))
