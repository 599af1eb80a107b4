"""Reading a CSV file as the demo's table, with errors that name the file and the line."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from jchannel.demo.table import Column, Kind, Table

__all__ = ["MAX_COLUMNS", "MAX_FILE_BYTES", "DataError", "read_table"]

#: The most columns that are drawn.
MAX_COLUMNS: Final = 4

#: The largest file that is read, in bytes.
MAX_FILE_BYTES: Final = 64 * 2**20

# Means and axes are computed with room to spare.
_GREATEST: Final = 1e150

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DELIMITERS: Final = ",;\t|"
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DATE: Final = re.compile(r"(\d{4})[-/](\d\d?)(?:[-/](\d\d?))?(?:[T ](\d.*))?", re.ASCII)
_MISSING: Final = frozenset({"", "-", "na", "n/a", "nan", "none", "null"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class DataError(Exception):
    """The file cannot be drawn. The message names it, and the line where there is one."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: list[str]


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Reads a CSV file.

    The first row names the columns, unless it holds nothing but numbers. Commas, semicolons, tabs and bars separate;
    with semicolons, numbers may have a decimal comma. Rows are placed by the first column of dates or, where the first
    column of all is one of ascending numbers, by that.

    Args:
        path: The file.
        encoding: Its encoding, the name of one of Python's; ``None`` for UTF-8, or for UTF-16 where a byte order mark
            says so.

    Raises:
        DataError: There is no such file, or it cannot be drawn.
    """
    text = _decode(path, _read(path), encoding)
    delimiter = max(_DELIMITERS, key=text.lstrip("\r\n").partition("\n")[0].count)
    rows = list(_split(path, text, delimiter))
    if not rows:
        raise DataError(f"{path} is empty")
    comma = delimiter == ";"
    names = [f"column {number}" for number in range(1, len(rows[0].cells) + 1)]
    if not all(_is_missing(cell) or _is_number(cell, comma=comma) for cell in rows[0].cells):
        header = rows.pop(0)
        names = [" ".join(cell.split()) or name for cell, name in zip(header.cells, names, strict=True)]
    if not rows:
        raise DataError(f"{path} has a header, and no row under it")
    return _make_table(path, names, rows, comma=comma)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB, which is the most that the demo draws")
    return data


def _decode(path: Path, data: bytes, encoding: str | None) -> str:
    if encoding is None:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = data[:start].decode(encoding, "replace").count("\n") + 1
        raise DataError(
            f"{path}, line {line}: this is not text in {encoding}; say which encoding it is in, as in "
            "--encoding cp1252, or save it as UTF-8 (a spreadsheet must be saved as CSV)"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path}, line {line}: a NUL character; this is no text file, or one in another encoding than {encoding}"
        )
    return text


def _split(path: Path, text: str, delimiter: str) -> Iterator[_Row]:
    """The rows that are not empty; all of one width."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: {error}") from error
        if cells is None:
            return
        if not cells:
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise DataError(f"{path}, line {line}: {len(cells)} fields, where the lines before have {width}")
        yield _Row(line, cells)


def _make_table(path: Path, names: Sequence[str], rows: list[_Row], *, comma: bool) -> Table:
    dates, times = _find_dates(rows)
    if times is not None:
        order = sorted(range(len(rows)), key=times.__getitem__)
        rows = [rows[index] for index in order]
        times = [times[index] for index in order]
    columns: dict[int, array[float]] = {}
    problems: list[str] = []
    for index, name in enumerate(names):
        if index != dates:
            parsed = _parse_numbers(path, rows, index, comma=comma)
            if isinstance(parsed, str):
                problems.append(f"{name!r}: {parsed}")
            else:
                columns[index] = parsed
    if not columns:
        raise DataError(
            f"{path} has no column of numbers{'' if not problems else '; ' + '; '.join(problems[:MAX_COLUMNS])}"
        )
    kind: Kind = "row"
    axis, positions = -1, array("d", range(1, len(rows) + 1))
    if times is not None:
        kind, axis, positions = "time", dates, array("d", times)
    elif len(columns) > 1 and 0 in columns and _ascends(columns[0]):
        kind, axis, positions = "number", 0, columns.pop(0)
    drawn = list(columns)[:MAX_COLUMNS]
    return Table(
        title=re.sub(r"[-_\s]+", " ", path.stem).strip().capitalize() or path.name,
        file=path.name,
        kind=kind,
        axis=names[axis] if kind != "row" else "",
        positions=positions,
        columns=tuple(Column(names[index], columns[index]) for index in drawn),
        left_out=tuple(name for index, name in enumerate(names) if index not in (axis, *drawn)),
    )


def _find_dates(rows: Sequence[_Row]) -> tuple[int, list[float] | None]:
    """The number of the first column of dates, and its times; -1 and ``None`` where there is none."""
    for index in range(len(rows[0].cells)):
        times = _parse_times(rows, index)
        if times is not None:
            return index, times
    return -1, None


def _parse_times(rows: Sequence[_Row], index: int) -> list[float] | None:
    """A column of dates, in milliseconds since 1970; ``None`` where a cell is no date."""
    times = []
    for row in rows:
        time = _parse_time(row.cells[index].strip())
        if time is None:
            return None
        times.append(time)
    return times


def _parse_time(cell: str) -> float | None:
    match = _DATE.fullmatch(cell)
    if match is None:
        return None
    year, month, day, clock = match.groups()
    try:
        moment = datetime.fromisoformat(f"{year}-{month:0>2}-{day or '1':0>2}T{clock or '00'}")
    except ValueError:
        return None
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return None
    return (moment - _EPOCH) / timedelta(milliseconds=1)


def _parse_numbers(path: Path, rows: Sequence[_Row], index: int, *, comma: bool) -> array[float] | str:
    """A column of numbers, or why it is none."""
    values = array("d")
    for row in rows:
        cell = row.cells[index].strip()
        if _is_missing(cell):
            values.append(math.nan)
        elif _is_number(cell, comma=comma):
            value = float(cell.replace(",", ".") if comma else cell)
            if abs(value) > _GREATEST:
                raise DataError(f"{path}, line {row.line}: {cell} is too large to be drawn")
            values.append(value)
        else:
            return f"line {row.line} has {_shorten(cell)!r}"
    return "it is empty" if all(map(math.isnan, values)) else values


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def _is_number(cell: str, *, comma: bool) -> bool:
    return _NUMBER.fullmatch(cell.strip().replace(",", ".") if comma else cell.strip()) is not None


def _ascends(values: array[float]) -> bool:
    # A NaN is not less than anything.
    return len(values) > 1 and all(earlier < later for earlier, later in pairwise(values))


def _shorten(cell: str, limit: int = 40) -> str:
    return cell if len(cell) <= limit else f"{cell[:limit]}…"
