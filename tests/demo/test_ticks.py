"""The marks of axes and their labels."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jchannel.demo.ticks import count_things, format_day, format_number, number_ticks, outer_ticks, time_ticks


def at(*when: int) -> float:
    return (datetime(*when, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000  # type: ignore[arg-type,misc]


def labels(ticks: list[tuple[float, str]]) -> list[str]:
    return [write_plainly(label) for _, label in ticks]


def write_plainly(label: str) -> str:
    """A label with hyphens in the place of minus signs."""
    return label.replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (-1.6, 35.6, 4, ["0", "10", "20", "30"]),
        (0, 1, 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (1880, 2020, 3, ["1900", "1950", "2000"]),
        (0, 30_000, 3, ["0", "10,000", "20,000", "30,000"]),
        (0, 4e9, 2, ["0", "2e9", "4e9"]),
        (-3, -1, 2, ["-3", "-2", "-1"]),
        (0.1, 0.3, 2, ["0.1", "0.2", "0.3"]),
        (7, 7, 4, ["7"]),
        (1e15, 1e15 + 0.25, 4, ["1e15"]),
        (0, 0, 4, ["0"]),
    ],
)
def test_numbers_are_marked_at_round_places(low: float, high: float, count: int, expected: list[str]) -> None:
    assert labels(number_ticks(low, high, count)) == expected


def test_whole_numbers_are_not_marked_between() -> None:
    assert labels(number_ticks(1990, 1992, 10, whole=True)) == ["1990", "1991", "1992"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.6, 35.6, ["-10", "0", "10", "20", "30", "40"]),
        (0, 40, ["0", "10", "20", "30", "40"]),
        (5, 5, ["0", "5", "10"]),
        (0, 0, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_outer_marks_have_all_values_between_them(low: float, high: float, expected: list[str]) -> None:
    assert labels(outer_ticks(low, high, 4)) == expected


NUMBERS = st.floats(-1e150, 1e150)


@given(NUMBERS, NUMBERS, st.integers(1, 50))
def test_there_are_few_marks_for_any_numbers(one: float, other: float, count: int) -> None:
    low, high = sorted((one, other))
    assert len(number_ticks(low, high, count)) <= count + 2
    ticks = outer_ticks(low, high, count)
    assert 2 <= len(ticks) <= count + 4
    slack = 1e-9 * (high - low)
    assert ticks[0][0] <= low + slack
    assert ticks[-1][0] >= high - slack


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (at(2012, 1, 1), at(2015, 12, 31), 9, ["2012", "Jul", "2013", "Jul", "2014", "Jul", "2015", "Jul"]),
        (at(1901, 5, 1), at(2000, 1, 1), 5, ["1920", "1940", "1960", "1980", "2000"]),
        (at(2012, 2, 2), at(2012, 7, 1), 6, ["Mar 2012", "Apr", "May", "Jun", "Jul"]),
        (at(2012, 3, 1), at(2012, 3, 31), 5, ["5 Mar 2012", "12 Mar", "19 Mar", "26 Mar"]),
        (at(2012, 3, 1, 22), at(2012, 3, 2, 2), 3, ["2 Mar"]),
        (at(2012, 3, 1, 21), at(2012, 3, 2, 3), 3, ["1 Mar 21:00", "2 Mar", "03:00"]),
        (at(2012, 3, 1, 9, 0, 1), at(2012, 3, 1, 9, 0, 11), 3, ["1 Mar 09:00:05", "09:00:10"]),
        (at(2012, 3, 1), at(2012, 3, 1), 3, ["1 Mar"]),
        (at(2012, 3, 1) + 200, at(2012, 3, 1) + 300, 3, ["1 Mar 2012"]),
        (at(2012, 3, 1, 9, 30) + 200, at(2012, 3, 1, 9, 30) + 300, 3, ["1 Mar 2012 09:30"]),
        (at(1, 1, 1), at(9999, 12, 31), 2, ["5000"]),
    ],
)
def test_times_are_marked_at_round_places(low: float, high: float, count: int, expected: list[str]) -> None:
    assert labels(time_ticks(low, high, count)) == expected


@given(st.floats(at(1, 1, 1), at(9999, 12, 31)), st.floats(at(1, 1, 1), at(9999, 12, 31)), st.integers(1, 50))
def test_there_are_few_marks_for_any_times(one: float, other: float, count: int) -> None:
    low, high = sorted((one, other))
    ticks = time_ticks(low, high, count)
    assert len(ticks) <= count + 2
    assert all(math.floor(low) - 1 <= value <= high + 1 for value, _ in ticks)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-7.1, "-7.1"),
        (35.6000001, "35.6"),
        (123_456, "123456"),
        (1_234_567, "1,234,567"),
        (1e12, "1e12"),
        (-2.5e-7, "-2.5e-7"),
        (1e-100, "1e-100"),
    ],
)
def test_numbers_are_written_briefly(value: float, expected: str) -> None:
    assert write_plainly(format_number(value)) == expected


def test_negative_numbers_have_a_minus_sign() -> None:
    assert format_number(-5) == "\N{MINUS SIGN}5"


def test_days_are_written_with_their_year() -> None:
    assert format_day(at(2015, 12, 31)) == "31 Dec 2015"


@pytest.mark.parametrize(("count", "expected"), [(0, "0 rows"), (1, "1 row"), (1461, "1,461 rows")])
def test_counts_agree_with_their_nouns(count: int, expected: str) -> None:
    assert count_things(count, "row") == expected
