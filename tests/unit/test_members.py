"""In which order processes are looked at."""

import pytest

from entrypoint.members import newest_first


@pytest.mark.parametrize(
    ("last", "expected"),
    [(900, [900, 7, 1, 32760]), (7, [7, 1, 32760, 900]), (32767, [32760, 900, 7, 1])],
    ids=["on its way", "wrapped", "about to wrap"],
)
def test_the_newest_come_first_although_numbers_begin_anew(last: int, expected: list[int]) -> None:
    """Else one that forks on and on is hidden behind those who have the high numbers for long."""
    assert newest_first([1, 7, 900, 32760], last, 32768) == expected
