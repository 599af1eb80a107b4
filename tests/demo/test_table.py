"""Reading CSV files, what is said about those that cannot be drawn, and the rolling mean."""

import math
from array import array
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jchannel.demo.show import DATA
from jchannel.demo.table import DataError, read_table, rolling_mean

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a file and returns its path."""

    def write(content: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes(content.encode(encoding))
        return path

    return write


def test_the_data_that_ships_with_the_demo_can_be_read() -> None:
    table = read_table(DATA)
    assert (table.file, table.kind, table.axis) == ("seattle-weather.csv", "time", "date")
    assert len(table.positions) == 1461
    assert list(table.columns) == [
        "maximum temperature (°C)",
        "minimum temperature (°C)",
        "precipitation (mm)",
        "wind speed (m/s)",
    ]


def test_columns_that_are_not_numbers_are_left_out(write: Write) -> None:
    table = read_table(write("a,name,b\n1,x,2.5\n-3,y,1e3\n"))
    assert table.columns == {"a": array("d", [1, -3]), "b": array("d", [2.5, 1000])}


def test_columns_beyond_the_limit_are_left_out(write: Write) -> None:
    assert list(read_table(write("e,d,c,b,a\n1,1,1,1,1\n1,2,2,2,2\n")).columns) == ["e", "d", "c", "b"]


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "NaN", "null", "-", "None", "inf"])
def test_missing_values_are_nan(write: Write, missing: str) -> None:
    values = read_table(write(f"a,b\n1,1\n{missing},1\n")).columns["a"]
    assert values[0] == 1
    assert math.isnan(values[1])


def test_rows_may_be_too_short_or_too_long(write: Write) -> None:
    columns = read_table(write("a,b\n9\n8,7,6\n")).columns
    assert list(columns["a"]) == [9, 8]
    assert math.isnan(columns["b"][0])
    assert columns["b"][1] == 7


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(write: Write, delimiter: str) -> None:
    table = read_table(write(f"a{delimiter}b\n5{delimiter}6\n5{delimiter}7\n"))
    assert table.columns == {"a": array("d", [5, 5]), "b": array("d", [6, 7])}


def test_rows_are_numbered_where_nothing_places_them(write: Write) -> None:
    table = read_table(write("a\n5\n4\n"))
    assert (table.kind, table.axis, list(table.positions)) == ("row", "", [1, 2])


def test_rows_are_placed_by_a_first_column_of_ascending_numbers(write: Write) -> None:
    table = read_table(write("year,a\n1990,5\n1992,4\n"))
    assert (table.kind, table.axis, list(table.positions)) == ("number", "year", [1990, 1992])
    assert list(table.columns) == ["a"]


@pytest.mark.parametrize("years", [("1990", "1990"), ("1990", ""), ("", "1990")])
def test_rows_are_numbered_where_the_first_column_does_not_ascend(write: Write, years: tuple[str, str]) -> None:
    assert read_table(write(f"year,a\n{years[0]},5\n{years[1]},4\n")).kind == "row"


def test_an_only_column_is_drawn_even_if_it_ascends(write: Write) -> None:
    assert list(read_table(write("a\n1\n2\n")).columns) == ["a"]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2012-03-04", datetime(2012, 3, 4, tzinfo=UTC)),
        ("2012-03-04 05:06", datetime(2012, 3, 4, 5, 6, tzinfo=UTC)),
        ("2012-03-04T05:06:07Z", datetime(2012, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2012-03-04T05:06:07+02:00", datetime(2012, 3, 4, 3, 6, 7, tzinfo=UTC)),
    ],
)
def test_rows_are_placed_by_a_first_column_of_dates(write: Write, text: str, when: datetime) -> None:
    table = read_table(write(f"when,a\n{text},5\n"))
    assert (table.kind, table.axis, list(table.positions)) == ("time", "when", [when.timestamp() * 1000])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_is_utf_8(write: Write, encoding: str) -> None:
    assert list(read_table(write("größe\n5\n", encoding)).columns) == ["größe"]


def test_another_encoding_can_be_named(write: Write) -> None:
    assert list(read_table(write("größe\n5\n", "cp1252"), "cp1252").columns) == ["größe"]


@pytest.mark.parametrize("content", ["", "\n", "a,b\n", "a,b\nx,y\n", "a\n-\n", "day\n2012-01-01\n"])
def test_a_file_without_numbers_is_an_error(write: Write, content: str) -> None:
    with pytest.raises(DataError, match=r"data\.csv has no column of numbers"):
        read_table(write(content))


def test_another_encoding_than_the_files_is_an_error_that_says_what_to_do(write: Write) -> None:
    with pytest.raises(DataError, match=r"data\.csv cannot be read: 'utf-8' .*; --encoding names another encoding"):
        read_table(write("größe\n5\n", "cp1252"))


def test_an_encoding_that_there_is_not_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="unknown encoding: klingon"):
        read_table(write("a\n5\n"), "klingon")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv cannot be read: No such file or directory"):
        read_table(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("window", "expected"),
    [(0, [1, 2, 3, 10]), (1, [1, 2, 3, 10]), (3, [1.5, 2, 5, 6.5]), (99, [4, 4, 4, 4])],
)
def test_a_mean_is_of_the_values_around(window: int, expected: list[float]) -> None:
    assert list(rolling_mean(array("d", [1, 2, 3, 10]), window)) == expected


def test_values_that_are_missing_do_not_count_in_a_mean() -> None:
    nan = math.nan
    means = rolling_mean(array("d", [1, nan, 3, nan, nan, nan, 5]), 3)
    assert [None if math.isnan(mean) else mean for mean in means] == [1, 2, 3, 3, None, 5, 5]
