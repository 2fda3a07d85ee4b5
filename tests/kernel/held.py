"""What the kernel holds, by `ip -json` and never by our own reader, a line each."""

import re
from typing import Any

from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.waiting import until

FAMILIES = ("-4", "-6")
OURS = "proto 83"
"""How a line of ours ends."""
_MARK_PRIORITY = 31000
_MARKED = re.compile(rf"(Deleted )?{_MARK_PRIORITY // 1000}\d{{3}}:")


def rules(host: Namespace) -> list[str]:
    """Return all rules but the kernel's own, as `90: from 172.30.0.0/16 iif lo lookup 7100 proto 83`.

    `all` of IPv6 is written ::/0.
    """
    return [
        _rule(entry, option)
        for option in FAMILIES
        for entry in host.ip_json(option, "rule", "show")
        if entry["protocol"] != "kernel"
    ]


def routes(host: Namespace) -> list[str]:
    """Return all unicast and unreachable routes of all tables, less those that the kernel made by itself."""
    return [
        _route(entry, option)
        for option in FAMILIES
        for entry in host.ip_json(option, "route", "show", "table", "all")
        if entry["type"] in {"unicast", "unreachable"} and entry["protocol"] != "kernel"
    ]


def everything(host: Namespace) -> set[str]:
    """Return rules and routes alike."""
    return {*rules(host), *routes(host)}


def ours(host: Namespace) -> set[str]:
    """Return what carries our tag."""
    return {line for line in everything(host) if line.endswith(OURS)}


def way(host: Namespace, destination: str, *source: str) -> str:
    """Return the way to a destination as `dev eth0 via 172.30.0.1`, asked with `from` and the like."""
    option = "-6" if ":" in destination else "-4"
    (answer,) = host.ip_json(option, "route", "get", destination, *source)
    via = f" via {answer['gateway']}" if "gateway" in answer else ""
    via = f" via {answer['via']['host']}" if "via" in answer else via
    return f"dev {answer['dev']}{via}"


def _rule(entry: dict[str, Any], option: str) -> str:
    def network(which: str) -> str:
        return f"{entry[which]}/{entry[which + 'len']}" if f"{which}len" in entry else str(entry[which])

    to = f" to {network('dst')}" if "dst" in entry else ""
    iif = f" iif {entry['iif']}" if "iif" in entry else ""
    mark = f" fwmark {entry['fwmark']}" if "fwmark" in entry else ""
    tail = f"lookup {entry['table']} proto {entry['protocol']}"
    source = "::/0" if entry["src"] == "all" and option == "-6" else network("src")
    return f"{entry['priority']}: from {source}{to}{mark}{iif} {tail}"


def _route(entry: dict[str, Any], option: str) -> str:
    if entry["type"] == "unreachable":
        # iproute2 shows the loopback for a link in IPv6, and "default" in both families.
        entry = {name: value for name, value in entry.items() if name != "dev"}
        entry["dst"] = "unreachable " + ("::/0" if option == "-6" else entry["dst"])
    parts = [
        entry["dst"],
        f"via {entry['gateway']}" if "gateway" in entry else "",
        f"via {entry['via']['family']} {entry['via']['host']}" if "via" in entry else "",
        f"dev {entry['dev']}" if "dev" in entry else "",
        " ".join(f"nexthop {hop['gateway']}" for hop in entry.get("nexthops", ())),
        " ".join(flag for flag in entry["flags"] if flag == "onlink"),
        f"scope {entry['scope']}" if entry.get("scope", "global") != "global" else "",
        # The kernel itself gives IPv6 routes 1024.
        f"metric {entry['metric']}" if entry.get("metric", 1024) != 1024 else "",
        f"table {entry.get('table', 'main')}",
        f"proto {entry['protocol']}",
    ]
    return " ".join(part for part in parts if part)


class Monitor:
    """`ip monitor rule route` of a host: what was changed, told by the kernel."""

    def __init__(self, host: Namespace) -> None:
        """Start it; from here on nothing is missed."""
        self._host = host
        self._marks = 0
        self._process: LoggedProcess = host.spawn("ip", "monitor", "rule", "route")
        # It says nothing when it is ready, so a rule of our own must show up first.
        until(self._hears, 5, "ip monitor to listen")
        self._after = len(self._process.lines)

    def changes(self) -> list[str]:
        """Return the changes since the last call, in order; events come in the order of what made them."""
        self._process.wait_for_line(f"^Deleted {self._mark()}:", after=self._after)
        new = self._process.lines[self._after :]
        self._after += len(new)
        return [line for line in new if not _MARKED.match(line)]

    def _mark(self) -> int:
        self._marks += 1
        priority = _MARK_PRIORITY + self._marks
        self._host.ip(f"rule add priority {priority} lookup 250", f"rule del priority {priority} lookup 250")
        return priority

    def _hears(self) -> bool:
        self._mark()
        try:
            self._process.wait_for_line(_MARKED.pattern, 0.2)
        except AssertionError:
            return False
        return True
