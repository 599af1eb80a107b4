"""What the page gets when it calls Python."""

import math
from array import array

import pytest

from jchannel.demo.handlers import ChartHandler, LiveHandler, read_code
from jchannel.demo.table import Column, Table

NUMBERS = Table(
    title="Numbers",
    file="numbers.csv",
    kind="number",
    axis="year",
    positions=array("d", [1990, 1992]),
    columns=(Column("a", array("d", [5, 7])),),
    left_out=(),
)


def test_a_table_is_described_without_its_values(table: Table) -> None:
    assert ChartHandler(table).describe() == {
        "title": "Rain",
        "subtitle": "3 rows of rain.csv, 1 Jan 1970 to 3 Jan 1970",
        "axis": "day",
        "rows": 3,
        "range": (0, 172_800_000),
        "columns": [{"name": "rain (mm)", "range": (1.5, 3.5), "label": "1.5 to 3.5"}],
    }


def test_a_table_without_dates_is_described_by_its_rows() -> None:
    assert ChartHandler(NUMBERS).describe()["subtitle"] == "2 rows of numbers.csv"


def test_positions_and_values_come_in_chunks(table: Table) -> None:
    handler = ChartHandler(table)
    assert handler.positions(1, 5) == array("d", [86_400_000, 172_800_000])
    assert handler.values(0, 0, 1) == array("d", [1.5])


def test_curves_are_smoothed_in_python(table: Table) -> None:
    assert ChartHandler(table).smooth(0, 3) == array("d", [1.5, 2.5, 3.5])


def test_the_horizontal_axis_shows_times(table: Table) -> None:
    assert [label for _, label in ChartHandler(table).horizontal_ticks(3)] == ["1 Jan 1970", "2 Jan", "3 Jan"]


def test_the_horizontal_axis_shows_whole_numbers_where_all_positions_are_whole() -> None:
    assert [label for _, label in ChartHandler(NUMBERS).horizontal_ticks(9)] == ["1990", "1991", "1992"]


@pytest.mark.parametrize(("count", "marks"), [(-5, 3), (10**12, 41)])
def test_the_number_of_marks_has_limits(table: Table, count: int, marks: int) -> None:
    assert len(ChartHandler(table).vertical_ticks(1.5, 3.5, count)) == marks


def test_answered_calls_are_counted(table: Table) -> None:
    handler = ChartHandler(table)
    handler.describe()
    handler.positions(0, 1)
    handler.values(0, 0, 1)
    handler.smooth(0, 1)
    handler.horizontal_ticks(1)
    handler.vertical_ticks(0, 1, 1)
    assert handler.calls == 6


def test_a_ping_comes_back() -> None:
    assert LiveHandler().ping(7) == 7


@pytest.mark.parametrize("name", ["chart.js", "live.js"])
def test_the_pages_code_ships_with_the_package(name: str) -> None:
    assert "channel.handler = {" in read_code(name)


def test_values_that_are_missing_stay_missing(table: Table) -> None:
    assert math.isnan(ChartHandler(table).values(0, 1, 1)[0])
