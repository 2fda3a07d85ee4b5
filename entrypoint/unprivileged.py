"""Runs a program without any capability: `python3 -I -S unprivileged.py PROGRAM [ARGUMENT...]`.

Imports nothing of ours. setpriv cannot do it where NET_ADMIN is all there is: to shrink the bounding set
takes CAP_SETPCAP, and without that root is given its capabilities anew with each exec. Under no_new_privs
exec gives no more than there was before (cap_bprm_creds_from_file() of the kernel), and to have nothing is
free.
"""

import ctypes
import os
import sys

EXIT_NOT_STARTED = 127
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h: two words of each set


def main() -> None:
    """Give up everything and become the program."""
    kernel = ctypes.CDLL(None, use_errno=True)
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or kernel.capset(header, nothing):
        sys.exit(f"cannot give up capabilities: saw {os.strerror(ctypes.get_errno())}")
    os.environ.pop("LC_CTYPE", None)  # Python itself sets it where the locale is C (PEP 538)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]}: {error.strerror}\n")
        sys.exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    main()
