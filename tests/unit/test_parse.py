from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint import parse
from entrypoint.network import Target
from entrypoint.settings import TABLE, Setting
from tests.unit.samples import SAMPLES

LONGEST_MESSAGE = 400
"""Characters: a fault is read in a log, where a value of 64 KiB would hide it."""

rows = st.sampled_from(TABLE)
near_misses = st.builds(
    lambda start, sample, noise, end: start + sample + noise + end,
    st.text(max_size=3),
    st.sampled_from([*SAMPLES.values(), "all", "auto", "off", "1-", "::/0", "eth0=", "[::1%lo]:80", "'"]),
    st.text(st.characters(), max_size=8),
    st.sampled_from(["", ",", "\n", " ", "/", "%", "=", "\x1f", "\u2028", "\ud800"]),
)
anything = st.one_of(st.text(st.characters(), min_size=1), near_misses)


def complaint(row: Setting, text: str) -> ValueError | None:
    """Return what a row says against a text; any other exception passes through."""
    try:
        row.parse(text)
    except ValueError as error:
        return error
    return None


@given(rows, anything)
@example(next(row for row in TABLE if row.name == "RULE_PRIORITY"), "9" * 5000)
@example(next(row for row in TABLE if row.name == "VPN_UP_TIMEOUT"), "٣s")
@example(next(row for row in TABLE if row.name == "LAN_NETWORKS"), "fe80::1%eth0/64")
def test_any_text_is_a_value_or_one_line_of_what_is_wrong(row: Setting, text: str) -> None:
    """No parser raises anything but ValueError, whose message is a short line that begins with the name."""
    error = complaint(row, text)
    assert error is None or type(error) is ValueError
    assert error is None or len(str(error).splitlines()) == 1
    assert error is None or str(error).startswith(row.name)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("character", ["x", "\n", "9"])
def test_a_message_stays_short_however_long_the_value(row: Setting, character: str) -> None:
    """A certificate pasted into the wrong setting does not fill the log."""
    assert len(str(complaint(row, character * 10_000))) <= LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("24h", 86400), ("1ms", 0.001)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    """Whole numbers with a unit, to a day."""
    assert parse.duration(text) == seconds


@pytest.mark.parametrize("text", ["0s", "30", "1.5s", "-1s", "1 s", "1S", "25h", "99999999999ms", "s", "1sm"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A bare number has no unit that could be guessed; zero would mean no attempt at all."""
    with pytest.raises(ValueError, match="whole number and its unit"):
        parse.duration(text)


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
        parse.dns(text)


def test_networks_are_stored_as_the_kernel_stores_them() -> None:
    """Host bits go, doubles too; commas and blanks part them."""
    assert parse.networks("10.20.0.5/24, 10.20.0.0/24\n 192.168.7.1/32,") == (
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
        parse.networks(text)


def test_an_interface_may_have_a_gateway_of_each_family() -> None:
    """Told twice is told once."""
    assert parse.gateways("eth1=172.31.0.1 eth1=fd00:31::1, eth1=172.31.0.1") == (
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
        parse.gateways(text)


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
    assert parse.listen(text) == place


@pytest.mark.parametrize(
    "text", ["9797", ":9797", "localhost:9797", "::1:9797", "[127.0.0.1]:9797", "127.0.0.1:0", "127.0.0.1:"]
)
def test_what_is_no_place_to_listen_is_refused(text: str) -> None:
    """A name would have to be looked up; a bare port leaves open who may ask."""
    with pytest.raises(ValueError, match="no place to listen"):
        parse.listen(text)


@pytest.mark.parametrize("text", ["189", "252", "255", "0", "4294967232", "x", "7100 "])
def test_a_table_of_the_kernels_own_is_refused(text: str) -> None:
    """Not even the last one that may become ours: 189 and the 63 after it reach 252."""
    with pytest.raises(ValueError, match=r"kernel's own|whole number"):
        parse.first_table(text)


@pytest.mark.parametrize("table", [1, 188, 256, 7100, 4294967231])
def test_any_other_table_is_taken(table: int) -> None:
    """From the first to the last of which 64 fit."""
    assert parse.first_table(str(table)) == table


@pytest.mark.parametrize("name", ["eth0", "tun-work", "wlp3s0", "x" * 15, "br_lan.10@"])
def test_an_interface_name_is_what_the_kernel_takes(name: str) -> None:
    """As dev_valid_name() of Linux: at most 15 bytes."""
    assert parse.link_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 16, ".", "..", "a b", "a/b", "a:b", "tün"])
def test_what_is_no_interface_name_is_refused(name: str) -> None:
    """The kernel would refuse it only when the client is started."""
    with pytest.raises(ValueError, match="no interface name"):
        parse.link_name(name)


def test_words_are_read_as_a_shell_reads_them() -> None:
    """Quotes keep blanks together."""
    assert parse.words("--setenv UV_SITE 'head office'") == ("--setenv", "UV_SITE", "head office")


def test_a_null_byte_is_no_part_of_a_command() -> None:
    """A file can hold one, and no program can be started with it."""
    with pytest.raises(ValueError, match="null byte"):
        parse.words("--setenv A b\0c")


def test_an_open_quote_is_told_as_one() -> None:
    """The text says how to mend it, and not what a library said."""
    with pytest.raises(ValueError, match=r"not quoted as in a shell .*; close the quote"):
        parse.words("--setenv UV_SITE 'head office")


@pytest.mark.parametrize("text", ["0", "32766", "9" * 5000, "-1", "1.0", "0x5a", ""])
def test_what_is_no_number_in_range_is_refused(text: str) -> None:
    """Both ends are told; int() itself refuses thousands of digits in words of its own."""
    with pytest.raises(ValueError, match="is no whole number from 1 to 32764"):
        parse.number(1, parse.RULE_PRIORITY_LAST)(text)


@pytest.mark.parametrize(
    ("parser", "text", "value"),
    [
        (parse.ports, "53 5000-5002", (range(53, 54), range(5000, 5003))),
        (parse.ports, "all", (range(1, 65536),)),
        (parse.dns, "keep", "keep"),
        (parse.dns, "10.0.0.53,fd00::53", (ip_address("10.0.0.53"), ip_address("fd00::53"))),
    ],
)
def test_lists_are_parted_by_commas_or_blanks(parser: parse.Parser[Any], text: str, value: object) -> None:
    """Ports, ranges and resolvers."""
    assert parser(text) == value


@pytest.mark.parametrize("text", ["0", "65536", "10-9", "1-2-3", "http", "-", "1-"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """A range runs upwards."""
    with pytest.raises(ValueError, match="write ports or ranges"):
        parse.ports(text)


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
    assert parse.target(text) == Target(host, port)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["10.50.0.1:443", "10.50.0.1", "[fd00:50::1]:443", "intranet.example:80"])
def test_a_target_is_told_as_it_is_written(text: str) -> None:
    """What stands in the log can be looked for in the compose file."""
    assert str(parse.target(text)) == text


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
        parse.target(text)


@pytest.mark.parametrize("text", ["1ms", "999ms"])
def test_nobody_is_asked_more_often_than_once_a_second(text: str) -> None:
    """Somebody else's machine answers."""
    with pytest.raises(ValueError, match="asks too often; take 1s or more"):
        parse.interval(text)
    assert parse.interval("1s") == 1.0


@pytest.mark.parametrize("text", [" ", "''", '"" a'])
def test_a_command_names_a_program(text: str) -> None:
    """Blanks alone, or an empty first word, are nothing that could be run."""
    with pytest.raises(ValueError, match="names no program"):
        parse.command(text)
