"""What a killed run left behind and the kernel does not tell: its client, and that client's servers.

Kept in a small file of this network namespace, written when a client is started.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import psutil

from entrypoint.network import IPAddress

_FILE = "client.json"


def remember(run_dir: Path, pid: int, servers: Iterable[IPAddress]) -> None:
    """Note the running client; a later `servers` replaces the earlier."""
    with contextlib.suppress(psutil.NoSuchProcess):
        note = {
            "pid": pid,
            "started": psutil.Process(pid).create_time(),
            "servers": [str(server) for server in servers],
        }
        new = run_dir / f".{_FILE}"
        new.write_text(json.dumps(note))
        new.replace(run_dir / _FILE)


def forget(run_dir: Path) -> None:
    """Drop the note: the client has ended in order."""
    (run_dir / _FILE).unlink(missing_ok=True)


def find(run_dir: Path) -> tuple[psutil.Process | None, set[IPAddress]]:
    """Return the client of a killed run, if it still lives, and the servers that it had."""
    try:
        note = json.loads((run_dir / _FILE).read_text())
        servers = {ip_address(server) for server in note["servers"]}
        process = psutil.Process(note["pid"])
        # The start time tells the process from a later one with the same number.
        same = process.create_time() == note["started"] and process.pid != os.getpid()
    except psutil.NoSuchProcess:
        return None, servers
    except (OSError, ValueError, KeyError, TypeError):
        return None, set()
    return (process if same else None), servers
