"""What a program writes is hidden as it is written, and costs nobody else's time."""

import time
from pathlib import Path

from tests.lab.addresses import V4
from tests.lab.topology import Lab
from tests.lab.waiting import until
from tests.tunnel.product import Product, our_rules

PASSWORD = "correct\u00a0horse-9f3a7"  # noqa: S105 - of nobody


def _hook(directory: Path, script: str) -> str:
    file = directory / "hook"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_a_secret_is_hidden_where_its_text_is_changed_or_cut(lab: Lab, tmp_path: Path) -> None:
    """A blank of another kind becomes a plain one, and a line too long is told in parts."""
    product = Product(lab, tmp_path, login=("alice", PASSWORD))
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    for before in range(4080, 4100):
        (tmp_path / f"long{before}").write_text("x" * before + PASSWORD + "\n")
    hook = _hook(tmp_path, f"cat {secret}; echo; for each in {tmp_path}/long*; do cat $each; done; exit 3")
    sidecar = product.start(VPN_USERNAME="alice", VPN_PASSWORD_FILE=str(secret), ON_UP=hook)
    sidecar.wait_for_line("ON_UP failed: it ended with exit code 3")
    everything = "\n".join(sidecar.lines) + sidecar.readiness()[1]
    assert everything.count("***") >= 20
    for start in range(len(PASSWORD) - 5):
        for part in (PASSWORD[start : start + 6], PASSWORD[start : start + 6].replace("\u00a0", " ")):
            assert part not in everything


def test_a_program_that_floods_holds_up_no_repair(lab: Lab, tmp_path: Path) -> None:
    """As fast as it can, each line another: rules are back and health answers all the same."""
    product = Product(lab, tmp_path)
    sidecar = product.start(ON_UP=_hook(tmp_path, "exec timeout 15 seq 1000000000"))
    sidecar.wait_for_line(r"ON_UP: \(\d+ more such lines\)")
    waits = []
    for _ in range(20):
        lab.sidecar.ip("rule del priority 90 from 172.30.0.0/16")
        began = time.monotonic()
        until(lambda: any(rule.get("src") == "172.30.0.0" for rule in our_rules(lab.sidecar, V4)), 5, "it")
        until(sidecar.ready, 5, "readiness")
        waits.append(time.monotonic() - began)
    # Half of it is what our own looking takes.
    assert sorted(waits)[10] < 0.3, waits
    assert len(sidecar.lines) < 2000
    assert sidecar.terminate() == 0
