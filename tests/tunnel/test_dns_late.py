"""VPN_DNS with a resolver of ours that is slow or stands still: nothing is claimed that is not so."""

import os
import signal
from pathlib import Path

import pytest

from tests.lab.addresses import V4
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.product import kill
from tests.tunnel.test_dns import ASKED, DOCKERS, INTRANET, Names, names, ours


def _dns_problem(sidecar: Sidecar) -> str | None:
    lines = sidecar.readiness()[1].splitlines()
    return next((line for line in lines if line.startswith("[!] dns: ")), None)


def _told(sidecar: Sidecar, text: str, after: int = 0) -> list[int]:
    return [n for n, line in enumerate(sidecar.lines) if n >= after and text in line]


def test_names_go_by_the_tunnel_before_it_is_said_to_be_up(lab: Lab, tmp_path: Path) -> None:
    """At the start and after a restart: whoever reads "ready" asks the next moment."""
    made = names(lab, tmp_path)
    sidecar = made.up(LOG_LEVEL="debug")
    kill(sidecar.status()["client"]["pid"])
    until(lambda: len(_told(sidecar, "-> up")) > 1, 10, "the tunnel to be up again")
    asked, ups = _told(sidecar, f"{ASKED}{V4.server_b}"), _told(sidecar, "-> up")
    assert [names_at < up_at for names_at, up_at in zip(asked, ups, strict=True)] == [True, True]


def test_a_resolver_that_does_not_say_whom_it_asks_is_told(lab: Lab, tmp_path: Path) -> None:
    """The tunnel is not held up by it, health warns, and the log claims nothing until it is so."""
    made = names(lab, tmp_path)
    sidecar = made.up()
    (stopped,) = ours(made)
    os.kill(stopped, signal.SIGSTOP)
    told = len(sidecar.lines)
    kill(sidecar.status()["client"]["pid"])
    until(lambda: sidecar.status()["restarts"] == 1 and sidecar.ready(), 10, "the tunnel to be back")
    assert "dnsmasq does not say that it asks whom it was told" in (_dns_problem(sidecar) or "")
    assert not _told(sidecar, ASKED, told)
    os.kill(stopped, signal.SIGCONT)
    until(lambda: _dns_problem(sidecar) is None, 5, "the warning to go")
    sidecar.wait_for_line(f"{ASKED}{V4.server_b}", after=told)
    assert sidecar.look_up("intranet.corp.example") == INTRANET


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """Give the file that keeps our resolver from starting, and ones behind PATH that looks for it."""
    held = tmp_path / "held"
    program = tmp_path / "bin/dnsmasq"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nwhile [ -e {held} ]; do sleep 0.05; done\nexec /usr/sbin/dnsmasq "$@"\n')
    program.chmod(0o755)
    return held


def _slow(made: Names, held: Path) -> Sidecar:
    return made.sidecar(PATH=f"{held.parent / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin")


def test_a_resolver_that_is_slow_to_start_is_waited_for(lab: Lab, tmp_path: Path, held: Path) -> None:
    """It is told meanwhile; then it asks whom it is to ask by then, not whom it was at its start."""
    held.touch()
    made = names(lab, tmp_path)
    sidecar = _slow(made, held).start()
    sidecar.wait_for_line("dnsmasq does not say that it listens")
    sidecar.wait_until_ready()
    assert _dns_problem(sidecar)
    assert not _told(sidecar, ASKED)
    held.unlink()
    until(lambda: _dns_problem(sidecar) is None, 5, "the warning to go")
    sidecar.wait_for_line(f"{ASKED}{V4.server_b}")
    assert sidecar.look_up("intranet.corp.example") == INTRANET
    kill(sidecar.status()["client"]["pid"])
    sidecar.wait_for_line(f"{ASKED}{DOCKERS}")
    assert sidecar.terminate() == 0
    assert made.file.read_text() == made.original
