"""What wakes the reconciler, what does not, and what a storm does to it."""

import signal
import time
from pathlib import Path

import pytest

from tests.kernel.conftest import LIMIT_SECONDS, Container, Keeper
from tests.kernel.held import ours
from tests.lab.namespaces import Namespace
from tests.lab.waiting import until

BURST = 10_000
OURS = "7150"
"""A table that may become ours, so that its events are not filtered."""
IDLE_SECONDS = 3.0
IDLE_CPU_SECONDS = 0.01


def burst(host: Namespace, verb: str, table: str, way: str = "dev tun0") -> None:
    """Add or delete routes by a link, as many as a corporate VPN pushes at most."""
    lines = (f"route {verb} 10.{i >> 8 & 255}.{i & 255}.0/24 {way} table {table}\n" for i in range(BURST))
    host.run("ip", "-batch", "-", stdin="".join(lines), timeout=30)


def delete_rule(host: Namespace, table: str = "7100") -> None:
    """Take the IPv4 rule away."""
    host.ip(f"rule del from 172.30.0.0/16 iif lo lookup {table} priority 90 protocol 83")


def lost_events(keeper: Keeper) -> int:
    """Return how many events found its sockets full (the column Drops of /proc/net/netlink)."""
    pid = keeper.process.pid
    held = {
        link.readlink().name[len("socket:[") : -1]
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.readlink().name.startswith("socket:")
    }
    lines = Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]
    return sum(int(fields[8]) for fields in map(str.split, lines) if fields[9] in held)


def cpu_seconds(keeper: Keeper) -> float:
    """Return the CPU time of its only thread (the first figure of schedstat, in nanoseconds)."""
    threads = list(Path(f"/proc/{keeper.process.pid}/task").iterdir())
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def quiet(keeper: Keeper) -> int:
    """Wait until no pass follows the last one, and return how many there were."""
    state = {"passes": -1, "since": 0.0}

    def unchanged() -> bool:
        if len(keeper.passes) != state["passes"]:
            state.update(passes=len(keeper.passes), since=time.monotonic())
        return time.monotonic() - state["since"] > 0.3

    until(unchanged, LIMIT_SECONDS, "the end of the passes")
    return int(state["passes"])


@pytest.mark.parametrize("table", ["7100", "100"])
def test_thousands_of_pushed_routes_wake_nobody(container: Container, table: str) -> None:
    """The kernel drops these events before they reach us; the deleted rule right behind them arrives."""
    container.tunnel()
    keeper = container.keep({"ROUTE_TABLE": table}).watching()
    passes = quiet(keeper)
    burst(container.host, "add", "main")
    burst(container.host, "del", "main")
    assert quiet(keeper) == passes
    assert lost_events(keeper) == 0
    before = ours(container.host)
    delete_rule(container.host, table)
    until(lambda: ours(container.host) == before, LIMIT_SECONDS, "our rule")
    seen = quiet(keeper)
    container.host.ip(f"route del 172.30.0.0/16 table {table}")
    until(lambda: ours(container.host) == before, LIMIT_SECONDS, "our table")
    assert quiet(keeper) > seen
    assert passes < seen <= passes + 4


def test_a_changed_default_and_a_table_of_ours_do_wake(container: Container) -> None:
    """What is let through, each with its control: nothing wakes before it."""
    container.tunnel()
    keeper = container.keep().watching()
    for change in (
        "route add default dev tun0 metric 5",
        "route add default dev tun0 metric 5 table 6",
        "route add 10.7.0.0/24 dev tun0 table 7100",
        "rule add from 10.9.0.0/24 lookup 6 priority 500",
        "address add 10.98.0.2/24 dev tun0",
        "link set tun0 down",
    ):
        passes = quiet(keeper)
        container.host.ip(change)
        until(lambda seen=passes: len(keeper.passes) > seen, LIMIT_SECONDS, f"a pass after {change}")  # type: ignore[misc]


def test_an_overrun_of_events_loses_nothing(container: Container) -> None:
    """More events than the socket holds while we cannot read: ENOBUFS, and the state is right after it."""
    container.tunnel()
    keeper = container.keep().watching()
    before = ours(container.host)
    keeper.process.signal(signal.SIGSTOP)
    burst(container.host, "add", OURS)
    delete_rule(container.host)
    container.host.ip("route flush table 7100", "-6 route flush table 7100")
    assert lost_events(keeper) > 0
    keeper.process.signal(signal.SIGCONT)
    until(lambda: ours(container.host) == before, LIMIT_SECONDS, "what was lost with the events")
    delete_rule(container.host)
    until(lambda: ours(container.host) == before, LIMIT_SECONDS, "a rule deleted after the overrun")
    assert not [line for line in keeper.process.lines if "Traceback" in line or " error " in line]
    assert keeper.passes[-1]["problem"] is None


def test_a_storm_of_changes_while_it_reads_ends_in_the_right_state(container: Container) -> None:
    """Changes come faster than passes are made; one of them is to our rule."""
    container.tunnel()
    keeper = container.keep().watching()
    before = ours(container.host)
    burst(container.host, "add", OURS)
    delete_rule(container.host)
    burst(container.host, "del", OURS)
    until(lambda: ours(container.host) == before, LIMIT_SECONDS, "our rule")
    assert keeper.next_pass(lambda last: last["problem"] is None)


def test_idle_costs_no_cpu(container: Container) -> None:
    """Nothing polls: the process sleeps until the kernel tells something."""
    keeper = container.keep().watching()
    passes = quiet(keeper)
    before = cpu_seconds(keeper)
    time.sleep(IDLE_SECONDS)  # what is measured is that nothing happens meanwhile
    used = cpu_seconds(keeper) - before
    assert used < IDLE_CPU_SECONDS
    assert len(keeper.passes) == passes
    assert before > 0
