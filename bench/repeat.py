"""Runs a command again and again and tells what each run took.

`python -m bench.repeat TIMES PROGRAM ARGUMENT...` prints a JSON list of [wall, cpu] in seconds. It stands
in the namespaces that the command needs, so that entering them is not counted.
"""

import json
import os
import shutil
import sys
import time


def once(program: str, argv: list[str]) -> tuple[float, float]:
    """Run it, silently; return wall and CPU time in seconds. Raises RuntimeError when it fails."""
    started = time.monotonic()
    # posix_spawn, since a fork's copying would be charged to the child.
    pid = os.posix_spawn(
        program, argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - started
    if code := os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"cannot measure {' '.join(argv)}: saw exit status {code}; run it by hand")
    return wall, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run the command and print the list."""
    times, argv = int(sys.argv[1]), sys.argv[2:]
    program = shutil.which(argv[0])
    if program is None:
        raise RuntimeError(f"cannot measure {argv[0]}: saw no such program; install it")
    print(json.dumps([once(program, argv) for _ in range(times)]))


if __name__ == "__main__":
    main()
