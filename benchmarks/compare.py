"""The three faces of jchannel beside what is used instead: Socket.IO, and a channel written by hand on `websockets`.

Each does the same work by its own API: `contestants/work.py` in Python and `work.js` in the page. In each round each
has a new process and a new Chromium with one page that nobody watches, and the rounds take them in turning order. What
Python begins is timed in its process, and what the page begins in the page.

    python -m benchmarks.compare [--rounds N] [--only NAMES] [--parts calls,streams] [--json PATH]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import trio

from benchmarks.harness import (
    ROOT,
    Conditions,
    Figures,
    describe_shortly,
    make_parser,
    median,
    open_browser,
    write_json,
)

#: The modules of `contestants`: those of ours, and the others.
OURS: Final = {"trio": "trio_face", "asyncio": "asyncio_face", "blocking": "blocking_face"}
OTHERS: Final = {"Socket.IO": "by_socketio", "by hand": "by_hand"}
CONTESTANTS: Final = OURS | OTHERS

FIRST_ANSWER: Final = "start of the process to the first answer"


async def read_lines(process: trio.Process) -> AsyncIterator[dict[str, Any]]:
    """Yield what a contestant's process tells."""
    assert process.stdout is not None
    rest = b""
    async for data in process.stdout:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


async def measure(name: str, figures: Figures, arguments: Sequence[str]) -> str:
    """Let one contestant do the work of a round, and return what went wrong, or nothing."""
    command = [sys.executable, "-m", f"benchmarks.contestants.{CONTESTANTS[name]}", *arguments]
    run = partial(trio.run_process, command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=ROOT, check=False)
    async with open_browser() as browser, trio.open_nursery() as nursery:
        began = time.perf_counter()
        process: trio.Process = await nursery.start(run)
        answered = False
        async for told in read_lines(process):
            if "url" in told:
                await browser.open(told["url"])
            elif "answered" in told:
                answered = True
                figures.add(FIRST_ANSWER, "ms", (time.perf_counter() - began) * 1e3)
            else:
                figures.add(told["label"], told["unit"], told["value"])
    return "" if answered and not process.returncode else f"{name} has ended with {process.returncode}"


def make_rows(groups: dict[str, Figures]) -> list[tuple[str, str]]:
    """Return the labels and units of all, in their order."""
    return list(dict.fromkeys(key for figures in groups.values() for key in figures.values))


def best(groups: dict[str, Figures], names: Sequence[str], row: tuple[str, str]) -> tuple[float, str] | None:
    """Return the best median of some contestants as a cost, and whose it is."""
    _, unit = row
    medians = {
        name: median(groups[name].values[row]) for name in names if name in groups and row in groups[name].values
    }
    if not medians:
        return None
    return min((1 / value if unit.endswith("/s") else value, name) for name, value in medians.items())


def ratio(groups: dict[str, Figures], name: str, other: str, row: tuple[str, str]) -> str:
    """Return a contestant's cost as a multiple of another one's: less than 1 is better."""
    cost, floor = best(groups, [name], row), best(groups, [other], row)
    return "" if cost is None or floor is None or not floor[0] else f"{cost[0] / floor[0]:.2f}"


def digits(value: float) -> str:
    """Return a figure with as many digits as it is good for."""
    places = next((places for places, least in enumerate((100, 10, 1)) if value >= least), 3)
    return f"{value:,.{places}f}"


def spread(values: Sequence[float]) -> str:
    """Return the median, and half of the range as a part of it."""
    middle = median(values)
    if len(values) == 1 or not middle:
        return digits(middle)
    return f"{digits(middle)} ±{(max(values) - min(values)) / 2 / middle:.0%}"


def make_table(groups: dict[str, Figures]) -> list[list[str]]:
    """Return the table, with its head: medians, and our trio's cost beside the others'."""
    names = [name for name in CONTESTANTS if name in groups]
    others = [name for name in OTHERS if name in groups]
    table = [["", "unit", *names, *(f"trio / {other}" for other in others if "trio" in groups)]]
    for row in make_rows(groups):
        values = [groups[name].values.get(row) for name in names]
        cells = ["" if found is None else spread(found) for found in values]
        ratios = [ratio(groups, "trio", other, row) for other in others if "trio" in groups]
        table.append([*row, *cells, *ratios])
    return table


def show_table(table: Sequence[Sequence[str]]) -> None:
    """Print a table in columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = [
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


async def run(rounds: int, names: Sequence[str], arguments: Sequence[str]) -> tuple[dict[str, Figures], list[str]]:
    """Measure everything, and return the figures of each contestant, and what went wrong."""
    groups = {name: Figures() for name in names}
    failures = []
    for number in range(rounds):
        turn = number % len(names)
        order = [*names[turn:], *names[:turn]]
        for name in reversed(order) if number % 2 else order:
            began = time.perf_counter()
            if failure := await measure(name, groups[name], arguments):
                failures.append(failure)
            seconds = time.perf_counter() - began
            print(f"round {number + 1} of {rounds}: {name}, {seconds:.1f} s", file=sys.stderr, flush=True)
    return groups, failures


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="which, with commas (default: all)")
    parser.add_argument("--parts", default="streams,calls", help="calls, streams or both (default)")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - CONTESTANTS.keys():
        parser.error(f"there is no contestant {', '.join(unknown)}: there are {', '.join(CONTESTANTS)}")
    arguments = ["--parts", options.parts, *(["--short"] if options.short else [])]
    conditions = Conditions()
    groups, failures = trio.run(run, options.rounds, names, arguments)
    described = conditions.describe()
    print(f"medians of {options.rounds} rounds ± half of the range{', SHORT: no measurement' if options.short else ''}")
    print(f"{describe_shortly(described)}\n")
    show_table(make_table(groups))
    write_json(options, described, groups)
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
