"""The table that the demo draws, and what Python computes from it for the page."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeAlias

__all__ = ["Column", "Kind", "Table", "rolling_mean", "value_range"]

#: What the positions of a table are: milliseconds since 1970 (UTC), numbers, or the rows' own numbers.
Kind: TypeAlias = Literal["time", "number", "row"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers.

    Attributes:
        name: Its name in the file's header.
        values: One for each row; NaN where the file has none. At least one is a number.
    """

    name: str
    values: array[float]


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers of a file.

    Attributes:
        title: What the table is called.
        file: The name of the file.
        kind: What the positions are.
        axis: The name of the positions; empty where the file has none.
        positions: Where each row is drawn, in ascending order.
        columns: The columns that are drawn; at least one.
        left_out: The names of the columns that are not drawn.
    """

    title: str
    file: str
    kind: Kind
    axis: str
    positions: array[float]
    columns: tuple[Column, ...]
    left_out: tuple[str, ...]


def value_range(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest of the values that are numbers. There must be one."""
    numbers = [value for value in values if not math.isnan(value)]
    return min(numbers), max(numbers)


def rolling_mean(values: array[float], window: int) -> array[float]:
    """The mean round each value: of itself and of its neighbours on both sides.

    Args:
        values: The values; NaN ones do not count.
        window: How many values a mean takes in, itself included. Near the ends there are fewer.

    Returns:
        As many means; NaN where a window has no number.
    """
    reach = max(window, 1) // 2
    sums = list(accumulate((0.0 if math.isnan(value) else value for value in values), initial=0.0))
    counts = list(accumulate((not math.isnan(value) for value in values), initial=0))
    means = array("d")
    for index in range(len(values)):
        first, last = max(index - reach, 0), min(index + reach + 1, len(values))
        count = counts[last] - counts[first]
        means.append((sums[last] - sums[first]) / count if count else math.nan)
    return means
