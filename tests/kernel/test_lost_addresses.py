"""IPv6 addresses that the kernel takes with their link come back with it, and nobody else is fought."""

from collections.abc import Callable

import pytest

from tests.kernel.conftest import Container, Keeper
from tests.kernel.held import everything, ours
from tests.lab.waiting import until

BACK_SECONDS = 1.0
FLAPS = 5
"""One in ten of the quick ones falls into the middle of a pass."""
ADDRESS = "fd00:30::2/64"
GIVEN_BACK = f"ip address add {ADDRESS} dev eth0 nodad"
Flap = Callable[[Container, Keeper], None]


@pytest.fixture(params=["both", "IPv6"])
def connected(request: pytest.FixtureRequest, bare: Container) -> Container:
    """Give a container in a Docker network of both families, or of IPv6 alone."""
    if request.param == "both":
        return bare.docker()
    bare.connect("eth0", ADDRESS)
    bare.host.ip("route add default via fd00:30::1")
    return bare


def globals_of(container: Container) -> list[str]:
    """Return eth0's global IPv6 addresses, in the kernel's order."""
    (link,) = container.host.ip_json("-6", "address", "show", "dev", "eth0") or [{"addr_info": []}]
    return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"]


def given_back(keeper: Keeper) -> list[str]:
    """Return the log's lines of addresses that came back."""
    return [line for line in keeper.process.lines if "ip address add" in line]


def quick(container: Container, _: Keeper) -> None:
    """Set the link down and up in one go: no pass sees it down."""
    container.host.ip("link set eth0 down", "link set eth0 up")


def slow(container: Container, keeper: Keeper) -> None:
    """Set the link down, and up after a pass."""
    seen = len(keeper.passes)
    container.host.ip("link set eth0 down")
    keeper.pass_after(seen)
    container.host.ip("link set eth0 up")


@pytest.mark.parametrize("flap", [quick, slow])
def test_what_the_kernel_took_with_the_link_is_given_back(connected: Container, flap: Flap) -> None:
    """Address, rules, routes and the main table's default: served again, and without a misleading line."""
    connected.host.ip("address add fd00:30::3/64 dev eth0 nodad")
    keeper = connected.keep().watching()
    before, addresses = everything(connected.host), globals_of(connected)
    told = len(keeper.process.lines)
    for _ in range(FLAPS):
        flap(connected, keeper)
        until(lambda: everything(connected.host) == before, BACK_SECONDS, "what stood before")
        assert globals_of(connected) == addresses
    keeper.next_pass(lambda last: last["problem"] is None and "fd00:30::/64" in last["networks"])
    until(lambda: len(given_back(keeper)) == 2 * FLAPS, BACK_SECONDS, "each address once for each fall")
    assert GIVEN_BACK in "\n".join(given_back(keeper))
    assert not [line for line in keeper.process.lines[told:] if "GATEWAYS" in line or "saw none" in line]


@pytest.mark.parametrize("left", [["fd00:30::3/64"], []], ids=["one", "the last"])
def test_an_address_that_an_operator_takes_is_not_given_back(connected: Container, left: list[str]) -> None:
    """Its link stays up and our routes stand: it was nobody but them. So after the link's next fall."""
    for address in left:
        connected.host.ip(f"address add {address} dev eth0 nodad")
    keeper = connected.keep().watching()
    seen = len(keeper.passes)
    connected.host.ip(f"address del {ADDRESS} dev eth0")
    keeper.pass_after(seen)
    assert globals_of(connected) == left
    for flap in (slow, quick):
        flap(connected, keeper)
        until(lambda: globals_of(connected) == left, BACK_SECONDS, "what the operator left")
        keeper.caught_up(connected.host)
        assert globals_of(connected) == left


def test_an_operator_who_takes_what_was_given_back_is_not_fought(connected: Container) -> None:
    """Once for each loss."""
    keeper = connected.keep().watching()
    before = ours(connected.host)
    slow(connected, keeper)
    until(
        lambda: given_back(keeper) and keeper.process.lines[-1].startswith("pass "),
        *(BACK_SECONDS, "the end of the passes that gave it back"),
    )
    assert ours(connected.host) == before
    connected.host.ip(f"address del {ADDRESS} dev eth0")
    until(lambda: not [line for line in ours(connected.host) if "fd00" in line], BACK_SECONDS, "their end")
    keeper.caught_up(connected.host)
    assert globals_of(connected) == []
    assert len(given_back(keeper)) == 1


@pytest.mark.parametrize("seen", [True, False], ids=["gone for a while", "at once"])
def test_a_link_that_is_made_anew_under_its_name_gets_nothing(container: Container, *, seen: bool) -> None:
    """Whoever made it gives it its addresses: the same may be another's by now."""
    keeper = container.keep().watching()
    container.host.ip("link set eth0 down", "link delete eth0")
    if seen:
        until(lambda: not ours(container.host), BACK_SECONDS, "the end of what belonged to the link")
    container.connect("eth0", "172.29.0.2/16")
    until(lambda: "172.29.0.0/16" in keeper.passes[-1]["networks"], BACK_SECONDS, "its new network")
    keeper.caught_up(container.host)
    assert globals_of(container) == []
    assert given_back(keeper) == []


def test_who_sets_an_address_while_the_link_is_down_has_it_in_hand(container: Container) -> None:
    """The one from before does not come beside it."""
    keeper = container.keep().watching()
    seen = len(keeper.passes)
    container.host.ip("link set eth0 down")
    keeper.pass_after(seen)
    container.host.ip("address add fd00:31::2/64 dev eth0 nodad", "link set eth0 up")
    until(lambda: "fd00:31::/64" in keeper.passes[-1]["networks"], BACK_SECONDS, "the new network")
    keeper.caught_up(container.host)
    assert globals_of(container) == ["fd00:31::2/64"]
    assert given_back(keeper) == []


def test_ipv6_that_is_turned_off_stays_off(container: Container) -> None:
    """All goes as with a link that went down; the kernel refuses the address, which is told, once."""
    keeper = container.keep().watching()
    container.host.sysctl("net/ipv6/conf/eth0/disable_ipv6", 1)
    until(lambda: "disable_ipv6" in "".join(keeper.process.lines), BACK_SECONDS, "the reason")
    keeper.next_pass(lambda last: last["problem"] is None and list(last["networks"]) == ["172.30.0.0/16"])
    container.host.sysctl("net/ipv6/conf/eth0/disable_ipv6", 0)
    keeper.caught_up(container.host)
    assert sum("disable_ipv6" in line for line in keeper.process.lines) == 1
    assert globals_of(container) == []
