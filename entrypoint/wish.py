"""All that is wanted of the kernel, put together from what is seen, set and brought. No kernel in here."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from entrypoint import udp
from entrypoint.detect import ContainerNetwork
from entrypoint.network import Route, Snapshot
from entrypoint.policy import Brought, Wanted, assign_tables, in_front, wanted, with_tunnel
from entrypoint.settings import Settings
from entrypoint.statics import with_static_routes
from entrypoint.tunnel_side import tunnel_tables, with_tunnel_side


@dataclass(frozen=True, slots=True)
class Seen:
    """The kernel, the container's networks in it, and the tables that they and the tunnels have."""

    snapshot: Snapshot
    networks: tuple[ContainerNetwork, ...]
    tables: Mapping[str, int]
    """Link -> its table."""


def give_tables(
    snapshot: Snapshot, networks: tuple[ContainerNetwork, ...], held: Mapping[str, int], first_table: int
) -> Seen:
    """Give each container link and each tunnel its table, the one that it holds where it has one."""
    tables = assign_tables(networks, held, first_table) | tunnel_tables(snapshot, held, first_table)
    return Seen(snapshot, networks, tables)


def wish(
    seen: Seen,
    settings: Settings,
    brought: Brought,
    *,
    before: Collection[Route],
    questions: Iterable[Route],
) -> Wanted:
    """Say what must stand: for the networks, the client's tunnel, and every tunnel's own side.

    `before` are the main table's routes before the client, `questions` those that the search needs.
    """
    answered = udp.gateways(seen.networks) if settings.udp_reply_ports else ()
    want = wanted(
        seen.networks,
        seen.tables,
        settings.rule_priority,
        (*(settings.lan_networks or ()), *brought.beside, *answered),
        seen.snapshot.named_addresses(),
    )
    want = replace(want, routes=(*want.routes, *questions))
    want = with_static_routes(want, seen.snapshot, seen.tables, before)
    want = with_tunnel_side(want, seen.snapshot, seen.tables, settings.rule_priority)
    return in_front(with_tunnel(want, brought.setup, seen.snapshot), seen.snapshot.places)
