"""Netlink's messages: what no kernel sends is left out, and ends nothing."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint import rtmessages
from entrypoint.rtmessages import gateway, rule

NAMES = {1: "lo", 2: "eth0"}
READERS = {
    "link": rtmessages.link,
    "address": rtmessages.address,
    "unicast_routes": lambda message: rtmessages.unicast_routes(message, NAMES),
    "last_resort": rtmessages.last_resort,
    "rule": rule,
    "foreign_place": rtmessages.foreign_place,
    "way": lambda message: rtmessages.way(message, NAMES),
    "default_link": rtmessages.default_link,
    "table": rtmessages.table,
    "gateway": gateway,
}
Reader = Callable[[Any], object]
TABLES = range(7100, 7164)


class Message(dict[str, object]):
    """A message as pyroute2 gives it: fields, and attributes without their family's prefix."""


ODD = st.one_of(st.none(), st.integers(0, 2**32 - 1))
RULES = st.fixed_dictionaries(
    {
        "family": st.sampled_from([2, 10, 128, 129]),
        "action": st.integers(0, 8),
        "flags": st.integers(0, 3),
        "tos": st.integers(0, 1),
        "src_len": st.integers(0, 32),
        "dst_len": st.integers(0, 32),
        "table": st.integers(0, 255),
        "attrs": st.lists(
            st.tuples(st.sampled_from(["FRA_SRC", "FRA_TABLE", "FRA_IIFNAME", "FRA_SPORT", "UNKNOWN"]), ODD)
        ),
    },
    optional={
        "iifname": st.sampled_from(["lo", "eth0"]),
        "priority": ODD,
        "FRA_FWMARK": ODD,
        "protocol": ODD,
    },
)


@given(RULES)
def test_no_rule_of_the_kernel_is_more_than_left_out(fields: dict[str, object]) -> None:
    """Families that are no IP's, attributes that nobody knows yet: a rule of our shape, or none."""
    found = rule(Message(fields))
    assert found is None or fields["family"] in {2, 10}


@given(st.fixed_dictionaries({}, optional={"gateway": st.sampled_from(["", "10.0.0.1", "fe80::1"])}))
def test_a_next_hop_has_a_gateway_or_none(hop: dict[str, object]) -> None:
    """One without any is a link."""
    assert (gateway(Message(hop)) is None) == (not hop.get("gateway"))


FIELDS = (
    *("index", "ifi_type", "ifname", "mtu", "flags", "family", "prefixlen", "address", "local", "type"),
    *("table", "proto", "dst_len", "src_len", "tos", "action", "attrs", "dst", "src", "prefsrc", "oif"),
    *("gateway", "via", "priority", "multipath", "protocol", "iifname", "FRA_FWMARK"),
)
VALUES: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 2, 10, 24, 64, 129, 254, 2**32 - 1]),
    st.sampled_from(["", "lo", "eth0", "10.0.0.1", "fe80::1", "fe80::1/64", "\udcff\n"]),
    st.binary(max_size=4),
    st.just({"family": 2, "addr": "10.0.0.1"}),
    st.lists(st.one_of(st.none(), st.just({"oif": 2, "flags": 0}), st.just(("FRA_SRC",))), max_size=2),
)
ROUTE = {"type": 1, "family": 2, "dst_len": 0, "table": 254, "flags": 0, "proto": 3, "oif": 2}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), VALUES), usual=st.booleans())
@example(fields={}, usual=False)
@example(fields={"via": "10.0.0.1"}, usual=True)
@example(fields={"multipath": [1]}, usual=True)
@example(fields={"dst": "fe80::1/64"}, usual=True)
@example(fields={"dst_len": 129}, usual=True)
def test_a_message_that_cannot_be_read_is_left_out(
    reader: Reader, fields: dict[str, object], *, usual: bool
) -> None:
    """Fields that are missing or no such thing; what comes after it is read all the same."""
    odd = Message({**(ROUTE if usual else {}), **fields})
    assert len(list(rtmessages.read(reader, [odd]))) <= 1
    after = rtmessages.read(lambda message: rtmessages.unicast_routes(message, NAMES), [odd, Message(ROUTE)])
    assert [route.link for route in list(after)[-1]] == ["eth0"]


def attribute(kind: int, data: bytes, size: int | None = None) -> bytes:
    """Write a struct rtattr whose size may be a lie."""
    return struct.pack("HH", 4 + len(data) if size is None else size, kind) + data


ATTRIBUTES = st.builds(
    attribute,
    st.sampled_from([1, 4, 5, 9, 15, 18, 0x800F]),
    st.binary(max_size=8),
    st.one_of(st.none(), st.integers(0, 65535)),
)
HEADERS = st.builds(
    lambda length, version, bits, protocol: (
        struct.pack("IHHII4B", length, 24, 2, 1, 1, version, bits, 0, 0)
        + struct.pack("4BI", 254, protocol, 0, 1, 0)
    ),
    st.one_of(st.integers(0, 120), st.integers(0, 2**32 - 1)),
    st.sampled_from([2, 10]),
    st.integers(0, 255),
    st.sampled_from([0, 2, 3, 4, 9, 83]),
)
MESSAGES = st.builds(
    lambda header, attributes, kept: (header + b"".join(attributes))[:kept],
    HEADERS,
    st.lists(ATTRIBUTES, max_size=6),
    st.integers(0, 120),
)


@given(st.one_of(MESSAGES, st.binary(max_size=80)), st.integers(0, 40))
@example(
    struct.pack("IHHII12B", 34, 24, 2, 1, 1, 2, 24, 0, 0, 254, 9, 0, 1, *[0] * 4) + b"\x08\0\x0f\0\x01\0", 0
)
def test_no_bytes_of_a_route_break_the_filters(data: bytes, offset: int) -> None:
    """Cut short, with sizes that lie: an answer, and soon."""
    for at in (0, offset):
        if not rtmessages.is_cut_short(data, at):
            assert rtmessages.stands_in(data, at, TABLES) in {True, False}
            assert isinstance(rtmessages.way_by_router(data, at), rtmessages.Way | None)
        assert rtmessages.announces_a_router(data, at) in {True, False}


def test_a_route_that_is_cut_short_is_nobodys() -> None:
    """At each byte before its table; whole, it is in one of ours."""
    ours = struct.pack("IHHII12B", 36, 24, 2, 1, 1, 2, 24, 0, 0, 252, 12, 0, 1, *[0] * 4)
    ours += attribute(15, struct.pack("I", 7100))
    assert rtmessages.stands_in(ours, 0, TABLES)
    assert not any(
        not rtmessages.is_cut_short(ours[:kept], 0) and rtmessages.stands_in(ours[:kept], 0, TABLES)
        for kept in range(len(ours))
    )
