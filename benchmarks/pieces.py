"""Streams as pieces on the WebSocket, beside the same ones over HTTP, in Chromium.

Three servers run side by side, each with a page of its own: one whose streams all travel over HTTP, one whose streams
all travel as pieces, and one with the limit that is the default. Each work is done with all of them in turn.

    python -m benchmarks.pieces [--runs N]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

import jchannel.trio
from benchmarks.harness import Figures, open_page, show
from benchmarks.streams import (
    BESIDE,
    CODE,
    MIB,
    PIECE,
    SEGMENT,
    SIZE,
    blob_from_page,
    pipe,
    stream_from_page,
    stream_to_page,
    time_calls,
    time_rate,
)

MANY = 50
STEPS = 20

HTTP = "HTTP"
PIECES = "pieces"
DEFAULT = "default"
#: What each server lets travel over HTTP. The only place of one of them is taken by a stream that never goes on.
LIMITS = {HTTP: 1_000, PIECES: 1, DEFAULT: jchannel.trio.Limits().http_streams}

ONE = ("to the page", "from the page", "from the page, Blob", "pipe")
CALLS = ("to the page", "from the page")

Work = Callable[[jchannel.trio.Channel], Awaitable[object]]


async def stand_still(begun: trio.Event) -> AsyncIterator[bytes]:
    """A source that gives its beginning, and nothing more. It says when that has been taken."""
    yield bytes(2 * MIB)
    begun.set()
    await trio.sleep_forever()


@asynccontextmanager
async def open_way(way: str) -> AsyncIterator[jchannel.trio.Channel]:
    """A channel to a page, whose streams travel in one of the ways."""
    code = CODE % {"floor": "null", "piece": PIECE, "segment": SEGMENT}
    limits = jchannel.trio.Limits(http_streams=LIMITS[way])
    async with jchannel.trio.open_server(port=0, limits=limits) as server, open_page(server.page_url):
        if way == HTTP:
            # A page that is near would send its streams as pieces all the same.
            server._core._carrier.near_seconds = -1  # noqa: SLF001 (no setting of a user's)
        await server.wait_page(30)
        async with server.open_channel(code) as channel, trio.open_nursery() as nursery:
            if way == PIECES:
                begun = trio.Event()
                nursery.start_soon(partial(channel.call_with_stream, "take", stand_still(begun), None, timeout=None))
                await begun.wait()
            yield channel
            nursery.cancel_scope.cancel()


async def do_many(work: Work, channel: jchannel.trio.Channel) -> None:
    """Does something in many tasks at once."""
    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(work, channel)


async def step_slowly() -> AsyncIterator[bytes]:
    """A slow source: it gives a little, fifty times a second."""
    yield bytes(PIECE)
    for _ in range(STEPS):
        await trio.sleep(0.02)
        yield bytes(100)


async def take_slowly(channel: jchannel.trio.Channel) -> None:
    """Lets the page read a slow stream."""
    await channel.call_with_stream("take", step_slowly(), None, timeout=60)


async def time_many(figures: Figures, label: str, work: Work, channel: jchannel.trio.Channel) -> None:
    """Measures many streams at once, of 64 MiB altogether."""
    await time_rate(figures, label, partial(do_many, work, channel))


async def time_whole(figures: Figures, label: str, work: Callable[[], Awaitable[object]]) -> None:
    """Measures how long something takes."""
    began = time.perf_counter()
    await work()
    figures.add(label, "ms", (time.perf_counter() - began) * 1e3)


async def time_all(figures: Figures, channels: dict[str, jchannel.trio.Channel]) -> None:
    """One run of everything, each work in each way, one after the other."""
    share = SIZE // MANY // PIECE * PIECE
    one: dict[str, Callable[[jchannel.trio.Channel, int], Awaitable[None]]] = {
        "to the page": stream_to_page,
        "from the page": stream_from_page,
        "from the page, Blob": blob_from_page,
        "pipe": pipe,
    }
    for name in ONE:
        for way in (HTTP, PIECES):
            await time_rate(figures, f"{name}, 64 MiB, {way}", partial(one[name], channels[way], SIZE))
    for name in ("to the page", "from the page"):
        for way in (HTTP, PIECES, DEFAULT):
            work = partial(one[name], size=share)  # type: ignore[call-arg]
            await time_many(figures, f"{MANY} at once {name}, {way}", work, channels[way])
    for way in (HTTP, PIECES, DEFAULT):
        slow = partial(do_many, take_slowly, channels[way])
        await time_whole(figures, f"{MANY} of {STEPS * 0.02:g} s at once, {way}", slow)
    for way in (HTTP, PIECES):
        for name in CALLS:
            beside = partial(one[name], channels[way], BESIDE)
            await time_calls(figures, f"call, 256 MiB {name} beside it, {way}", channels[way], beside)


async def run(runs: int) -> None:
    """Measures everything."""
    figures = Figures()
    async with AsyncExitStack() as stack:
        channels = {way: await stack.enter_async_context(open_way(way)) for way in LIMITS}
        for number in range(runs + 1):
            # The first run warms all sides up and is not counted.
            await time_all(figures if number else Figures(), channels)
    print(f"medians of {runs} runs; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    figures.show()
    for name in ONE:
        rates = zip(
            figures.values[f"{name}, 64 MiB, {PIECES}", "MiB/s"],
            figures.values[f"{name}, 64 MiB, {HTTP}", "MiB/s"],
            strict=True,
        )
        show(f"{name}, pieces / HTTP", [pieces / http for pieces, http in rates], "")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs; medians are shown (default: 5)")
    trio.run(run, parser.parse_args().runs)


if __name__ == "__main__":
    main()
