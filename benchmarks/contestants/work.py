"""What every contestant's process does: the same work by its own API, told line by line on its output."""

from __future__ import annotations

import abc
import argparse
import gc
import json
import os
import re
import statistics
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

MIB: Final = 2**20
PIECE: Final = 64 * 2**10
INTEGERS: Final = 200_000
RECORDS: Final = 9_500  # About 1 MB of JSON.
FOLDER: Final = Path(__file__).parent

#: The code of a channel of ours, whose handler does the page's work.
CODE: Final = f"""
(channel) => {{
    {(FOLDER / "work.js").read_text(encoding="utf-8")}
    channel.handler = makeHandler((...args) => channel.call(...args));
}}
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything is done in a round.

    Attributes:
        parts: Which of `calls` and `streams`.
        in_turn: Calls one after another.
        at_once: Calls at once.
        batches: How often that.
        times: How often each large argument.
        large: The bytes of the large one.
        stream: The bytes of a stream.
        beside: The bytes of the stream that calls are made beside.
        short_pipes: How many pipes of 10 bytes.
    """

    parts: tuple[str, ...] = ("streams", "calls")
    in_turn: int = 300
    at_once: int = 2_000
    batches: int = 3
    times: int = 3
    large: int = 16 * MIB
    stream: int = 64 * MIB
    beside: int = 128 * MIB
    short_pipes: int = 50


SHORT: Final = {
    "in_turn": 5,
    "at_once": 20,
    "batches": 1,
    "times": 1,
    "large": MIB,
    "stream": MIB,
    "beside": 2 * MIB,
    "short_pipes": 2,
}


class Handler:
    """What the page calls."""

    def add(self, a: int, b: int) -> int:
        """Return the sum."""
        return a + b

    def size(self, value: Sized) -> int:
        """Return the length of what was sent."""
        return len(value)


class Contestant(abc.ABC):
    """What a contestant can do, in its own way."""

    @abc.abstractmethod
    async def call(self, name: str, *args: object) -> Any:
        """Call a method of the page, and return its value."""

    @abc.abstractmethod
    async def add_at_once(self, count: int) -> list[int]:
        """Call `add` with each number and 1, all at once."""

    @abc.abstractmethod
    async def send(self, size: int) -> int:
        """Send a stream to the page's `take`, and return what that returns."""

    @abc.abstractmethod
    async def receive(self, size: int) -> int:
        """Read the stream of the page's `generate`, and return its size."""

    @abc.abstractmethod
    async def pipe(self, size: int) -> int:
        """Send a stream, read what comes back of it, and return its size."""

    @abc.abstractmethod
    async def repeat_beside(self, work: Callable[[], Awaitable[object]], stream: Callable[[], Awaitable[int]]) -> None:
        """Repeat some work for as long as a stream runs."""


class AwaitedFace(Contestant):
    """A channel of jchannel's whose methods are awaited.

    Args:
        channel: The channel, of `jchannel` or of `jchannel.trio`.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    async def call(self, name: str, *args: object) -> Any:
        """Call a method of the page, and return its value."""
        return await self._channel.call(name, *args, timeout=60)

    async def send(self, size: int) -> int:
        """Send a stream to the page's `take`, and return what that returns."""
        taken: int = await self._channel.call_with_stream("take", generate(size), timeout=60)
        return taken

    async def receive(self, size: int) -> int:
        """Read the stream of the page's `generate`, and return its size."""
        return await take(await self._channel.call("generate", size, timeout=60))

    async def pipe(self, size: int) -> int:
        """Send a stream, read what comes back of it, and return its size."""
        return await take(await self._channel.pipe(generate(size), timeout=60))


class Teller:
    """Where figures are told: the output of the process, which belongs to this alone."""

    def __init__(self) -> None:
        self._output: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(self, **what: object) -> None:
        """Tell one thing."""
        self._output.write(json.dumps(what) + "\n")

    def figure(self, label: str, unit: str, value: float) -> None:
        """Tell a figure."""
        self.tell(label=label, unit=unit, value=value)


def make_pieces(size: int) -> Iterator[bytes]:
    """Yield so many bytes, in pieces."""
    piece = bytes(PIECE)
    for left in range(size, 0, -PIECE):
        yield piece if left >= PIECE else piece[:left]


async def generate(size: int) -> AsyncIterator[bytes]:
    """Yield so many bytes, in pieces."""
    for piece in make_pieces(size):
        yield piece


async def take(stream: AsyncIterable[Sized]) -> int:
    """Read a stream to its end, and return its size."""
    size = 0
    async for chunk in stream:
        size += len(chunk)
    return size


def make_records(count: int) -> list[dict[str, object]]:
    """Return what `timeRecords` of the page makes, too."""
    return [
        {"id": i, "name": f"record number {i}", "score": i / 7, "tags": ["red", "green", "blue"], "even": i % 2 == 0}
        for i in range(count)
    ]


async def time_each(times: int, work: Callable[[int], Awaitable[object]], *, of: int = 1) -> tuple[float, float]:
    """Return the milliseconds that it takes, and those of this process's processor, for each of so many in one work."""
    began, began_work = time.perf_counter(), time.process_time()
    for number in range(times):
        await work(number)
    spent = time.process_time() - began_work
    return (time.perf_counter() - began) * 1e3 / times / of, spent * 1e3 / times / of


class Work:
    """The work of a round."""

    def __init__(self, contestant: Contestant, plan: Plan, teller: Teller) -> None:
        self._contestant = contestant
        self._plan = plan
        self._teller = teller

    async def do(self) -> None:
        """Do all of it, and tell the figures."""
        await self._add(1)
        self._teller.tell(answered=True)
        await self._warm_up()
        for part in self._plan.parts:
            gc.collect()
            forget_peak()
            await {"calls": self._measure_calls, "streams": self._measure_streams}[part]()
            self._teller.figure(f"peak memory of {part}", "MiB", read_peak())

    async def _add(self, number: int) -> None:
        assert await self._contestant.call("add", number, 1) == number + 1

    async def _warm_up(self) -> None:
        count = min(100, self._plan.in_turn)
        await time_each(count, self._add)
        await self._contestant.add_at_once(count)
        await self._contestant.call("timeInTurn", count)
        await self._contestant.call("timeAtOnce", count, 1)

    async def _measure_calls(self) -> None:
        plan, call, figure = self._plan, self._contestant.call, self._teller.figure
        milliseconds, processor = await time_each(plan.in_turn, self._add)
        figure("call in turn, to the page", "ms", milliseconds)
        figure("call in turn, from the page", "ms", await call("timeInTurn", plan.in_turn))
        figure("processor time in Python of a call in turn to the page", "ms", processor)

        async def add_at_once(_: int) -> None:
            assert await self._contestant.add_at_once(plan.at_once) == list(range(1, plan.at_once + 1))

        milliseconds, processor = await time_each(plan.batches, add_at_once, of=plan.at_once)
        figure(f"{plan.at_once:,} at once, to the page", "calls/s", 1e3 / milliseconds)
        milliseconds = await call("timeAtOnce", plan.at_once, plan.batches)
        figure(f"{plan.at_once:,} at once, from the page", "calls/s", plan.at_once * 1e3 / milliseconds)
        figure(f"processor time in Python of each of {plan.at_once:,} at once to the page", "ms", processor)
        integers, records, large = list(range(INTEGERS)), make_records(RECORDS), bytes(plan.large)

        async def echo(_: int) -> None:
            assert len(await call("echo", integers)) == INTEGERS

        async def send_records(_: int) -> None:
            assert await call("size", records) == RECORDS

        async def send_bytes(_: int) -> None:
            assert await call("size", large) == plan.large

        figure("echo of 200,000 integers", "ms", (await time_each(plan.times, echo))[0])
        figure("1 MB of JSON, to the page", "ms", (await time_each(plan.times, send_records))[0])
        figure("1 MB of JSON, from the page", "ms", await call("timeRecords", RECORDS, plan.times))
        figure(f"{plan.large // MIB} MiB of bytes, to the page", "ms", (await time_each(plan.times, send_bytes))[0])
        figure(
            f"{plan.large // MIB} MiB of bytes, from the page", "ms", await call("timeBytes", plan.large, plan.times)
        )

    async def _measure_streams(self) -> None:
        plan, contestant, figure = self._plan, self._contestant, self._teller.figure
        ways = {"to the page": contestant.send, "from the page": contestant.receive, "there and back": contestant.pipe}
        for way, stream in ways.items():
            await self._stream(stream, 10)

            async def stream_once(_: int, stream: Callable[[int], Awaitable[int]] = stream) -> None:
                await self._stream(stream, plan.stream)

            milliseconds, _ = await time_each(1, stream_once)
            figure(f"stream of {plan.stream // MIB} MiB, {way}", "MiB/s", plan.stream / MIB * 1e3 / milliseconds)

        async def pipe_shortly(_: int) -> None:
            await self._stream(contestant.pipe, 10)

        figure("stream of 10 bytes, there and back", "ms", (await time_each(plan.short_pipes, pipe_shortly))[0])
        for way in ("to the page", "from the page"):
            times = await self._call_beside(ways[way])
            figure(f"call beside a stream {way}, median", "ms", statistics.median(times))
            figure(f"call beside a stream {way}, 95 %", "ms", statistics.quantiles(times, n=20)[-1])

    async def _stream(self, stream: Callable[[int], Awaitable[int]], size: int) -> None:
        assert await stream(size) == size

    async def _call_beside(self, stream: Callable[[int], Awaitable[int]]) -> list[float]:
        times: list[float] = []

        async def call() -> None:
            began = time.perf_counter()
            await self._add(len(times))
            times.append((time.perf_counter() - began) * 1e3)

        await call()
        await self._contestant.repeat_beside(call, lambda: stream(self._plan.beside))
        return [*times, times[-1]]  # Two at least, for the quantiles.


def forget_peak() -> None:
    """Let the peak of the memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def read_peak() -> float:
    """Return the peak of the memory of this process, in MiB."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def parse_plan() -> Plan:
    """Return the plan that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--parts", default="streams,calls")
    options = parser.parse_args()
    parts = tuple(options.parts.split(","))
    return Plan(parts=parts, **SHORT) if options.short else Plan(parts=parts)
