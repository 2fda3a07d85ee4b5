"""What can be wrong at the start, and the exit code that says so."""

from typing import ClassVar

EXIT_INTERNAL = 70
"""A fault of ours (EX_SOFTWARE of sysexits.h)."""


class Fault(Exception):  # noqa: N818 - "fault" is the word of the documents and the log
    """Something that only the user can mend; ends the process with its own exit code.

    Each text follows "cannot X: saw Y; do Z" and names the setting or the compose line.
    """

    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, *texts: str) -> None:
        """Take every text at once: all faults are told in one message."""
        super().__init__("\n".join(texts))
        self.texts = texts


class BadSettings(Fault):
    """Settings that cannot work (EX_CONFIG of sysexits.h)."""

    exit_code = 78


class MissingPrivilege(Fault):
    """A capability or device that the container was not given (EX_NOPERM of sysexits.h)."""

    exit_code = 77
