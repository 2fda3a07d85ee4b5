"""Starts that cannot work, each told with what was seen and what to set."""

import sys

import pytest

from tests.kernel.conftest import Container
from tests.kernel.held import everything, ours

BAD_SETTINGS = 78
NO_PRIVILEGE = 77


def refused(container: Container, *settings: str) -> str:
    """Return what the plan says; the run says the same, and neither leaves anything behind."""
    before = everything(container.host)
    status, text = container.plan(*settings)
    assert status == BAD_SETTINGS
    environ = dict(setting.split("=", 1) for setting in settings)
    assert "\n".join(container.keep(environ).fault()) == text.strip()
    assert everything(container.host) == before
    return text


def test_no_interface_at_all(bare: Container) -> None:
    """`network_mode: none`."""
    assert refused(bare) == (
        "cannot find a container network: saw lo (127.0.0.1/8 ::1/128); "
        "attach the container to a network (compose: `networks:`, not `network_mode: none`)\n"
    )


def test_only_a_tunnel(bare: Container) -> None:
    """Another container's VPN is no container network."""
    bare.tunnel()
    assert "tun0 (10.99.0.2/24 fd00:99::2/64" in refused(bare)


def test_no_gateway(bare: Container) -> None:
    """An internal network: `internal: true` gives no default route."""
    bare.connect("eth0", "172.30.0.2/16")
    assert refused(bare) == (
        "cannot find the gateway of eth0 (172.30.0.0/16): saw no route that names one; "
        "set GATEWAYS=eth0=<address of its router>\n"
    )
    assert bare.plan("GATEWAYS=eth0=172.30.0.1")[0] == 0


@pytest.mark.parametrize(
    ("address", "default", "first", "network"),
    [
        (
            "fd00:30::2/64",
            "default nexthop via fd00:30::1 dev eth0 nexthop via fd00:30::ff dev eth0",
            "fd00:30::1",
            "fd00:30::/64",
        ),
        (
            "172.30.0.2/16",
            "default nexthop via 172.30.0.1 dev eth0 nexthop via 172.30.0.254 dev eth0",
            "172.30.0.1",
            "172.30.0.0/16",
        ),
    ],
    ids=["ipv6", "ipv4"],
)
def test_two_equal_gateways_are_told_and_the_one_named_is_taken(
    bare: Container, address: str, default: str, first: str, network: str
) -> None:
    """A multipath default does not say which of its routers leads to the LAN."""
    bare.connect("eth0", address)
    bare.host.ip(f"route add {default}")
    text = refused(bare)
    assert text.startswith(f"cannot choose the gateway of eth0 ({network}): saw {first} and ")
    assert f"set GATEWAYS=eth0={first}" in text
    keeper = bare.keep({"GATEWAYS": f"eth0={first}"}).watching()
    assert f"default via {first} dev eth0 table 7100 proto 83" in ours(bare.host)
    assert keeper.passes[-1]["problem"] is None


def test_a_gateway_that_the_kernel_cannot_use_is_told(bare: Container) -> None:
    """GATEWAYS with a broadcast address: the kernel's words, the line, and the setting."""
    bare.connect("eth0", "172.30.0.2/16")
    (text,) = bare.keep({"GATEWAYS": "eth0=255.255.255.255"}).fault()
    assert text.startswith("cannot run ip route add default via 255.255.255.255 dev eth0 onlink")
    assert text.endswith("; set GATEWAYS=eth0=<address of its router>")
    assert not ours(bare.host)


@pytest.mark.parametrize("own", ["172.30.0.2", "fd00:30::2", "172.31.0.2"])
def test_an_address_of_our_own_is_no_gateway(bare: Container, own: str) -> None:
    """IPv4 would take it, and every reply would end in ourselves."""
    bare.connect("eth0", "172.30.0.2/16", "fd00:30::2/64")
    bare.connect("eth1", "172.31.0.2/16")
    assert f"cannot use GATEWAYS=eth0={own}: saw our own address" in refused(bare, f"GATEWAYS=eth0={own}")


def test_a_network_beside_one_that_is_served_is_told_and_does_not_stop_the_start(
    container: Container,
) -> None:
    """A second network without a default route is named in the log with its setting."""
    container.connect("eth1", "172.31.0.2/16")
    keeper = container.keep().watching()
    keeper.process.wait_for_line(r"cannot find the gateway of eth1 \(172\.31\.0\.0/16\).*set GATEWAYS=eth1=")
    assert "GATEWAYS" in keeper.passes[-1]["networks"]["172.31.0.0/16"]
    # Its neighbours are reached all the same.
    assert "172.31.0.0/16 dev eth1 scope link table 7101 proto 83" in ours(container.host)


def test_without_net_admin_the_capability_is_named(container: Container) -> None:
    """What the kernel refuses is told with the line of the compose file that grants it."""
    done = container.host.run(
        *("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"),
        *(sys.executable, "-m", "tests.kernel.keeper"),
        check=False,
    )
    assert done.returncode == NO_PRIVILEGE
    assert "cannot run ip route add 172.30.0.0/16 dev eth0" in done.stdout
    assert "cap_add: [NET_ADMIN]" in done.stdout
    assert not ours(container.host)


def test_the_hosts_own_network(bare: Container) -> None:
    """`network_mode: host`: there every rule would be the host's."""
    bare.docker()
    assert bare.plan()[0] == 0
    bare.host.ip(
        "link add docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set docker0 up"
    )
    assert "saw the bridge docker0 (172.17.0.1/16)" in refused(bare, "GATEWAYS=eth0=172.30.0.1")


def test_a_gateway_for_a_link_that_is_not_there_is_told_once(container: Container) -> None:
    """It may come later, and may as well be a slip; so may a gateway out of reach."""
    keeper = container.keep({"GATEWAYS": "eth7=172.37.0.1,eth0=10.20.0.1", "RULE_PRIORITY": "95"}).watching()
    container.host.ip("rule add from 172.30.0.0/16 lookup main priority 94")
    keeper.process.wait_for_line(
        "our rules have priority 9[23] instead of RULE_PRIORITY=95: saw another's rule"
    )
    container.host.ip("rule del priority 94")
    for told in ("there is no eth7 yet", "lies in no network of eth0"):
        assert len([line for line in keeper.process.lines if told in line]) == 1
