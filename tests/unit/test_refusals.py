"""What the kernel says to a change that it does not make."""

import errno
from ipaddress import ip_interface

import pytest

from entrypoint.changes import Change
from entrypoint.network import LinkAddress
from entrypoint.refusals import advice, is_no_fault
from tests.unit.kernel_values import route, rule

DEFAULT = route("default", via="172.30.0.1")
OURS = route("default", via="172.30.0.1", table=7100)
ADDRESS = LinkAddress("tun0", ip_interface("10.99.0.2/24"))


@pytest.mark.parametrize(
    ("change", "code", "done"),
    [
        (Change("del", rule("172.30.0.0/16")), errno.ENOENT, True),
        (Change("del", OURS), errno.ESRCH, True),
        (Change("del", ADDRESS), errno.EADDRNOTAVAIL, True),
        (Change("del", OURS), errno.EINVAL, False),
        (Change("add", ADDRESS), errno.EEXIST, True),
        (Change("add", DEFAULT), errno.EEXIST, True),
        (Change("add", OURS), errno.EEXIST, False),
        (Change("add", route("10.0.0.0/8", "tun0")), errno.EEXIST, False),
        (Change("add", OURS), errno.ENOENT, False),
    ],
    ids=str,
)
def test_what_is_already_as_it_should_be_is_no_fault(change: Change, code: int, *, done: bool) -> None:
    """Gone before we delete it, there before we add it; another's route in our table is one."""
    assert is_no_fault(code, change) == done


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (Change("add", route("10.0.0.0/8", "tun0")), errno.EEXIST, "stands in the main table"),
        (Change("add", OURS), errno.EEXIST, "set ROUTE_TABLE"),
        (Change("add", OURS), errno.ENETUNREACH, "set GATEWAYS=eth0="),
        (Change("add", route("172.30.0.0/16", table=7100)), errno.EINVAL, ""),
        (Change("add", rule("172.30.0.0/16")), errno.EINVAL, ""),
    ],
    ids=str,
)
def test_a_refusal_comes_with_what_to_do(change: Change, code: int, said: str) -> None:
    """Where anybody knows it."""
    assert said in advice(code, change)
    assert bool(said) == bool(advice(code, change))
