"""Whatever comes from outside is taken, refused or left: no exception, no line in the log, no wrong rule."""

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entrypoint.clients import management
from entrypoint.clients.ovpn_config import check, scripts_wished
from entrypoint.clients.ovpn_report import Progress
from entrypoint.parse_network import ports
from entrypoint.udp import matching
from tests.unit.endpoint import get, serving
from tests.unit.test_ovpn_config import BASE, WISHES

SHORT = st.text(max_size=30)
DIRECTIVES = st.one_of(
    st.sampled_from(BASE.splitlines()),
    st.builds(
        "{} {}".format,
        st.sampled_from(
            [
                *("remote", "dev", "proto", "port", "up", "plugin", "verb", "script-security", "ca", "<ca>"),
                *("</ca>", "auth-user-pass", "static-challenge", "setenv", "pull-filter", "<connection>"),
                *("</connection>", "management", "remote-cert-tls", "route", "dhcp-option", "tls-crypt"),
            ]
        ),
        SHORT,
    ),
    SHORT,
)


@given(st.lists(DIRECTIVES, max_size=12).map("\n".join), st.lists(SHORT, max_size=4))
@example("remote", ["--verb"])
def test_no_ovpn_file_is_more_than_a_fault(text: str, args: list[str]) -> None:
    """Each fault is one line, and what has faults is not used."""
    scripts_wished(args)
    result, faults = check(text, args, WISHES)
    assert (result is None) == bool(faults)
    assert all(fault and "\n" not in fault for fault in faults)


NUMBERED = ("route_network", "route_netmask", "route_gateway", "route_ipv6_network", "foreign_option")
VARIABLES = st.dictionaries(
    st.one_of(
        st.builds("{}_{}".format, st.sampled_from(NUMBERED), st.integers(0, 4)),
        st.sampled_from(
            ["dev", "ifconfig_local", "ifconfig_ipv6_local", "trusted_ip", "dns_server_1_address_1"]
        ),
        SHORT,
    ),
    st.one_of(
        SHORT, st.sampled_from(["10.0.0.0", "255.0.0.0", "0.0.0.0/0", "fd00::/16", "dhcp-option DNS ::1%x"])
    ),
    max_size=12,
)


@given(VARIABLES)
def test_no_variables_of_an_up_script_break_the_report(variables: dict[str, str]) -> None:
    """What a server pushes becomes texts of one line each."""
    progress = Progress()
    progress.feed(management.Tunnel(up=True))
    for name, value in variables.items():
        progress.feed(management.parse(f">UPDOWN:ENV,{name}={value}"))
    report = progress.feed(management.parse(">UPDOWN:ENV,END"))
    assert all("\n" not in text for text in (*report.pushed, *report.search))


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 3000)), min_size=1, max_size=8))
def test_ports_are_listed_once_whatever_overlaps(spans: list[tuple[int, int]]) -> None:
    """Nft refuses intervals that overlap; what is listed are the ports that were asked for, and no other."""
    asked = [(first, min(first + more, 65535)) for first, more in spans]
    text = matching(ports(" ".join(f"{first}-{last}" for first, last in asked)))
    wanted = {port for first, last in asked for port in range(first, last + 1)}
    if text == "meta l4proto udp":
        assert len(wanted) == 65535
        return
    intervals = [tuple(map(int, item.split("-"))) for item in text[text.index("{") + 1 : -1].split(",")]
    found = [port for item in intervals for port in range(item[0], item[-1] + 1)]
    assert len(found) == len(set(found))
    assert set(found) == wanted


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(b"GET ", b"POST ", b"/livez", b"/status", b" HTTP/1.1\r\n", b" HTTP/9\r\n", b"\r\n", b"\n"),
                *(b"host: x\r\n", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"0\r\n\r\n"),
                *(
                    b"upgrade: websocket\r\n",
                    b"expect: 100-continue\r\n",
                    b"connection: close\r\n",
                    b"ffffff",
                ),
            ]
        ),
        st.binary(max_size=40),
    ),
    max_size=10,
).map(b"".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES)
def test_no_bytes_break_the_endpoint(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """Whatever a connection says, the next one is answered, and the log stays silent."""

    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writer.write_eof()
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()
            assert (await get(port, "/livez")).status == 200

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert not caplog.messages
