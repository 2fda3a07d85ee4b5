"""Very many routes at once, rules deleted again and again: generous bounds; bench/storm.py measures."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container, Keeper
from tests.kernel.held import FAMILIES, rules
from tests.kernel.test_watching import OURS, burst, cpu_seconds, delete_rule, lost_events, quiet
from tests.lab.addresses import V6
from tests.lab.namespaces import Namespace
from tests.lab.router_advertisement import advertise
from tests.lab.waiting import until

SOON_SECONDS = 1.0
"""After the storm, all is right again within this."""
MORE_MEMORY_BYTES = 4 << 20
"""What a storm may leave in the process: nothing grows with the number of routes."""
STORM_SHARE = 0.5
"""Of the processor, while events come as fast as somebody can make them."""
PASSES_A_SECOND = 20
COPIED = 512
DELETIONS = 1000
ROUTERS = 400


def resident(keeper: Keeper) -> int:
    """Return the memory of the process in bytes."""
    return int(Path(f"/proc/{keeper.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def standing(host: Namespace) -> list[str]:
    """Return the rules and what stands in our table: to list all routes would take a second."""
    table = [host.run("ip", option, "route", "show", "table", "7100").stdout for option in FAMILIES]
    return [*sorted(rules(host)), *table]


def copies(host: Namespace) -> int:
    """Count the routes by another router in our table."""
    return host.run("ip", "route", "show", "table", "7100").stdout.count("via 172.30.0.9 ")


@pytest.fixture
def keeper(container: Container) -> Iterator[Keeper]:
    """Give a reconciler at rest beside a tunnel; whatever the storm, the state is right soon after it."""
    container.tunnel()
    keeper = container.keep().watching()
    before = standing(container.host)
    quiet(keeper)
    memory = resident(keeper)
    yield keeper
    until(lambda: standing(container.host) == before, SOON_SECONDS, "what is ours")
    quiet(keeper)
    keeper.next_pass(lambda last: last["problem"] is None)
    grown = resident(keeper) - memory
    assert grown < MORE_MEMORY_BYTES, f"{grown >> 10} KiB more"


@pytest.mark.parametrize(
    ("way", "table"),
    [
        ("dev tun0", "main"),
        ("dev eth0", "main"),
        ("dev eth0", "9000"),
        ("dev eth0 proto static", "main"),
        ("dev eth0 via 172.30.0.1", "main"),
        ("dev eth0 via 172.30.0.9", "main"),
    ],
)
def test_very_many_routes_are_neither_told_nor_read(
    container: Container, keeper: Keeper, way: str, table: str
) -> None:
    """Made, deleted and made again: no event, and a pass beside them takes as long as ever."""
    passes = quiet(keeper)
    spent = cpu_seconds(keeper)
    for verb in ("add", "del", "add"):
        burst(container.host, verb, table, way)
    assert lost_events(keeper) == 0
    assert quiet(keeper) == passes
    assert cpu_seconds(keeper) - spent < 0.05
    before = standing(container.host)
    delete_rule(container.host)
    until(lambda: standing(container.host) == before, SOON_SECONDS, "our rule beside them")
    assert cpu_seconds(keeper) - spent < 0.4


@pytest.mark.parametrize(
    ("way", "table"),
    [
        ("dev eth0 via 172.30.0.1 proto static", "main"),
        ("dev tun0", OURS),
        ("dev eth0", OURS),
        ("dev eth0 via 172.30.0.9 proto dhcp", OURS),
    ],
)
def test_very_many_routes_that_may_concern_us(
    container: Container, keeper: Keeper, way: str, table: str
) -> None:
    """Each of them is an event, more than the socket holds: few passes are made, each reads few of them."""
    passes = quiet(keeper)
    began, spent = time.monotonic(), cpu_seconds(keeper)
    for verb in ("add", "del", "add"):
        burst(container.host, verb, table, way)
    before = standing(container.host)
    delete_rule(container.host)
    until(lambda: standing(container.host) == before, SOON_SECONDS, "our rule beside them")
    passes = quiet(keeper) - passes
    seconds = time.monotonic() - began
    assert cpu_seconds(keeper) - spent < STORM_SHARE * seconds
    assert passes < PASSES_A_SECOND * seconds


def test_a_neighbour_that_announces_hundreds_of_routers(container: Container, keeper: Keeper) -> None:
    """A default route for each of them costs no memory, and no time when something is to be mended."""
    sources = [f"fe80::bad:{number:x}" for number in range(1, ROUTERS + 1)]
    container.router.ip(*(f"address add {source}/64 dev to-eth0 nodad" for source in sources))
    for source in sources:
        advertise(container.router, "to-eth0", source, V6.docker, lifetime=600)
    defaults = ("ip", "-6", "route", "show", "default", "proto", "ra")
    until(lambda: len(container.host.run(*defaults).stdout.splitlines()) == ROUTERS, 10, "the routers")
    quiet(keeper)
    spent = cpu_seconds(keeper)
    delete_rule(container.host)
    until(lambda: rules(container.host)[0].startswith("90: from"), SOON_SECONDS, "our rule beside them")
    quiet(keeper)
    assert cpu_seconds(keeper) - spent < 0.1


def test_very_many_routes_by_another_router(container: Container) -> None:
    """What is copied of them has a bound, which is told once; a rule is mended beside them in time."""
    container.tunnel()
    keeper = container.keep().watching()
    quiet(keeper)
    burst(container.host, "add", "main", "dev eth0 via 172.30.0.9 proto static")
    until(lambda: copies(container.host) == COPIED, LIMIT_SECONDS, "the copies")
    quiet(keeper)
    spent = cpu_seconds(keeper)
    before = sorted(rules(container.host))
    delete_rule(container.host)
    until(lambda: sorted(rules(container.host)) == before, SOON_SECONDS, "our rule beside them")
    quiet(keeper)
    assert cpu_seconds(keeper) - spent < 0.8
    assert copies(container.host) == COPIED
    told = [
        line for line in keeper.process.lines if "cannot copy every route by another router of eth0" in line
    ]
    assert len(told) == 1


def test_a_rule_that_is_deleted_a_thousand_times(container: Container, keeper: Keeper) -> None:
    """The processor is not taken by mending what does not last; in the end it stands."""
    spent = cpu_seconds(keeper)
    line = "rule del from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83\n"
    container.host.run("ip", "-force", "-batch", "-", stdin=line * DELETIONS, check=False)
    for _ in range(20):
        container.host.run("ip", "-force", "-batch", "-", stdin=line, check=False)
    assert cpu_seconds(keeper) - spent < 2
