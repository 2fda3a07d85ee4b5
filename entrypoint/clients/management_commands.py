"""Our lines to openvpn's management interface. No IO here.

Source: doc/management-notes.txt of openvpn 2.6.
"""

import re

from entrypoint.clients.ovpn_text import PARAMETER_MAX_BYTES

ASK_STATE = b"state\n"
"""Answered by one State that is not announced, and End."""
FOLLOW_STATE = b"state on all\n"
"""Answered by every State so far, and End; from then on each change is announced."""
ASK_VERBOSITY = b"verb\n"
"""Answered by Done with `verb=N`."""
STOP = b"signal SIGTERM\n"

_VERBOSITY_OF_COMMANDS = 3
"""From this level on openvpn logs each command that it is given, except passwords (D_MANAGEMENT_DEBUG)."""


def quote(value: str) -> str:
    """Write a value so that openvpn reads this very value.

    Raises ValueError with "holds ..." or "is ..." where openvpn could not, or would see a second command.
    """
    if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in value):
        raise ValueError("holds a line break or another control character, which openvpn cannot be given")
    if len(value.encode()) > PARAMETER_MAX_BYTES:
        raise ValueError(
            f"is longer than the {PARAMETER_MAX_BYTES} bytes that openvpn's management interface reads"
        )
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def password(about: str, value: str) -> bytes:
    """Write the answer to a question for a password alone; raises ValueError as `quote` does."""
    return f"password {quote(about)} {quote(value)}\n".encode()


def credentials(about: str, username: str, secret: str, verbosity: int) -> bytes:
    """Write the answer to a Question; raises ValueError as `quote` does.

    openvpn logs the user name from verbosity 3 on, so that is lowered for this one command.
    """
    named = f"username {quote(about)} {quote(username)}\n"
    if verbosity >= _VERBOSITY_OF_COMMANDS:
        named = f"verb {_VERBOSITY_OF_COMMANDS - 1}\n{named}verb {verbosity}\n"
    return named.encode() + password(about, secret)


def verbosity(text: str) -> int | None:
    """Read the answer to ASK_VERBOSITY; None where the text is another answer."""
    found = re.fullmatch(r"verb=(\d{1,2})", text, re.ASCII)
    return int(found[1]) if found else None
