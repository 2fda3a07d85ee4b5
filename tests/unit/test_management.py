import asyncio
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint.clients import management
from entrypoint.clients import management_commands as commands
from entrypoint.clients.base import Report
from entrypoint.clients.management import parse
from entrypoint.clients.ovpn_channel import Channel
from entrypoint.clients.ovpn_login import Login
from entrypoint.clients.ovpn_pushed import PUSHED_MAX, resolvers, search, texts
from entrypoint.clients.ovpn_report import CHECK_THEM, Progress
from entrypoint.clients.ovpn_text import PARAMETER_MAX_BYTES, split

printable = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)

ZONED = ("2001:db8::53%eth0", "2001:db8::53%eth0 #", "fe80::1%x\ty")
LOGIN_HINT = f"; {CHECK_THEM}"


def told(*lines: str) -> Report:
    """Return the report after these lines."""
    progress = Progress()
    for line in lines:
        progress.feed(parse(line))
    return progress.report


@given(
    st.one_of(
        st.text(),
        st.builds(
            "{}{}{}".format,
            st.sampled_from(
                [">STATE:", ">PASSWORD:", ">UPDOWN:", ">UPDOWN:ENV,", ">FATAL:", ">INFOMSG:", ">", ""]
            ),
            st.sampled_from(
                ["", "1,CONNECTED,", "Need '", "Verification Failed: '", "route_network_1=", "²,A,"]
            ),
            st.text(),
        ),
    )
)
@example(">STATE:1,CONNECTED,SUCCESS,,,,,,%")
@example("SUCCESS: verb=²")
def test_no_line_can_break_the_parser(line: str) -> None:
    """What openvpn or the server behind it sends is never an exception here."""
    progress = Progress()
    progress.feed(management.Tunnel(up=True))
    event = parse(line)
    progress.feed(event)
    progress.feed(management.VariablesEnd())
    assert isinstance(event, management.Event)


def test_what_a_server_says_in_passing_ends_nothing() -> None:
    """A text of its own asks for nothing; a session that stands needs no login."""
    up = ">STATE:1,CONNECTED,SUCCESS,10.99.0.2,198.51.100.10,1194,,"
    assert told(up, ">INFOMSG:Maintenance tonight").connected
    assert told(up, ">INFOMSG:WEB_AUTH::https://vpn.example/").connected
    assert "WEB_AUTH" in (told(">INFOMSG:WEB_AUTH::https://vpn.example/").failure or "")


def test_a_resolver_with_a_zone_is_none() -> None:
    """Python takes any text for a zone, and it would end up in dnsmasq's list and in a hook's environment."""
    variables = [f">UPDOWN:ENV,foreign_option_{n}=dhcp-option DNS {text}" for n, text in enumerate(ZONED, 1)]
    assert told(">UPDOWN:UP", *variables, ">UPDOWN:ENV,END").resolvers == ()


@given(printable)
@example("\\")
@example('"')
@example(" # ; ' ")
def test_a_quoted_value_is_read_back_as_it_was(value: str) -> None:
    """Blanks, quotation marks and backslashes pass through openvpn's own way of reading."""
    assert split(f"password {commands.quote('Auth')} {commands.quote(value)}") == [
        "password",
        "Auth",
        value,
    ]


@pytest.mark.parametrize("value", ["a\nsignal SIGTERM", "a\rb", "a\0b", "tab\there", "\x7f"])
def test_a_control_character_cannot_become_a_second_command(value: str) -> None:
    """A line break in a password would end the command and begin another."""
    with pytest.raises(ValueError, match="control character"):
        commands.quote(value)


@pytest.mark.parametrize("value", ["x" * PARAMETER_MAX_BYTES, "ä" * (PARAMETER_MAX_BYTES // 2)])
def test_a_value_longer_than_openvpn_reads_is_refused(value: str) -> None:
    """The limit counts bytes, not letters."""
    assert len(commands.quote(value)) == len(value) + 2
    with pytest.raises(ValueError, match="256 bytes"):
        commands.quote(value + "x")


@pytest.mark.parametrize(
    ("verbosity", "sent"),
    [
        (1, ["username", "password"]),
        (2, ["username", "password"]),
        (3, ["verb 2", "username", "verb 3", "password"]),
    ],
)
def test_the_log_is_quiet_while_the_user_name_is_sent(verbosity: int, sent: list[str]) -> None:
    """The old verbosity is back before the password, with which openvpn goes on."""
    lines = commands.credentials("Auth", "alice", "pw", verbosity).decode().splitlines()
    assert [line.partition(' "')[0] for line in lines] == sent


def test_a_state_is_read_with_both_addresses_and_the_server() -> None:
    """As openvpn 2.6.14 sends it; scoped addresses lose their link."""
    assert parse(">STATE:1795407053,CONNECTED,ROUTE_ERROR,10.99.0.2,198.51.100.1,1194,,,fd00:99::1000") == (
        management.State(
            "CONNECTED",
            "ROUTE_ERROR",
            (ip_address("10.99.0.2"), ip_address("fd00:99::1000")),
            ip_address("198.51.100.1"),
        )
    )


def test_an_answer_to_state_is_told_from_an_announcement() -> None:
    """The same fields come without the leading sign."""
    assert parse("1795407028,CONNECTING,,,,,,") == management.State("CONNECTING", announced=False)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (">PASSWORD:Need 'Auth' username/password", management.Question("Auth", username=True)),
        (">PASSWORD:Need 'Private Key' password", management.Question("Private Key", username=False)),
        (">PASSWORD:Verification Failed: 'Auth'", management.Refusal("Auth")),
        (">PASSWORD:Verification Failed: 'Auth' ['gone']", management.Refusal("Auth", "gone")),
        (
            ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:Enter: PIN']",
            management.Refusal(
                "Auth",
                "CRV1:R,E:Om01:Y3Ix:Enter: PIN",
                management.Challenge("Om01", "cr1", "Enter: PIN", wants_answer=True),
            ),
        ),
        (
            ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R:Om01:%:x']",
            management.Refusal("Auth", "CRV1:R:Om01:%:x"),
        ),
        (">PASSWORD:Auth-Token:SESS_ID_secret", management.Other()),
        (">FATAL:no\x1b[2Jgood", management.Fatal("no?[2Jgood")),
        (">INFOMSG:OPEN_URL:https://vpn.example/?token=secret", management.Request("OPEN_URL")),
        (">INFOMSG:Maintenance tonight", management.Other()),
        (">UPDOWN:UP", management.Tunnel(up=True)),
        (">UPDOWN:ENV,dev=tun0", management.Variable("dev", "tun0")),
        (">UPDOWN:ENV,END", management.VariablesEnd()),
        ("END", management.End()),
        ("SUCCESS: verb=3", management.Done("verb=3")),
        ("ERROR: unknown command", management.Other()),
    ],
)
def test_each_kind_of_line_is_understood(line: str, event: management.Event) -> None:
    """Tokens are dropped, control characters of a foreign text become visible."""
    assert parse(line) == event


@pytest.mark.parametrize(
    ("reason", "rejected", "failure"),
    [
        ("", True, f"the server refused the user name or password{LOGIN_HINT}"),
        (" ['expired']", True, f"the server refused the user name or password: expired{LOGIN_HINT}"),
        (" ['TEMP[backoff 42,advance no]:busy']", False, "the server refused for the time being: busy"),
        (" ['TEMP']", False, "the server refused for the time being"),
        (
            " ['CRV1:R,E:Om01:Y3Ix:Please enter token PIN']",
            True,
            "the server wants a one-time code (Please enter token PIN); set VPN_TOTP_SECRET",
        ),
    ],
)
def test_a_refusal_is_told_with_the_servers_reason(reason: str, failure: str, *, rejected: bool) -> None:
    """One for the time being is no reason to doubt the credentials."""
    report = told(f">PASSWORD:Verification Failed: 'Auth'{reason}")
    assert (report.failure, report.rejected) == (failure, rejected)


def test_an_expired_token_is_forgotten_once_connected() -> None:
    """The server refuses the token, openvpn shows user name and password again, and all is well."""
    report = told(
        ">PASSWORD:Verification Failed: 'Auth' ['SESSION: token expired']",
        ">STATE:1,RECONNECTING,auth-failure (auth-token),,,,,",
        ">STATE:2,CONNECTED,SUCCESS,10.99.0.2,198.51.100.1,1194,,",
    )
    assert report.connected
    assert report.failure is None
    assert not report.rejected


def test_the_reason_of_a_reconnection_stays_in_sight_until_connected() -> None:
    """A server that never answers says so in every later state, not only for a moment."""
    lines = [">STATE:1,RECONNECTING,tls-error,,,,,", ">STATE:2,WAIT,,,,,,"]
    assert told(*lines).detail == (
        "waiting for the server's first answer "
        "(no TLS session with the server: it does not answer (wrong port, a firewall, or another key of "
        "tls-auth or tls-crypt))"
    )
    assert told(*lines, ">STATE:3,CONNECTED,SUCCESS,10.99.0.2,,,,").detail == "connected"


def test_a_reason_is_told_in_words_for_people() -> None:
    """A word of openvpn's own stands only where nothing better is known, and never in its place."""
    silent = told(">STATE:1,RECONNECTING,server_poll,,,,,").detail
    assert silent.startswith("reconnecting (the server gave no answer; ")
    unknown = told(">STATE:1,RECONNECTING,some-word,,,,,").detail
    assert unknown == "reconnecting (some-word)"
    assert told(">STATE:1,RECONNECTING,server_poll,,,,,", ">STATE:2,EXITING,SIGUSR1,,,,,").detail == (
        silent.replace("reconnecting", "ending")
    )
    after = (">STATE:1,CONNECTED,SUCCESS,10.99.0.2,,,,", ">STATE:2,RECONNECTING,some-word,,,,,")
    assert told(">STATE:0,RECONNECTING,server_poll,,,,,", *after).detail == unknown


def test_a_server_that_is_not_trusted_is_told_from_one_that_is_silent() -> None:
    """It has answered before TLS failed."""
    lines = [">STATE:1,WAIT,,,,,,", ">STATE:2,AUTH,,,,,,", ">STATE:3,RECONNECTING,tls-error,,,,,"]
    assert "one side does not trust the other's certificate" in told(*lines).detail
    assert "it does not answer" in told(*lines, *lines[::2]).detail


@pytest.mark.parametrize("flaw", ["ROUTE_ERROR", "ERROR"])
def test_a_session_with_a_refused_route_is_connected_and_says_so(flaw: str) -> None:
    """The session stands; what is broken is one route."""
    report = told(f">STATE:1,CONNECTED,{flaw},10.99.0.2,198.51.100.1,1194,,")
    assert report.connected
    assert report.detail.startswith("connected, but")


def test_a_tunnel_that_goes_takes_its_interface_and_addresses_along() -> None:
    """Between two sessions nothing of the first is shown."""
    up = (">UPDOWN:UP", ">UPDOWN:ENV,dev=tun0", ">UPDOWN:ENV,ifconfig_local=10.99.0.2", ">UPDOWN:ENV,END")
    assert told(*up).interface == "tun0"
    down = told(*up, ">UPDOWN:DOWN", ">UPDOWN:ENV,dev=tun0", ">UPDOWN:ENV,END")
    assert (down.interface, down.addresses, down.pushed) == (None, (), ())


def test_fatal_does_not_hide_what_was_named_before() -> None:
    """The end of a process often only follows from a refusal."""
    lines = (
        ">PASSWORD:Verification Failed: 'Private Key'",
        ">FATAL:Error: private key password verification failed",
    )
    assert told(*lines).failure == (
        "the passphrase does not open the private key; correct VPN_KEY_PASSPHRASE "
        "(or VPN_PASSWORD, where that is it)"
    )


def test_pushed_options_are_written_for_people() -> None:
    """Routes of both families in their order, resolvers and domains of both spellings."""
    assert texts(
        {
            "redirect_gateway": "1",
            "route_network_2": "192.168.5.0",
            "route_netmask_2": "255.255.255.0",
            "route_network_1": "10.0.0.0",
            "route_netmask_1": "255.0.0.0",
            "route_network_10": "172.16.0.1",
            "route_ipv6_network_1": "fd00:10::/32",
            "foreign_option_1": "dhcp-option DNS 10.0.0.53",
            "foreign_option_2": "dhcp-option DNS6 fd00::53",
            "foreign_option_3": "dhcp-option DOMAIN corp.example",
            "dns_server_1_address_1": "10.0.0.54",
            "dns_search_domain_1": "example.org",
        }
    ) == (
        "redirect-gateway",
        "domain example.org",
        "dns 10.0.0.54",
        "dns 10.0.0.53",
        "dns fd00::53",
        "domain corp.example",
        "route fd00:10::/32",
        "route 10.0.0.0/8",
        "route 192.168.5.0/24",
        "route 172.16.0.1/32",
    )


def test_thousands_of_routes_are_counted_not_listed() -> None:
    """A status of 2,000 lines helps nobody."""
    variables = {f"route_network_{number}": f"10.{number // 256}.{number % 256}.0" for number in range(2000)}
    told_of = texts(variables)
    assert len(told_of) == PUSHED_MAX + 1
    assert told_of[-1] == f"and {2000 - PUSHED_MAX} routes more"


def test_last_words_are_read_before_the_channel_is_closed(tmp_path: Path) -> None:
    """A process that called, spoke and ended before we came to listen is heard all the same."""
    reports: list[Report] = []

    async def scenario() -> None:
        channel = Channel(tmp_path / "s", Login(), reports.append)
        with socket.socket(socket.AF_UNIX) as openvpn:
            openvpn.connect(str(tmp_path / "s"))
            openvpn.sendall(b">FATAL:no such device\r\n")
        await channel.close()

    asyncio.run(scenario())
    assert reports[-1].failure == "no such device"


def test_a_question_without_credentials_is_named_and_ends_the_process(tmp_path: Path) -> None:
    """A server that asks although the configuration did not say so would wait forever."""
    reports: list[Report] = []

    async def scenario() -> bytes:
        channel = Channel(tmp_path / "s", Login(), reports.append)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b">PASSWORD:Need 'Auth' username/password\r\nSUCCESS: verb=3\r\n")
        async with asyncio.timeout(5):
            said = await reader.readuntil(b"signal SIGTERM\n")
        writer.close()
        await channel.close()
        return said

    assert b"password" not in asyncio.run(scenario())
    assert reports[-1].failure == (
        "cannot log in: saw that openvpn asks for a login; set VPN_USERNAME and VPN_PASSWORD"
    )
    assert reports[-1].rejected


DHCP = {
    "foreign_option_1": "dhcp-option DNS 10.0.0.53",
    "foreign_option_2": "dhcp-option DNS6 fd00::53",
    "foreign_option_3": "dhcp-option DOMAIN corp.example",
    "foreign_option_4": "dhcp-option DOMAIN-SEARCH lab.example",
    "foreign_option_10": "dhcp-option DNS 10.0.0.54",
    "foreign_option_11": "dhcp-option DOMAIN bad name",
    "foreign_option_12": "dhcp-option DNS nonsense",
}
MODERN = {
    "dns_server_10_address_1": "10.0.0.60",
    "dns_server_2_address_1": "10.0.0.61",
    "dns_server_2_address_2": "fd00::61",
    "dns_server_3_address_1": "10.0.0.62",
    "dns_server_3_port_1": "853",
    "dns_server_4_address_1": "10.0.0.63",
    "dns_server_4_transport": "DoT",
    "dns_search_domain_1": "example.org",
}


def test_resolvers_of_dhcp_options_are_reported_in_their_order() -> None:
    """With the search domains of both spellings; what is no address and no name is passed over."""
    assert list(map(str, resolvers(DHCP))) == ["10.0.0.53", "fd00::53", "10.0.0.54"]
    assert search(DHCP) == ("corp.example", "lab.example")


def test_the_newer_option_goes_before_and_only_plain_resolvers_count() -> None:
    """A resolver on another port, or by TLS, fits into no resolv.conf."""
    assert list(map(str, resolvers(DHCP | MODERN))) == ["10.0.0.61", "fd00::61", "10.0.0.60"]
    assert search(DHCP | MODERN) == ("example.org",)
