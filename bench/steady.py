"""What a contender costs while it is up: idle, and at each HEALTHCHECK."""

import http
import http.client
import json
import os
import shutil
import time
from dataclasses import dataclass

from bench import procfs
from bench.clients import Contender
from bench.image import PYTHON, Image
from bench.trial import Stage
from tests.lab.sidecar import HEALTH
from tests.lab.traffic import ROOT

SETTLE = 2.0
"""Seconds after the start until what came with it is over."""
PROBES = 20
"""Runs of each health check."""
_URL = f"http://{HEALTH[0]}:{HEALTH[1]}/readyz"


@dataclass(frozen=True, slots=True)
class Probe:
    """Runs of one health check; times in seconds."""

    name: str
    wall: list[float]
    cpu: list[float]


def idle(stage: Stage, contender: Contender, seconds: float) -> dict[str, procfs.Work]:
    """Leave a contender alone; return what each of its processes did meanwhile, by name."""
    with stage.up(contender) as process:
        time.sleep(SETTLE)
        processes = procfs.tree(process.pid)
        before = {pid: procfs.work(pid) for pid in processes}
        time.sleep(seconds)
        after = {pid: procfs.work(pid) for pid in processes}
    return {name: after[pid] - before[pid] for pid, name in processes.items()}


def health_checks(stage: Stage, contender: Contender, image: Image) -> list[Probe]:
    """Run the image's HEALTHCHECK and its usual alternatives inside a container that is ready."""
    fetch = f"import urllib.request; urllib.request.urlopen({_URL!r}, timeout=3)"
    commands = {
        "HEALTHCHECK": image.healthcheck,
        **({"curl -fsS": ("curl", "-fsS", _URL)} if shutil.which("curl") else {}),
        "python urllib": (*PYTHON, "-c", fetch),
    }
    with stage.up(contender) as process:
        return [_probe(stage, process.pid, name, argv, image) for name, argv in commands.items()]


def scraped(stage: Stage, contender: Contender) -> procfs.Memory:
    """Return what the program itself takes once /metrics was asked for."""

    def scrape() -> None:
        connection = http.client.HTTPConnection(*HEALTH, timeout=5)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"/metrics answered {answer.status}")

    with stage.up(contender) as process:
        stage.lab.sidecar.call(scrape)
        return procfs.memory(process.pid)


def _probe(stage: Stage, pid: int, name: str, argv: tuple[str, ...], image: Image) -> Probe:
    """Run one command in the network and the mounts of process `pid`."""
    runner = stage.lab.sidecar.spawn(
        *("nsenter", f"--target={pid}", "--mount", "--"),
        *(*PYTHON, "-m", "bench.repeat", str(PROBES), *argv),
        environment={"PATH": os.environ["PATH"], **image.environment},
        directory=ROOT,
        name=name,
    )
    pairs = json.loads(runner.wait_for_line(r"^\[\[", timeout=PROBES * 5))
    return Probe(name, [wall for wall, _ in pairs], [cpu for _, cpu in pairs])
