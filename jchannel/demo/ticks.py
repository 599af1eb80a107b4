"""Where the marks of an axis stand and what is written beside them, for numbers and for times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

__all__ = ["Tick", "count_things", "format_day", "format_number", "number_ticks", "outer_ticks", "time_ticks"]

#: A value on the axis, and its label.
Tick: TypeAlias = tuple[float, str]

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_MEAN_MONTH: Final = 30.44 * _DAY

# Milliseconds between two marks, for what is shorter than a month.
_STEPS: Final = (
    *(number * _SECOND for number in (1, 5, 15, 30)),
    *(number * _MINUTE for number in (1, 5, 15, 30)),
    *(number * _HOUR for number in (1, 3, 6, 12)),
    *(number * _DAY for number in (1, 2, 7)),
)
_WEEK: Final = 7 * _DAY
_MONTH_STEPS: Final = (1, 3, 6)
_MONTHS_OF_YEAR: Final = 12

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY: Final = 4 * _DAY  # The fifth of January 1970.

# A step below this part of the values is smaller than what a float can tell apart.
_LEAST_STEP: Final = 1e-12


def number_ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[Tick]:
    """Marks at round numbers between two numbers, about as many as asked for.

    Args:
        low: The least value that is drawn.
        high: The greatest.
        count: About how many marks there is room for, 1 or more.
        whole: Whether marks between whole numbers make no sense.
    """
    step = max(_round_step((high - low) / count), 1 if whole else 0)
    if step <= max(abs(low), abs(high)) * _LEAST_STEP:
        return [(low, format_number(low))]
    return _label_numbers(_multiples(low, high, step), step)


def outer_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Marks at round numbers, of which the first and the last have two numbers between them. There are two at least.

    Args:
        low: The least value that is drawn.
        high: The greatest; or the same, and the marks are above and below it.
        count: About how many marks there is room for, 1 or more.
    """
    reach = max(abs(low), abs(high))
    if high - low <= reach * _LEAST_STEP * count:
        low, high = low - (reach or 1), high + (reach or 1)
    step = _round_step((high - low) / count)
    inner = _multiples(low, high, step)
    first = inner.start - (inner.start * step > low)
    last = inner.stop - 1 + ((inner.stop - 1) * step < high)
    return _label_numbers(range(first, last + 1), step)


def time_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Marks at round times between two times, at most one more than asked for.

    Args:
        low: The first time that is drawn, in milliseconds since 1970.
        high: The last.
        count: How many marks there is room for, 1 or more.
    """
    pace = (high - low) / count
    for step in _STEPS:
        if pace <= step:
            offset = _FIRST_MONDAY if step == _WEEK else 0
            times = [offset + index * step for index in _multiples(low - offset, high - offset, step)]
            return list(_label_times([float(time) for time in times], step)) or [
                (low, _format_time(_moment(low), year=True))
            ]
    return list(_label_months(low, high, _month_step(pace / _MEAN_MONTH)))


def format_number(value: float, decimals: int | None = None) -> str:
    """A number as it is written beside an axis.

    Args:
        value: The number.
        decimals: How many digits follow the point; ``None`` for as many as it needs, up to six significant ones.
    """
    size = abs(value)
    if size and not 1e-4 <= size < 1e9:  # noqa: PLR2004 -- Beyond these a power of ten is easier to read.
        text = f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    elif decimals is None:
        text = f"{value:.6g}" if size < 1e6 else f"{value:,.0f}"  # noqa: PLR2004 -- What six digits can write.
    else:
        # Four digits are easy to read as they are, and are often years.
        text = f"{value:,.{decimals}f}" if size >= 10_000 else f"{value:.{decimals}f}"  # noqa: PLR2004
    return text.replace("-", "\N{MINUS SIGN}")


def count_things(count: int, name: str) -> str:
    """A count and the name of what was counted, such as ``1 row`` or ``1,461 rows``."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def format_day(time: float) -> str:
    """The day of a time, such as ``31 Dec 2015``.

    Args:
        time: Milliseconds since 1970.
    """
    moment = _moment(time)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _label_numbers(multiples: range, step: float) -> list[Tick]:
    decimals = max(0, -math.floor(math.log10(step) + _LEAST_STEP))
    values = [round(index * step, decimals) for index in multiples]
    return [(value, format_number(value, decimals)) for value in values]


def _multiples(low: float, high: float, step: float) -> range:
    # What lies a rounding error outside belongs to it.
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


def _round_step(step: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not less; 0 for 0."""
    if step <= 0:
        return 0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if step <= factor * power * (1 + 1e-9))


def _month_step(pace: float) -> int:
    """Months between two marks, where they should be at least ``pace`` apart."""
    for step in _MONTH_STEPS:
        if pace <= step:
            return step
    return _MONTHS_OF_YEAR * max(1, round(_round_step(pace / _MONTHS_OF_YEAR)))


def _moment(time: float) -> datetime:
    return _EPOCH + timedelta(milliseconds=time)


def _label_times(times: list[float], step: float) -> Iterator[Tick]:
    for index, time in enumerate(times):
        moment = _moment(time)
        if step >= _DAY:
            yield time, _format_date(moment, year=index == 0)
        elif index == 0 or moment.hour == moment.minute == moment.second == 0:
            yield time, _format_time(moment, year=False)
        else:
            yield time, _format_clock(moment)


def _label_months(low: float, high: float, step: int) -> Iterator[Tick]:
    first, last = _month_number(low, up=True), _month_number(high, up=False)
    for index, number in enumerate(range(-(-first // step) * step, last + 1, step)):
        year, month = divmod(number, _MONTHS_OF_YEAR)
        time = (datetime(year, month + 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1)
        if month == 0:
            yield time, str(year)
        else:
            yield time, f"{_MONTHS[month]} {year}" if index == 0 else _MONTHS[month]


def _month_number(time: float, *, up: bool) -> int:
    """The month of a time, counted from the year 0; the next one if its first moment is past and ``up`` is true."""
    moment = _moment(time)
    number = moment.year * _MONTHS_OF_YEAR + moment.month - 1
    begins = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return number + 1 if up and begins < moment else number


def _format_date(moment: datetime, *, year: bool) -> str:
    day = f"{moment.day} {_MONTHS[moment.month - 1]}"
    return f"{day} {moment.year}" if year else day


def _format_time(moment: datetime, *, year: bool) -> str:
    date = _format_date(moment, year=year)
    return date if moment.hour == moment.minute == moment.second == 0 else f"{date} {_format_clock(moment)}"


def _format_clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
