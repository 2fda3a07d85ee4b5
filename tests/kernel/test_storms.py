"""Very many routes at once, rules deleted again and again: generous bounds; bench/storm.py measures."""

import os
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
DELETIONS = 1000
ROUTERS = 400


def resident(keeper: Keeper) -> int:
    """Return the memory of the process in bytes."""
    return int(Path(f"/proc/{keeper.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def standing(host: Namespace) -> list[str]:
    """Return the rules and what stands in our table: to list all routes would take a second."""
    table = [host.run("ip", option, "route", "show", "table", "7100").stdout for option in FAMILIES]
    return [*sorted(rules(host)), *table]


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


@pytest.mark.parametrize(("link", "table"), [("tun0", "main"), ("eth0", "main"), ("eth0", "9000")])
def test_very_many_routes_are_neither_told_nor_read(
    container: Container, keeper: Keeper, link: str, table: str
) -> None:
    """Made, deleted and made again: no event, and a pass beside them takes as long as ever."""
    passes = quiet(keeper)
    spent = cpu_seconds(keeper)
    for verb in ("add", "del", "add"):
        burst(container.host, verb, table, link)
    assert lost_events(keeper) == 0
    assert quiet(keeper) == passes
    assert cpu_seconds(keeper) - spent < 0.05
    before = standing(container.host)
    delete_rule(container.host)
    until(lambda: standing(container.host) == before, SOON_SECONDS, "our rule beside them")
    assert cpu_seconds(keeper) - spent < 0.4


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


def test_routes_in_a_table_that_may_be_ours(container: Container, keeper: Keeper) -> None:
    """Each of them is an event, more than the socket holds: read and thrown away, and nothing spins."""
    spent = cpu_seconds(keeper)
    for verb in ("add", "del", "add"):
        burst(container.host, verb, OURS)
    delete_rule(container.host)
    quiet(keeper)
    assert cpu_seconds(keeper) - spent < LIMIT_SECONDS


def test_a_rule_that_is_deleted_a_thousand_times(container: Container, keeper: Keeper) -> None:
    """The processor is not taken by mending what does not last; in the end it stands."""
    spent = cpu_seconds(keeper)
    line = "rule del from 172.30.0.0/16 iif lo lookup 7100 priority 90 protocol 83\n"
    container.host.run("ip", "-force", "-batch", "-", stdin=line * DELETIONS, check=False)
    for _ in range(20):
        container.host.run("ip", "-force", "-batch", "-", stdin=line, check=False)
    assert cpu_seconds(keeper) - spent < 2
