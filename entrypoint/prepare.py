"""Looks at all that can be wrong before anything is changed: settings, files, port, privileges."""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from entrypoint import dns, hooks, machine, reach
from entrypoint.clients import choose
from entrypoint.clients.base import Client
from entrypoint.faults import BadSettings, Fault, MissingPrivilege
from entrypoint.settings import Settings
from healthcheck import ask
from healthcheck.server import listen


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run begins with."""

    client: Client
    endpoint: socket.socket | None
    """The health endpoint's, which listens; None where HEALTH_LISTEN is off."""
    run_dir: Path
    """A folder that is there, that only we may enter, for what belongs to this run."""


def prepare(settings: Settings, stack: contextlib.ExitStack, *, group: int | None) -> Prepared:
    """Make the client and take the port, which `stack` gives back; raises every fault in one message.

    `group` is that of a client that cannot mark its packets; None for our own.
    MissingPrivilege where a privilege was what was found first, else BadSettings.
    """
    run_dir = machine.run_dir()
    faults: list[Fault] = []
    client, endpoint = None, None
    try:
        client = choose.create(settings, run_dir, ipv6=machine.has_ipv6(), group=group)
    except BadSettings as fault:
        faults.append(fault)
    try:
        endpoint = stack.enter_context(_endpoint(settings, run_dir))
    except BadSettings as fault:
        faults.append(fault)
    checks: tuple[Callable[[], None], ...] = (
        lambda: hooks.check(settings),
        lambda: reach.check(settings.health_target),
        lambda: dns.check(settings.vpn_dns),
        lambda: machine.check_privileges(client.device if client else None),
    )
    for check in checks:
        try:
            check()
        except (BadSettings, MissingPrivilege) as fault:
            faults.append(fault)
    if faults or client is None:
        texts = [text for fault in faults for text in fault.texts]
        raise type(faults[0])(*texts)
    return Prepared(client, endpoint, run_dir)


@contextlib.contextmanager
def _endpoint(settings: Settings, run_dir: Path) -> Iterator[socket.socket | None]:
    """Take the port before anything else changes, and note for our own commands where that is."""
    named = run_dir / ask.ENDPOINT_FILE
    sock, text = None, ask.OFF
    if settings.health_listen:
        host, port = settings.health_listen
        text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            sock = listen(host, port)
        except OSError as error:
            fix = (
                "take an address of the container's own networks, 0.0.0.0 or 127.0.0.1 (the tunnel's side is "
                "never heard)"
                if error.errno == errno.EADDRNOTAVAIL
                else "take a port that is free in this network namespace, or `off`"
            )
            raise BadSettings(f"cannot listen on HEALTH_LISTEN={text}: saw {error.strerror}; {fix}") from None
    new = named.with_suffix(".new")
    try:
        new.write_text(text + "\n")
        new.replace(named)
    except OSError as error:
        raise BadSettings(f"cannot write {named}: saw {error.strerror}; make room there") from None
    try:
        yield sock
    finally:
        named.unlink(missing_ok=True)
        if sock:
            sock.close()
