from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from entrypoint.parse import Parser
from entrypoint.parse_network import (
    Target,
    dns,
    first_table,
    gateways,
    link_name,
    listen,
    networks,
    ports,
    target,
)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.83",
        "127.0.0.1",
        "127.0.0.11",
        "::1",
        "0.0.0.0",  # noqa: S104 - no resolver
        "::",
        "224.0.0.1",
        "ff02::fb",
        "255.255.255.255",
        "10.0.0.53,127.0.0.1",
    ],
)
def test_what_can_be_no_resolver_is_refused(text: str) -> None:
    """Our own resolver would ask itself, or nobody; Docker's is what `keep` means."""
    with pytest.raises(ValueError, match="can be no resolver of a VPN"):
        dns(text)


def test_networks_are_stored_as_the_kernel_stores_them() -> None:
    """Host bits go, doubles too; commas and blanks part them."""
    assert networks("10.20.0.5/24, 10.20.0.0/24\n 192.168.7.1/32,") == (
        ip_network("10.20.0.0/24"),
        ip_network("192.168.7.1/32"),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.20.0.0/33", "no network"),
        ("lan", "no network"),
        (",", "names nothing"),
        ("0.0.0.0/0", "everything past the VPN"),
        ("::/0", "everything past the VPN"),
        ("fd00:20::/64,fe80::/64", "has 'fe80::/64', which is on every link"),
        ("fe80::1%eth0/64", "no network"),
    ],
)
def test_what_is_no_lan_is_refused(text: str, why: str) -> None:
    """A network of length zero would take the whole internet past the tunnel."""
    with pytest.raises(ValueError, match=why):
        networks(text)


def test_an_interface_may_have_a_gateway_of_each_family() -> None:
    """Told twice is told once."""
    assert gateways("eth1=172.31.0.1 eth1=fd00:31::1, eth1=172.31.0.1") == (
        ("eth1", ip_address("172.31.0.1")),
        ("eth1", ip_address("fd00:31::1")),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("172.31.0.1", "write interface=address"),
        ("eth1=", "write interface=address"),
        ("=172.31.0.1", "write interface=address"),
        ("a-name-of-too-many-letters=172.31.0.1", "write interface=address"),
        ("eth1=0.0.0.0", "can be no gateway"),
        ("eth1=224.0.0.1", "can be no gateway"),
        ("eth1=127.0.0.1", "can be no gateway"),
        ("eth1=fe80::1%eth1", "can be no gateway"),
        ("eth1=172.31.0.1,eth1=172.31.0.2", "two IPv4 gateways for eth1"),
    ],
)
def test_what_is_no_gateway_is_refused(text: str, why: str) -> None:
    """The text says which pair and how it is written."""
    with pytest.raises(ValueError, match=why):
        gateways(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9797", ("127.0.0.1", 9797)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),  # noqa: S104 - what a user may ask for
        ("[::1]:65535", ("::1", 65535)),
        ("off", None),
    ],
)
def test_a_place_to_listen_is_address_and_port(text: str, place: tuple[str, int] | None) -> None:
    """IPv6 in brackets, as in a URL."""
    assert listen(text) == place


@pytest.mark.parametrize(
    "text", ["9797", ":9797", "localhost:9797", "::1:9797", "[127.0.0.1]:9797", "127.0.0.1:0", "127.0.0.1:"]
)
def test_what_is_no_place_to_listen_is_refused(text: str) -> None:
    """A name would have to be looked up; a bare port leaves open who may ask."""
    with pytest.raises(ValueError, match="no place to listen"):
        listen(text)


@pytest.mark.parametrize("text", ["189", "252", "255", "0", "4294967232", "x", "7100 "])
def test_a_table_of_the_kernels_own_is_refused(text: str) -> None:
    """Not even the last one that may become ours: 189 and the 63 after it reach 252."""
    with pytest.raises(ValueError, match=r"kernel's own|whole number"):
        first_table(text)


@pytest.mark.parametrize("table", [1, 188, 256, 7100, 4294967231])
def test_any_other_table_is_taken(table: int) -> None:
    """From the first to the last of which 64 fit."""
    assert first_table(str(table)) == table


@pytest.mark.parametrize("name", ["eth0", "tun-work", "wlp3s0", "x" * 15, "br_lan.10@"])
def test_an_interface_name_is_what_the_kernel_takes(name: str) -> None:
    """As dev_valid_name() of Linux: at most 15 bytes."""
    assert link_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 16, ".", "..", "a b", "a/b", "a:b", "tün"])
def test_what_is_no_interface_name_is_refused(name: str) -> None:
    """The kernel would refuse it only when the client is started."""
    with pytest.raises(ValueError, match="no interface name"):
        link_name(name)


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (ports, "53 5000-5002", (range(53, 54), range(5000, 5003))),
        (ports, "all", (range(1, 65536),)),
        (dns, "keep", "keep"),
        (dns, "10.0.0.53,fd00::53", (ip_address("10.0.0.53"), ip_address("fd00::53"))),
    ],
)
def test_lists_are_parted_by_commas_or_blanks(parser: Parser[Any], text: str, value: object) -> None:
    """Ports, ranges and resolvers."""
    assert parser(text) == value


@pytest.mark.parametrize("text", ["0", "65536", "10-9", "1-2-3", "http", "-", "1-"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """A range runs upwards."""
    with pytest.raises(ValueError, match="write ports or ranges"):
        ports(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.50.0.1:443", ip_address("10.50.0.1"), 443),
        ("10.50.0.1", ip_address("10.50.0.1"), None),
        ("[fd00:50::1]:443", ip_address("fd00:50::1"), 443),
        ("[fd00:50::1]", ip_address("fd00:50::1"), None),
        ("fd00:50::1", ip_address("fd00:50::1"), None),
        ("intranet.example:65535", "intranet.example", 65535),
        ("intranet", "intranet", None),
        ("_dc-1.corp.example.", "_dc-1.corp.example.", None),
        ("10.example", "10.example", None),
    ],
)
def test_a_target_is_a_host_with_a_port_for_tcp_and_without_for_a_ping(
    text: str, host: object, port: int | None
) -> None:
    """Addresses of both families and names; IPv6 needs brackets only before a port."""
    assert target(text) == Target(host, port)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["10.50.0.1:443", "10.50.0.1", "[fd00:50::1]:443", "intranet.example:80"])
def test_a_target_is_told_as_it_is_written(text: str) -> None:
    """What stands in the log can be looked for in the compose file."""
    assert str(target(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("http://10.50.0.1", "10.50.0.1:", ":443", "10.50.0.1:0", "10.50.0.1:65536", "10.50.0.1:http"),
        *("intranet example", "intranet/80", "-a.example", "a..example", "a" * 64, "a." * 127 + "example"),
        *("[10.50.0.1]:80", "[intranet]:80", "[fd00::1", "fd00::1]:80", "[fd00::1]80", "10.50", "1234", "::"),
        *("0.0.0.0:80", "127.0.0.1:80", "::1", "224.0.0.1", "[ff02::1]:80", "fe80::1", "[fe80::1%tun0]:80"),
        *("büro.example", "a,b", "10.50.0.1:80:80"),
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    """A URL, half an address, nobody's address, an address that only a link could complete."""
    with pytest.raises(ValueError, match=r"is no target; write host:port \(TCP\) or host \(ICMP\)"):
        target(text)
