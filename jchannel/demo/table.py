"""The table that the demo draws: read from a CSV file, and smoothed."""

from __future__ import annotations

import csv
import math
from array import array
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias

__all__ = ["MAX_COLUMNS", "DataError", "Kind", "Table", "read_table", "rolling_mean"]

#: The most columns that are drawn.
MAX_COLUMNS: Final = 4

_DELIMITERS: Final = ",;\t|"
_MISSING: Final = frozenset({"", "-", "na", "n/a", "none", "null"})

#: What the positions of a table are: milliseconds since 1970 (UTC), numbers, or the rows' own numbers.
Kind: TypeAlias = Literal["time", "number", "row"]


class DataError(Exception):
    """The file cannot be read or drawn. The message names it."""


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers of a file.

    Attributes:
        file: The name of the file.
        kind: What the positions are.
        axis: The name of the positions; empty where they are the rows' numbers.
        positions: Where each row is drawn.
        columns: The columns that are drawn, by their names; NaN where a value is missing.
    """

    file: str
    kind: Kind
    axis: str
    positions: array[float]
    columns: dict[str, array[float]]


def read_table(path: Path, encoding: str = "utf-8-sig") -> Table:
    """Read a CSV file, whose first row names the columns.

    The first column places the rows if it holds dates in the form of ISO 8601, or ascending numbers.

    Args:
        path: The file.
        encoding: Its encoding, the name of one of Python's.

    Raises:
        DataError: The file cannot be read, or has no numbers.
    """
    columns = _read_columns(path, encoding)
    numbers = {name: values for name, cells in columns.items() if (values := _parse_numbers(cells)) is not None}
    axis = next(iter(columns), "")
    times = _parse_times(columns.get(axis, []))
    kind: Kind
    if times is not None:
        kind, positions = "time", times
        numbers.pop(axis, None)
    elif len(numbers) > 1 and axis in numbers and all(before < after for before, after in pairwise(numbers[axis])):
        kind, positions = "number", numbers.pop(axis)
    else:
        kind, axis, positions = "row", "", array("d", range(1, 1 + max(map(len, columns.values()), default=0)))
    if not numbers:
        raise DataError(f"{path} has no column of numbers")
    return Table(path.name, kind, axis, positions, dict(list(numbers.items())[:MAX_COLUMNS]))


def rolling_mean(values: array[float], window: int) -> array[float]:
    """Return the mean of each value and its neighbours on both sides.

    Args:
        values: The values. NaN ones do not count.
        window: How many values a mean is of. Near the ends there are fewer.

    Returns:
        As many means; NaN where a window has no number.
    """
    sums = list(accumulate((0.0 if math.isnan(value) else value for value in values), initial=0.0))
    counts = list(accumulate((not math.isnan(value) for value in values), initial=0))
    reach = max(window, 1) // 2
    means = array("d")
    for index in range(len(values)):
        first, last = max(index - reach, 0), min(index + reach + 1, len(values))
        count = counts[last] - counts[first]
        means.append((sums[last] - sums[first]) / count if count else math.nan)
    return means


def _read_columns(path: Path, encoding: str) -> dict[str, list[str]]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            header = file.readline()
            file.seek(0)
            delimiter = ","
            with suppress(csv.Error):  # There may be but one column.
                delimiter = csv.Sniffer().sniff(header, _DELIMITERS).delimiter
            reader = csv.DictReader(file, delimiter=delimiter, restkey="", restval="")
            rows = list(reader)
            return {name: [row[name].strip() for row in rows] for name in reader.fieldnames or () if name}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (LookupError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}; --encoding names another encoding, such as cp1252") from error


def _parse_numbers(cells: list[str]) -> array[float] | None:
    try:
        values = array("d", (math.nan if cell.lower() in _MISSING else float(cell) for cell in cells))
    except ValueError:
        return None
    finite = array("d", (value if math.isfinite(value) else math.nan for value in values))
    return None if all(map(math.isnan, finite)) else finite


def _parse_times(cells: list[str]) -> array[float] | None:
    try:
        moments = [datetime.fromisoformat(cell) for cell in cells]
    except ValueError:
        return None
    times = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments)
    return array("d", (time.timestamp() * 1000 for time in times)) or None
