"""The last step before the program that is measured: tell the time and the CPU used so far, then become it.

`python -S -m bench.gate PROGRAM ARGUMENT...` prints `gate MONOTONIC CPU`, both in seconds. What led here
(nsenter, this interpreter) is the same process, and the mounts were its children: they would count otherwise.
"""

import os
import sys
import time

if __name__ == "__main__":
    ended = os.times()
    spent = time.process_time() + ended.children_user + ended.children_system
    print("gate", time.monotonic(), spent, flush=True)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - becoming the program is what this is for
