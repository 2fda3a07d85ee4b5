"""What each process that we start may do, as the kernel tells it."""

import json
import re
import subprocess
import sys

import pytest

from tests.lab.traffic import ROOT

NET_ADMIN = 12
"""Numbers of linux/capability.h; those of Docker's defaults go from chown to setfcap."""
DOCKERS = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
CAPABILITIES = [(NET_ADMIN,), (*DOCKERS, NET_ADMIN)]

_PROGRAM = """
import asyncio, json, sys
from entrypoint.launch import Launch
from entrypoint.processes import Tree

async def main():
    lines = []
    tree = await Tree.start(Launch(("cat", "/proc/self/status"), **json.loads(sys.argv[1])), lines.append)
    await tree._relay  # all that it said; a vendor's client goes on without its process
    await tree.stop()
    print("\\n".join(lines))

asyncio.run(main())
"""


def kernel_says(capabilities: tuple[int, ...], **launch: bool) -> dict[str, int]:
    """Start a program as we do from a process with these capabilities; return its sets and flags."""
    kept = ",".join(["-all", *(f"+cap_{number}" for number in capabilities)])
    limits = ("setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", "--")
    done = subprocess.run(
        [*limits, sys.executable, "-c", _PROGRAM, json.dumps(launch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(re.findall(r"(?m)^(Cap\w+|NoNewPrivs):\s*(\w+)", done.stdout))
    return {name: int(value, 16) for name, value in said.items()}


def mask(capabilities: tuple[int, ...]) -> int:
    """Write capabilities as the kernel does."""
    return sum(1 << number for number in capabilities)


@pytest.mark.parametrize("capabilities", CAPABILITIES)
def test_a_hook_has_no_capability_and_gets_none(capabilities: tuple[int, ...]) -> None:
    """Although it is root, and whatever it starts: no_new_privs is handed on."""
    said = kernel_says(capabilities, unprivileged=True)
    assert (said["CapPrm"], said["CapEff"], said["CapAmb"], said["NoNewPrivs"]) == (0, 0, 0, 1)


@pytest.mark.parametrize("capabilities", CAPABILITIES)
def test_a_client_has_what_the_container_has_and_gets_no_more(capabilities: tuple[int, ...]) -> None:
    """A set-uid program that it runs does not help it."""
    said = kernel_says(capabilities)
    assert (said["CapEff"], said["NoNewPrivs"]) == (mask(capabilities), 1)


def test_a_vendors_program_may_use_its_set_uid_programs() -> None:
    """As its daemon may be another user."""
    assert kernel_says((NET_ADMIN,), may_daemonise=True)["NoNewPrivs"] == 0
