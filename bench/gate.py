"""The last step before the program that is measured: tell the time and the CPU used so far, then become it.

`python -S -m bench.gate PROGRAM ARGUMENT...` prints `gate MONOTONIC CPU`, both in seconds. What led here
(nsenter, mounts, this interpreter) is the same process and would count otherwise.
"""

import os
import sys
import time

if __name__ == "__main__":
    print("gate", time.monotonic(), time.process_time(), flush=True)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - becoming the program is what this is for
