"""Round trips from the cells of a real JupyterLab, side by side with a widget's messages in the same notebook.

Each run takes every figure in turn, as the median of its repetitions. Everything happens in one notebook, one kernel
and one page of headless Chromium. It needs `pip install 'jchannel[benchmark]'`, for anywidget.

    python -m benchmarks.notebook [--runs N]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.harness import FLAGS, Figures
from jchannel._page.chromium import find_chromium, how_to_install
from tests.jupyter.lab import LabNotebook
from tests.jupyter.server import JupyterServer

REPETITIONS = 200

SET_UP = """
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


def measure(notebook: LabNotebook, runs: int) -> Figures:
    """Runs the notebook's cells, in turn: the figures."""
    figures = Figures()
    notebook.run(0)
    notebook.run(1)
    for run in range(runs + 1):
        for number, label in enumerate(MEASURED, 2):
            text = notebook.run(number)
            try:
                value = float(text)
            except ValueError:
                raise SystemExit(f"{label}: {text or notebook.text(0) + notebook.text(1)}") from None
            if run:  # The first run warms up and is not counted.
                figures.add(label, "ms", value)
    return figures


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs; medians are shown (default: 5)")
    runs = parser.parse_args().runs
    if importlib.util.find_spec("anywidget") is None:
        raise SystemExit("The benchmark needs anywidget: pip install 'jchannel[benchmark]'")
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit(f"The benchmark needs Chromium: {how_to_install()}")
    cells = [f"REPETITIONS = {REPETITIONS}\n{SET_UP}", OPEN, *MEASURED.values()]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        JupyterServer(Path(folder)) as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=list(FLAGS)) as browser,
    ):
        context = browser.new_context(viewport={"width": 1000, "height": 700})
        context.set_default_timeout(120_000)
        load = os.getloadavg()[0]
        notebook = LabNotebook(server, context, server.write_notebook("benchmark.ipynb", cells)).go()
        figures = measure(notebook, runs)
    print(f"medians of {runs} runs of {REPETITIONS} repetitions; {os.cpu_count()} processors, load {load:.1f} before")
    figures.show()


if __name__ == "__main__":
    main()
