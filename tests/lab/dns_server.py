"""A real DNS server in a namespace: a VPN's, a LAN's, or one that plays Docker's own."""

import re
from collections.abc import Mapping

from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess


class DnsServer:
    """dnsmasq that knows a few names and says of all others that they do not exist."""

    def __init__(
        self, host: Namespace, address: str, names: Mapping[str, str], *, upstream: str | None = None
    ) -> None:
        """Describe it; it listens on `address` of `host` and knows `names` with their addresses.

        Several addresses of a name are told apart by blanks. `upstream` is asked for all other names.
        """
        self.host = host
        self.address = address
        self.names = names
        self.upstream = upstream
        self._process: LoggedProcess | None = None

    @property
    def process(self) -> LoggedProcess:
        """The running server and its log."""
        if self._process is None:
            raise AssertionError("the DNS server was not started")
        return self._process

    def start(self) -> "DnsServer":
        """Start it; it answers when this returns."""
        self._process = self.host.spawn(
            *("dnsmasq", "--conf-file=/dev/null", "--keep-in-foreground", "--user=root", "--pid-file="),
            *("--no-hosts", "--no-resolv", "--log-facility=-", "--log-queries"),
            f"--server={self.upstream}" if self.upstream else "--local=/#/",
            *("--bind-interfaces", f"--listen-address={self.address}"),
            *(
                f"--host-record={name},{one}"
                for name, several in self.names.items()
                for one in several.split()
            ),
            name=f"DNS server {self.address}",
        )
        self._process.wait_for_line("started, version")
        return self

    @property
    def asked(self) -> list[str]:
        """The names that it was asked for, in order."""
        found = (re.search(r" query\[\w+\] (\S+) from ", line) for line in self.process.lines)
        return [match[1] for match in found if match]
