"""Rules and routes as the first pass makes them and the stop takes them."""

import re

import pytest

from tests.kernel.conftest import Container
from tests.kernel.held import Monitor, everything, ours, routes, way
from tests.lab.addresses import V4, V6
from tests.lab.waiting import until

DOCKER = {
    "90: from 172.30.0.0/16 iif lo lookup 7100 proto 83",
    "172.30.0.0/16 dev eth0 scope link table 7100 proto 83",
    "default via 172.30.0.1 dev eth0 table 7100 proto 83",
    "unreachable default metric 4294967295 table 7100 proto 83",
    "90: from all fwmark 0x5347 iif lo lookup 7100 proto 83",
    "90: from fd00:30::/64 iif lo lookup 7100 proto 83",
    "fd00:30::/64 dev eth0 table 7100 proto 83",
    "default via fd00:30::1 dev eth0 table 7100 proto 83",
    "unreachable ::/0 metric 4294967295 table 7100 proto 83",
    "90: from ::/0 fwmark 0x5347 iif lo lookup 7100 proto 83",
}


def test_the_first_pass_makes_rule_and_table_of_both_families(container: Container) -> None:
    """These eight lines and no others; each is in the log as the command that makes it."""
    before = everything(container.host)
    keeper = container.keep().watching()
    assert ours(container.host) == DOCKER
    assert everything(container.host) - before == DOCKER
    assert before <= everything(container.host)
    said = [line for line in keeper.process.lines if re.search(r" ip (-6 )?(rule|route) add ", line)]
    assert len(said) == len(DOCKER)


def test_a_second_pass_changes_nothing(container: Container) -> None:
    """An event that means nothing to us wakes, and the kernel sees no change."""
    keeper = container.keep().watching()
    monitor = Monitor(container.host)
    keeper.caught_up(container.host)
    assert monitor.changes() == []
    assert keeper.passes[-1]["repairs"] == 0


def test_what_a_killed_run_left_is_adopted(container: Container) -> None:
    """Neither rule nor route is taken and made again: not a reply is lost on the way."""
    container.keep().watching().process.kill()
    assert ours(container.host) == DOCKER
    monitor = Monitor(container.host)
    second = container.keep().watching()
    assert monitor.changes() == []
    assert ours(container.host) == DOCKER
    second.process.wait_for_line("adopted 4 rules that an earlier run left here")


def test_a_killed_runs_other_settings_are_led_over(container: Container) -> None:
    """The new rules stand before the old ones go, and the old table is emptied."""
    container.keep().watching().process.kill()
    monitor = Monitor(container.host)
    container.keep({"ROUTE_TABLE": "5000", "RULE_PRIORITY": "95"}).watching()
    expected = {line.replace("90:", "95:").replace("7100", "5000") for line in DOCKER}
    assert ours(container.host) == expected
    rules = [line for line in monitor.changes() if "from 172.30.0.0/16" in line]
    assert [line.startswith("Deleted") for line in rules] == [False, True]


def test_the_stop_removes_what_is_ours_and_nothing_else(container: Container) -> None:
    """Strangers' rules and routes stay, those beside ours included."""
    container.host.ip(
        "rule add from 10.0.0.0/8 lookup 200 priority 90 protocol static",
        "rule add from 172.30.0.0/16 lookup 200 priority 91 protocol static",
        "route add 192.168.7.0/24 dev eth0 table 7100 proto static",
        "route add 10.0.0.0/8 dev eth0 table 200",
        "route add fd00:77::/64 dev eth0 table 7100 proto static",
    )
    before = everything(container.host)
    keeper = container.keep().watching()
    assert ours(container.host) == DOCKER
    assert keeper.process.terminate() == 0
    assert everything(container.host) == before


def test_each_interface_has_a_table_of_its_own(container: Container) -> None:
    """A reply leaves by the interface whose address it carries."""
    container.connect("eth1", "172.31.0.2/16")
    container.keep({"GATEWAYS": "eth1=172.31.0.1"}).watching()
    assert ours(container.host) - DOCKER == {
        "90: from 172.31.0.0/16 iif lo lookup 7101 proto 83",
        "172.31.0.0/16 dev eth1 scope link table 7101 proto 83",
        "default via 172.31.0.1 dev eth1 table 7101 proto 83",
        "unreachable default metric 4294967295 table 7101 proto 83",
    }
    assert way(container.host, "10.20.0.5", "from", "172.30.0.2") == "dev eth0 via 172.30.0.1"
    assert way(container.host, "10.20.0.5", "from", "172.31.0.2") == "dev eth1 via 172.31.0.1"
    assert way(container.host, "172.31.0.9", "from", "172.31.0.2") == "dev eth1"


def test_a_network_that_comes_at_run_time_is_served_and_goes_without_a_trace(container: Container) -> None:
    """`docker network connect` and `disconnect`."""
    container.keep({"GATEWAYS": "eth1=172.31.0.1"}).watching()
    container.connect("eth1", "172.31.0.2/16")
    until(lambda: len(ours(container.host)) == len(DOCKER) + 4, 5, "the second network's four lines")
    container.host.ip("link delete eth1")
    until(lambda: ours(container.host) == DOCKER, 5, "the end of the second network's lines")


@pytest.mark.parametrize(
    ("addresses", "main", "default"),
    [
        (
            ["10.244.1.5/32"],
            ["169.254.1.1 dev eth0", "default via 169.254.1.1 dev eth0"],
            "default via 169.254.1.1 dev eth0 onlink table 7100 proto 83",
        ),
        (
            ["10.244.1.5/32"],
            ["default via 169.254.1.1 dev eth0 onlink"],
            "default via 169.254.1.1 dev eth0 onlink table 7100 proto 83",
        ),
        (
            ["fd00:244::5/128"],
            ["fd00:ffff::1 dev eth0", "default via fd00:ffff::1 dev eth0"],
            "default via fd00:ffff::1 dev eth0 onlink table 7100 proto 83",
        ),
        (
            ["fd00:244::5/128"],
            ["default via fe80::1 dev eth0"],
            "default via fe80::1 dev eth0 table 7100 proto 83",
        ),
        (
            ["fd00:30::2/64"],
            ["default via fe80::1 dev eth0"],
            "default via fe80::1 dev eth0 table 7100 proto 83",
        ),
    ],
    ids=["calico", "onlink", "calico-v6", "cilium-v6", "router-advertised"],
)
def test_a_pods_gateway_outside_of_its_network_is_taken(
    bare: Container, addresses: list[str], main: list[str], default: str
) -> None:
    """Calico's and Cilium's kind of address, and the link-local gateway that IPv6 routers announce."""
    bare.connect("eth0", *addresses)
    bare.host.ip(*(f"route add {line}" for line in main))
    monitor = Monitor(bare.host)
    keeper = bare.keep().watching()
    assert default in routes(bare.host)
    source = addresses[0].partition("/")[0]
    destination = "fd00:20::5" if ":" in source else "10.20.0.5"
    gateway = default.split()[2]
    assert way(bare.host, destination, "from", source) == f"dev eth0 via {gateway}"
    assert len(monitor.changes()) == 5
    # A route that the kernel shows in another way than it was asked for would be mended for ever.
    assert keeper.passes[-1]["repairs"] == 0
    assert keeper.passes[-1]["problem"] is None


@pytest.mark.parametrize(
    "environ", [{}, {"GATEWAYS": "eth0=172.30.0.1,eth0=fd00:30::1"}], ids=["found", "named"]
)
def test_replies_are_no_larger_than_the_gateways_route_says(
    container: Container, environ: dict[str, str]
) -> None:
    """Cilium says on the route, and not on the link, how much its own tunnel leaves of a packet."""
    defaults = [f"default via {gateway} dev eth0" for gateway in (V4.docker_gateway, V6.docker_gateway)]
    container.host.ip(*(f"route replace {line} mtu 1400" for line in defaults))
    keeper = container.keep(environ).watching()

    def limits() -> list[list[dict[str, int]]]:
        listed = (container.host.ip_json(option, "route", "show", "table", "7100") for option in ("-4", "-6"))
        defaults = (route for routes in listed for route in routes if route["dst"] == "default")
        return [route.get("metrics", []) for route in defaults if route["type"] == "unicast"]

    assert limits() == [[{"mtu": 1400}]] * 2
    assert keeper.passes[-1]["repairs"] == 0
    # A client takes the main table's away, and somebody else ours, or puts another one in its place.
    container.host.ip(
        *(f"route delete {line}" for line in defaults),
        *(f"route delete {line} table 7100" for line in defaults),
    )
    until(lambda: limits() == [[{"mtu": 1400}]] * 2, 5, "both routes again")
    container.host.ip(*(f"route replace {line} table 7100 proto 83" for line in defaults))
    until(lambda: limits() == [[{"mtu": 1400}]] * 2, 5, "their limits again")


def test_a_namespace_without_ipv6_is_served_in_ipv4(bare: Container) -> None:
    """As Docker makes it where no IPv6 network is asked for."""
    bare.host.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
    bare.host.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
    bare.connect("eth0", "172.30.0.2/16")
    bare.host.ip("route add default via 172.30.0.1")
    keeper = bare.keep().watching()
    assert ours(bare.host) == {line for line in DOCKER if "fd00:" not in line and "::/0" not in line}
    assert keeper.passes[-1]["problem"] is None


def test_a_connection_from_inside_reaches_the_lan_and_a_reply_of_the_tunnel_stays_in_it(
    container: Container,
) -> None:
    """LAN_NETWORKS is for what has no source yet; without it the same connection enters the tunnel."""
    container.tunnel("10.0.0.0/8", "fd00::/16")
    assert way(container.host, "10.20.0.5") == "dev tun0"
    container.keep({"LAN_NETWORKS": "10.20.0.0/24"}).watching()
    assert way(container.host, "10.20.0.5") == "dev eth0 via 172.30.0.1"
    assert way(container.host, "10.20.0.5", "from", "10.99.0.2") == "dev tun0"


@pytest.mark.parametrize("half", ["0.0.0.0/1", "0.0.0.0/8", "128.0.0.0/1"])
def test_a_network_that_begins_where_all_begins_is_kept_on_the_gateway_as_any_other(
    container: Container, half: str
) -> None:
    """A user may name one, and a server may exclude one from its tunnel."""
    keeper = container.keep({"LAN_NETWORKS": half}).watching()
    assert keeper.passes[-1]["problem"] is None
    assert f"90: from 0.0.0.0 to {half} iif lo lookup 7100 proto 83" in ours(container.host)
    assert keeper.process.terminate() == 0
    assert not ours(container.host)


@pytest.mark.parametrize(
    ("server", "gateway"), [("10.77.0.1", V4.docker_gateway), ("fd00:77::1", V6.docker_gateway)]
)
def test_the_clients_own_packets_leave_by_the_gateway_wherever_the_server_lies(
    container: Container, server: str, gateway: str
) -> None:
    """Its range may be pushed into the tunnel; what bears no mark goes there, what bears another too."""
    container.tunnel("10.0.0.0/8", "fd00::/16")
    assert way(container.host, server, "mark", "0x5347") == "dev tun0"
    container.keep().watching()
    assert way(container.host, server, "mark", "0x5347") == f"dev eth0 via {gateway}"
    assert way(container.host, server) == way(container.host, server, "mark", "0x1") == "dev tun0"


def test_the_plan_is_what_a_run_does(container: Container) -> None:
    """Its lines, given to a shell, make exactly the state that a run makes; printing them changes nothing."""
    container.connect("eth1", "172.31.0.2/16")
    settings = ["GATEWAYS=eth1=172.31.0.1", "LAN_NETWORKS=10.20.0.0/24"]
    monitor = Monitor(container.host)
    status, text = container.plan(*settings)
    assert (status, monitor.changes()) == (0, [])
    container.host.run("sh", "-e", stdin=text)
    replayed = everything(container.host)
    assert ours(container.host)
    nothing = container.plan(*settings)
    container.host.run("sh", "-e", stdin=re.sub(r"(rule|route) add", r"\1 del", text))
    assert not ours(container.host)
    container.keep(dict(setting.split("=", 1) for setting in settings)).watching()
    assert everything(container.host) == replayed
    assert nothing[1].splitlines()[-1] == "# nothing to change"
