"""What stands while nothing happens, ours and what strangers set, to be compared with what stands now."""

from collections import Counter
from dataclasses import dataclass
from typing import Self

from tests.kernel.held import OURS, routes, rules
from tests.lab.addresses import V4
from tests.lab.namespaces import Namespace
from tests.tunnel.product import Kernel

STRANGERS = (
    "rule add from 10.77.0.0/16 lookup 77 priority 89",
    f"rule add from {V4.docker} lookup 77 priority 90 suppress_prefixlength 0",
    "-6 rule add from fd00:77::/64 lookup 77 priority 91",
    "route add 203.0.113.0/24 dev lo",
    "route add 203.0.113.0/25 dev lo table 77",
    "-6 route add 2001:db8:77::/64 dev lo table 77",
    "address add 192.0.2.77/32 dev lo",
)
"""What others have set. The link of it all is one that no blow falls on: what the kernel takes is not ours to
give back."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What stands while nothing happens, by iproute2."""

    lines: Counter[str]
    """Rules and routes, and how often each stands there."""
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, host: Namespace, tunnel: str) -> Self:
        """Look at a host; the addresses of the tunnel are the server's choice and told as one."""
        # A link that was made anew has another link-local address.
        addresses = [address for address in Kernel.of(host).addresses if " fe80:" not in address]
        in_tunnel = [a.split()[1].partition("/")[0] for a in addresses if a.startswith(f"{tunnel} ")]
        lines = [
            " ".join("TUNNEL" if word in in_tunnel else word for word in line.split())
            for line in (*rules(host), *routes(host))
        ]
        return cls(Counter(lines), tuple(a for a in addresses if not a.startswith(f"{tunnel} ")))

    @property
    def ours(self) -> bool:
        """Whether any of it bears our tag."""
        return any(line.endswith(OURS) for line in self.lines)

    def differences(self, now: "Quiet") -> str:
        """Tell what is not as it was; nothing if all is."""
        return "\n".join(
            [f"    lost or too few: {line}" for line in (self.lines - now.lines).elements()]
            + [f"    new or too many: {line}" for line in (now.lines - self.lines).elements()]
            + [f"    addresses: {now.addresses} instead of {self.addresses}"]
            * (now.addresses != self.addresses)
        )
