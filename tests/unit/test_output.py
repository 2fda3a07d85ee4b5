"""What is told of a program's output, and what is left out of it."""

import asyncio

import pytest

from entrypoint import log
from entrypoint.files import Secret
from entrypoint.output import LAST_WORDS, LINE_MAX_BYTES, LINES_PER_SECOND, Output


def relayed(*blocks: bytes) -> tuple[list[str], list[str]]:
    """Return the lines that are told of these blocks, and the last words."""
    told: list[str] = []

    async def work() -> list[str]:
        output, stream = Output(told.append), asyncio.StreamReader()
        relaying = asyncio.create_task(output.relay(stream))
        for block in blocks:
            stream.feed_data(block)
            await asyncio.sleep(0.01)
        stream.feed_eof()
        await relaying
        output.tell_left_out()
        return list(output.last_words)

    return told, asyncio.run(work())


def test_lines_are_told_wherever_the_blocks_end() -> None:
    """Also within a letter of several bytes; a last line needs no end, and empty ones are not told."""
    letter = "ü".encode()
    told, _ = relayed(b"one\ntw" + letter[:1], letter[1:] + b"o\n\n\nthree")
    assert told == ["one", "twüo", "three"]


def test_no_control_character_is_passed_on() -> None:
    """A server has its say in here, and a terminal would obey."""
    assert relayed(b"a\x1b[31mb\r\n")[0] == ["a [31mb"]


def test_the_same_line_again_is_counted() -> None:
    """What a client says a thousand times is read once."""
    assert relayed(b"again\n" * 5 + b"other\n")[0] == ["again", "(4 more such lines)", "other"]


def test_of_a_flood_a_share_is_told_and_the_last_words_are_kept() -> None:
    """They say why it ended; the others are counted."""
    lines = [f"line {number}" for number in range(2000)]
    told, words = relayed("\n".join(lines).encode())
    assert told == [*lines[:LINES_PER_SECOND], f"({len(lines) - LINES_PER_SECOND} more such lines)"]
    assert words == lines[-LAST_WORDS:]


def test_a_line_without_an_end_is_told_in_parts() -> None:
    """It would fill memory."""
    told, _ = relayed(b"x" * LINE_MAX_BYTES, b"yes\n")
    assert told == ["x" * LINE_MAX_BYTES, "yes"]


def test_such_a_line_is_not_cut_within_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one would be known to nobody, and shown."""
    monkeypatch.setattr("entrypoint.output.hide", hide := log.Hider())
    hide.know((Secret("VPN_PASSWORD", "hush-hush"),))
    told, _ = relayed(b"x" * (LINE_MAX_BYTES - 4) + b"hush", b"-hush yes\n")
    assert told == ["x" * (LINE_MAX_BYTES - 4), "*** yes"]
