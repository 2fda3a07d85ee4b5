"""WireGuard with a provider's file: what holds of it beyond what holds of every client."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.addresses import V4, V6
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.traffic import Capture
from tests.lab.waiting import until
from tests.lab.wireguard_server import WireGuardServer, preshared_key, private_key
from tests.tunnel.product import AnyProduct, Kernel, echoes, programs
from tests.tunnel.secrets_everywhere import seen
from tests.tunnel.wireguarded import EVERYTHING, stand_in, with_config

MISSING_PRIVILEGE = 77


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyProduct]:
    """Give the product up behind a full tunnel, where the reverse-path filter is strict."""
    directory = tmp_path_factory.mktemp("full")
    with Lab(rp_filter=1) as lab:
        server = WireGuardServer(lab.vpn_server, directory / "server", allowed=EVERYTHING, preshared=True)
        yield AnyProduct(lab, directory, server)


@pytest.fixture(scope="module")
def full_up(full: AnyProduct) -> Sidecar:
    """Give its sidecar, ready."""
    return full.start(LOG_LEVEL="debug")


def both_ways(product: AnyProduct) -> bool:
    """Tell whether the tunnel has its address and everybody is answered."""
    return bool(product.host.addresses(product.vpn.tunnel)) and product.unreached(V4) == {}


@pytest.mark.usefixtures("full_up")
def test_a_full_tunnel_takes_all_but_replies_and_its_own_packets(full: AnyProduct) -> None:
    """Encrypted packets leave by the gateway and never enter the tunnel, and the LAN is answered."""
    server = f"host {V4.vpn_endpoint} and udp"
    with (
        Capture(full.host, "eth0", server) as outside,
        Capture(full.host, full.vpn.tunnel, f"host {V4.vpn_endpoint}") as inside,
    ):
        assert full.unreached(V4) == full.unreached(V6) == {}
        until(lambda: len(outside.packets) >= 4, 5, "encrypted packets")
    assert inside.packets == []
    for option, somewhere in (("-4", "203.0.113.1"), ("-6", "2001:db8:ffff::1")):
        assert full.host.ip_json(option, "route", "get", somewhere)[0]["dev"] == full.vpn.tunnel
    assert full.host.ip_json("route", "show", "default")[0]["dev"] == "eth0"


def test_keys_are_nowhere_to_be_seen(full: AnyProduct, full_up: Sidecar) -> None:
    """Not in an argument list, an environment, the log, what health tells or a file, but the user's own."""
    keys = [private_key("client"), preshared_key("both")]
    assert seen(full_up, keys) == []
    # The control: the file that the user mounted has both.
    assert all(key in Path(full.settings["VPN_CONFIG"]).read_text() for key in keys)


def test_keys_are_in_no_argument_even_for_a_moment(make_wireguard: Callable[..., AnyProduct]) -> None:
    """Every program that is started on the way up is recorded by one that stands in its place."""
    product = make_wireguard(preshared=True)
    record = product.directory / "arguments"
    path = stand_in(product, "wg", f'echo "$@ $(env)" >>{record}\nexec /usr/bin/wg "$@"\n')
    product.start(PATH=path)
    assert "setconf client /dev/stdin" in record.read_text()
    for secret in (private_key("client"), preshared_key("both")):
        assert secret not in record.read_text()


def test_a_link_of_that_name_that_is_not_ours_stays(make_wireguard: Callable[..., AnyProduct]) -> None:
    """It is named, and left alone; once it is gone the tunnel comes."""
    product = make_wireguard()
    product.host.ip("tuntap add client mode tun")
    sidecar = product.sidecar().start()
    sidecar.wait_for_line("cannot make client: saw a link of that name that is not ours; .* VPN_INTERFACE")
    assert product.host.ip_json("link", "show", "dev", "client")
    product.host.ip("link del client")
    sidecar.wait_until_ready()


@pytest.mark.parametrize(
    ("config", "mtu"), [("", 1400 - 80), ("MTU = 1280\n", 1280)], ids=["by-the-way-out", "by-the-file"]
)
def test_packets_fit_the_way_to_the_server(standing_wireguard: AnyProduct, config: str, mtu: int) -> None:
    """The file's MTU, else that of the link towards the server less WireGuard's own 80 bytes."""
    product = standing_wireguard
    with_config(product, lambda text: text.replace("DNS", f"{config}DNS"))
    product.host.ip("link set eth0 mtu 1400")
    sidecar = product.start()
    try:
        assert product.host.ip_json("link", "show", "dev", "client")[0]["mtu"] == mtu
    finally:
        assert sidecar.terminate() == 0
        product.host.ip("link set eth0 mtu 1500")


@pytest.mark.parametrize("given", [{}, {"VPN_CLIENT": "wireguard"}, {"VPN_INTERFACE": "office0"}])
def test_the_client_is_chosen_by_its_file_and_may_be_named(
    standing_wireguard: AnyProduct, given: dict[str, str]
) -> None:
    """The only `*.conf` in /vpn, by its [Interface]; the link's name by VPN_INTERFACE, else by the file."""
    product = standing_wireguard
    sidecar = product.sidecar(given, vpn_folder=True)
    del sidecar.environment["VPN_CONFIG"]
    (sidecar.directory / "vpn").mkdir(parents=True, exist_ok=True)
    product.vpn.settings(sidecar.directory / "vpn")
    sidecar.start().wait_until_ready()
    try:
        link = given.get("VPN_INTERFACE", "client")
        assert sidecar.status()["tunnel"]["interface"] == link
    finally:
        assert sidecar.terminate() == 0


def test_without_a_tun_device_and_without_the_kernels_wireguard_it_ends(
    standing_wireguard: AnyProduct,
) -> None:
    """What lacks is named, and nothing is touched."""
    sidecar = standing_wireguard.sidecar(tun_device=False).start()
    assert sidecar.process.wait() == MISSING_PRIVILEGE
    assert "cannot open /dev/net/tun" in "\n".join(sidecar.lines)


KERNELS_WIREGUARD = """
case "$*" in
"link add sidegate-probe type wireguard" | "link del sidegate-probe") ;;
"link add client group 83 type wireguard")
    LOG_LEVEL=silent prlimit --locks=unlimited wireguard-go client >/dev/null 2>&1
    exec /sbin/ip link set client group 83 ;;
"-json link show group 83 type wireguard") exec /sbin/ip -json link show group 83 ;;
*) exec /sbin/ip "$@" ;;
esac
"""
"""Stands for the `ip` of a kernel with WireGuard: the link that it makes lives on, as the kernel's own does.

Less our mark, by which the next run would end its process: the kernel's has none.

The kernels that the tests run on mostly have none.
"""


def test_the_kernels_own_wireguard_needs_no_process_and_leaves_no_link(
    lab: Lab, make_wireguard: Callable[..., AnyProduct]
) -> None:
    """It outlives a kill of ours: the next run makes it anew, and takes it away at its end."""
    product = make_wireguard()
    before = Kernel.of(lab.sidecar)
    path = stand_in(product, "ip", KERNELS_WIREGUARD)
    with echoes(lab):
        first = product.start(PATH=path)
        assert "by the kernel" in first.lines[0]
        assert first.status()["client"]["pid"] is None
        (kernels,) = programs(lab.sidecar, "wireguard-go")
        first.kill()
        assert lab.sidecar.ip_json("link", "show", "dev", "client")
        second = product.start(PATH=path)
        assert programs(lab.sidecar, "wireguard-go") != [kernels]
        assert product.unreached(V4) == product.unreached(V6) == {}
        assert second.terminate() == 0
        made, gone = "ip link add client group 83 type wireguard", "ip link del client"
        assert [gone, made, gone] == [
            line.partition("info    ")[2] for line in second.lines if line.endswith((made, gone))
        ]
    until(lambda: not programs(lab.sidecar, "wireguard-go"), 2, "the end of what stood for the kernel")
    assert Kernel.of(lab.sidecar) == before


def test_a_link_of_the_kernel_that_somebody_deletes_is_made_anew(
    lab: Lab, make_wireguard: Callable[..., AnyProduct]
) -> None:
    """No process ends with it, so it is its absence that tells."""
    product = make_wireguard()
    sidecar = product.start(PATH=stand_in(product, "ip", KERNELS_WIREGUARD))
    lab.sidecar.ip("link del client")
    sidecar.wait_for_line("lost its tunnel and does not know it; next attempt now")
    sidecar.wait_until_ready()
    assert product.unreached(V4) == {}


def test_what_somebody_takes_from_the_link_comes_back(standing_wireguard: AnyProduct) -> None:
    """Address, route and state are kept as rules are, and the session with them."""
    product = standing_wireguard
    sidecar = product.start()
    try:
        for line in ("address del 10.99.0.2/32 dev client", f"route del {V4.vpn_network} dev client"):
            product.host.ip(line)
            until(lambda: both_ways(product), 5, f"both ways after {line}")
        product.host.ip("link set client down")
        sidecar.wait_until_ready()
        until(lambda: both_ways(product), 10, "both ways after the link was down")
        assert sidecar.status()["restarts"] == 0
    finally:
        assert sidecar.terminate() == 0


@pytest.mark.parametrize("lab", [{"sidecar_ipv6": False}], ids=["no-ipv6"], indirect=True)
def test_a_container_without_ipv6_gets_its_tunnel(make_wireguard: Callable[..., AnyProduct]) -> None:
    """Addresses and routes of IPv6 are left out."""
    product = make_wireguard()
    product.start()
    assert product.unreached(V4) == {}
