"""What the page gets when it calls Python."""

import math
from array import array

from jchannel.demo.handlers import ChartHandler, LiveHandler
from jchannel.demo.table import Table


def test_a_table_is_described_without_its_values(table: Table) -> None:
    assert ChartHandler(table).describe() == {
        "title": "Much rain",
        "file": "much_rain.csv",
        "kind": "time",
        "axis": "day",
        "rows": 3,
        "columns": ["rain (mm)"],
    }


def test_positions_and_values_come_in_chunks(table: Table) -> None:
    handler = ChartHandler(table)
    assert handler.positions(1, 5) == array("d", [86_400_000, 172_800_000])
    assert handler.values(0, 0, 1) == array("d", [1.5])
    assert math.isnan(handler.values(0, 1, 1)[0])


def test_curves_are_smoothed_in_python(table: Table) -> None:
    assert ChartHandler(table).smooth(0, 3) == array("d", [1.5, 2.5, 3.5])


def test_answered_calls_are_counted(table: Table) -> None:
    handler = ChartHandler(table)
    handler.describe()
    handler.positions(0, 1)
    handler.values(0, 0, 1)
    handler.smooth(0, 1)
    assert handler.calls == 4


def test_a_ping_comes_back() -> None:
    assert LiveHandler().ping(7) == 7
