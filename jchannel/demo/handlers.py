"""What the page may call in Python, and the JavaScript that Python sends it."""

from __future__ import annotations

from array import array
from importlib import resources
from typing import Any

from jchannel.demo.table import Table, rolling_mean, value_range
from jchannel.demo.ticks import Tick, count_things, format_day, format_number, number_ticks, outer_ticks, time_ticks

__all__ = ["ChartHandler", "LiveHandler", "read_code"]

_MAX_TICKS = 50


def read_code(name: str) -> str:
    """The code of a channel: a file of the folder ``page``."""
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


class ChartHandler:
    """Answers the page while it draws a table.

    Attributes:
        calls: How many calls have been answered.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self.calls = 0

    def describe(self) -> dict[str, Any]:
        """What there is to draw: everything but the values."""
        self.calls += 1
        table = self._table
        return {
            "title": table.title,
            "subtitle": self._describe_rows(),
            "axis": table.axis,
            "rows": len(table.positions),
            "range": value_range(table.positions),
            "columns": [self._describe_column(column.name, column.values) for column in table.columns],
        }

    def positions(self, start: int, count: int) -> array[float]:
        """Some of the rows' places on the horizontal axis."""
        self.calls += 1
        return self._table.positions[start : start + count]

    def values(self, column: int, start: int, count: int) -> array[float]:
        """Some of the values of a column. The missing ones are NaN, which an array may hold and JSON may not."""
        self.calls += 1
        return self._table.columns[column].values[start : start + count]

    def smooth(self, column: int, window: int) -> array[float]:
        """The rolling mean of a column."""
        self.calls += 1
        return rolling_mean(self._table.columns[column].values, window)

    def horizontal_ticks(self, count: int) -> list[Tick]:
        """The marks of the horizontal axis."""
        self.calls += 1
        positions = self._table.positions
        low, high = value_range(positions)
        if self._table.kind == "time":
            return time_ticks(low, high, _check_count(count))
        return number_ticks(low, high, _check_count(count), whole=all(position.is_integer() for position in positions))

    def vertical_ticks(self, low: float, high: float, count: int) -> list[Tick]:
        """The marks of a vertical axis, which begins and ends with one."""
        self.calls += 1
        return outer_ticks(low, high, _check_count(count))

    def _describe_rows(self) -> str:
        table = self._table
        rows = f"{count_things(len(table.positions), 'row')} of {table.file}"
        if table.kind == "time":
            rows += f", {format_day(table.positions[0])} to {format_day(table.positions[-1])}"
        return rows

    @staticmethod
    def _describe_column(name: str, values: array[float]) -> dict[str, Any]:
        low, high = value_range(values)
        return {"name": name, "range": (low, high), "label": f"{format_number(low)} to {format_number(high)}"}


class LiveHandler:
    """Answers the page's calls that measure how long a call takes."""

    def ping(self, number: int) -> int:
        """Gives back the number."""
        return number


def _check_count(count: int) -> int:
    return max(1, min(count, _MAX_TICKS))
