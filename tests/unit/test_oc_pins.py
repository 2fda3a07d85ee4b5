"""Which of a server's addresses are kept on the gateway."""

from ipaddress import IPv4Address

from entrypoint.clients.openconnect import pins
from entrypoint.clients.servers import PINNED_MAX
from entrypoint.network import IPAddress

FIRST = IPv4Address("198.51.100.0")


def test_a_name_that_changes_for_ever_keeps_its_newest_addresses() -> None:
    """The one in use and the current answers first, each once, and no more than 64."""
    in_use: IPAddress = FIRST
    known: tuple[IPAddress, ...] = pins([in_use])
    for number in range(1, 3 * PINNED_MAX):
        known = pins([in_use], [FIRST + number], known)
        assert known[:2] == (in_use, FIRST + number)
    assert len(known) == len(set(known)) == PINNED_MAX
