"""The protocol between the supervisor and a VPN client.

The supervisor owns the process: it starts it, follows its process tree, ends it and waits between
attempts. A client knows its own program: how it is called, what it says of itself, and whether it is
mending its tunnel alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from entrypoint.launch import Launch
from entrypoint.network import IPAddress, IPNetwork, TunnelSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a client says of itself, whole at each change."""

    connected: bool = False
    """True while the client holds its session with the server, as far as it can be known."""
    stands: str = "holds its session"
    """What `connected` means, in words that follow the client's name."""
    detail: str = ""
    """Where the client stands, in its own words."""
    failure: str | None = None
    """The named cause of the attempt's failure, for people; None while there is none."""
    advice: str = ""
    """What to look at should the attempt fail now, where the client cannot know why it did."""
    warning: str = ""
    """What does not hold although the session does, such as a second server that is silent."""
    rejected: bool = False
    """True where the server refused the credentials: such an attempt is not repeated at once."""
    interface: str | None = None
    """The tunnel link's name, where the client tells it."""
    server: IPAddress | None = None
    """The address that the encrypted packets go to."""
    pinned: tuple[IPAddress, ...] = ()
    """Addresses of servers that are kept on the gateway by a rule, because the packets to them cannot carry
    our mark. Told before the start, they are pinned before it."""
    addresses: tuple[IPAddress, ...] = ()
    """The tunnel's own addresses, as the client was given them."""
    routes: frozenset[tuple[IPNetwork, IPAddress]] = frozenset()
    """Routes that the client sets itself, with their gateways: those past the tunnel may outlive it."""
    setup: TunnelSetup | None = None
    """What the tunnel's link must be like, where the client leaves addresses and routes to us; None where it
    sets them itself."""
    resolvers: tuple[IPAddress, ...] = ()
    """Resolvers that the tunnel brings."""
    search: tuple[str, ...] = ()
    """Search domains that the tunnel brings."""
    pushed: tuple[str, ...] = ()
    """Options that the server pushed, a text each."""


class AttemptFailed(Exception):  # noqa: N818 - it says what happened, as the log does
    """An attempt cannot begin, as where the server's name cannot be looked up; the text says why.

    The next one comes after the back-off.
    """


class Client(Protocol):
    """One VPN program."""

    name: ClassVar[str]
    """The program, as `VPN_CLIENT` names it."""
    makes_tunnel: bool
    """False where somebody else makes the tunnel: one that is there before the start counts, waiting for one
    has no end, and what it does to the main table is none of our business."""
    device: str | None
    """A device file that the program cannot do without."""
    title: str
    """What it is and by which configuration, for the log's first line."""
    hosts: tuple[str, ...]
    """Servers that the client looks up, by name or address, as the user wrote them."""
    notes: tuple[str, ...]
    """What the user should know about the configuration, such as directives that were left out."""

    async def open(self, report: Callable[[Report], None]) -> Launch:
        """Make ready for one attempt: secrets are read anew, channels listen before the process starts.

        `report` is called in the event loop with each change. Raises AttemptFailed, and BadSettings where a
        secret's file is gone or wrong.
        """

    async def mends_itself(self) -> bool:
        """Tell whether the living process is reconnecting; asked when its tunnel is gone."""

    async def close(self) -> None:
        """Give up what `open` took; the process has ended. Without `open` it does nothing."""
