"""A gateway that no route tells: found by asking whether it forwards, and told where nobody does."""

import socket

from tests.kernel.conftest import LIMIT_SECONDS, Container
from tests.kernel.held import Monitor, ours, way
from tests.kernel.test_standing import DOCKER
from tests.kernel.test_watching import quiet
from tests.lab.namespaces import join
from tests.lab.traffic import Capture
from tests.lab.waiting import until

SECOND = ("172.31.0.2/16", "fd00:31::2/64")
ROUTER = ("172.31.0.1/16", "fd00:31::1/64")
SERVED = {
    "default via 172.31.0.1 dev eth1 table 7101 proto 83",
    "default via fd00:31::1 dev eth1 table 7101 proto 83",
}
QUESTIONS = ("192.0.2.83", "2001:db8::83")


def second_network(container: Container, *, forwards: bool) -> None:
    """Connect eth1, whose first addresses are the router's."""
    for sysctl in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        container.router.sysctl(sysctl, int(forwards))
    join(container.router, "to-eth1", container.host, "eth1")
    if forwards:
        container.router.ip("-6 route replace default dev to-eth0")
    # The router is there before its network is.
    for host, link, addresses in (
        (container.router, "to-eth1", ROUTER),
        (container.host, "eth1", SECOND),
    ):
        host.ip(*(f"address add {a} dev {link}{' nodad' if ':' in a else ''}" for a in addresses))


def asked(container: Container) -> list[str]:
    """Return what of a question still stands."""
    return [line for line in ours(container.host) if line.startswith(QUESTIONS)]


def test_a_router_that_no_route_tells_is_found(container: Container) -> None:
    """The first address answers as a router does, in both families; the question leaves no trace."""
    keeper = container.keep().watching()
    second_network(container, forwards=True)
    until(lambda: ours(container.host) >= SERVED, LIMIT_SECONDS, "the second network's defaults")
    until(lambda: not asked(container), LIMIT_SECONDS, "the end of the questions")
    assert way(container.host, "10.20.0.5", "from", "172.31.0.2") == "dev eth1 via 172.31.0.1"
    keeper.process.wait_for_line(r"found the gateway of eth1 \(172\.31\.0\.0/16\): 172\.31\.0\.1 answers")
    assert not [line for line in keeper.process.lines if "cannot find the gateway" in line]
    # The way out stays the one that the main table tells.
    assert ours(container.host) >= DOCKER
    container.host.ip("link delete eth1")
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "the end of the second network's lines")


def test_a_host_that_does_not_forward_is_no_gateway(container: Container) -> None:
    """It has the first address and answers for it, and drops what is for others: named with the setting."""
    second_network(container, forwards=False)
    keeper = container.keep().watching()
    for line in (
        r"the gateway of eth1 \(172\.31\.0\.0/16\): .* 172\.31\.0\.1 does not answer .*set GATEWAYS=eth1=",
        r"the gateway of eth1 \(fd00:31::/64\): .* fd00:31::1 does not answer .*set GATEWAYS=eth1=",
    ):
        keeper.process.wait_for_line(line)
    assert not asked(container)
    assert not SERVED & ours(container.host)


def test_where_nobody_is_the_network_is_named(container: Container) -> None:
    """The kernel's own word that nobody is there is no router's."""
    container.router.sysctl("net/ipv4/ip_forward", 1)
    container.connect("eth1", SECOND[0])
    keeper = container.keep().watching()
    keeper.process.wait_for_line(r"cannot find the gateway of eth1 .* 172\.31\.0\.1 does not answer")


def send(container: Container, source: str) -> None:
    """Send a datagram to the address that nobody has, with a time to live as usual."""

    def once() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.sendto(b"control", ("192.0.2.83", 9))

    container.host.call(once)


def test_no_question_goes_beyond_who_is_asked(container: Container) -> None:
    """The router knows a way to the address that nobody has; the control shows that it would be taken."""
    container.router.ip(
        "link add beyond type veth peer name far",
        "link set far up",
        "link set beyond up",
        "address add 192.0.2.1/24 dev beyond",
        "neighbour add 192.0.2.83 lladdr 02:00:00:00:00:01 dev beyond",
    )
    keeper = container.keep().watching()
    with Capture(container.router, "beyond", "udp and dst host 192.0.2.83") as capture:
        second_network(container, forwards=True)
        keeper.process.wait_for_line(r"found the gateway of eth1 \(172")
        until(lambda: ours(container.host) >= SERVED, LIMIT_SECONDS, "the second network's defaults")
        send(container, "172.31.0.2")
        until(lambda: capture.packets, LIMIT_SECONDS, "the control's packet")
    (packet,) = capture.packets
    assert "length 7" in packet


def test_who_did_not_answer_is_asked_again_when_the_network_comes_back(container: Container) -> None:
    """Each time that a network comes somebody is asked, and not without end."""
    second_network(container, forwards=False)
    keeper = container.keep().watching()
    keeper.process.wait_for_line(r"172\.31\.0\.1 does not answer as a router")
    monitor = Monitor(container.host)
    keeper.caught_up(container.host)
    assert monitor.changes() == []
    container.host.ip("link delete eth1")
    until(lambda: ours(container.host) == DOCKER, LIMIT_SECONDS, "the end of the second network's lines")
    second_network(container, forwards=True)
    until(lambda: ours(container.host) >= SERVED, LIMIT_SECONDS, "the second network's defaults")


def test_where_nothing_leads_out_nobody_is_asked(bare: Container) -> None:
    """An internal network's bridge answers as a router does, and is no way out: the start says so."""
    bare.router.sysctl("net/ipv4/ip_forward", 1)
    bare.connect("eth0", "172.31.0.2/16")
    bare.router.ip("address add 172.31.0.1/16 dev to-eth0")
    (text,) = bare.keep().fault()
    assert text.startswith(
        "cannot find the gateway of eth0 (172.31.0.0/16): saw no route that names one; set"
    )


def test_the_way_out_is_where_the_main_table_leads(bare: Container) -> None:
    """A network whose gateway was found is no way out for the client's packets, though it comes first."""
    bare.router.sysctl("net/ipv4/ip_forward", 1)
    bare.connect("eth0", "172.31.0.2/16")
    bare.router.ip("address add 172.31.0.1/16 dev to-eth0")
    bare.connect("eth1", "172.30.0.2/16")
    bare.host.ip("route add default via 172.30.0.1")
    bare.tunnel("10.0.0.0/8")
    keeper = bare.keep().watching()
    found = "default via 172.31.0.1 dev eth0 table 7101 proto 83"
    until(lambda: found in ours(bare.host), LIMIT_SECONDS, "the first network's default")
    assert way(bare.host, "10.77.0.1", "mark", "0x5347") == "dev eth1 via 172.30.0.1"
    # A client that takes the default route changes nothing about it.
    bare.host.ip("route del default via 172.30.0.1", "link set eth0 alias wake")
    quiet(keeper)
    assert way(bare.host, "10.77.0.1", "mark", "0x5347") == "dev eth1 via 172.30.0.1"


def test_the_plan_asks_nobody(container: Container) -> None:
    """It touches nothing, and names the network that a run would ask about."""
    second_network(container, forwards=True)
    monitor = Monitor(container.host)
    status, text = container.plan()
    assert (status, monitor.changes()) == (0, [])
    assert "# cannot find the gateway of eth1 (172.31.0.0/16): saw no route that names one;" in text
    assert "set GATEWAYS=eth1=" in text


def test_a_router_that_was_found_is_kept_while_its_link_is_down(container: Container) -> None:
    """Nobody is asked anew, and replies of the network go nowhere meanwhile, not into the tunnel."""
    keeper = container.keep().watching()
    second_network(container, forwards=True)
    until(lambda: ours(container.host) >= SERVED, LIMIT_SECONDS, "the second network's defaults")
    until(lambda: not asked(container), LIMIT_SECONDS, "the end of the questions")
    quiet(keeper)
    end = "unreachable default metric 4294967295 table 7101 proto 83"
    told = len(keeper.process.lines)
    container.host.ip("link set eth1 down")
    quiet(keeper)
    assert end in ours(container.host)
    container.host.ip("link set eth1 up")
    until(lambda: SERVED & ours(container.host), LIMIT_SECONDS, "the second network's IPv4 default")
    assert not [line for line in keeper.process.lines[told:] if "192.0.2.83" in line]
