"""The kill switch's table as somebody breaks it: what gets out until it stands again is his doing."""

import re
from datetime import datetime

from tests.lab.namespaces import Namespace
from tests.lab.waiting import until

TABLE = "inet sidegate"
BREAKS = (
    f"delete table {TABLE}",
    "flush ruleset",
    f"insert rule {TABLE} output accept",
    f"flush chain {TABLE} output",
    f"add chain {TABLE} output {{ policy accept; }}",
    f"add table {TABLE} {{ flags dormant; }}",
)
_WHOLE = re.compile(
    r"hook output priority filter; policy drop;\s+meta oifkind .*\s[^}]*ct direction reply accept"
)
"""Our first rule stands first, and the rest of the chain behind it."""
BACK_SECONDS = 2.0
"""One is promised; a loaded machine needs some more."""


class Gate:
    """The table in a namespace."""

    def __init__(self, host: Namespace) -> None:
        self._host = host
        self._broken_at: str | None = None
        self._open: list[tuple[str, str]] = []

    def break_(self, line: str) -> None:
        """Do one line of BREAKS to the table, which may be broken already."""
        if self._broken_at is None:
            self._broken_at = _clock()
        self._host.run("nft", line, check=False)

    def see_that_it_is_back(self, seconds: float = BACK_SECONDS) -> None:
        """Wait until it stands, if somebody broke it; AssertionError after so long."""
        if self._broken_at:
            until(self._stands, seconds, "the gate to be whole")
            self._open.append((self._broken_at, _clock()))
            self._broken_at = None

    def explains(self, packet: str) -> bool:
        """Tell whether tcpdump saw a packet while the gate was broken."""
        return any(began <= packet.partition(" ")[0] <= ended for began, ended in self._open)

    def _stands(self) -> bool:
        seen = self._host.run("nft", "list", "table", *TABLE.split(), check=False).stdout
        return "flags dormant" not in seen and bool(_WHOLE.search(seen))


def _clock() -> str:
    """Return the time as tcpdump writes it."""
    return datetime.now().astimezone().strftime("%H:%M:%S.%f")
