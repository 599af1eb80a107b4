"""What the page may call in Python."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

from jchannel.demo.table import Table, rolling_mean

__all__ = ["ChartHandler", "LiveHandler"]


class ChartHandler:
    """Answers the page while it draws a table.

    Attributes:
        calls: How many calls have been answered.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = list(table.columns.values())
        self.calls: int = 0

    def describe(self) -> dict[str, Any]:
        """Return what there is to draw: everything but the values."""
        self.calls += 1
        table = self._table
        return {
            "title": Path(table.file).stem.replace("-", " ").replace("_", " ").capitalize(),
            "file": table.file,
            "kind": table.kind,
            "axis": table.axis,
            "rows": len(table.positions),
            "columns": list(table.columns),
        }

    def positions(self, start: int, count: int) -> array[float]:
        """Return some of the rows' places on the horizontal axis."""
        self.calls += 1
        return self._table.positions[start : start + count]

    def values(self, column: int, start: int, count: int) -> array[float]:
        """Return some values of a column. The missing ones are NaN, which an array may hold and JSON may not."""
        self.calls += 1
        return self._columns[column][start : start + count]

    def smooth(self, column: int, window: int) -> array[float]:
        """Return the rolling mean of a column."""
        self.calls += 1
        return rolling_mean(self._columns[column], window)


class LiveHandler:
    """Answers the page's calls that measure how long a call takes."""

    def ping(self, number: int) -> int:
        """Return the number."""
        return number
