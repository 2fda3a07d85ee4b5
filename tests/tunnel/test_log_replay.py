"""The log's lines are what was done: by hand they do the same."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.addresses import V4
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.product import PRIORITY, TABLE, Kernel, Product, our_rules

_COMMAND = re.compile(r" info +(ip (?:-6 )?(?:rule|route) .*)$")


TUNNELS_TABLE = str(TABLE + 63)
"""Where no tunnel is, nothing can be led there."""


def commands(sidecar: Sidecar) -> list[str]:
    """Return the log's iproute2 lines, without the leading `ip` and without the tunnel's own side."""
    found = [found[1].removeprefix("ip ") for line in sidecar.lines if (found := _COMMAND.search(line))]
    return [line for line in found if TUNNELS_TABLE not in line.split()]


def rules(lab: Lab, option: str) -> list[dict[str, Any]]:
    """Return the rules in the sidecar's namespace without the tunnel's."""
    return [rule for rule in lab.sidecar.ip_json(option, "rule") if rule["table"] != TUNNELS_TABLE]


def table(lab: Lab, option: str) -> list[dict[str, Any]]:
    """Return our table in the sidecar's namespace; one that was never filled has no routes either."""
    routes = lab.sidecar.ip_json(option, "route", "show", "table", "all")
    return [route for route in routes if route.get("table") == str(TABLE)]


@pytest.mark.parametrize(
    "options", [{}, {"pod": True}, {"sidecar_ipv6": False}], ids=["docker", "pod", "IPv4"]
)
def test_the_log_can_be_replayed_by_hand(
    make_lab: Callable[..., Lab], tmp_path: Path, options: dict[str, bool]
) -> None:
    """In a fresh namespace of the same kind they make the same rules and the same table."""
    ran, fresh = make_lab(**options), make_lab(**options)
    untouched = Kernel.of(fresh.sidecar)
    sidecar = Product(ran, tmp_path).start(LAN_NETWORKS=V4.lan)
    done = commands(sidecar)
    assert done
    fresh.sidecar.ip(*done)
    for option in ("-4", "-6"):
        assert rules(fresh, option) == rules(ran, option)
        assert table(fresh, option) == table(ran, option)
    assert table(fresh, "-4")
    assert our_rules(fresh.sidecar)
    assert sidecar.terminate() == 0
    fresh.sidecar.ip(*commands(sidecar)[len(done) :])
    assert Kernel.of(fresh.sidecar).rules == untouched.rules
    assert Kernel.of(fresh.sidecar).routes == untouched.routes


def test_a_repair_is_logged_as_what_it_did(lab: Lab, product: Product) -> None:
    """What was put back is told like what was set."""
    sidecar = product.start()
    before, made = Kernel.of(lab.sidecar), commands(sidecar)
    lab.sidecar.ip(f"rule del from {V4.docker} priority {PRIORITY}", f"route flush table {TABLE}")
    until(lambda: Kernel.of(lab.sidecar) == before, 3, "the repair")
    # A line is written once the kernel has taken what it says.
    expected = sorted(line for line in made if "-6" not in line and "fwmark" not in line)
    until(lambda: len(commands(sidecar)) >= len(made) + len(expected), 3, "the lines of it")
    assert sorted(commands(sidecar)[len(made) :]) == expected
