"""Measure what docs/performance.md shows, and write its tables and its chart anew.

It takes about six minutes, and wants a machine on which nothing else runs. What was measured before, with `--json` of
`benchmarks.compare`, `benchmarks.growth` and `benchmarks.notebook`, can be taken instead; several files are rounds of
one measurement.

    python -m benchmarks.report [--compare FILES] [--growth FILES] [--notebook FILES]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import growth, notebook
from benchmarks.chart import draw
from benchmarks.compare import OTHERS, OURS, make_rows, ratio, spread
from benchmarks.harness import ROOT, Figures, describe_shortly

DOCUMENT: Final = ROOT / "docs/performance.md"
IMAGES: Final = ROOT / "docs/images"

#: How many rounds of each are measured here: about six minutes.
ROUNDS: Final = {"compare": 5, "growth": 3, "notebook": 3}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one or several files hold.

    Attributes:
        groups: The figures, by contestant.
        conditions: The conditions of each file.
        short: Whether it is no measurement.
    """

    groups: dict[str, Figures]
    conditions: list[dict[str, Any]]
    short: bool


def read(paths: Iterable[Path]) -> Measured:
    """Read files of one measurement, as rounds of it."""
    groups: dict[str, Figures] = {}
    conditions, short = [], False
    for path in paths:
        whole = json.loads(path.read_text(encoding="utf-8"))
        conditions.append(whole["conditions"])
        short = short or whole["short"]
        for name, rows in whole["figures"].items():
            groups.setdefault(name, Figures()).add_json(rows)
    return Measured(groups, conditions, short)


def measure(name: str, folder: Path, *, short: bool) -> Path:
    """Run a benchmark in a process of its own, and return the file that it has written."""
    file = folder / f"{name}.json"
    arguments = ["--short", "--rounds", "1"] if short else ["--rounds", str(ROUNDS[name])]
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json", str(file)]
    subprocess.run(command, check=False, cwd=ROOT)  # noqa: S603 (this package)
    return file


def to_markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table with its head as Markdown, with figures to the right."""
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def describe(measured: Measured) -> str:
    """Return the conditions of a measurement."""
    rounds = max(len(values) for figures in measured.groups.values() for values in figures.values.values())
    note = "SHORT: NO MEASUREMENT. " if measured.short else ""
    lines = [describe_shortly(conditions).replace("\n", "; ") for conditions in measured.conditions]
    return f"{note}Medians of {rounds} round{'s' if rounds > 1 else ''}.\n" + "\n".join(f"- {line}" for line in lines)


def shown(figures: Figures, row: tuple[str, str]) -> str:
    """Return a figure, where there is one: a contestant that has failed has not all."""
    return spread(figures.values[row]) if row in figures.values else ""


def make_faces(measured: Measured) -> str:
    """Return a table for each face of ours, with its cost as a multiple of the others', and one of theirs."""
    groups = measured.groups
    others = [name for name in OTHERS if name in groups]
    rows = make_rows(groups)
    parts = [describe(measured)]
    for face in (name for name in OURS if name in groups):
        table = [[face, "unit", "median", *(f"/ {other}" for other in others)]]
        for row in rows:
            cells = [ratio(groups, face, other, row) for other in others]
            table.append([*row, shown(groups[face], row), *cells])
        parts.append(to_markdown(table))
    table = [["the others", "unit", *others]]
    table.extend([*row, *(shown(groups[other], row) for other in others)] for row in rows)
    parts.append(to_markdown(table))
    return "\n\n".join(parts)


def make_growth(measured: Measured) -> str:
    """Return the table of growth."""
    return f"{describe(measured)}\n\n{to_markdown(growth.make_table(measured.groups['growth']))}"


def make_doors(measured: Measured) -> str:
    """Return the table of the doors of a notebook, side by side with a widget's own messages."""
    groups = measured.groups
    table = [["in JupyterLab", "unit", *notebook.DOORS, "a widget's messages"]]
    for label, (unit, _) in notebook.MEASURED.items():
        table.append([label, unit, *(shown(groups.get(door, Figures()), (label, unit)) for door in notebook.DOORS), ""])
    table[1][-1] = shown(groups.get("", Figures()), (notebook.WIDGET, "ms"))
    return f"{describe(measured)}\n\n{to_markdown(table)}"


def replace(document: str, sections: Mapping[str, str]) -> str:
    """Return the document with new text between the markers of each section.

    Raises:
        SystemExit: There is no such marker.
    """
    for name, text in sections.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin not in document or end not in document:
            raise SystemExit(f"The document has no {begin} … {end}")
        before, _, rest = document.partition(begin)
        document = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def write(options: argparse.Namespace, folder: Path) -> None:
    """Measure what is not given, and write the document and its chart."""
    compared = read(options.compare or [measure("compare", folder, short=options.short)])
    grown = read(options.growth or [measure("growth", folder, short=options.short)])
    noted = read(options.notebook or [measure("notebook", folder, short=options.short)])
    sections = {"faces": make_faces(compared), "growth": make_growth(grown), "doors": make_doors(noted)}
    document = replace(options.document.read_text(encoding="utf-8"), sections)
    options.document.write_text(document, encoding="utf-8")
    draw(growth.make_panels(grown.groups["growth"]), options.images, "growth")


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=Path, nargs="+", metavar="FILE", help="what `benchmarks.compare` has written")
    parser.add_argument("--growth", type=Path, nargs="+", metavar="FILE", help="what `benchmarks.growth` has written")
    parser.add_argument(
        "--notebook", type=Path, nargs="+", metavar="FILE", help="what `benchmarks.notebook` has written"
    )
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="the document (default: docs/performance.md)")
    parser.add_argument("--images", type=Path, default=IMAGES, help="the chart's folder (default: docs/images)")
    parser.add_argument("--short", action="store_true", help="a little of everything: does it run? No measurement")
    with tempfile.TemporaryDirectory() as folder:
        write(parser.parse_args(), Path(folder))


if __name__ == "__main__":
    main()
