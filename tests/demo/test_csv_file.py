"""Reading CSV files, and what is said about those that cannot be drawn."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jchannel.demo import csv_file
from jchannel.demo.csv_file import DataError, read_table
from jchannel.demo.show import DATA

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and gives its path."""

    def write(content: str | bytes, name: str = "my_data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def milliseconds(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp() * 1000  # type: ignore[arg-type,misc]


def test_the_data_that_ships_with_the_demo_can_be_read() -> None:
    table = read_table(DATA)
    assert table.title == "Seattle weather"
    assert (table.kind, table.axis, table.left_out) == ("time", "date", ())
    assert len(table.positions) == 1461
    assert [column.name for column in table.columns] == [
        "maximum temperature (°C)",
        "minimum temperature (°C)",
        "precipitation (mm)",
        "wind speed (m/s)",
    ]


def test_columns_that_are_not_numbers_are_left_out(write: Write) -> None:
    table = read_table(write("a,name,b\n1,x,2.5\n-3,y,1e3\n"))
    assert [(column.name, list(column.values)) for column in table.columns] == [("a", [1, -3]), ("b", [2.5, 1000])]
    assert table.left_out == ("name",)


def test_columns_beyond_the_limit_are_left_out(write: Write) -> None:
    table = read_table(write("e,d,c,b,a\n1,1,1,1,1\n1,2,2,2,2\n"))
    assert [column.name for column in table.columns] == ["e", "d", "c", "b"]
    assert table.left_out == ("a",)


@pytest.mark.parametrize("missing", ["", " ", "NA", "n/a", "NaN", "null", "-", "None"])
def test_missing_values_are_nan(write: Write, missing: str) -> None:
    values = read_table(write(f"a,b\n1,1\n{missing},1\n")).columns[0].values
    assert values[0] == 1
    assert math.isnan(values[1])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(write: Write, delimiter: str) -> None:
    table = read_table(write(f"\n a {delimiter}b\n5{delimiter}6\n5{delimiter}7\n"))
    assert [(column.name, list(column.values)) for column in table.columns] == [("a", [5, 5]), ("b", [6, 7])]


def test_numbers_have_a_decimal_comma_where_semicolons_separate(write: Write) -> None:
    assert list(read_table(write("a;b\n2,5;x\n-0,25;y\n")).columns[0].values) == [2.5, -0.25]


def test_a_file_without_a_header_has_numbered_columns(write: Write) -> None:
    table = read_table(write("3,4\n2,5\n"))
    assert [(column.name, list(column.values)) for column in table.columns] == [
        ("column 1", [3, 2]),
        ("column 2", [4, 5]),
    ]


def test_columns_without_a_name_are_numbered(write: Write) -> None:
    assert [column.name for column in read_table(write("a,\n3,4\n2,5\n")).columns] == ["a", "column 2"]


def test_empty_lines_and_quoted_line_breaks_are_taken(write: Write) -> None:
    table = read_table(write('\r\na,"b\r\nc"\r\n\r\n3,"4"\r\n'))
    assert [(column.name, list(column.values)) for column in table.columns] == [("a", [3]), ("b c", [4])]


def test_rows_are_numbered_where_nothing_places_them(write: Write) -> None:
    table = read_table(write("a\n5\n4\n"))
    assert (table.kind, table.axis, list(table.positions)) == ("row", "", [1, 2])


def test_rows_are_placed_by_a_first_column_of_ascending_numbers(write: Write) -> None:
    table = read_table(write("year,a\n1990,5\n1992,4\n"))
    assert (table.kind, table.axis, list(table.positions)) == ("number", "year", [1990, 1992])
    assert [column.name for column in table.columns] == ["a"]
    assert table.left_out == ()


@pytest.mark.parametrize("years", [("1990", "1990"), ("1990", ""), ("", "1990")])
def test_rows_are_numbered_where_the_first_column_does_not_ascend(write: Write, years: tuple[str, str]) -> None:
    assert read_table(write(f"year,a\n{years[0]},5\n{years[1]},4\n")).kind == "row"


def test_one_row_is_numbered(write: Write) -> None:
    assert read_table(write("year,a\n1990,5\n")).kind == "row"


def test_an_only_column_is_drawn_even_if_it_ascends(write: Write) -> None:
    assert [column.name for column in read_table(write("a\n1\n2\n")).columns] == ["a"]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2012-03-04", (2012, 3, 4)),
        ("2012/3/4", (2012, 3, 4)),
        ("2012-03", (2012, 3, 1)),
        ("2012-03-04T05:06:07", (2012, 3, 4, 5, 6, 7)),
        ("2012-03-04 05:06", (2012, 3, 4, 5, 6)),
        ("2012-03-04T05:06:07Z", (2012, 3, 4, 5, 6, 7)),
        ("2012-03-04T05:06:07+02:00", (2012, 3, 4, 3, 6, 7)),
    ],
)
def test_dates_are_read(write: Write, text: str, when: tuple[int, ...]) -> None:
    table = read_table(write(f"a,when\n5,{text}\n"))
    assert (table.kind, table.axis, list(table.positions)) == ("time", "when", [milliseconds(*when)])


@pytest.mark.parametrize(
    "text", ["2012-13-01", "2012-02-30", "12-01-2012", "today", "0001-01-01T00:00:00+10:00", "2012-03-04T99", ""]
)
def test_what_is_no_date_is_not_taken_for_one(write: Write, text: str) -> None:
    assert read_table(write(f"a,when\n5,{text}\n6,2012-01-01\n")).left_out == ("when",)


def test_rows_are_put_in_the_order_of_their_dates(write: Write) -> None:
    table = read_table(write("when,a\n2012-02-01,5\n2012-01-01,4\n"))
    assert list(table.positions) == [milliseconds(2012, 1, 1), milliseconds(2012, 2, 1)]
    assert list(table.columns[0].values) == [4, 5]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding(write: Write, encoding: str) -> None:
    assert read_table(write("größe\n5\n".encode(encoding))).columns[0].name == "größe"


def test_another_encoding_can_be_named(write: Write) -> None:
    assert read_table(write("größe\n5\n".encode("cp1252")), "cp1252").columns[0].name == "größe"


def test_the_title_is_made_from_the_files_name(write: Write) -> None:
    assert read_table(write("a\n5\n", "air-quality__2012.csv")).title == "Air quality 2012"
    assert read_table(write("a\n5\n", "_.csv")).title == "_.csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "my_data.csv is empty"),
        ("\n\n", "my_data.csv is empty"),
        ("a,b\n", "my_data.csv has a header, and no row under it"),
        ("a,b\n1,2\n\n3\n", "my_data.csv, line 4: 1 fields, where the lines before have 2"),
        ('a,b\n"1\n2",3\n4\n', "my_data.csv, line 4: 1 fields, where the lines before have 2"),
        ('a,b\n1,2\n3,"4\n', "my_data.csv, line 3: unexpected end of data"),
        ("a\nx\n", "my_data.csv has no column of numbers; 'a': line 2 has 'x'"),
        ("a,b\n5,\nx,\n", "my_data.csv has no column of numbers; 'a': line 3 has 'x'; 'b': it is empty"),
        (f"a\n{'x' * 50}\n", f"my_data.csv has no column of numbers; 'a': line 2 has '{'x' * 40}…'"),
        ("day\n2012-01-01\n", "my_data.csv has no column of numbers"),
        ("a\n5\n1e200\n", "my_data.csv, line 3: 1e200 is too large to be drawn"),
        (b"a,b\n5,6\n5,caf\xe9\n", "my_data.csv, line 3: this is not text in utf-8; say which encoding it is in"),
        (b"\xff\xfea\x00\n\x00\x00", "my_data.csv, line 2: this is not text in utf-16;"),
        (
            "a\n5\n\0\n",
            "my_data.csv, line 3: a NUL character; this is no text file, or one in another encoding than utf-8",
        ),
    ],
)
def test_a_file_that_cannot_be_drawn_is_an_error_that_names_the_place(
    write: Write, content: str | bytes, message: str
) -> None:
    path = write(content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path.with_name(message)))


def test_an_encoding_that_cannot_say_where_it_failed_is_an_error_all_the_same(write: Write) -> None:
    with pytest.raises(DataError, match="line 1: this is not text in undefined"):
        read_table(write("a\n5\n"), "undefined")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^there is no file .*nothing\.csv$"):
        read_table(tmp_path / "nothing.csv")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_table(tmp_path)


def test_a_file_that_is_too_large_is_an_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(DataError, match="is larger than 1 MiB"):
        read_table(write("a\n" + "5\n" * 2**19))
