"""Calls and streams from the cells of a real JupyterLab, through each door, beside a widget's messages.

Each round takes every figure of every door in turn; that of calls is the median of its repetitions. Everything happens
in one notebook, one kernel and one page of headless Chromium that nobody watches. It needs `pip install
'jchannel[test]'`.

    python -m benchmarks.notebook [--rounds N] [--doors port,comm] [--only TEXT] [--json PATH]
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from benchmarks.harness import Conditions, Figures, Target, make_parser, open_browser, report
from tests.jupyter.server import JupyterServer

DOORS: Final = ("port", "proxy", "comm")

#: How often each call is made in a round, how many are made at once, and the bytes of a stream.
SIZES: Final = (200, 2_000, 64 * 2**20)
SHORT: Final = (3, 20, 2**20)

NOTEBOOK: Final = "window.jupyterapp?.shell?.currentWidget"

#: The notebook is shown, and the page is connected to its kernel, which is idle.
IDLE: Final = f"""{NOTEBOOK}?.context?.isReady && {NOTEBOOK}.sessionContext.isReady
    && {NOTEBOOK}.sessionContext.session?.kernel?.connectionStatus === 'connected'
    && {NOTEBOOK}.sessionContext.session.kernel.status === 'idle'"""

SET_UP: Final = """
import sys
sys.modules.pop("anywidget", None)  # The tests' server hides it.
import json
import jchannel
from benchmarks.cells import Echo, call_widget, compute, open_cells, sleep
servers, cells = {}, {}
"""

START: Final = """
servers["{door}"] = await jchannel.start(port=0, door="{door}")
"""

OPEN: Final = """
for door, server in servers.items():
    cells[door] = await open_cells(server, *SIZES)
    assert server.statistics().door == door
widget = Echo()
widget
"""

#: What is measured through each door: its unit, and what the cell does with `it`.
MEASURED: Final = {
    "await channel.call(…)": ("ms", "await it.call()"),
    "channel.sync.call(…)": ("ms", "it.block()"),
    "cell in time.sleep: call there and back": ("ms", "it.bounce(sleep)"),
    "cell in a Python loop: call there and back": ("ms", "it.bounce(compute)"),
    "cell in time.sleep: the page asks": ("ms", "it.answer(sleep)"),
    "cell in a Python loop: the page asks": ("ms", "it.answer(compute)"),
    "2,000 calls at once": ("ms", "await it.call_at_once()"),
    "stream of 64 MiB, to the page": ("MiB/s", "await it.send()"),
    "stream of 64 MiB, from the page": ("MiB/s", "await it.receive()"),
    "call beside a stream to the page": ("ms", "await it.call_beside_sending()"),
    "call beside a stream from the page": ("ms", "await it.call_beside_receiving()"),
}

#: What is measured beside them.
WIDGET: Final = "anywidget message and answer, awaited"


class Notebook:
    """A notebook in JupyterLab, in a page that nobody watches. Its cells are numbered from 0."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def run(self, n: int) -> str:
        """Run a cell, wait until it has run, and return the text of its outputs."""
        text: str = await self._target.evaluate(
            f"""(async () => {{
                const {{content}} = {NOTEBOOK};
                content.deselectAll();
                content.activeCellIndex = {n};
                await jupyterapp.commands.execute('notebook:run-cell');
                return content.widgets[{n}].model.outputs.toJSON().map(
                    ({{text, ename, evalue}}) => [text ?? (ename ? `${{ename}}: ${{evalue}}` : '')].flat().join('')
                ).join('');
            }})()"""
        )
        return text


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that measures.

    Attributes:
        group: Its door, or an empty text.
        label: What it measures.
        unit: In what.
        source: The cell, which prints a number.
    """

    group: str
    label: str
    unit: str
    source: str


def make_beginning(doors: Sequence[str], *, short: bool) -> list[str]:
    """Return the sources of the cells that begin."""
    return [f"SIZES = {SHORT if short else SIZES}\n{SET_UP}", *(START.format(door=door) for door in doors), OPEN]


def make_round(doors: Sequence[str], only: str) -> list[Cell]:
    """Return the cells of a round, in their order: those whose labels contain a text."""
    cells = [
        Cell(door, label, unit, f"it = cells[{door!r}]\nprint({source})")
        for label, (unit, source) in MEASURED.items()
        for door in doors
    ]
    cells.append(Cell("", WIDGET, "ms", "print(await call_widget(widget, SIZES[0]))"))
    return [cell for cell in cells if only in cell.label]


async def measure(notebook: Notebook, first: int, cells: Sequence[Cell], rounds: int) -> dict[str, Figures]:
    """Run the notebook's cells, in turn, and return the figures by door. The first ones begin."""
    groups = {cell.group: Figures() for cell in cells}
    begun = "".join([await notebook.run(number) for number in range(first)])
    for number in range(rounds + 1):
        for place, cell in enumerate(cells, first):
            text = await notebook.run(place)
            try:
                value = float(text)
            except ValueError:
                raise SystemExit(f"{cell.label}, {cell.group}: {begun}{text}") from None
            if number:  # The first round warms up and is not counted.
                groups[cell.group].add(cell.label, cell.unit, value)
    return groups


async def run(url: str, first: int, cells: Sequence[Cell], rounds: int) -> dict[str, Figures]:
    """Open the notebook and measure in it."""
    async with open_browser() as browser:
        target = await browser.open(url)
        await target.wait_for(IDLE, 120)
        return await measure(Notebook(target), first, cells, rounds)


def run_in(server: JupyterServer, options: argparse.Namespace) -> dict[str, Figures]:
    """Measure in a notebook of a Jupyter server."""
    doors = options.doors.split(",")
    beginning, cells = make_beginning(doors, short=options.short), make_round(doors, options.only)
    file = server.write_notebook("benchmark.ipynb", [*beginning, *(cell.source for cell in cells)])
    return trio.run(run, server.page_url(f"lab/tree/{file.name}?reset"), len(beginning), cells, options.rounds)


def make_options() -> argparse.ArgumentParser:
    """Return the parser of its options."""
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--doors", default=",".join(DOORS), metavar="NAMES", help="by which doors (default: all)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only what has this text in its label")
    return parser


def main() -> None:
    """Run the benchmark."""
    options = make_options().parse_args()
    if importlib.util.find_spec("anywidget") is None:
        raise SystemExit("The benchmark needs anywidget: pip install 'jchannel[test]'")
    conditions = Conditions()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        JupyterServer(Path(folder)) as server,
    ):
        report(options, conditions, run_in(server, options))


if __name__ == "__main__":
    main()
