import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrypoint import parse
from entrypoint.parse_network import RULE_PRIORITY_LAST
from entrypoint.settings import TABLE, Setting
from tests.unit.samples import SAMPLES

LONGEST_MESSAGE = 400
"""Characters: a fault is read in a log, where a value of 64 KiB would hide it."""

rows = st.sampled_from(TABLE)
near_misses = st.builds(
    lambda start, sample, noise, end: start + sample + noise + end,
    st.text(max_size=3),
    st.sampled_from([*SAMPLES.values(), "all", "auto", "off", "1-", "::/0", "eth0=", "[::1%lo]:80", "'"]),
    st.text(st.characters(), max_size=8),
    st.sampled_from(["", ",", "\n", " ", "/", "%", "=", "\x1f", "\u2028", "\ud800"]),
)
anything = st.one_of(st.text(st.characters(), min_size=1), near_misses)


def complaint(row: Setting, text: str) -> ValueError | None:
    """Return what a row says against a text; any other exception passes through."""
    try:
        row.parse(text)
    except ValueError as error:
        return error
    return None


@given(rows, anything)
@example(next(row for row in TABLE if row.name == "RULE_PRIORITY"), "9" * 5000)
@example(next(row for row in TABLE if row.name == "VPN_UP_TIMEOUT"), "٣s")
@example(next(row for row in TABLE if row.name == "LAN_NETWORKS"), "fe80::1%eth0/64")
def test_any_text_is_a_value_or_one_line_of_what_is_wrong(row: Setting, text: str) -> None:
    """No parser raises anything but ValueError, whose message is a short line that begins with the name."""
    error = complaint(row, text)
    assert error is None or type(error) is ValueError
    assert error is None or len(str(error).splitlines()) == 1
    assert error is None or str(error).startswith(row.name)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("character", ["x", "\n", "9"])
def test_a_message_stays_short_however_long_the_value(row: Setting, character: str) -> None:
    """A certificate pasted into the wrong setting does not fill the log."""
    assert len(str(complaint(row, character * 10_000))) <= LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("24h", 86400), ("1ms", 0.001)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    """Whole numbers with a unit, to a day."""
    assert parse.duration(text) == seconds


@pytest.mark.parametrize("text", ["0s", "30", "1.5s", "-1s", "1 s", "1S", "25h", "99999999999ms", "s", "1sm"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A bare number has no unit that could be guessed; zero would mean no attempt at all."""
    with pytest.raises(ValueError, match="whole number and its unit"):
        parse.duration(text)


def test_words_are_read_as_a_shell_reads_them() -> None:
    """Quotes keep blanks together."""
    assert parse.words("--setenv UV_SITE 'head office'") == ("--setenv", "UV_SITE", "head office")


def test_a_null_byte_is_no_part_of_a_command() -> None:
    """A file can hold one, and no program can be started with it."""
    with pytest.raises(ValueError, match="null byte"):
        parse.words("--setenv A b\0c")


def test_an_open_quote_is_told_as_one() -> None:
    """The text says how to mend it, and not what a library said."""
    with pytest.raises(ValueError, match=r"not quoted as in a shell .*; close the quote"):
        parse.words("--setenv UV_SITE 'head office")


@pytest.mark.parametrize("text", ["0", "32766", "9" * 5000, "-1", "1.0", "0x5a", ""])
def test_what_is_no_number_in_range_is_refused(text: str) -> None:
    """Both ends are told; int() itself refuses thousands of digits in words of its own."""
    with pytest.raises(ValueError, match="is no whole number from 1 to 32764"):
        parse.number(1, RULE_PRIORITY_LAST)(text)


@pytest.mark.parametrize("text", ["1ms", "999ms"])
def test_nobody_is_asked_more_often_than_once_a_second(text: str) -> None:
    """Somebody else's machine answers."""
    with pytest.raises(ValueError, match="asks too often; take 1s or more"):
        parse.interval(text)
    assert parse.interval("1s") == 1.0


@pytest.mark.parametrize("text", [" ", "''", '"" a'])
def test_a_command_names_a_program(text: str) -> None:
    """Blanks alone, or an empty first word, are nothing that could be run."""
    with pytest.raises(ValueError, match="names no program"):
        parse.command(text)
