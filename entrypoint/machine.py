"""What the container was given: capability, device, IPv6, a place to write, connections."""

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import psutil

from entrypoint import resolv_conf
from entrypoint.faults import BadSettings, MissingPrivilege
from entrypoint.network import Flow, IPAddress
from healthcheck import ask

ALONE = "\0sidegate"
CAP_SETGID, CAP_NET_ADMIN = 6, 12
"""Their bits in CapEff (linux/capability.h)."""
_IPV6_OFF = (
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6"),
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6"),
)


def check_privileges(device: str | None) -> None:
    """See that we may change the network and open the device; raises MissingPrivilege with all that lacks."""
    net_admin = lacks_net_admin()
    lacking = [net_admin] if net_admin else []
    if device:
        try:
            os.close(os.open(device, os.O_RDWR))
        except OSError as error:
            lacking.append(
                f"cannot open {device}: saw {error.strerror}; "
                f"pass it in (docker run --device {device}, compose: `devices: [{device}]`, "
                "Kubernetes: a hostPath volume of type CharDevice); where the host has none: modprobe tun"
            )
    if lacking:
        raise MissingPrivilege(*lacking)


def lacks_net_admin() -> str | None:
    """Say that we may not change the network; None where we may."""
    if _effective_capabilities() >> CAP_NET_ADMIN & 1:
        return None
    return (
        "cannot change routes and rules: saw no NET_ADMIN among our capabilities; "
        "add it (docker run --cap-add NET_ADMIN, compose: `cap_add: [NET_ADMIN]`)"
    )


def may_give(group: int) -> bool:
    """Tell whether a program can be started with this group: by capability, and in our user namespace."""
    lines = Path("/proc/self/gid_map").read_text().splitlines()
    spans = (map(int, line.split()) for line in lines)  # user_namespaces(7)
    known = any(first <= group < first + count for first, _, count in spans)
    return known and bool(_effective_capabilities() >> CAP_SETGID & 1)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Be the only one of us in this network namespace; raises BadSettings where another is.

    An abstract unix socket belongs to the network namespace, whatever file systems its processes see, and
    goes with its process (unix(7)).
    """
    with socket.socket(socket.AF_UNIX) as mine:
        try:
            mine.bind(ALONE)
        except OSError:
            raise BadSettings(
                "cannot run: saw another sidegate in this network namespace; "
                "stop that one, or give this one a network of its own"
            ) from None
        yield


def one_runs() -> bool:
    """Tell whether one of us runs in this network namespace (proc(5): /proc/net/unix)."""
    name = ALONE.replace("\0", "@")
    return any(line.split()[-1] == name for line in Path("/proc/net/unix").read_text().splitlines())


def has_ipv6() -> bool:
    """Tell whether a new link of this namespace can have an IPv6 address."""
    if not Path("/proc/net/if_inet6").exists():
        return False
    # A new link takes the value of "default"; "all" forbids on every link.
    return not any(path.exists() and path.read_text().strip() == "1" for path in _IPV6_OFF)


def run_dir() -> Path:
    """Make and return the folder of this network namespace's run; raises BadSettings where it cannot be."""
    folder = Path(ask.run_dir())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        fix = {
            errno.EROFS: "add `--tmpfs /run` (compose: `tmpfs: [/run]`)",
            errno.ENOSPC: "make room there",
            errno.EDQUOT: "make room there",
        }.get(error.errno or 0, "run as root")
        raise BadSettings(f"cannot write to {folder}: saw {error.strerror}; {fix}") from None
    return folder


def forbid_core_dumps() -> None:
    """Let no core dump be made of this process and of all that it starts: it would hold every secret.

    A limit of 1 byte is less than any core file, and the one value that also keeps the kernel from handing
    the dump to a program (do_coredump(): "RLIMIT_CORE is set to 1, aborting core"); 0 does not.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except (OSError, ValueError):
        # Somebody set a hard limit of 0: no file can be made, and more is not ours to say.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def tcp_peers(addresses: Iterable[IPAddress]) -> set[IPAddress]:
    """Return who holds a TCP connection with one of these addresses of ours."""
    ours = set(addresses)
    found = set()
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.raddr and _plain(connection.laddr.ip) in ours:
            found.add(_plain(connection.raddr.ip))
    return found


def wildcard_udp_ports(besides: int) -> set[int]:
    """Return the ports of UDP services on every address, less those of a process and its descendants.

    Ports that the kernel gives to whoever names none are no service's.
    """
    first, last = ephemeral_ports()
    ours = {besides, *(child.pid for child in psutil.Process(besides).children(recursive=True))}
    return {
        connection.laddr.port
        for connection in psutil.net_connections("udp")
        if connection.laddr
        and not connection.raddr
        and _plain(connection.laddr.ip).is_unspecified
        and not first <= connection.laddr.port <= last
        and connection.pid not in ours
    }


def udp_flows() -> set[Flow]:
    """Return the UDP sockets that were connected from inside.

    A service that connects one for each of its clients has another on the same port, for all of them.
    """
    flows, services = set(), set()
    for connection in psutil.net_connections("udp"):
        if connection.laddr and connection.raddr:
            peer, port = connection.raddr, connection.laddr.port
            flows.add(Flow(_plain(peer.ip), peer.port, port))
        elif connection.laddr:
            services.add(connection.laddr.port)
    return {flow for flow in flows if flow.port not in services}


def ephemeral_ports() -> tuple[int, int]:
    """Return the first and last port that the kernel gives to sockets that name none."""
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(first), int(last)


def resolvers() -> list[IPAddress]:
    """Return the resolvers of /etc/resolv.conf, less those on the loopback, such as Docker's own."""
    return [resolver for resolver in _resolv_conf().resolvers if not resolver.is_loopback]


def search_domains() -> tuple[str, ...]:
    """Return the domains that the C library tries names in."""
    return _resolv_conf().search


def _resolv_conf() -> resolv_conf.Before:
    """Return what /etc/resolv.conf says now; nothing where it cannot be read."""
    try:
        return resolv_conf.parse(resolv_conf.FILE.read_text(errors="replace"))
    except OSError:
        return resolv_conf.Before()


def hosts() -> list[IPAddress]:
    """Return the addresses of /etc/hosts."""
    try:
        lines = Path("/etc/hosts").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for words in (line.split() for line in lines):
        with contextlib.suppress(ValueError, IndexError):
            found.append(ip_address(words[0]))
    return found


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _plain(text: str) -> IPAddress:
    """Take ::ffff:10.20.0.5, which a socket of both families says, as the IPv4 address that it is."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
