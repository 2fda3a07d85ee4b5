"""Whether a program that a setting names can be started."""

import os
import shutil
from pathlib import Path

ELF = b"\x7fELF"
HEAD_BYTES = 256
"""What the kernel reads of a program to see how it is started (BINPRM_BUF_SIZE of linux/binfmts.h)."""


def why_it_cannot_start(program: str) -> str | None:
    """Say why the kernel would not start a program; None where it would."""
    path = Path(program) if "/" in program else None
    if path is None:
        found = shutil.which(program)
        if found is None:
            return f"saw no program {program!r} in PATH; install it in the image, or write its whole path"
        path = Path(found)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return f"saw {error.strerror} for {program}; correct the path, or install the program in the image"
    if not os.access(path, os.X_OK):
        return f"saw that {program} is not executable; chmod +x it, or start it by its interpreter"
    if head.startswith(b"#!"):
        interpreter = (head[2:].splitlines()[0].split() or [b""])[0].decode(errors="replace")
        if not os.access(interpreter, os.X_OK):
            return f"saw that {program} needs {interpreter!r}, which is not there; install it in the image"
    elif not head.startswith(ELF):
        return f"saw neither a program nor a #! line in {program}; start it by its interpreter"
    return None
