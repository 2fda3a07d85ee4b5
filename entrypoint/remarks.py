"""What is strange about the network, or about what the settings name of it. No IO here."""

from collections.abc import Collection, Iterator

from entrypoint.detect import ContainerNetwork, Gateways
from entrypoint.network import COPIED_MAX, MAIN_TABLE, IPAddress, Link, Snapshot


def why_no_tunnel(snapshot: Snapshot, name: str | None) -> str | None:
    """Say why the link that VPN_INTERFACE names can never be the tunnel; None if it can, or may come yet."""
    if any(link.name == name and not link.is_tunnel for link in snapshot.links):
        return (
            f"cannot use VPN_INTERFACE={name}: saw a link of that name that is no tunnel; take a name that "
            "is free, or leave it out"
        )
    return None


def remarks(snapshot: Snapshot, gateways: Gateways) -> Iterator[str]:
    """Say of each gateway in GATEWAYS what is strange about it: most likely it was meant otherwise."""
    links = {link.name: link for link in snapshot.links}
    for (name, _), gateway in gateways.items():
        link = links.get(name)
        if link is None:
            yield f"GATEWAYS={name}={gateway}: there is no {name} yet; it is used once that is there"
        elif link.is_tunnel:
            yield f"GATEWAYS={name}={gateway} is not used: {name} is a tunnel; name a container's network"
        elif _is_far(snapshot, link, gateway):
            yield (
                f"GATEWAYS={name}={gateway} lies in no network of {name}, so hardly anybody answers there; "
                "name the router's address"
            )
        elif others := _routed(snapshot, name, gateway):
            yield (
                f"GATEWAYS={name}={gateway} goes before {others}, which a default route names; leave it out "
                f"if {others} leads to your LAN"
            )


def crowds(links: Collection[str]) -> Iterator[str]:
    """Say of which links more routes by other routers stand than are copied for replies."""
    for name in sorted(links):
        yield (
            f"cannot copy every route by another router of {name}: saw more than {COPIED_MAX}, and "
            "replies to the rest go by its gateway; set fewer, wider ones"
        )


def losses(networks: Collection[ContainerNetwork]) -> Iterator[str]:
    """Say which of the container's networks lead nowhere now; or that there is none any more."""
    if not networks:
        yield "cannot serve a network: saw none any more; attach one (docker network connect)"
    for network in networks:
        if network.fault:
            yield (
                f"cannot reach anybody by {network.link}: saw that {network.fault}; see what became of its "
                "Docker network"
            )


def _routed(snapshot: Snapshot, link: str, gateway: IPAddress) -> str:
    """Return the gateways that the main table has for a link instead of this one."""
    found = {
        route.gateway
        for route in snapshot.routes
        if (route.link, route.table) == (link, MAIN_TABLE)
        and route.is_default
        and route.gateway
        and route.destination.version == gateway.version
    }
    return "" if gateway in found else " and ".join(sorted(map(str, found)))


def moved(priority: int | None, meant: int) -> str | None:
    """Say that our first rule, of this priority, stands elsewhere than RULE_PRIORITY says; None where not.

    `priority` is None where there is no rule.
    """
    if priority is None or priority >= meant:
        return None
    return (
        f"our rules have priority {priority} instead of RULE_PRIORITY={meant}: saw another's rule ahead, "
        "which would take replies before ours"
    )


def _is_far(snapshot: Snapshot, link: Link, gateway: IPAddress) -> bool:
    networks = [a.network for a in snapshot.addresses_of(link) if a.version == gateway.version]
    # The gateway of an address without neighbours, as pods have it, lies outside by design.
    near = gateway.is_link_local or any(network.num_addresses == 1 for network in networks)
    return bool(networks) and not near and not any(gateway in network for network in networks)
