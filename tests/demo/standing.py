"""The lab kept standing: a keeper process owns it, and a locked file lets other shells find that."""

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.demo.show import say
from tests.demo.stage import Stage, vpn_address
from tests.lab.addresses import V4
from tests.lab.namespaces import remove_prefix
from tests.lab.topology import Lab
from tests.lab.traffic import ROOT
from tests.lab.waiting import until

START_SECONDS, STOP_SECONDS = 30, 30

_HOW_TO = """
The lab stands. To play with it as root, first paste this, then any of the lines below:

  on() {{ ip netns exec {name}-"$@"; }}; get() {{ on "$1" curl --noproxy '*' -sS -m 2 "${{@:2}}"; }}

  both ways   get laptop http://{lan}/
              get server_b http://{vpn}/
              get twin --interface {twin} http://{vpn}/
  the rule    on sidecar ip rule; on sidecar ip route show table 7100
  delete it   on sidecar ip rule del priority 90; on sidecar ip rule
  or worse    on sidecar ip route flush table 7100; on sidecar ip route show table 7100
  health      get sidecar http://127.0.0.1:9797/readyz
              get sidecar http://127.0.0.1:9797/status
  break it    on sidecar ip link del tun0; get sidecar http://127.0.0.1:9797/readyz
  the log     tail -n +1 -f {log}
  a shell     on laptop bash

  take it away: {down}
"""
NAME = "sidegate-demo"
"""A name for people, not one of a run: the hosts' names are typed at the shell."""


class Standing:
    """A lab under a name, kept by a process of its own."""

    def __init__(self, name: str = NAME) -> None:
        """Speak of the lab `name`; it may stand or not."""
        self.name = name
        # Not below /run: the sidecar has a /run of its own, and its configuration has to be seen there.
        self.directory = Path("/var/lib") / name
        self.log = self.directory / "log"
        # The keeper locks this file as long as it lives: no process id is ever taken for another's.
        self._file = self.directory / "keeper.json"
        own = [] if name == NAME else ["--name", name]
        self._command = [sys.executable, "-m", "tests.demo", *own]
        self._down = shlex.join([*self._command, "down"]) if own else "make demo-down"

    def up(self) -> int:
        """Start a keeper, return when its lab stands, and say how to play with it."""
        if self._locked():
            say(f"it stands already; take it away first: {self._down}")
            return 1
        self._remove()
        self.directory.mkdir(mode=0o700)
        with self.log.open("w") as log:
            keeper = subprocess.Popen(
                [*self._command, "keep"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(lambda: keeper.poll() is not None or self._state(), START_SECONDS, "the lab to stand")
        except BaseException:
            keeper.terminate()
            keeper.wait(STOP_SECONDS)
            raise
        if keeper.poll() is not None:
            say(self.log.read_text())
            return 1
        say(
            _HOW_TO.format(
                name=self.name,
                lan=V4.server_a,
                vpn=self._state()["vpn_address"],
                twin=V4.twin,
                log=self.log,
                down=self._down,
            )
        )
        if not shutil.which("curl"):
            say("  (curl is missing here: apt-get install curl)\n")
        return 0

    def keep(self) -> int:
        """Own the lab until a signal ends this process; the sidecar's log goes to standard output."""
        with self._file.open("a") as state:
            fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state.truncate(0)
            with Lab(prefix=self.name) as lab:
                stage = Stage(lab, self.directory)
                with stage.sidegate():
                    json.dump({"pid": os.getpid(), "vpn_address": vpn_address(stage)}, state)
                    state.flush()
                    for line in stage.sidecar.process.follow():
                        say(line)
        return 1

    def down(self) -> int:
        """End the keeper, wherever it was started, and remove what a killed one left."""
        stood = self._locked()
        if stood:
            pid = until(self.keeper, START_SECONDS, "the lab that is being built")
            os.kill(pid, signal.SIGTERM)
            until(lambda: not self._locked(), STOP_SECONDS, "the end of the lab's keeper")
        left = self._remove()
        say("taken away" if stood or left else "nothing stood")
        return 0

    def _remove(self) -> bool:
        """Remove hosts and files that no keeper owns any more; return whether there were hosts."""
        left = remove_prefix(self.name)
        shutil.rmtree(self.directory, ignore_errors=True)
        return left

    def keeper(self) -> int | None:
        """Return the process id of the keeper whose lab stands."""
        return int(self._state()["pid"]) if self._locked() and self._state() else None

    def _state(self) -> dict[str, Any]:
        """Return what the keeper wrote; nothing before its lab stands."""
        text = self._file.read_text() if self._file.exists() else ""
        return dict(json.loads(text)) if text else {}

    def _locked(self) -> bool:
        """Whether a keeper lives."""
        if not self._file.exists():
            return False
        with self._file.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
