"""Reading lines of 80 bytes from a stream that is in memory: ``MetaGenerator`` beside ``bytes.split``.

Nothing is sent anywhere: this is what cutting a stream into records costs. The goals: at least 300 MiB/s in bulk, and
at most twice the time of ``bytes.split`` in an async generator where records are read one by one.

    python -m benchmarks.records [--rounds N] [--chunk BYTES] [--json PATH]
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from benchmarks.harness import Conditions, Figures, make_parser, report
from jchannel._streams.reader import MetaGenerator

LINE = 79 * b"x" + b"\n"
SIZE = 64 * 2**20
Item = TypeVar("Item")


def cut(chunk_size: int, end: bytes, size: int) -> list[bytes]:
    """The stream as chunks. Lines end where the size of a chunk has no regard for them."""
    data = (LINE[: 80 - len(end)] + end) * (size // 80)
    return [data[start : start + chunk_size] for start in range(0, len(data), chunk_size)]


async def consume(items: AsyncIterator[Item]) -> None:
    """Reads an async iterator to its end, and does nothing with what it gives."""
    async for _ in items:
        pass


def open_stream(chunks: list[bytes]) -> MetaGenerator:
    """A stream of these chunks."""
    waiting = iter(chunks)

    async def receive() -> bytes:
        return next(waiting, b"")

    async def aclose() -> None:
        """There is nothing to stop."""

    return MetaGenerator(receive, aclose, trio.to_thread.run_sync)


async def split_in_bulk(chunks: list[bytes], separator: bytes) -> AsyncIterator[list[bytes]]:
    """The floor in bulk: each chunk split by itself, so that lines across two chunks come out in two."""
    for chunk in chunks:
        yield chunk.split(separator)


async def split_one_by_one(chunks: list[bytes], separator: bytes) -> AsyncIterator[bytes]:
    """The floor one by one."""
    for chunk in chunks:
        for record in chunk.split(separator):
            yield record


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__, rounds=7)
    parser.add_argument("--chunk", type=int, default=64 * 1024, help="bytes of a chunk (default: 64 KiB)")
    options = parser.parse_args()
    size = SIZE // 64 if options.short else SIZE
    lines = cut(options.chunk, b"\n", size)
    semicolons = cut(options.chunk, b";", size)
    returns = cut(options.chunk, b"\r\n", size)
    contestants: dict[str, Callable[[], Awaitable[object]]] = {
        "bulk: bytes.split": lambda: consume(split_in_bulk(lines, b"\n")),
        "bulk: batches_by_separator()": lambda: consume(open_stream(lines).batches_by_separator()),
        "bulk: batches_by_separator(';')": lambda: consume(open_stream(semicolons).batches_by_separator(";")),
        "bulk: batches_by_separator('\\r\\n')": lambda: consume(open_stream(returns).batches_by_separator("\r\n")),
        "one by one: bytes.split, async generator": lambda: consume(split_one_by_one(lines, b"\n")),
        "one by one: by_separator()": lambda: consume(open_stream(lines).by_separator()),
        "one by one: by_separator(';')": lambda: consume(open_stream(semicolons).by_separator(";")),
        "one by one: by_separator('\\r\\n')": lambda: consume(open_stream(returns).by_separator("\r\n")),
        "one by one: lines()": lambda: consume(open_stream(lines).lines()),
        "one by one: by_limit(8192)": lambda: consume(open_stream(lines).by_limit()),
        "one by one: by_limit(80)": lambda: consume(open_stream(lines).by_limit(80)),
        "all at once: join()": lambda: open_stream(lines).join(),
    }
    figures, conditions = Figures(), Conditions()
    for _ in range(options.rounds):
        # Side by side: what else the machine does meets all of them.
        for name, read in contestants.items():
            began = time.perf_counter()
            trio.run(read)
            figures.add(name, "MiB/s", size / 2**20 / (time.perf_counter() - began))
    report(options, conditions, {"": figures})


if __name__ == "__main__":
    main()
