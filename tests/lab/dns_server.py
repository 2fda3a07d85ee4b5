"""A real DNS server in a namespace: a VPN's, a LAN's, or one that plays Docker's own."""

import re
import signal
from collections.abc import Mapping

from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.waiting import until


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
        # Its loop turns: before, it takes no signals but those that end it.
        self._process.wait_for_line("cleared cache")
        return self

    @property
    def asked(self) -> list[str]:
        """The names that it was asked for, in order: every question that has come by now."""
        if self.process.running:
            self._catch_up()
        found = (re.search(r" query\[\w+\] (\S+) from ", line) for line in self.process.lines)
        return [match[1] for match in found if match]

    def _catch_up(self) -> None:
        """Wait until it has logged what has come: its loop takes a signal when a question is dealt with."""
        address = f"[{self.address}]" if ":" in self.address else self.address

        def waiting() -> str:
            return self.host.run("ss", "-Hlun", "src", f"{address}:53").stdout.split()[1]

        until(lambda: waiting() == "0", 5, f"the DNS server {self.address} to read its questions")
        told = len(self.process.lines)
        self.process.signal(signal.SIGUSR1)
        self.process.wait_for_line(r": time \d+$", after=told)
