"""The HEALTHCHECK command: exit 0 when ready, else 1, and say why on one line."""

import os
import sys
from contextlib import suppress

from healthcheck.ask import AskError, ask

SAID_BYTES_MAX = 4096
"""Docker keeps no more of what a health check says."""

_READY = 200
_NOT_READY = 503
_OK = "[+] "
_WARNING = "[!] "
_BROKEN = "[-] "


def check(directory: str | None = None) -> tuple[bool, str]:
    """Ask for readiness; returns whether the sidecar is ready, and why or why not."""
    try:
        answer = ask("/readyz", directory=directory)
    except AskError as error:
        return False, str(error)
    lines = answer.body.splitlines()
    if answer.status == _READY and lines and all(line.startswith((_OK, _WARNING)) for line in lines):
        told = (line.removeprefix(_OK).replace(_WARNING, "warning: ", 1) for line in lines)
        return True, "ready: " + "; ".join(told)
    first = lines[0] if lines else "nothing"
    if answer.status == _NOT_READY and first.startswith(_BROKEN):
        return False, f"not ready: {first.removeprefix(_BROKEN)}"
    return False, (
        f"cannot tell health: saw status {answer.status} and {first[:80]!r} for /readyz; "
        "is HEALTH_LISTEN another program's port? else read sidegate's log"
    )


def main() -> int:
    """Say one line on standard output and return the exit status."""
    try:
        ready, text = check()
    except Exception as error:  # noqa: BLE001 - Docker knows 0 and 1 alone; a traceback would say neither
        ready, text = False, f"cannot tell health: saw {error!r}; this is a fault of sidegate"
    line = text.encode("utf-8", "backslashreplace")[: SAID_BYTES_MAX - 1] + b"\n"
    with suppress(OSError):  # where nobody listens, the exit status still tells
        os.write(1, line)
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
