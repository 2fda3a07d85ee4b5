"""The kill switch as rules of nftables: what may leave by a container's link, and nothing else.

Closed is what holds by itself (policy drop): a link that comes later is closed without a word of ours.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import collapse_addresses, ip_network

from entrypoint.chains import Chain, Place
from entrypoint.names import is_address, wire
from entrypoint.network import (
    DISCARD_PORT,
    DOCKER_RESOLVER,
    IPV6,
    MARK,
    NOBODY,
    TUNNEL_KINDS,
    Flow,
    IPAddress,
    IPNetwork,
)

QUESTION_SLACK_BYTES = 64
"""What a resolver adds behind the question (EDNS), and no more: a name's question is no tunnel."""

PART_BYTES = 16
"""So much of a packet nft compares at once; in smaller parts the longest name makes too long a rule."""

FLOWS_MAX = 1024
"""So many flows are told apart: each is an element of a set that is read back with the table."""

CHAIN = "output"
"""The chain without which there is no gate."""

_TUNNELS = "{ " + ", ".join(f'"{kind}"' for kind in sorted(TUNNEL_KINDS)) + " }"
_INTO_TUNNEL = f"meta oifkind {_TUNNELS} accept"
_REPLY = "ct direction reply accept"
"""Not `ct state established`: that lets through what was opened from inside before the gate closed."""
_BY_TUNNEL = 0x40000000
"""The bit of a connection's mark that says that it came in by a tunnel."""
_NOTE_TUNNEL = (
    f"meta iifkind {_TUNNELS} ct direction original ct mark & {_BY_TUNNEL:#x} == 0 "
    f"ct mark set ct mark | {_BY_TUNNEL:#x}"
)
_ASTRAY = f"ct direction reply ct mark & {_BY_TUNNEL:#x} != 0 drop"
"""A reply to the tunnel's side that the tunnel does not take, as it is down, gone, or was never meant to."""
_NO_NAMES = "meta l4proto { tcp, udp } th dport { 53, 853 } drop"
"""Neighbours may be reached, but a resolver among them would ask the world."""
_NOT_OURS = "ip6 saddr != :: fib saddr type != local drop"
"""IPv6 sends from a foreign address, too: what is owed to the VPN's peers, once the tunnel is gone and its
address with it. Anybody may (IPV6_FREEBIND); to an address of ours, and connection tracking believes that
somebody outside has asked."""
_BY_WAY_OF = tuple(f"{option} exists drop" for option in ("ip option lsrr", "ip option ssrr", "exthdr rt"))
"""Packets that say themselves where a neighbour shall send them on to."""
_LABELS = {
    more: ", ".join(f"{8 + 12 + 1 + length + 1 + 4 + more} . {length}" for length in range(1, 64))
    for more in (0, 11)
}
_NEIGHBOURS_NAMES = tuple(
    f"@th,96,16 1 @th,144,16 {records} udp length . @th,160,8 {{ {_LABELS[more]} }} accept"
    for records, more in ((0, 0), (1, 11))
)
"""Questions for a name without a dot, without and with the 11 bytes of EDNS (RFC 6891, 6.1.2): as long as its
first label alone would have them."""
_DISCOVERY = "nd-router-solicit, mld-listener-report, mld-listener-done, mld2-listener-report"
_NEIGHBOURS = (
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
    "ip6 daddr fe80::/10 accept",
    f"icmpv6 type {{ {_DISCOVERY} }} ip6 daddr ff02::/16 accept",
)
"""What IPv6 cannot do without, none of which a router hands on. Connection tracking does not track it.

Who asks for our link address may have an address of a network that we have none of.
"""

_NO_WAY_OUT = tuple(map(ip_network, ("127.0.0.0/8", "::1/128", "fe80::/10")))

_MANGLE = -150
"""NF_IP_PRI_MANGLE of linux/netfilter_ipv4.h: behind connection tracking."""
_ONE_HOP = {4: "ip daddr {} ip ttl 1", 6: "ip6 daddr {} ip6 hoplimit 1"}
_ROUTERS = tuple(
    f"{words.format(NOBODY[version])} udp dport {DISCARD_PORT} udp length 8 accept"
    for version, words in _ONE_HOP.items()
)
"""The question whether a network's router forwards: empty, and gone after one hop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Openings:
    """What is let through beside the tunnel, replies and the client's marked packets."""

    connected: tuple[IPNetwork, ...] = ()
    """Networks that container links are in."""
    listed: tuple[IPNetwork, ...] = ()
    """LAN_NETWORKS. A single host among them may be asked for names, too: whoever lists it means it."""
    servers: tuple[IPAddress, ...] = ()
    """Servers of a client that cannot mark its packets."""
    group: int | None = None
    """The group that such a client runs with; None where it could not be given one."""
    user: int = 0
    """The user that it runs as, for that case."""
    names: tuple[str, ...] = ()
    """The client's servers, which have to be looked up while the gate is closed."""
    ephemeral: tuple[int, int] = (32768, 60999)
    """First and last of the ports that connections opened from inside have."""
    flows: tuple[Flow, ...] = ()
    """UDP sockets that were connected before the gate closed."""


def chains(openings: Openings) -> tuple[Chain, ...]:
    """Return the closed gate."""
    hosts = [network for network in openings.listed if network.prefixlen == network.max_prefixlen]
    servers = [ip_network(address) for address in openings.servers]
    by_owner = f"meta skgid {openings.group} " if openings.group else f"meta skuid {openings.user} "
    output = (
        _INTO_TUNNEL,
        _NOT_OURS,
        'oifname "lo" accept',
        _ASTRAY,
        _REPLY,
        f"meta mark {MARK:#x} accept",
        *_BY_WAY_OF,
        *(rule for name in openings.names for rule in _question("udp dport 53", name)),
        *_towards(hosts),
        _NO_NAMES,
        *(by_owner + rule for rule in _towards(servers)),
        *_towards((*openings.connected, *openings.listed)),
        *_NEIGHBOURS,
        *_ROUTERS,
    )
    forward = (_INTO_TUNNEL, _ASTRAY, _REPLY, *_BY_WAY_OF, _NO_NAMES, *_towards(openings.connected))
    first, last = openings.ephemeral
    # Where nobody tracked connections before us, one that was opened from inside is taken for one that came
    # in, as soon as its far end speaks first.
    came_new = f'iifname != "lo" meta iifkind != {_TUNNELS} ct state new'
    taken_up = (
        f"{came_new} tcp flags & (fin | syn | rst | ack) != syn tcp dport {first}-{last} drop",
        *(f"{came_new} {rule}" for rule in _spoken_to(openings)),
    )
    return (
        Chain(CHAIN, Place("filter", "output", 0), "drop", output),
        Chain("forward", Place("filter", "forward", 0), "drop", forward),
        Chain("taken_up", Place("filter", "input", 0), "accept", taken_up),
        Chain("came_in", Place("filter", "prerouting", _MANGLE), "accept", (_NOTE_TUNNEL,)),
    )


def of_docker(names: Iterable[str], nobodys: str = "") -> tuple[Chain, ...]:
    """Return what lets questions for these names through to Docker's resolver, and for neighbours.

    The question for a name that nobody has does not leave this namespace.
    """
    # Docker's own rules have changed the port by now.
    there = f"ip daddr {DOCKER_RESOLVER}"
    rules = (
        *_question('oifname != "lo" udp dport 53', nobodys, "drop"),
        *(rule for name in (*names, nobodys) for rule in _question(there, name)),
        *(f"{there} {rule}" for rule in _NEIGHBOURS_NAMES),
        f"{there} ct direction original drop",
    )
    return (Chain("docker_names", Place("filter", "output", -1), "accept", rules),)


def whole_names(names: Iterable[str], search: Sequence[str]) -> tuple[str, ...]:
    """Return every name that the C library may ask for in a name's place: itself, and with each domain.

    Where the options say so (ndots), a name is tried with the search domains first.
    """
    found: dict[str, None] = {}
    for name in names:
        if is_address(name):
            continue
        found[name.rstrip(".")] = None
        if not name.endswith("."):
            found |= dict.fromkeys(f"{name}.{domain.strip('.')}" for domain in search if domain.strip("."))
    return tuple(found)


def _towards(networks: Collection[IPNetwork]) -> list[str]:
    rules = []
    for version, word in ((4, "ip"), (IPV6, "ip6")):
        ours = [network for network in networks if network.version == version]
        if ours:
            # nft refuses networks that overlap.
            elements = ", ".join(map(str, collapse_addresses(ours)))  # type: ignore[type-var]
            rules.append(f"{word} daddr {{ {elements} }} accept")
    return rules


def _spoken_to(openings: Openings) -> list[str]:
    """Return the rules for what peers say first on flows that may not leave."""
    reached = (*openings.connected, *openings.listed, *_NO_WAY_OUT)
    flows = [flow for flow in openings.flows if not any(flow.peer in network for network in reached)]
    rules = []
    for version, word in ((4, "ip"), (IPV6, "ip6")):
        ours = sorted((flow for flow in flows if flow.peer.version == version), key=str)
        if ours:
            elements = ", ".join(f"{peer} . {there} . {here}" for peer, there, here in ours[:FLOWS_MAX])
            rules.append(f"{word} saddr . udp sport . udp dport {{ {elements} }} drop")
    return rules


def _question(where: str, name: str, verdict: str = "accept") -> list[str]:
    """Return the rule for a DNS question for this name, by what the packet itself says.

    Behind the 8 bytes of UDP stand 12 of DNS (RFC 1035, 4.1.1), the fifth and sixth being the number of
    questions, then the name: each label behind its length, letters of either case, and a zero.
    """
    asked = wire(name)
    if asked is None:
        return []
    matches = []
    for at in range(0, len(asked), PART_BYTES):
        part = asked[at : at + PART_BYTES]
        mask = bytes(0xDF if letter.isalpha() else 0xFF for letter in map(chr, part))
        value = bytes(byte & bits for byte, bits in zip(part, mask, strict=True))
        bits = 8 * len(part)
        matches.append(f"@th,{160 + 8 * at},{bits} & 0x{mask.hex()} == 0x{value.hex()}")
    longest = 8 + 12 + len(asked) + 4 + QUESTION_SLACK_BYTES
    return [f"{where} udp length <= {longest} @th,96,16 1 {' '.join(matches)} {verdict}"]
