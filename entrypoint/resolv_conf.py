"""The text of /etc/resolv.conf, and which resolver is asked for what. No IO here.

What stood in the file before us is quoted inside it, behind `#|`: whatever ends us, nothing of it is lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from entrypoint.detect import ContainerNetwork
from entrypoint.names import is_domain
from entrypoint.network import IPAddress

FILE = Path("/etc/resolv.conf")
LISTEN = IPv4Address("127.0.0.83")
"""Where our resolver listens: a loopback address that Docker (.11), systemd (.53, .54) and services that
listen on 127.0.0.1 leave free."""
SEARCH_LINE_MAX = 254
"""musl passes over a line of more characters, its end included (resolvconf.c)."""
RESOLVERS_MAX = 8
"""Of so many that a tunnel brings use is made; a server may push hundreds."""
ENGINE_DOMAIN = "docker.internal"
"""Names that Docker answers itself, like host.docker.internal."""

Choice = str | tuple[IPAddress, ...]
"""VPN_DNS: `keep`, `vpn`, or addresses of resolvers."""

_HEADER = "# Made by sidegate, which puts back what is quoted here when it ends."
_QUOTE = "#|"


@dataclass(frozen=True, slots=True)
class Before:
    """What a file says that is not ours."""

    resolvers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Lines that stay as they are: options (ndots), sortlist."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Who is asked while the tunnel is up."""

    resolvers: tuple[IPAddress, ...] = ()
    """Nobody: those that were there before."""
    search: tuple[str, ...] = ()
    link: str | None = None
    """The link that the questions are bound to; None leaves them to the routes."""


def upstream(choice: Choice, resolvers: Iterable[IPAddress], search: Iterable[str], link: str) -> Upstream:
    """Return who is asked by VPN_DNS while a tunnel is up that brings these resolvers and search domains."""
    if isinstance(choice, tuple):
        return Upstream(choice)
    asked = usable(resolvers)
    return Upstream(asked, domains(search), link) if asked else Upstream()


def is_ours(text: str) -> bool:
    """Whether the text was made by `render`."""
    return text.startswith(_HEADER)


def original(text: str) -> str:
    """Return what stood there before us: what the text quotes, or the text itself where it is not ours."""
    if not is_ours(text):
        return text
    return "\n".join(line.removeprefix(_QUOTE) for line in text.split("\n") if line.startswith(_QUOTE))


def render(before: str, search: Iterable[str] = ()) -> str:
    """Return the text that names our resolver and quotes `before`; `search` comes behind its own domains.

    By itself the C library tries a name without a dot with all search domains before it tries it alone
    (ndots:1 of resolv.conf(5)): a server's domain would come before a name of the LAN.
    """
    told = parse(before)
    own = ("search", *told.search)
    line = " ".join(own)
    for domain in search:
        if domain not in told.search and len(line) + 1 + len(domain) <= SEARCH_LINE_MAX:
            line += f" {domain}"
    return "\n".join(
        [
            _HEADER,
            f"nameserver {LISTEN}",
            *([line] if line != "search" else []),
            *(["options ndots:0"] if line != " ".join(own) and "ndots:" not in " ".join(told.others) else []),
            *told.others,
            *(_QUOTE + quoted for quoted in before.split("\n")),
            "",
        ]
    )


def parse(text: str) -> Before:
    """Read a resolv.conf as resolv.conf(5) says; what cannot be read is passed over, as the libraries do."""
    resolvers: list[IPAddress] = []
    search: tuple[str, ...] = ()
    others: list[str] = []
    for line in text.split("\n"):
        match line.split():
            case ["nameserver", address, *_]:
                resolvers += _address(address)
            case ["search" | "domain", *domains]:
                search = tuple(domains)  # the last one counts
            case ["options" | "sortlist", *_] as words:
                others.append(" ".join(words))
    # Our own, in a file that somebody copied, would ask itself.
    return Before(tuple(r for r in dict.fromkeys(resolvers) if r != LISTEN), search, tuple(others))


def domains(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the domain names among the texts, in lower case and without a last dot.

    A server has its say in here: what is no name cannot be written into a file of lines.
    """
    return tuple(dict.fromkeys(text.lower().removesuffix(".") for text in texts if is_domain(text)))


def usable(resolvers: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    """Return the addresses that can be those of resolvers behind a tunnel."""
    plain = (r for r in resolvers if "%" not in str(r))
    fitting = (r for r in plain if not (r.is_unspecified or r.is_loopback or r.is_multicast))
    return tuple(dict.fromkeys(fitting))[:RESOLVERS_MAX]


def servers(before: Before, networks: Sequence[ContainerNetwork], upstream: Upstream) -> str:
    """Return dnsmasq's list of who is asked for what, in the words of its --servers-file.

    The resolvers that were there before keep what is local: names without a dot (the neighbours in a Docker
    network), the domains that the file searched (a cluster's), and the addresses of the container networks.
    They are asked from the container's own address, which our rule keeps on the gateway, whatever the
    tunnel covers.
    """
    kept = [_from_our_address(resolver, networks) for resolver in before.resolvers]
    if not upstream.resolvers:
        return "".join(f"server={resolver}\n" for resolver in kept)
    link = f"@{upstream.link}" if upstream.link else ""
    local = domains(before.search)
    if any(resolver.is_loopback for resolver in before.resolvers):
        local = (*local, ENGINE_DOMAIN)
    lines = [
        *(f"server={resolver}{link}" for resolver in upstream.resolvers),
        # Without a server behind it, such a line says that nobody is asked.
        *(f"server=/{domain}/{resolver}" for domain in ("", *local) for resolver in kept or [""]),
        *(
            f"rev-server={network},{resolver}"
            for network in dict.fromkeys(n.network for n in networks)
            for resolver in kept
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


def _from_our_address(resolver: IPAddress, networks: Sequence[ContainerNetwork]) -> str:
    fitting = [n for n in networks if n.network.version == resolver.version]
    beside = [n for n in fitting if resolver in n.network]
    chosen = (beside or [n for n in fitting if n.gateway])[:1]
    if resolver.is_loopback or resolver.is_link_local or not chosen:
        return str(resolver)
    return f"{resolver}@{chosen[0].interface.ip}"


def _address(text: str) -> list[IPv4Address | IPv6Address]:
    try:
        return [ip_address(text)]
    except ValueError:
        return []
