"""A WireGuard configuration as wg-quick(8) takes it: text in, values out, every fault at once. No IO here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from entrypoint.clients.wg_text import Endpoint, Section, sections_of, values_of
from entrypoint.network import IPV6, IPAddress, IPInterface, IPNetwork

KEEPALIVE_SECONDS = 25
"""What WireGuard's own documents recommend behind NAT, and every Docker network is behind one."""
_LEFT_OUT = {
    "FwMark": "Sidegate's own mark keeps WireGuard's packets on the gateway",
    "SaveConfig": "the configuration is never written",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One `[Peer]`."""

    public_key: str
    preshared_key: str | None = field(default=None, repr=False)
    allowed: tuple[IPNetwork, ...]
    """What lies behind it."""
    endpoint: Endpoint | None = None
    """None where the peer calls us."""
    keepalive: int = KEEPALIVE_SECONDS
    """In seconds; 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration that is fit to be used."""

    private_key: str = field(repr=False)
    listen_port: int | None = None
    addresses: tuple[IPInterface, ...]
    resolvers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int | None = None
    makes_routes: bool = True
    """False with `Table = off`."""
    peers: tuple[Peer, ...]
    notes: tuple[str, ...] = ()
    """What was left out or added, and why, a text each."""

    @property
    def routes(self) -> tuple[IPNetwork, ...]:
        """What the tunnel takes: all that lies behind the peers."""
        allowed = (network for peer in self.peers for network in peer.allowed)
        return tuple(dict.fromkeys(allowed)) if self.makes_routes else ()


def parse(text: str) -> tuple[Config | None, list[str]]:
    """Read a configuration.

    Returns it with no faults, or None with every fault: texts that go on after "cannot use VPN_CONFIG=...: ".
    No fault shows a value that could be a key.
    """
    faults: list[str] = []
    sections = list(sections_of(text, faults))
    interfaces = [section for section in sections if section.name == "Interface"]
    peers = [section for section in sections if section.name == "Peer"]
    if not interfaces:
        return None, ["it has no [Interface]; take a WireGuard configuration as your provider gives it"]
    faults += [f"line {section.line} begins a second [Interface]; leave one" for section in interfaces[1:]]
    own = values_of(interfaces[0], faults, needed=("PrivateKey", "Address"))
    others = [values_of(section, faults, needed=("PublicKey", "AllowedIPs")) for section in peers]
    if not peers:
        faults.append("it has no [Peer]; add the one of your server, with PublicKey, AllowedIPs, Endpoint")
    elif "ListenPort" not in own and not any(section.has("Endpoint") for section in peers):
        faults.append("no [Peer] has an Endpoint, so nobody can be called; add Endpoint = ADDRESS:PORT")
    faults += _same_peers(peers, others)
    if faults:
        return None, faults
    notes = [note for section in sections for note in _notes(section)]
    if silent := [section.line for section in peers if not section.has("PersistentKeepalive")]:
        notes.append(
            f"PersistentKeepalive = {KEEPALIVE_SECONDS} is added to the [Peer] of line "
            f"{', '.join(map(str, silent))}: without it nobody behind the VPN reaches a silent container"
        )
    return (
        Config(
            private_key=own["PrivateKey"],
            listen_port=own.get("ListenPort"),
            addresses=own["Address"],
            resolvers=tuple(item for item in own.get("DNS", ()) if not isinstance(item, str)),
            search=tuple(item for item in own.get("DNS", ()) if isinstance(item, str)),
            mtu=own.get("MTU"),
            makes_routes=own.get("Table", True),
            peers=tuple(
                Peer(
                    public_key=values["PublicKey"],
                    preshared_key=values.get("PresharedKey"),
                    allowed=values["AllowedIPs"],
                    endpoint=values.get("Endpoint"),
                    keepalive=values.get("PersistentKeepalive", KEEPALIVE_SECONDS),
                )
                for values in others
            ),
            notes=tuple(notes),
        ),
        [],
    )


def setconf(config: Config, mark: int, called: Mapping[str, tuple[IPAddress, int]]) -> str:
    """Return what `wg setconf` takes; `called` has the address and port by public key."""
    lines = ["[Interface]", f"PrivateKey = {config.private_key}", f"FwMark = {mark:#x}"]
    if config.listen_port is not None:
        lines.append(f"ListenPort = {config.listen_port}")
    peers = (peer_section(peer, called.get(peer.public_key)) for peer in config.peers)
    return "\n".join([*lines, *peers, ""])


def peer_section(peer: Peer, called: tuple[IPAddress, int] | None) -> str:
    """Return one `[Peer]` as `wg setconf` and `wg addconf` take it."""
    lines = ["[Peer]", f"PublicKey = {peer.public_key}"]
    if peer.preshared_key:
        lines.append(f"PresharedKey = {peer.preshared_key}")
    lines.append(f"AllowedIPs = {', '.join(map(str, peer.allowed))}")
    if called:
        lines.append(f"Endpoint = {Endpoint(str(called[0]), called[1])}")
    lines.append(f"PersistentKeepalive = {peer.keepalive}")
    return "\n".join(lines)


def without_ipv6(config: Config) -> Config:
    """Return what of it a container without IPv6 can have."""
    return replace(
        config,
        addresses=tuple(item for item in config.addresses if item.version != IPV6),
        resolvers=tuple(item for item in config.resolvers if item.version != IPV6),
        peers=tuple(
            replace(peer, allowed=tuple(item for item in peer.allowed if item.version != IPV6))
            for peer in config.peers
        ),
    )


def _same_peers(sections: Iterable[Section], values: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    lines: dict[str, int] = {}
    for section, found in zip(sections, values, strict=True):
        if key := found.get("PublicKey"):
            if key in lines:
                yield f"the [Peer] of line {section.line} is that of line {lines[key]} again; leave one"
            lines.setdefault(key, section.line)


def _notes(section: Section) -> Iterator[str]:
    for entry in section.entries:
        if why := _LEFT_OUT.get(entry.key):
            yield f"line {entry.line} ({entry.key}) is left out: {why}"
