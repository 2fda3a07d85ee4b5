"""How a program is started: a client, a hook, our resolver."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Launch:
    """One program, and what it is given."""

    argv: tuple[str, ...] = ()
    """Program and arguments; never a secret. Empty where no process is needed: the tunnel is the kernel's
    own, or somebody else's."""
    stdin: bytes = b""
    """Written to the program's standard input, which is then closed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the little that every client inherits; never a secret."""
    may_daemonise: bool = False
    """The program may end with 0 and leave its tunnel: the client lives as long as any process that it left,
    or, where it left none, as its tunnel."""
    unprivileged: bool = False
    """The program needs no capability, and gets none."""
    group: int | None = None
    """The group that the program runs with, and keeps ours beside; None for ours alone."""
    stop: tuple[str, ...] = ()
    """Program and arguments that ask a living client to end, before it is ended."""
