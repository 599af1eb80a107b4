"""How time grows with size: calls and methods at once, channels, bytes, integers, streams.

Nothing should grow faster than linearly: twice as much takes at most twice as long. Each axis goes from one to the most
in steps, in one page in Chromium that nobody watches, and each round goes through all of them. `--chart` draws the
medians on logarithmic axes, where a straight line of the grid's slope is linear growth.

    python -m benchmarks.growth [--rounds N] [--only AXES] [--json PATH] [--chart FOLDER]
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import trio

import jchannel.trio
from benchmarks.chart import Line, Panel, draw
from benchmarks.compare import digits
from benchmarks.contestants.work import generate, take
from benchmarks.harness import Conditions, Figures, describe_shortly, make_parser, median, open_page, write_json
from jchannel.types import MetaGenerator

STREAM: Final = 256 * 2**10

#: Calls in turn while others wait.
BESIDE: Final = 50

CODE: Final = """
(channel) => {
    const piece = new Uint8Array(65536);
    let waiting = 0;
    let release = () => {};
    let released = Promise.resolve();
    channel.handler = {
        add: (a, b) => a + b,
        async hold() {
            waiting += 1;
            await released;
            waiting -= 1;
        },
        waiting: () => waiting,
        holdFromNow() { released = new Promise((resolve) => { release = resolve; }); },
        release: () => release(),
        size: (value) => value.length ?? value.byteLength,
        give: (size) => new Uint8Array(size),
        integers: (count) => Array.from({length: count}, (_, i) => i),
        async take(stream) {
            let size = 0;
            for await (const chunk of stream) size += chunk.length;
            return size;
        },
        async *generate(size) {
            for (let left = size; left > 0; left -= piece.length) {
                yield left < piece.length ? piece.subarray(0, left) : piece;
            }
        },
        async timeAtOnce(count, name) {
            const began = performance.now();
            await Promise.all(Array.from({length: count}, (_, i) => channel.call(name, i, 1)));
            return performance.now() - began;
        },
    };
}
"""


class Handler:
    """What the page calls. Each that waits goes on when as many as are expected wait."""

    def __init__(self) -> None:
        self.expect(0)

    def expect(self, count: int) -> None:
        """From now on so many calls wait for each other."""
        self._missing, self._all_there = count, trio.Event()

    def add(self, a: int, b: int) -> int:
        """Return the sum."""
        return a + b

    async def wait(self, a: int, b: int) -> int:
        """Wait until all are there, and return the sum."""
        self._missing -= 1
        if self._missing == 0:
            self._all_there.set()
        await self._all_there.wait()
        return a + b

    async def take(self, stream: MetaGenerator) -> int:
        """Read a stream, and return its size."""
        return await take(stream)


@dataclass(frozen=True, slots=True)
class Axis:
    """What grows.

    Attributes:
        name: What is counted.
        unit: In what.
        counts: How many, in steps.
        short: The same where little is done.
        lines: What is measured at each, with the function that returns its milliseconds.
    """

    name: str
    unit: str
    counts: Sequence[int]
    short: Sequence[int]
    lines: dict[str, Callable[[Page, int], Awaitable[float]]]


class Page:
    """A server with its page, and one channel to it."""

    def __init__(self, server: jchannel.trio.Server, channel: jchannel.trio.Channel, handler: Handler) -> None:
        self.server = server
        self.channel = channel
        self.handler = handler


@asynccontextmanager
async def open_server_page() -> AsyncIterator[Page]:
    """Open a server, a page in Chromium, and a channel to it."""
    handler = Handler()
    async with jchannel.trio.open_server(host="127.0.0.1", port=0) as server, open_page(server.page_url):
        await server.wait_page(60)
        async with server.open_channel(CODE, handler=handler) as channel:
            yield Page(server, channel, handler)


async def time_it(work: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds that something takes."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1e3


async def do_at_once(count: int, work: Callable[[], Awaitable[object]]) -> None:
    """Do something in so many tasks."""

    async def do() -> None:
        await work()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(do)


async def call_page(page: Page, count: int) -> float:
    """Call the page so many times at once."""
    return await time_it(partial(do_at_once, count, partial(page.channel.call, "add", 2, 3, timeout=60)))


async def call_python(page: Page, count: int) -> float:
    """Let the page call Python so many times at once."""
    milliseconds: float = await page.channel.call("timeAtOnce", count, "add", timeout=60)
    return milliseconds


async def hold_methods(page: Page, count: int) -> float:
    """Let the page call so many methods that all wait at once, and then end."""
    page.handler.expect(count)
    milliseconds: float = await page.channel.call("timeAtOnce", count, "wait", timeout=60)
    return milliseconds


async def call_beside_waiting(page: Page, count: int) -> float:
    """Call the page while so many calls of it wait, which should make no difference."""
    call = partial(page.channel.call, timeout=60)
    await call("holdFromNow")
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(call, "hold")
        while await call("waiting") < count:
            pass
        # Their median, as one of them may meet a collection of all objects that Python has.
        times = [await time_it(partial(call, "add", 2, 3)) for _ in range(BESIDE)]
        await call("release")
    return median(times)


@asynccontextmanager
async def hold_channels(page: Page, count: int) -> AsyncIterator[list[jchannel.trio.Channel]]:
    """Open so many channels, one after the other, and close them.

    Each is in a task of its own: trio looks through all blocks around a task by recursion, so hundreds are too many.
    """

    async def hold(task_status: trio.TaskStatus[jchannel.trio.Channel]) -> None:
        async with page.server.open_channel(CODE, handler=page.handler, timeout=60) as channel:
            task_status.started(channel)
            await ended.wait()

    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        channels: list[jchannel.trio.Channel] = [await nursery.start(hold) for _ in range(count)]
        yield channels
        ended.set()


async def open_channels(page: Page, count: int) -> float:
    """Open so many channels, one after the other, and close them."""

    async def open_and_close() -> None:
        async with hold_channels(page, count):
            pass

    return await time_it(open_and_close)


async def call_each_channel(page: Page, count: int) -> float:
    """Call once in each of so many open channels, one after the other."""
    async with hold_channels(page, count) as channels:

        async def call_each() -> None:
            for channel in channels:
                await channel.call("add", 2, 3, timeout=60)

        return await time_it(call_each)


async def send_bytes(page: Page, size: int) -> float:
    """Call with an argument of so many bytes."""
    return await time_it(partial(page.channel.call, "size", bytes(size), timeout=60))


async def receive_bytes(page: Page, size: int) -> float:
    """Receive a result of so many bytes."""
    return await time_it(partial(page.channel.call, "give", size, timeout=60))


async def send_integers(page: Page, count: int) -> float:
    """Call with a list of so many integers."""
    integers = list(range(count))
    return await time_it(partial(page.channel.call, "size", integers, timeout=60))


async def receive_integers(page: Page, count: int) -> float:
    """Receive a list of so many integers."""
    return await time_it(partial(page.channel.call, "integers", count, timeout=60))


async def send_streams(page: Page, count: int) -> float:
    """Send so many streams of 256 KiB at once."""

    async def send() -> None:
        assert await page.channel.call_with_stream("take", generate(STREAM), timeout=60) == STREAM

    return await time_it(partial(do_at_once, count, send))


async def receive_streams(page: Page, count: int) -> float:
    """Receive so many streams of 256 KiB at once."""

    async def receive() -> None:
        assert await take(await page.channel.call("generate", STREAM, timeout=60)) == STREAM

    return await time_it(partial(do_at_once, count, receive))


async def send_stream(page: Page, size: int) -> float:
    """Send one stream of so many bytes."""
    return await time_it(partial(page.channel.call_with_stream, "take", generate(size), timeout=60))


async def receive_stream(page: Page, size: int) -> float:
    """Receive one stream of so many bytes."""

    async def receive() -> None:
        assert await take(await page.channel.call("generate", size, timeout=60)) == size

    return await time_it(receive)


MIB: Final = 2**20
TO, FROM = "to the page", "from the page"

AXES: Final = {
    "calls": Axis("calls in flight", "calls", (1, 10, 100, 1_000, 10_000), (1, 10), {TO: call_page, FROM: call_python}),
    "methods": Axis(
        "methods of Python that wait at once", "methods", (1, 10, 100, 1_000, 10_000), (1, 10), {FROM: hold_methods}
    ),
    "waiting": Axis(
        "one call while others wait", "calls", (1, 10, 100, 1_000, 10_000), (1, 10), {TO: call_beside_waiting}
    ),
    "channels": Axis(
        "channels",
        "channels",
        (1, 10, 100, 990),
        (1, 10),
        {"open and close each": open_channels, "call once in each": call_each_channel},
    ),
    "bytes": Axis(
        "bytes of a value",
        "bytes",
        (10, 100, 1_000, 10_000, 100_000, 1_000_000, 16_000_000),
        (10, 1_000),
        {TO: send_bytes, FROM: receive_bytes},
    ),
    "integers": Axis(
        "integers in a list",
        "integers",
        (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
        (1, 100),
        {TO: send_integers, FROM: receive_integers},
    ),
    "streams": Axis(
        "streams of 256 KiB at once", "streams", (1, 5, 20, 50, 200), (1, 5), {TO: send_streams, FROM: receive_streams}
    ),
    "length": Axis(
        "bytes of a stream",
        "bytes",
        (10, 1_000, 100_000, 1 * MIB, 16 * MIB, 256 * MIB),
        (10, MIB),
        {TO: send_stream, FROM: receive_stream},
    ),
}


def label_of(axis: Axis, line: str, count: int) -> str:
    """Return the label of a figure."""
    return f"{axis.name}, {line}: {count:,}"


async def measure(page: Page, figures: Figures, names: Sequence[str], *, short: bool) -> None:
    """Go once through some axes."""
    for name in names:
        axis = AXES[name]
        for line, work in axis.lines.items():
            for count in axis.short if short else axis.counts:
                gc.collect()
                # What is short is repeated, as a single one says little.
                times = 1 if short else max(1, min(20, 2_000 // count if axis.unit != "bytes" else 4_000_000 // count))
                milliseconds = [await work(page, count) for _ in range(times)]
                figures.add(label_of(axis, line, count), "ms", sum(milliseconds) / times)


async def run(rounds: int, names: Sequence[str], *, short: bool) -> Figures:
    """Measure everything, each round in the other direction."""
    figures = Figures()
    async with open_server_page() as page:
        if not short:
            await measure(page, Figures(), names, short=True)  # This warms both sides up and is not counted.
        for number in range(rounds):
            await measure(page, figures, names if number % 2 == 0 else names[::-1], short=short)
    return figures


def points_of(figures: Figures, axis: Axis, line: str) -> list[tuple[int, float]]:
    """Return the medians of a line: how many, and their milliseconds."""
    counts = sorted({*axis.counts, *axis.short})
    measured = [count for count in counts if (label_of(axis, line, count), "ms") in figures.values]
    return [(count, figures.median(label_of(axis, line, count), "ms")) for count in measured]


def steepest(points: Sequence[tuple[int, float]]) -> float:
    """Return the greatest slope between two neighbours on logarithmic axes: 1 is linear growth."""
    return max((math.log(t / s) / math.log(n / m) for (m, s), (n, t) in pairwise(points)), default=math.nan)


def make_table(figures: Figures) -> list[list[str]]:
    """Return how each line grows, with a head."""
    table = [["what grows", "", "from", "to", "ms of the least", "ms of the most", "steepest growth"]]
    for axis in AXES.values():
        for line in axis.lines:
            if points := points_of(figures, axis, line):
                (least, first), (most, last) = points[0], points[-1]
                slope = f"n^{steepest(points):.2f}"
                table.append([axis.name, line, f"{least:,}", f"{most:,}", digits(first), digits(last), slope])
    return table


def make_panels(figures: Figures) -> list[Panel]:
    """Return what the chart shows."""
    panels = []
    for axis in AXES.values():
        lines = [Line(line, points) for line in axis.lines if (points := points_of(figures, axis, line))]
        if lines:
            panels.append(Panel(axis.name, axis.unit, lines))
    return panels


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--only", default=",".join(AXES), help=f"which of {', '.join(AXES)} (default: all)")
    parser.add_argument("--chart", type=Path, metavar="FOLDER", help="where to draw growth-light and growth-dark.svg")
    options = parser.parse_args()
    conditions = Conditions()
    figures = trio.run(partial(run, options.rounds, options.only.split(","), short=options.short))
    described = conditions.describe()
    print(f"medians of {options.rounds} rounds{', SHORT: no measurement' if options.short else ''}")
    print(f"{describe_shortly(described)}\n")
    for row in make_table(figures):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, (36, 20, 7, 12, 16, 16, 16), strict=True)).rstrip()
        )
    write_json(options, described, {"growth": figures})
    if options.chart is not None:
        draw(make_panels(figures), options.chart, "growth")


if __name__ == "__main__":
    main()
