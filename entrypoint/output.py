"""A program's output: cut into lines, secrets hidden, of a flood only so much that the loop stays free."""

import asyncio
import codecs
import collections
from collections.abc import Callable

from entrypoint.log import hide, printable

LAST_WORDS = 6
"""Lines that are told when a client ends by itself: openconnect says five more after the reason."""
LINE_MAX_BYTES = 4096
"""A longer line is told in parts."""
LINES_PER_SECOND = 100
"""A client's start takes some 40. OpenVPN whose link was deleted writes thousands, all the same."""
LOOKED_AT_PER_SECOND = 10 * LINES_PER_SECOND
"""So many lines are searched for secrets and compared with the one before, which costs time; of more only the
last of each block are."""
BLOCK_BYTES = 64 * 1024
"""As much as a pipe holds (pipe(7))."""
BLOCK_PAUSE_SECONDS = 0.001
"""Between two blocks of one that floods: repairs and health have their turn."""


class Output:
    """What one program writes."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        """`on_line` is given each line that is told."""
        self.last_words: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)
        """Its last lines, told or not."""
        self._on_line = on_line
        self._second_began = 0.0
        self._looked_at = self._told = 0
        """Lines since that second began."""
        self._left_out = 0
        """Lines since the last one that was told."""
        self._last = ""
        """The last one that was told."""

    async def relay(self, stream: asyncio.StreamReader) -> None:
        """Read it to its end."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest, ended = "", False
        while not ended:
            block = await stream.read(BLOCK_BYTES)
            ended = not block
            *lines, rest = (rest + decoder.decode(block, final=ended)).split("\n")
            if ended:
                lines.append(rest)
            elif len(rest) >= LINE_MAX_BYTES:
                # Not within a secret: half of it would be known to nobody.
                begun = len(rest) - hide.begun(rest)
                lines, rest = [*lines, rest[:begun]], rest[begun:]
            for number, line in enumerate(lines, 1):
                if self._share_is_used() and number <= len(lines) - LAST_WORDS:
                    self._left_out += 1
                else:
                    self._take(line)
            await asyncio.sleep(BLOCK_PAUSE_SECONDS if self._share_is_used() else 0)

    def tell_left_out(self) -> None:
        """Say how many lines were not told since the last one that was."""
        if self._left_out:
            self._on_line(f"({self._left_out} more such lines)")
            self._left_out = 0

    def _share_is_used(self) -> bool:
        """Tell whether so much was written within this second that not all of it is looked at."""
        now = asyncio.get_running_loop().time()
        return self._looked_at >= LOOKED_AT_PER_SECOND and now - self._second_began < 1

    def _take(self, line: str) -> None:
        self._looked_at += 1
        # A server has its say in here: no control character of its may steer a terminal.
        text = printable(hide(line))
        if text:
            self.last_words.append(text)
            self._tell(text)

    def _tell(self, text: str) -> None:
        """Pass a line on, unless it is the last one again, or this second's share is used."""
        now = asyncio.get_running_loop().time()
        if now - self._second_began >= 1:
            self.tell_left_out()
            self._second_began, self._told, self._looked_at = now, 0, 0
        if text == self._last or self._told >= LINES_PER_SECOND:
            self._left_out += 1
            return
        self.tell_left_out()
        self._told += 1
        self._last = text
        self._on_line(text)
