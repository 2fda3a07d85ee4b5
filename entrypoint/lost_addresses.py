"""Global IPv6 addresses that went with their link, and come back with it. No kernel in here.

A link that is set down and up keeps its IPv4 addresses, and for good loses its IPv6 ones: nobody, Docker
included, gives them back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from entrypoint.changes import Change
from entrypoint.network import IPV6, PROTOCOL, IPInterface, Link, LinkAddress, Snapshot


@dataclass(frozen=True, slots=True)
class Stood:
    """What stood on a link when it was last well."""

    addresses: tuple[IPInterface, ...] = ()
    """Its permanent global ones of IPv6, in the kernel's order."""
    served: bool = False
    """Whether routes of ours were seen beside them."""
    down: bool = False
    """Whether the link was seen down since."""
    bare: bool = False
    """Whether it was seen without our routes since. What was read then may be older than the link's fall, and
    we set them anew before we know of it."""


Memory = Mapping[tuple[int, str], Stood]
"""By index and name of the link: one that is made anew under its name is another."""


def remembered(memory: Memory, snapshot: Snapshot) -> Memory:
    """Return what to remember once the steps of `given_back` are made."""
    return {(link.index, link.name): _next(memory, link, snapshot) for link in _links(snapshot)}


def given_back(memory: Memory, snapshot: Snapshot) -> list[Change]:
    """Give each link the addresses that the kernel took from it.

    It took them where the link was seen down. It did so, too, where the link lost all at once and our routes
    by it as well: that was quicker than our look. Who deletes an address leaves the routes, and who sets
    one while the link is down has the link in his hands.
    """
    return [
        Change("add", LinkAddress(link.name, interface, nodad=True))
        for link in _links(snapshot)
        # The kernel lists the youngest first, and prefers it.
        for interface in reversed(_lost(memory, link, snapshot))
    ]


def _next(memory: Memory, link: Link, snapshot: Snapshot) -> Stood:
    stood, now = memory.get((link.index, link.name)), _global(link, snapshot)
    if stood is None:
        return Stood(now, _is_served(link, snapshot), not link.up)
    if not link.up:
        return replace(stood, addresses=stood.addresses or now, down=True)
    if _lost(memory, link, snapshot):
        return replace(stood, down=False, bare=False)
    here = _is_served(link, snapshot)
    kept = stood.served and bool(now)
    return Stood(now, here or kept, bare=kept and not here)


def _lost(memory: Memory, link: Link, snapshot: Snapshot) -> Sequence[IPInterface]:
    stood, now = memory.get((link.index, link.name)), _global(link, snapshot)
    if stood is None or not link.up or not set(now) <= set(stood.addresses):
        return ()
    unseen = not now and (stood.bare or (stood.served and not _is_served(link, snapshot)))
    return tuple(a for a in stood.addresses if a not in now) if stood.down or unseen else ()


def _links(snapshot: Snapshot) -> list[Link]:
    return [link for link in snapshot.links if not link.loopback and not link.is_tunnel]


def _global(link: Link, snapshot: Snapshot) -> tuple[IPInterface, ...]:
    return tuple(
        address.interface
        for address in snapshot.addresses
        if (address.link, address.interface.version) == (link.index, IPV6)
        and address.permanent
        and not address.interface.is_link_local
    )


def _is_served(link: Link, snapshot: Snapshot) -> bool:
    return any(
        (route.link, route.destination.version, route.protocol) == (link.name, IPV6, PROTOCOL)
        for route in snapshot.routes
    )
