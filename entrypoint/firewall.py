"""nftables: our table is read, compared, changed in one transaction and kept. Only this module calls nft."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Sequence

from entrypoint.chains import TABLE, Chain, NotOursAloneError, Seen, changes, made_anew, understood
from entrypoint.watch import NETLINK_NETFILTER, Watcher, firewall_events

log = logging.getLogger(__name__)

PASSES_MAX = 3
AGAIN_SECONDS = 1.0
"""After a try that failed."""
PAUSE_SECONDS = 0.2
"""Between two readings: a storm of others' rules must not take the processor."""
NFT_SECONDS = 10.0
"""After this nft is given up; mostly it takes 10 ms."""


class Firewall:
    """Owns our table; several parts may want chains in it, each under a name of its own."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """Why the table is not as wanted; None if it is."""
        self.repairs = 0
        """How often something was put right that had been right before."""
        self._want: dict[str, tuple[Chain, ...]] = {}
        self._known: dict[str, str] = {}
        self._told: str | None = None
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()

    async def want(self, part: str, chains: Sequence[Chain]) -> None:
        """Have a part's chains stand from now on, and no other of its; `problem` says if they do not."""
        if self._want.get(part) != tuple(chains):
            self._want[part] = tuple(chains)
            await self.apply()
            self._wake.set()  # whoever keeps the table begins once there is one

    async def apply(self, *, mending: bool = False) -> None:
        """Make the table what is wanted. A caller that is cancelled leaves this to its end."""
        await asyncio.shield(asyncio.ensure_future(self._apply(mending=mending)))

    async def keep(self) -> None:
        """Put right what others change, until cancelled. Raises OSError where events cannot be had."""
        watcher: Watcher | None = None
        try:
            while True:
                if self._wanted and watcher is None:
                    watcher = firewall_events(self._wake.set)
                    self._wake.set()  # what happened before the watch
                await self._wake.wait()
                self._wake.clear()
                if self._wanted:
                    await self.apply(mending=True)
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            if watcher:
                watcher.close()

    @property
    def _wanted(self) -> list[Chain]:
        return [chain for chains in self._want.values() for chain in chains]

    async def _apply(self, *, mending: bool) -> None:
        async with self._lock:
            try:
                self.problem = await self._passes(mending=mending)
            except OSError as error:
                self.problem = str(error.strerror)
        if self.problem:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._wake.set)
            # Where what is wanted never stood, the start is refused, which tells it.
            refused = self._wanted and not self._known
            if self.problem != self._told and not refused:
                log.warning("%s", self.problem)
        self._told = self.problem

    async def _passes(self, *, mending: bool) -> str | None:
        problem = None
        for _ in range(PASSES_MAX):
            try:
                lines = changes(self._wanted, await _read(), self._known)
            except NotOursAloneError:
                lines = made_anew(self._wanted)
            if not lines:
                return None
            if problem and self._wanted:
                # Or something in the table holds what has to go, and hides it from us.
                lines = made_anew(self._wanted)
            try:
                await _nft("-f", "-", text="\n".join(lines) + "\n")
            except OSError as error:
                problem = str(error.strerror)  # mostly, somebody changed what was read
                continue
            for line in lines:
                log.info("nft %s", _as_typed(line))
            self.repairs += mending
            with contextlib.suppress(NotOursAloneError):
                self._learn(await _read())
            problem = f"the firewall does not last: `nft {lines[0]}` was undone again; find out by whom"
        return problem

    def _learn(self, seen: Seen | None) -> None:
        self._known = {
            rule.comment: rule.body for chain in (seen or {}).values() for rule in chain.rules if rule.comment
        }


def stands(chain: str | None = None) -> bool:
    """Tell whether our table, or this chain in it, stands in this namespace.

    Without a program, as it is asked at each start.
    """
    nfproto_inet, ack = 1, 0x4
    get = 10 << 8 | (4 if chain else 1)  # NFNL_SUBSYS_NFTABLES and NFT_MSG_GETCHAIN or NFT_MSG_GETTABLE
    attributes = _attribute(1, TABLE.split()[1])  # NFTA_CHAIN_TABLE or NFTA_TABLE_NAME
    if chain:
        attributes += _attribute(3, chain)  # NFTA_CHAIN_NAME
    message = struct.pack("IHHIIBBH", 20 + len(attributes), get, 1 | ack, 1, 0, nfproto_inet, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
            asking.settimeout(1)
            asking.send(message + attributes)
            (kind,) = struct.unpack_from("H", asking.recv(65536), 4)
    except OSError:
        return False  # no nftables, no table
    nlmsg_error = 2
    return bool(kind != nlmsg_error)


def _attribute(kind: int, text: str) -> bytes:
    data = struct.pack("HH", 4 + len(text) + 1, kind) + text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


async def _read() -> Seen | None:
    """Read our table; None where there is none. Raises OSError and NotOursAloneError."""
    try:
        text = await _nft("-j", "list", "table", *TABLE.split())
    except FileNotFoundError:
        return None
    return understood(text)


async def _nft(*arguments: str, text: str = "") -> str:
    """Run nft; raises FileNotFoundError where it knows no such table, else OSError with its words."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("nft", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )
    except OSError as error:
        raise OSError(errno.EIO, f"cannot run nft: saw {error.strerror}; install nftables") from None
    try:
        async with asyncio.timeout(NFT_SECONDS):
            output, errors = await process.communicate(text.encode())
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise OSError(
            errno.ETIMEDOUT, f"cannot run nft: saw no end within {NFT_SECONDS:g} s; it is tried again"
        ) from None
    if process.returncode == 0:
        return output.decode(errors="replace")
    said = errors.decode(errors="replace").strip().split("\n")[0]
    if "No such file or directory" in said and arguments[:2] == ("-j", "list"):
        raise FileNotFoundError(errno.ENOENT, said)
    raise OSError(errno.EIO, f"cannot run nft {' '.join(arguments)}: saw {said!r}")


def _as_typed(line: str) -> str:
    """Quote a line so that a shell hands it on to nft as it is."""
    return f"'{line}'" if any(letter in line for letter in '{};"') else line
