"""Network namespaces that stand for hosts, joined by virtual cables.

Both ends of each cable are made inside the lab's namespaces: nothing of the machine's own network
is touched, and no packet can leave for it.
"""

import json
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.lab.inside import call_in
from tests.lab.processes import LoggedProcess
from tests.lab.waiting import until

T = TypeVar("T")

NETNS = Path("/run/netns")
"""Where `ip netns` mounts its namespaces (ip-netns(8))."""

_OWNED = re.compile(r"sg-(?P<pid>[0-9a-f]+)-[0-9a-f]{4}-.+")


class Namespace:
    """A host: a named network namespace without any link to the machine's network."""

    def __init__(self, name: str) -> None:
        """Speak of the namespace `name`; `create` makes it."""
        self.name = name
        self.spawned: list[LoggedProcess] = []
        """What `spawn` started: it may not have entered the namespace yet when that is removed."""

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    @property
    def path(self) -> Path:
        """The file that `nsenter --net=` takes."""
        return NETNS / self.name

    def create(self) -> Self:
        """Make it, with its loopback link up."""
        _ip(f"netns add {self.name}")
        self.ip("link set lo up")
        return self

    def run(
        self, *argv: str, check: bool = True, timeout: float = 10.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it to its end.

        Raises AssertionError with what the program said when it fails and `check` is set.
        """
        done = subprocess.run(
            self.command(*argv), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise AssertionError(
                f"in {self.name}: {' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done

    def command(self, *argv: str) -> list[str]:
        """Return the command that runs `argv` inside; its process id stays the one of `argv`.

        nsenter and not `ip netns exec`: that one hides the mounts below /sys, cgroups included.
        """
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def spawn(
        self,
        *argv: str,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        name: str | None = None,
    ) -> LoggedProcess:
        """Start a program in it; it ends with the namespace at the latest."""
        process = LoggedProcess(
            self.command(*argv), environment=environment, directory=directory, name=name or argv[0]
        )
        self.spawned.append(process)
        return process

    def ip(self, *lines: str) -> None:
        """Run iproute2 commands, each a line without the leading `ip`.

        Raises AssertionError at the first that fails.
        """
        _ip(*lines, namespace=self.name)

    def ip_json(self, *argv: str) -> list[dict[str, Any]]:
        """Return what `ip -json` says: `ip_json("-6", "rule")`."""
        text = self.run("ip", "-json", "-details", *argv).stdout
        # An empty table is empty text; objects without content stand for entries that a filter left out.
        return [entry for entry in json.loads(text or "[]") if entry]

    def addresses(self, link: str, option: str = "-4") -> list[str]:
        """Return a link's addresses that are valid beyond it, of the family that `option` stands for."""
        entries = self.ip_json(option, "address", "show", "dev", link, "scope", "global")
        # An address that the scope leaves out is an object without content.
        return [str(info["local"]) for entry in entries for info in entry["addr_info"] if info]

    def call(self, function: Callable[[], T]) -> T:
        """Call a function of this program in the namespace; sockets that it makes stay there."""
        return call_in(self.path, function)

    def sysctl(self, name: str, value: int) -> None:
        """Set a value below /proc/sys, named with slashes: `net/ipv4/ip_forward`."""
        file = Path("/proc/sys") / name
        self.call(lambda: file.write_text(str(value)))

    def pids(self) -> list[int]:
        """Return the processes that live in it."""
        return _pids_in([self])


class Namespaces:
    """The namespaces of one run, under a prefix of their own; a context manager that removes them.

    The prefix holds the process id of the run. What a killed run left behind has other names, so it
    disturbs nobody, and the next run sweeps it away.
    """

    def __init__(self, prefix: str | None = None) -> None:
        """Take `prefix` for namespaces that shall outlive this process."""
        self.prefix = prefix or f"sg-{os.getpid():x}-{secrets.token_hex(2)}"
        self.members: list[Namespace] = []

    def __enter__(self) -> Self:
        remove_leftovers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, *names: str) -> list[Namespace]:
        """Make namespaces called after hosts, all in one go."""
        made = [Namespace(f"{self.prefix}-{name}") for name in names]
        self.members += made
        _ip(*(f"netns add {namespace.name}" for namespace in made))
        for namespace in made:
            # Duplicate address detection would hold back IPv6 addresses for more than a second.
            namespace.sysctl("net/ipv6/conf/default/accept_dad", 0)
            namespace.ip("link set lo up")
        return made

    def close(self) -> None:
        """End every process in them and remove them."""
        present = [member for member in self.members if member.path.exists()]
        self.members.clear()
        _remove(present)


def join(one: Namespace, one_link: str, other: Namespace, other_link: str) -> None:
    """Lay a cable (a veth pair) between two hosts and set both ends up."""
    one.ip(
        f"link add {one_link} type veth peer name {other_link} netns {other.name}",
        f"link set {one_link} up",
    )
    other.ip(f"link set {other_link} up")


def end_processes(namespaces: Iterable[Namespace]) -> None:
    """SIGKILL every process in the namespaces, and wait until they are gone."""
    within = list(namespaces)
    for namespace in within:
        for process in namespace.spawned:
            process.kill()

    def none_left() -> bool:
        pids = _pids_in(within)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    until(none_left, 5, f"the end of all processes in {', '.join(n.name for n in within)}")


def remove_leftovers() -> None:
    """Remove namespaces of runs whose process is gone."""
    names = [path.name for path in NETNS.iterdir()] if NETNS.exists() else []
    owned = [(name, match) for name in names if (match := _OWNED.fullmatch(name))]
    _remove(Namespace(name) for name, match in owned if not Path(f"/proc/{int(match['pid'], 16)}").exists())


def remove_prefix(prefix: str) -> bool:
    """Remove the namespaces of a prefix, whoever made them; return whether there were any."""
    found = [Namespace(path.name) for path in NETNS.glob(f"{prefix}-*")]
    _remove(found)
    return bool(found)


def _remove(namespaces: Iterable[Namespace]) -> None:
    present = list(namespaces)
    if present:
        end_processes(present)
        _ip(*(f"netns del {namespace.name}" for namespace in present))


def _pids_in(namespaces: Iterable[Namespace]) -> list[int]:
    inodes = {namespace.path.stat().st_ino for namespace in namespaces if namespace.path.exists()}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                inode = (entry / "ns/net").stat().st_ino
            except OSError:
                # It ended while we looked; a zombie has no namespace any more.
                continue
            if inode in inodes:
                found.append(int(entry.name))
    return found


def _ip(*lines: str, namespace: str | None = None) -> None:
    """Run lines of iproute2, in one process where it can be."""
    where = ["-netns", namespace] if namespace else []
    # A batch takes no options: `-6 rule ...` has to be a command of its own.
    if any(line.startswith("-") for line in lines):
        commands = [(["ip", *where, *line.split()], line) for line in lines]
    else:
        commands = [(["ip", *where, "-batch", "-"], "\n".join(lines) + "\n")]
    for argv, text in commands:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"in {namespace or 'the machine'}: ip: {done.stderr.strip()} in\n{text}")
