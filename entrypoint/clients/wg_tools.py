"""WireGuard's own program `wg`, and `ip` for the one thing that belongs to a client: its link.

The reconciler sets what stands *on* a link, whoever made it; to make it and to take it away is the
client's part, as openvpn and wireguard-go do it for theirs. No key is ever an argument: `wg` reads them from
its standard input, which is memory (memfd_create(2)).
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
from pathlib import Path

from entrypoint import members
from entrypoint.clients.wg_config import Peer
from entrypoint.network import MARK, PROTOCOL, IPAddress
from entrypoint.ways import mtu_towards

log = logging.getLogger(__name__)

GROUP = PROTOCOL
"""The group of a link that we made (IFLA_GROUP), set as it is made: our tag, as on routes and rules."""
KERNEL_KIND = "wireguard"
HEADERS_BYTES = 80
"""What WireGuard needs around a packet in IPv6: 40 of IP, 8 of UDP, 32 of its own. As wg-quick does."""
SOCKETS = Path("/var/run/wireguard")
"""Where wireguard-go listens, and where `wg` looks for it."""
_PROBE = "sidegate-probe"
_TRY_AGAIN_SECONDS = 0.005
"""Between two tries to reach wireguard-go, which listens a moment after its start."""
LIMIT_SECONDS = 5.0
"""How long a program may take: it needs milliseconds, and some more where the kernel loads a module. `wg`
waits for ever for a wireguard-go that stands still."""


class ToolError(Exception):
    """What a program said when it failed."""


def kernel_has_wireguard() -> bool:
    """Tell by trying: the module is loaded by the kernel itself as the link is made."""
    try:
        made = _at_once("ip", "link", "add", _PROBE, "type", KERNEL_KIND)
        if b"Operation not permitted" in made.stderr:
            # Nobody can tell without NET_ADMIN: its lack is told, and no device that may not be needed.
            return True
        # One that a killed run left behind is as good a proof.
        known = not made.returncode or b"File exists" in made.stderr
        if known:
            _at_once("ip", "link", "del", _PROBE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return known


def is_there(name: str) -> bool:
    """Tell whether there is a link of this name."""
    with contextlib.suppress(OSError):
        return bool(socket.if_nametoindex(name))
    return False


async def our_links() -> list[str]:
    """Return the links that a run of ours made and did not take away; raises ToolError."""
    told = await _run("ip", "-json", "link", "show", "group", str(GROUP), "type", KERNEL_KIND)
    # An empty table is empty text; what a filter left out is an object without content.
    return [link["ifname"] for link in json.loads(told or "[]") if link]


async def add_link(name: str) -> None:
    """Make a link of the kernel's own WireGuard; raises ToolError."""
    await _change("ip", "link", "add", name, "group", str(GROUP), "type", KERNEL_KIND)


async def delete_link(name: str) -> None:
    """Take it away; one that is gone already is no fault."""
    with contextlib.suppress(ToolError):
        await _change("ip", "link", "del", name)


async def listens(name: str) -> None:
    """Return when wireguard-go can be asked about this link.

    `wg` would remove a socket that nobody listens on, the one that is being made included.
    """
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_unix_connection(SOCKETS / f"{name}.sock")
            writer.close()
            return
        await asyncio.sleep(_TRY_AGAIN_SECONDS)


async def configure(name: str, text: str) -> None:
    """Give a link this configuration and no other; raises ToolError."""
    await _run("wg", "setconf", name, "/dev/stdin", stdin=text)


async def call(name: str, public_key: str, section: str) -> None:
    """Begin anew with one peer: its `section` says where it is called. Raises ToolError.

    A peer that is known waits five seconds between two handshakes, a new one is called at once.
    """
    await _run("wg", "set", name, "peer", public_key, "remove")
    await _run("wg", "addconf", name, "/dev/stdin", stdin=section)


async def ask(name: str, peer: Peer) -> None:
    """Have WireGuard send something to a peer, so that keys too old are renewed; raises ToolError.

    It sends as soon as PersistentKeepalive is turned on.
    """
    values = ("0", "1", str(peer.keepalive))
    words = [word for value in values for word in ("peer", peer.public_key, "persistent-keepalive", value)]
    await _run("wg", "set", name, *words)


async def handshakes(name: str) -> dict[str, int]:
    """Return when each peer's last handshake was, in Unix time, 0 for never; raises ToolError."""
    told = await _run("wg", "show", name, "latest-handshakes")
    return {key: int(when) for key, _, when in (line.partition("\t") for line in told.splitlines())}


def tunnel_mtu(server: IPAddress) -> int | None:
    """Return the largest packet that fits the way to a server, asking nobody; None where there is no way."""
    mtu = mtu_towards(server, MARK)
    return mtu - HEADERS_BYTES if mtu else None


async def _change(*argv: str) -> None:
    """Run a line of iproute2, and log it as every change to the kernel is."""
    await _run(*argv)
    log.info("%s", " ".join(argv))


def _at_once(*argv: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, capture_output=True, check=False, timeout=LIMIT_SECONDS)


async def _run(*argv: str, stdin: str = "") -> str:
    """Run a program to its end; returns its output, raises ToolError with what it said or that it hangs.

    It outlives neither us nor its caller.
    """
    try:
        with os.fdopen(os.memfd_create("input"), "w+b") as memory:
            memory.write(stdin.encode())
            memory.seek(0)
            process = await asyncio.create_subprocess_exec(
                *(*members.marking(members.new_mark()), "setpriv", "--pdeathsig", "KILL", "--", *argv),
                stdin=memory,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
    except OSError as error:
        raise ToolError(f"cannot run {argv[0]}: saw {error.strerror}") from None
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        told = f"`{' '.join(argv[:3])}` does not end: it has no answer within {LIMIT_SECONDS:g} s"
        raise ToolError(told) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise ToolError(f"`{' '.join(argv[:3])}` says: {errors.decode(errors='replace').strip()}")
    return output.decode()
