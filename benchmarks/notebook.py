"""Round trips from the cells of a real JupyterLab, side by side with a widget's messages in the same notebook.

Each round takes every figure in turn, as the median of its repetitions. Everything happens in one notebook, one kernel
and one page of headless Chromium that nobody watches. It needs `pip install 'jchannel[test]'`.

    python -m benchmarks.notebook [--rounds N] [--json PATH]
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Final

import trio

from benchmarks.harness import Conditions, Figures, Target, make_parser, open_browser, report
from tests.jupyter.server import JupyterServer

REPETITIONS: Final = 200
SHORT: Final = 3

NOTEBOOK: Final = "window.jupyterapp?.shell?.currentWidget"

#: The notebook is shown, and the page is connected to its kernel, which is idle.
IDLE: Final = f"""{NOTEBOOK}?.context?.isReady && {NOTEBOOK}.sessionContext.isReady
    && {NOTEBOOK}.sessionContext.session?.kernel?.connectionStatus === 'connected'
    && {NOTEBOOK}.sessionContext.session.kernel.status === 'idle'"""

SET_UP = """
import sys
sys.modules.pop("anywidget", None)  # The tests' server hides it.
import asyncio, json, statistics, time
import anywidget, jchannel

class Handler:
    def __init__(self):
        self.arrived = {}
        self.timed = None

    @jchannel.background
    def answer(self, number):
        self.arrived[number] = time.perf_counter()
        return number

    @jchannel.background
    def finish(self, milliseconds):
        self.timed = milliseconds

class Echo(anywidget.AnyWidget):
    _esm = "export default {render({model}) { model.on('msg:custom', (content) => { model.send(content); }); }}"

def show(milliseconds):
    assert len(milliseconds) == REPETITIONS
    print(json.dumps(statistics.median(milliseconds)))

def sleep(seconds):
    time.sleep(seconds)

def compute(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

server = await jchannel.start(port=0)
"""

OPEN = """
CODE = '''
(channel) => {
    channel.handler = {
        add: (a, b) => a + b,
        bounce(number) { channel.call('answer', number); },
        async timeAnswers(count) {
            const times = [];
            for (let i = 0; i < count; i += 1) {
                const began = performance.now();
                await channel.call('answer', i);
                times.push(performance.now() - began);
            }
            channel.call('finish', times);
        },
    };
}
'''
channel = await server.open(CODE, timeout=30)
channel.handler = handler = Handler()
widget = Echo()
widget
"""

AWAITED = """
times = []
for number in range(REPETITIONS):
    began = time.perf_counter()
    await channel.call("add", number, 1)
    times.append((time.perf_counter() - began) * 1e3)
show(times)
"""

BLOCKING = """
times = []
for number in range(REPETITIONS):
    began = time.perf_counter()
    channel.sync.call("add", number, 1)
    times.append((time.perf_counter() - began) * 1e3)
show(times)
"""

WIDGET = """
times = []
answers = asyncio.Queue()
hear = lambda widget, content, buffers: answers.put_nowait(content)
widget.on_msg(hear)
for number in range(REPETITIONS):
    began = time.perf_counter()
    widget.send({"number": number})
    assert await asyncio.wait_for(answers.get(), 10) == {"number": number}
    times.append((time.perf_counter() - began) * 1e3)
widget.on_msg(hear, remove=True)
show(times)
"""

BUSY_CALLS = """
handler.arrived.clear()
left = []
for number in range(REPETITIONS):
    left.append(time.perf_counter())
    channel.call("bounce", number)
    {be_busy}(0.01)
while len(handler.arrived) < REPETITIONS:
    {be_busy}(0.01)
show([(handler.arrived[number] - left[number]) * 1e3 for number in range(REPETITIONS)])
"""

BUSY_ANSWERS = """
handler.timed = None
channel.call("timeAnswers", REPETITIONS, timeout=60)
while handler.timed is None:
    {be_busy}(0.01)
show(handler.timed)
"""

MEASURED = {
    "await channel.call(…)": AWAITED,
    "channel.sync.call(…)": BLOCKING,
    "anywidget message and answer, awaited": WIDGET,
    "cell in time.sleep: call there and back": BUSY_CALLS.format(be_busy="sleep"),
    "cell in a Python loop: call there and back": BUSY_CALLS.format(be_busy="compute"),
    "cell in time.sleep: the page asks": BUSY_ANSWERS.format(be_busy="sleep"),
    "cell in a Python loop: the page asks": BUSY_ANSWERS.format(be_busy="compute"),
}


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


async def measure(notebook: Notebook, rounds: int) -> Figures:
    """Run the notebook's cells, in turn, and return the figures."""
    figures = Figures()
    begun = await notebook.run(0) + await notebook.run(1)
    for number in range(rounds + 1):
        for cell, label in enumerate(MEASURED, 2):
            text = await notebook.run(cell)
            try:
                value = float(text)
            except ValueError:
                raise SystemExit(f"{label}: {begun}{text}") from None
            if number:  # The first round warms up and is not counted.
                figures.add(label, "ms", value)
    return figures


async def run(url: str, rounds: int) -> Figures:
    """Open the notebook and measure in it."""
    async with open_browser() as browser:
        target = await browser.open(url)
        await target.wait_for(IDLE, 120)
        return await measure(Notebook(target), rounds)


def run_in_server(options: argparse.Namespace) -> Figures:
    """Run a Jupyter server, and measure in a notebook of its."""
    repetitions = SHORT if options.short else REPETITIONS
    cells = [f"REPETITIONS = {repetitions}\n{SET_UP}", OPEN, *MEASURED.values()]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        JupyterServer(Path(folder)) as server,
    ):
        file = server.write_notebook("benchmark.ipynb", cells)
        return trio.run(run, server.page_url(f"lab/tree/{file.name}?reset"), options.rounds)


def main() -> None:
    """Run the benchmark."""
    options = make_parser(__doc__).parse_args()
    if importlib.util.find_spec("anywidget") is None:
        raise SystemExit("The benchmark needs anywidget: pip install 'jchannel[test]'")
    conditions = Conditions()
    report(options, conditions, {"": run_in_server(options)})


if __name__ == "__main__":
    main()
