"""Why a command of the user's cannot be run, found out before it is needed."""

import os
import shutil
from pathlib import Path

from entrypoint.parse import shown

_ELF = b"\x7fELF"
_HEAD_BYTES = 256
"""What the kernel reads of a program to see how it is started (BINPRM_BUF_SIZE of linux/binfmts.h)."""


def why_not(name: str) -> str | None:
    """Say why a command cannot be run that begins with this word; None where nothing speaks against it."""
    found = shutil.which(name)
    if found:
        return _why_the_kernel_refuses(name, Path(found))
    if "/" not in name:
        return (
            f"saw no program {shown(name)} in PATH={os.environ.get('PATH', '')}; install it, or give its path"
        )
    if Path(name).is_file():
        return f"saw that {shown(name)} may not be executed; set its mode (chmod +x)"
    return f"saw no program {shown(name)}; mount it there, or name one that is in the image"


def _why_the_kernel_refuses(name: str, path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None  # what may be executed need not be readable
    if head.startswith(b"#!"):
        interpreter = (head[2:].splitlines()[0].split() or [b""])[0].decode(errors="replace")
        if not os.access(interpreter, os.X_OK):
            return (
                f"saw that {shown(name)} needs {interpreter!r}, which is not there; install it in the image"
            )
    elif not head.startswith(_ELF):
        return f"saw neither a program nor a #! line in {shown(name)}; start it by its interpreter"
    return None
