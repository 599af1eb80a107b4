"""Streams as pieces on the WebSocket, beside the same ones over HTTP, in Chromium.

Three servers run side by side, each with a page of its own: one whose streams all travel over HTTP, one whose streams
all travel as pieces, and one with the limit that is the default. Each work is done with all of them in turn.

    python -m benchmarks.pieces [--rounds N] [--json PATH]
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

import jchannel.trio
from benchmarks.harness import Conditions, Figures, make_parser, open_page, report, show
from benchmarks.streams import (
    CODE,
    MIB,
    PIECE,
    SEGMENT,
    SHORT,
    Sizes,
    blob_from_page,
    pipe,
    stream_from_page,
    stream_to_page,
    time_calls,
    time_rate,
)
from jchannel._core.incoming import IncomingStream

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
        await server.wait_page(30)
        if way == HTTP:
            # A page that is near would send its streams as pieces all the same.
            session = server._core.session  # noqa: SLF001 (no setting of a user's)
            assert session is not None
            session._pieces.request = partial(ask_far, session._pieces.request)  # type: ignore[method-assign]  # noqa: SLF001
        async with server.open_channel(code) as channel, trio.open_nursery() as nursery:
            if way == PIECES:
                begun = trio.Event()
                nursery.start_soon(partial(channel.call_with_stream, "take", stand_still(begun), None, timeout=None))
                await begun.wait()
            yield channel
            nursery.cancel_scope.cancel()


def ask_far(ask: Callable[..., None], stream: IncomingStream, *, near: bool) -> None:  # noqa: ARG001 (the session's)
    """Asks for a stream as of a page that is far away."""
    ask(stream, near=False)


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


async def time_many(figures: Figures, label: str, size: int, work: Work, channel: jchannel.trio.Channel) -> None:
    """Measures many streams at once, of so many bytes altogether."""
    await time_rate(figures, label, size, partial(do_many, work, channel))


async def time_whole(figures: Figures, label: str, work: Callable[[], Awaitable[object]]) -> None:
    """Measures how long something takes."""
    began = time.perf_counter()
    await work()
    figures.add(label, "ms", (time.perf_counter() - began) * 1e3)


async def time_all(figures: Figures, channels: dict[str, jchannel.trio.Channel], sizes: Sizes) -> None:
    """One round of everything, each work in each way, one after the other."""
    share = sizes.whole // MANY // PIECE * PIECE
    one: dict[str, Callable[[jchannel.trio.Channel, int], Awaitable[None]]] = {
        "to the page": stream_to_page,
        "from the page": stream_from_page,
        "from the page, Blob": blob_from_page,
        "pipe": pipe,
    }
    for name in ONE:
        for way in (HTTP, PIECES):
            work = partial(one[name], channels[way], sizes.whole)
            await time_rate(figures, f"{name}, 64 MiB, {way}", sizes.whole, work)
    for name in ("to the page", "from the page"):
        for way in (HTTP, PIECES, DEFAULT):
            one_of_many = partial(one[name], size=share)  # type: ignore[call-arg]
            await time_many(figures, f"{MANY} at once {name}, {way}", share * MANY, one_of_many, channels[way])
    for way in (HTTP, PIECES, DEFAULT):
        slow = partial(do_many, take_slowly, channels[way])
        await time_whole(figures, f"{MANY} of {STEPS * 0.02:g} s at once, {way}", slow)
    for way in (HTTP, PIECES):
        for name in CALLS:
            beside = partial(one[name], channels[way], sizes.beside)
            await time_calls(figures, f"call, 256 MiB {name} beside it, {way}", channels[way], beside)


async def run(rounds: int, sizes: Sizes) -> Figures:
    """Measures everything."""
    figures = Figures()
    async with AsyncExitStack() as stack:
        channels = {way: await stack.enter_async_context(open_way(way)) for way in LIMITS}
        for number in range(sizes is SHORT, rounds + 1):
            # The first round warms all sides up and is not counted.
            await time_all(figures if number else Figures(), channels, sizes)
    return figures


def show_ratios(figures: Figures) -> None:
    """Prints how near to HTTP pieces are."""
    for name in ONE:
        rates = zip(
            figures.values[f"{name}, 64 MiB, {PIECES}", "MiB/s"],
            figures.values[f"{name}, 64 MiB, {HTTP}", "MiB/s"],
            strict=True,
        )
        show(f"{name}, pieces / HTTP", [pieces / http for pieces, http in rates], "")


def main() -> None:
    """Runs the benchmark."""
    options = make_parser(__doc__).parse_args()
    conditions = Conditions()
    figures = trio.run(run, options.rounds, SHORT if options.short else Sizes())
    report(options, conditions, {"": figures})
    show_ratios(figures)


if __name__ == "__main__":
    main()
