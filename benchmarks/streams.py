"""Streams between Python and a page in Chromium: how fast they are, and what they cost in memory.

In the same run a bare hypercorn is the floor: the same page fetches from it, and posts Blobs to it, with nothing of
jchannel between them. Its response says `cache-control: no-store`, as those of jchannel do: Chromium writes every other
one to its HTTP cache, which makes it three times as slow. What that costs is shown, but is no floor.

    python -m benchmarks.streams [--rounds N] [--large] [--slow-mib MIB] [--json PATH]
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config

import jchannel.trio
from benchmarks.harness import Conditions, Figures, make_parser, median, open_page, report, show

MIB = 2**20
LARGE = 1024 * MIB
CACHED_PATH = "/cached"
PIECE = 64 * 2**10  # What the sources give at a time, on both sides.
FLOOR_PIECE = 256 * 2**10
SEGMENT = 4 * MIB
RATE = 10 * MIB  # Of a slow reader, in bytes per second.
SAMPLE_SECONDS = 0.25
ALLOWED_GROWTH = 32.0
MEMORY_FLAGS = ("--enable-precise-memory-info", "--js-flags=--expose-gc")

TO_PAGE = "to the page, 64 MiB"
FROM_PAGE = "from the page, 64 MiB"
FROM_PAGE_BLOB = "from the page, 64 MiB, Blob"
PIPE = "pipe, 64 MiB"
PIPE_SHORT = "pipe of 10 bytes"
FLOOR_TO_PAGE = "floor: bare fetch, 64 MiB"
CACHED = "no floor: bare fetch into the HTTP cache"
FLOOR_FROM_PAGE = "floor: bare POSTs of 4 MiB Blobs, 64 MiB"
CALL_ALONE = "call, nothing beside it"
CALL_TO_PAGE = "call, 256 MiB to the page beside it"
CALL_FROM_PAGE = "call, 256 MiB from the page beside it"

RATIOS = ((TO_PAGE, FLOOR_TO_PAGE), (FROM_PAGE, FLOOR_FROM_PAGE), (FROM_PAGE_BLOB, FLOOR_FROM_PAGE))

CODE = """
(channel) => {
    const FLOOR = %(floor)s;
    const piece = new Uint8Array(%(piece)d);
    async function* generate(size) {
        for (let left = size; left > 0; left -= piece.length) yield piece;
    }
    // A slow reader: it waits until its share of the rate is reached.
    async function take(stream, rate) {
        const began = performance.now();
        let size = 0;
        for await (const chunk of stream) {
            size += chunk.length;
            const early = rate === null ? 0 : size / rate * 1000 - (performance.now() - began);
            if (early > 4) await new Promise((resolve) => setTimeout(resolve, early));
        }
        return size;
    }
    channel.handler = {
        add: (a, b) => a + b,
        take,
        generate,
        makeBlob: (size) => new Blob(Array.from({length: size / piece.length}, () => piece)),
        // One step: fast streams leave megabytes of garbage between two.
        heap(collect) {
            if (collect) gc();
            return performance.memory.usedJSHeapSize;
        },
        async fetchFloor(path) {
            return take((await fetch(FLOOR + path)).body, null);
        },
        async postFloor(size) {
            const segment = new Uint8Array(%(segment)d);
            for (let left = size; left > 0; left -= segment.length) {
                await fetch(FLOOR, {method: 'POST', body: new Blob([segment])});
            }
        },
    };
}
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is sent in a round.

    Attributes:
        whole: The bytes of a stream.
        beside: The bytes of the stream beside which calls are made.
        short_pipes: How many pipes of 10 bytes.
    """

    whole: int = 64 * MIB
    beside: int = 256 * MIB
    short_pipes: int = 100


#: A little of everything: does it run?
SHORT = Sizes(4 * MIB, 4 * MIB, 2)


async def floor_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """An ASGI app that does nothing but give as many bytes as its path says, and take whatever comes."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"access-control-allow-origin", b"*")]
    if scope["method"] == "POST":
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": headers})
    else:
        piece = bytes(FLOOR_PIECE)
        folder, _, size = scope["path"].rpartition("/")
        if folder != CACHED_PATH:
            headers.append((b"cache-control", b"no-store"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(int(size) // FLOOR_PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def open_floor() -> AsyncIterator[str]:
    """A bare hypercorn for the time of the block. Gives its URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0
    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(partial(hypercorn.trio.serve, floor_app, config))  # type: ignore[arg-type]
        yield urls[0]
        nursery.cancel_scope.cancel()


async def generate(size: int) -> AsyncIterator[bytes]:
    """A source of so many bytes."""
    piece = bytes(PIECE)
    for _ in range(size // PIECE):
        yield piece


async def take(stream: AsyncIterable[bytes], rate: float | None = None) -> int:
    """Reads a stream to its end, at most at a rate in bytes per second, and gives its size."""
    began = trio.current_time()
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if rate is not None:
            await trio.sleep_until(began + size / rate)
    return size


async def stream_to_page(channel: jchannel.trio.Channel, size: int, rate: float | None = None) -> None:
    """Sends a stream that the page reads."""
    assert await channel.call_with_stream("take", generate(size), rate, timeout=60) == size


async def stream_from_page(channel: jchannel.trio.Channel, size: int, rate: float | None = None) -> None:
    """Reads a stream of the page."""
    assert await take(await channel.call("generate", size, timeout=60), rate) == size


async def blob_from_page(channel: jchannel.trio.Channel, size: int) -> None:
    """Reads a Blob of the page."""
    assert await take(await channel.call("makeBlob", size, timeout=60)) == size


async def pipe(channel: jchannel.trio.Channel, size: int) -> None:
    """Sends a stream to the page and receives it back."""
    assert await take(await channel.pipe(generate(size), timeout=60)) == size


async def fetch_floor(channel: jchannel.trio.Channel, size: int, folder: str = "") -> None:
    """Lets the page fetch from the bare hypercorn."""
    assert await channel.call("fetchFloor", f"{folder}/{size}", timeout=60) == size


async def time_rate(figures: Figures, label: str, size: int, work: Callable[[], Awaitable[object]]) -> None:
    """Measures so many bytes of something."""
    began = time.perf_counter()
    await work()
    figures.add(label, "MiB/s", size / MIB / (time.perf_counter() - began))


async def time_short_pipes(figures: Figures, channel: jchannel.trio.Channel, count: int) -> None:
    """Measures pipes of 10 bytes, one by one."""

    async def ten_bytes() -> AsyncIterator[bytes]:
        yield b"0123456789"

    began = time.perf_counter()
    for _ in range(count):
        assert await (await channel.pipe(ten_bytes())).join() == b"0123456789"
    figures.add(PIPE_SHORT, "ms", (time.perf_counter() - began) / count * 1e3)


async def time_calls(
    figures: Figures, label: str, channel: jchannel.trio.Channel, beside: Callable[[], Awaitable[None]]
) -> None:
    """Measures the calls that are answered while something else runs: their median in this run."""
    times: list[float] = []

    async def call_on() -> None:
        while True:
            began = time.perf_counter()
            await channel.call("add", 2, 3, timeout=60)
            times.append((time.perf_counter() - began) * 1e3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_on)
        await beside()
        nursery.cancel_scope.cancel()
    figures.add(label, "ms", median(times))


async def time_all(figures: Figures, channel: jchannel.trio.Channel, sizes: Sizes) -> None:
    """One round of everything but the large streams."""
    size = sizes.whole
    await time_rate(figures, FLOOR_TO_PAGE, size, partial(fetch_floor, channel, size))
    await time_rate(figures, CACHED, size, partial(fetch_floor, channel, size, CACHED_PATH))
    await time_rate(figures, TO_PAGE, size, partial(stream_to_page, channel, size))
    await time_rate(figures, FLOOR_FROM_PAGE, size, partial(channel.call, "postFloor", size, timeout=60))
    await time_rate(figures, FROM_PAGE, size, partial(stream_from_page, channel, size))
    await time_rate(figures, FROM_PAGE_BLOB, size, partial(blob_from_page, channel, size))
    await time_rate(figures, PIPE, size, partial(pipe, channel, size))
    await time_short_pipes(figures, channel, sizes.short_pipes)
    await time_calls(figures, CALL_ALONE, channel, partial(trio.sleep, 0.2))
    await time_calls(figures, CALL_TO_PAGE, channel, partial(stream_to_page, channel, sizes.beside))
    await time_calls(figures, CALL_FROM_PAGE, channel, partial(stream_from_page, channel, sizes.beside))


def resident_mib() -> float:
    """The memory of this process that is resident, in MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@dataclass
class Growth:
    """By how much the memory grew at most, in MiB.

    Attributes:
        python: That of this process.
        page: The page's JavaScript heap, with the buffers of its arrays and with garbage that has not been collected.
    """

    python: float
    page: float


async def watch_growth(
    channel: jchannel.trio.Channel, work: Callable[[], Awaitable[None]], *, collect: bool
) -> tuple[Growth, float]:
    """Does something, and gives the growth of the memory meanwhile and the seconds it took.

    Args:
        channel: The channel.
        work: What is done.
        collect: Whether the page collects its garbage before each look, so that only what is held is seen.
    """

    async def look() -> Growth:
        return Growth(resident_mib(), await channel.call("heap", collect, timeout=60) / MIB)

    # Garbage of what was before would be collected meanwhile, and hide growth.
    before = Growth(resident_mib(), await channel.call("heap", True, timeout=60) / MIB)  # noqa: FBT003
    most = Growth(before.python, before.page)

    async def keep_looking() -> None:
        while True:
            await trio.sleep(SAMPLE_SECONDS)
            now = await look()
            most.python = max(most.python, now.python)
            most.page = max(most.page, now.page)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_looking)
        await work()
        nursery.cancel_scope.cancel()
    seconds = time.perf_counter() - began
    after = await look()
    python, page = max(most.python, after.python), max(most.page, after.page)
    return Growth(python - before.python, page - before.page), seconds


async def watch_memory(
    label: str,
    size: int,
    channel: jchannel.trio.Channel,
    work: Callable[[], Awaitable[None]],
    *,
    control: bool = False,
) -> None:
    """Does something twice, and prints its rate and the growth of the memory: of what is held, and with garbage.

    A control holds nothing itself, so it shows how exact the measurement is, and is not judged.
    """
    natural, seconds = await watch_growth(channel, work, collect=False)
    held, _ = await watch_growth(channel, work, collect=True)
    python = max(natural.python, held.python)
    too_much = not control and max(python, held.page) >= ALLOWED_GROWTH
    verdict = f"   TOO MUCH: {ALLOWED_GROWTH:g} MiB are allowed" if too_much else ""
    growth = f"Python {python:+.1f} MiB, page {held.page:+.1f} MiB held, {natural.page:+.1f} MiB with garbage"
    print(f"{label:<44} {size / MIB / seconds:>10,.0f} MiB/s    {growth}{verdict}", flush=True)


async def watch_all(channel: jchannel.trio.Channel, slow_mib: int) -> None:
    """Prints what large streams cost in memory, and for comparison what a bare fetch does."""
    # What is allocated once, however many streams there are, is not growth.
    await stream_to_page(channel, Sizes().whole)
    await stream_from_page(channel, Sizes().whole)
    slow = slow_mib * MIB
    await watch_memory(
        "control: bare fetch, 1 GiB, fast reader",
        LARGE,
        channel,
        partial(fetch_floor, channel, LARGE),
        control=True,
    )
    await watch_memory("to the page, 1 GiB, fast reader", LARGE, channel, partial(stream_to_page, channel, LARGE))
    await watch_memory("from the page, 1 GiB, fast reader", LARGE, channel, partial(stream_from_page, channel, LARGE))
    label = f"to the page, {slow_mib:,} MiB, reader of 10 MiB/s"
    await watch_memory(label, slow, channel, partial(stream_to_page, channel, slow, RATE))
    label = f"from the page, {slow_mib:,} MiB, reader of 10 MiB/s"
    await watch_memory(label, slow, channel, partial(stream_from_page, channel, slow, RATE))


async def run(rounds: int, sizes: Sizes, *, large: bool, slow_mib: int) -> Figures:
    """Measures everything in one page."""
    figures = Figures()
    async with open_floor() as floor, jchannel.trio.open_server(port=0) as server:
        code = CODE % {"floor": json.dumps(floor), "piece": PIECE, "segment": SEGMENT}
        async with open_page(server.page_url, *MEMORY_FLAGS):
            await server.wait_page(30)
            async with server.open_channel(code) as channel:
                if large:
                    await watch_all(channel, slow_mib)
                for number in range(sizes is SHORT, rounds + 1 if rounds else 0):
                    # The first round warms both sides up and is not counted.
                    await time_all(figures if number else Figures(), channel, sizes)
    return figures


def show_ratios(figures: Figures) -> None:
    """Prints how near to the floors the medians are."""
    for label, floor in RATIOS:
        values = zip(figures.values[label, "MiB/s"], figures.values[floor, "MiB/s"], strict=True)
        show(f"{label} / floor", [value / least for value, least in values], "")


def main() -> None:
    """Runs the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--large", action="store_true", help="also 1 GiB each way, with the growth of the memory")
    parser.add_argument(
        "--slow-mib", type=int, default=1024, help="MiB for a reader of 10 MiB/s under --large (default: 1024)"
    )
    options = parser.parse_args()
    conditions = Conditions()
    figures = trio.run(
        partial(
            run, options.rounds, SHORT if options.short else Sizes(), large=options.large, slow_mib=options.slow_mib
        )
    )
    if options.rounds:
        report(options, conditions, {"": figures})
        show_ratios(figures)


if __name__ == "__main__":
    main()
