"""Has names asked where VPN_DNS says: /etc/resolv.conf names our resolver, which asks as the tunnel stands.

Level, not edge: each wake-up has all of it looked at again. Our resolver stands from the start to the stop,
so that programs which read resolv.conf once are right for good; whom it asks changes with the tunnel.
"""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrypoint import resolv_conf, resolv_file
from entrypoint.detect import ContainerNetwork
from entrypoint.dns_silence import Silence
from entrypoint.dnsmasq import PROGRAM, Dnsmasq
from entrypoint.faults import BadSettings, MissingPrivilege
from entrypoint.inotify import FileWatch
from entrypoint.network import DNS_PORT
from entrypoint.resolv_conf import FILE, LISTEN, Choice, Upstream
from entrypoint.resolv_file import Note
from entrypoint.settings import Settings

log = logging.getLogger(__name__)

KEEP = "keep"
"""The value of VPN_DNS that leaves the container's resolver alone."""
COOL_DOWN_SECONDS = 0.5
"""After somebody else wrote the file: one who insists must not take the processor."""
SETTLE_SECONDS = 1.0
"""How long a tunnel waits with its "up" for its names: our resolver takes milliseconds when it is well."""
NONE_BROUGHT = (
    "the tunnel brings no resolver, so those from before are asked, past the tunnel; "
    "name the VPN's in VPN_DNS, or set VPN_DNS=keep"
)


def check(choice: Choice) -> None:
    """See that VPN_DNS can be done here; raises BadSettings or MissingPrivilege."""
    if choice == KEEP:
        return
    if not shutil.which(PROGRAM):
        raise BadSettings(f"cannot use VPN_DNS: saw no {PROGRAM} in this image; install dnsmasq-base")
    try:
        os.close(os.open(FILE, os.O_RDWR))
    except OSError as error:
        fix = (
            "make it root's own (chown root)"
            if error.errno == errno.EACCES
            else "leave `read_only: true` out (Kubernetes: readOnlyRootFilesystem), "
            f"or mount a file of your own at {FILE}"
        )
        raise BadSettings(f"cannot use VPN_DNS: cannot write {FILE}: saw {error.strerror}; {fix}") from None
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((str(LISTEN), DNS_PORT))
            except PermissionError:
                raise MissingPrivilege(
                    f"cannot use VPN_DNS: saw no permission to listen on port {DNS_PORT}; add "
                    "`cap_add: [NET_BIND_SERVICE]` or `sysctls: [net.ipv4.ip_unprivileged_port_start=0]`"
                ) from None
            except OSError as error:
                raise BadSettings(
                    f"cannot use VPN_DNS: cannot listen on {LISTEN}:{DNS_PORT}: saw {error.strerror}; a "
                    f"service that shares the network and listens on 0.0.0.0:{DNS_PORT} leaves no room: "
                    "set VPN_DNS=keep"
                ) from None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides who is asked."""

    upstream: Upstream | None = None
    """What the tunnel brings; None while there is none."""
    networks: Sequence[ContainerNetwork] = ()


class Dns:
    """Owns resolv.conf from `begin` to `close`, and our resolver; with VPN_DNS=keep it only mends."""

    def __init__(self, settings: Settings, run_dir: Path, look: Callable[[], Surroundings]) -> None:
        self.wake = asyncio.Event()
        """Set where what `look` tells may have changed."""
        # A client that may run programs of its own may write the file, too.
        programs = settings.vpn_client == "command" or "--script-security" in (settings.vpn_args or ())
        self._choice: Choice = settings.vpn_dns
        self._mends = self._choice != KEEP or programs
        self._look = look
        self._one = asyncio.Lock()
        self._dnsmasq = Dnsmasq(run_dir, self.wake.set)
        self._silence = Silence()
        self._before: str | None = None
        """What resolv.conf said before us and before the client; None until `begin`."""
        self._begun = False
        """Whether `begin` has read what a killed run noted."""
        self._note = Note(run_dir)
        self._written: str | None = None
        """What we wrote last."""
        self._rewritten = 0
        """How often somebody else wrote over it."""
        self._unwritable: str | None = None
        self._none_brought = False

    @property
    def problem(self) -> str | None:
        """What is not as VPN_DNS wants it; None where all is."""
        none = NONE_BROUGHT if self._none_brought else None
        return self._dnsmasq.problem or self._unwritable or none or self._silence.problem

    async def begin(self) -> None:
        """Mend what a killed run left, and have our resolver asked; raises BadSettings where it cannot."""
        try:
            present = resolv_file.read()
        except OSError:
            return  # where VPN_DNS is not keep, `check` has found it
        self._before = before = self._note.as_it_was(present)
        self._begun = True
        if self._mends:
            self._note.write(before)
        if self._choice == KEEP:
            await self.after_client()
            # Others write it as well, such as the engine when it connects a network.
            self._before = before if self._mends else None
            return
        networks = self._look().networks
        await self._dnsmasq.start(resolv_conf.servers(resolv_conf.parse(before), networks, Upstream()))
        await self.settle()
        if self._unwritable:
            raise BadSettings(f"cannot use VPN_DNS: {self._unwritable}; make room there")

    async def keep(self) -> None:
        """Follow what changes, until cancelled."""
        if self._choice == KEEP or self._before is None:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._dnsmasq.keep())
            parts.create_task(self._follow())

    async def after_client(self) -> None:
        """Settle once a client has ended: what it made of resolv.conf is undone, and what it brought."""
        if self._choice != KEEP:
            await self.settle()
        elif self._put_back():
            log.warning("%s had been changed and is put back as it was before the client", FILE)

    async def settle(self) -> None:
        """Compare file and resolver with what is wanted now, and make them so."""
        async with self._one:
            await self._mend()

    async def before_up(self) -> None:
        """Settle before the tunnel is said to be up; what is not settled in time is a `problem`."""
        if self._choice != KEEP:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self.settle()

    async def close(self) -> None:
        """Put resolv.conf back and end our resolver; client and `keep` have ended."""
        self._silence.end()
        self._put_back()
        await self._dnsmasq.stop()
        if self._begun:
            self._note.forget()

    async def _follow(self) -> None:
        watch = None
        try:
            watch = FileWatch(FILE, self.wake.set)
        except OSError as error:
            # A host grants each user some 128 of them, and all containers share root's.
            log.warning(
                "cannot watch %s: saw %s; what others write there is undone late", FILE, error.strerror
            )
        try:
            while True:
                await self.wake.wait()
                self.wake.clear()
                rewritten = self._rewritten
                await self.settle()
                if self._rewritten > rewritten:
                    await asyncio.sleep(COOL_DOWN_SECONDS)
        finally:
            if watch:
                watch.close()

    async def _mend(self) -> None:
        seen = self._look()
        upstream = seen.upstream or Upstream()
        none_brought = seen.upstream is not None and not upstream.resolvers
        if none_brought and not self._none_brought:
            log.warning("%s", NONE_BROUGHT)
        self._none_brought = none_brought
        text = self._before or ""
        before = resolv_conf.parse(text)
        try:
            changed = await self._dnsmasq.ask(resolv_conf.servers(before, seen.networks, upstream))
            present, wanted = resolv_file.read(), resolv_conf.render(text, upstream.search)
            if self._written not in {None, present}:
                self._rewritten += 1
                if self._rewritten == 1:
                    log.warning(
                        "%s was written by somebody else; VPN_DNS undoes that, `keep` would not", FILE
                    )
            if present != wanted:
                resolv_file.write(wanted)
            self._written = wanted
            self._unwritable = None
            if changed:
                asked = ", ".join(map(str, upstream.resolvers or before.resolvers))
                log.info("names are asked of %s", asked or "nobody: there is no resolver")
                self._silence.ask(upstream.resolvers, upstream.link)
        except OSError as error:
            problem = f"cannot write {error.filename or FILE}: saw {error.strerror}"
            if problem != self._unwritable:
                log.warning("%s", problem)
            self._unwritable = problem

    def _put_back(self) -> bool:
        """Make the file what it was; returns whether it was not."""
        try:
            if self._before is None or resolv_file.read() == self._before:
                return False
            resolv_file.write(self._before)
        except OSError as error:
            log.warning("cannot put %s back: saw %s; the next start tries again", FILE, error.strerror)
            return False
        return True
