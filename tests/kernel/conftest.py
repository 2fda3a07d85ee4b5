"""A container's namespace beside its router, and the reconciler in it."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.addresses import V4, V6
from tests.lab.namespaces import Namespace, Namespaces, join
from tests.lab.processes import LoggedProcess
from tests.lab.traffic import ROOT
from tests.lab.waiting import until

LIMIT_SECONDS = 5.0
"""Generous, for a machine that does other things: what is measured beside it is some 20 ms."""
OUTSIDE, OUTSIDE6 = "198.51.100.77", "2001:db8:100::77"
LAN_HOST, LAN_RESOLVER = "10.20.0.5", "10.20.0.53"


class Keeper:
    """A running keeper.py."""

    def __init__(self, process: LoggedProcess) -> None:
        self.process = process

    @property
    def passes(self) -> list[dict[str, Any]]:
        """What each pass left behind."""
        told = [line.removeprefix("pass ") for line in self.process.lines if line.startswith("pass ")]
        return [json.loads(line) for line in told]

    def watching(self) -> "Keeper":
        """Wait until events wake it: the pass after the first is the one that `keep` begins with."""
        self.next_pass(lambda _: len(self.passes) >= 2)
        return self

    def caught_up(self, host: Namespace) -> None:
        """Wait for a pass that began after all that was done to `host` before.

        The first to end may have begun earlier; the second began after its end.
        """
        for number in range(2):
            seen = len(self.passes)
            host.ip(f"link set lo alias wake{seen}-{number}")
            self.pass_after(seen)

    def pass_after(self, seen: int) -> None:
        """Wait until there are more than the passes that were seen."""
        self.next_pass(lambda _: len(self.passes) > seen)

    def next_pass(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the last pass fits, and return it."""

        def last() -> dict[str, Any] | None:
            passes = self.passes
            assert self.process.running, self.process.tail()
            return passes[-1] if passes and fits(passes[-1]) else None

        found = until(last, LIMIT_SECONDS, "a pass")
        assert found is not None
        return found

    def fault(self) -> list[str]:
        """Wait for the end by a fault of the settings, and return its texts."""
        assert self.process.wait() == 78, self.process.tail()
        return [line.removeprefix("fault: ") for line in self.process.lines if line.startswith("fault: ")]


@dataclass(frozen=True)
class Container:
    """The namespace that a sidecar would share, and the Docker host at the other end of its cable."""

    host: Namespace
    router: Namespace

    def connect(self, link: str, *addresses: str) -> None:
        """Give it an interface with addresses; its other end is called `to-` and its name."""
        join(self.router, f"to-{link}", self.host, link)
        for address in addresses:
            self.host.ip(f"address add {address} dev {link}{' nodad' if ':' in address else ''}")

    def docker(self) -> "Container":
        """Make it a container in one Docker network of both families."""
        self.connect("eth0", f"{V4.sidecar}/16", f"{V6.sidecar}/64")
        self.host.ip(
            f"route add default via {V4.docker_gateway}", f"route add default via {V6.docker_gateway}"
        )
        return self

    def tunnel(self, *routes: str) -> None:
        """Make a tunnel with addresses of both families, and routes into it."""
        self.host.ip(
            "tuntap add tun0 mode tun",
            "address add 10.99.0.2/24 dev tun0",
            "address add fd00:99::2/64 dev tun0 nodad",
            "link set tun0 up",
            *(f"route add {route} dev tun0" for route in routes),
        )

    def keep(
        self, environ: Mapping[str, str] | None = None, *servers: str, run_dir: Path | None = None
    ) -> Keeper:
        """Start the reconciler, with a place to note what the next one has to know, or without."""
        noting = ("--run-dir", str(run_dir)) if run_dir else ()
        process = self.host.spawn(
            *(sys.executable, "-m", "tests.kernel.keeper", *noting, *servers),
            environment={"PATH": os.environ["PATH"], **(environ or {})},
            directory=ROOT,
            name="keeper",
        )
        return Keeper(process)

    def plan(self, *settings: str) -> tuple[int, str]:
        """Run `sidegate plan` with settings like `NAME=value`; returns exit status and output."""
        done = self.host.run("env", *settings, sys.executable, "-m", "entrypoint", "plan", check=False)
        return done.returncode, done.stdout + re.sub("^sidegate: ", "", done.stderr, flags=re.MULTILINE)


@pytest.fixture
def bare(namespaces: Namespaces) -> Container:
    """Give a container without any interface but its loopback."""
    host, router = namespaces.add("container", "router")
    return Container(host, router)


@pytest.fixture
def container(bare: Container) -> Container:
    """Give a container in one Docker network of both families."""
    return bare.docker()


@pytest.fixture
def routed(container: Container) -> Container:
    """Give a container whose router is the world as well: it has the addresses that are tried."""
    container.router.ip(
        f"address add {V4.docker_gateway}/16 dev to-eth0",
        f"address add {V6.docker_gateway}/64 dev to-eth0 nodad",
        *(f"address add {address}/32 dev lo" for address in (OUTSIDE, LAN_HOST, LAN_RESOLVER)),
        f"address add {OUTSIDE6}/128 dev lo nodad",
    )
    return container
