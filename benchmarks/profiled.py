"""The process that `profile_call.py` looks at. It imports jchannel alone, so that it runs on any tree of it.

    python -P profiled.py PASS FACE SHORT

A pass measures one thing, as each would disturb the others: `plain`, `functions`, `calls` (of the system, which strace
counts), `copies`.
"""

from __future__ import annotations

import asyncio
import cProfile
import ctypes
import functools
import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

import trio

import jchannel
import jchannel.trio

MIB: Final = 2**20
PIECE: Final = 64 * 2**10

CODE: Final = """
(channel) => {
    const piece = new Uint8Array(65536);
    channel.handler = {
        add: (a, b) => a + b,
        async take(stream) {
            let size = 0;
            for await (const chunk of stream) size += chunk.length;
            return size;
        },
        async *generate(size) {
            for (let left = size; left > 0; left -= piece.length) yield piece;
        },
        async callInTurn(count) {
            for (let i = 0; i < count; i += 1) await channel.call('add', i, 1);
        },
        async callAtOnce(count) {
            await Promise.all(Array.from({length: count}, (_, i) => channel.call('add', i, 1)));
        },
    };
}
"""

_output = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
os.dup2(2, 1)


def tell(**what: object) -> None:
    """Tell the parent one thing."""
    _output.write(json.dumps(what) + "\n")


class Handler:
    """What the page calls."""

    def add(self, a: int, b: int) -> int:
        """Return the sum."""
        return a + b


class Steps(trio.abc.Instrument):
    """Counts the steps of trio's tasks, and those of asyncio's loops."""

    def __init__(self) -> None:
        self.trio = 0
        self.asyncio = 0

    def before_task_step(self, _: trio.lowlevel.Task) -> None:
        """Count one of trio's."""
        self.trio += 1

    def watch(self) -> None:
        """Count in every run of trio and every loop that begins from now on."""
        run_trio = trio.run

        def run_counted(*args: Any, instruments: Sequence[trio.abc.Instrument] = (), **options: Any) -> object:
            return run_trio(*args, instruments=[*instruments, self], **options)

        trio.run = run_counted  # type: ignore[assignment]
        run = asyncio.Handle._run  # noqa: SLF001 (there is no public place to count)

        def count_and_run(handle: asyncio.Handle) -> None:
            self.asyncio += 1
            run(handle)

        asyncio.Handle._run = count_and_run  # type: ignore[assignment, method-assign]  # noqa: SLF001


class Functions:
    """The processor time of each function, in every thread that begins from now on and in this one."""

    def __init__(self) -> None:
        self._profiles: list[cProfile.Profile] = []

    def watch(self) -> None:
        """Begin."""
        run = threading.Thread.run

        def run_profiled(thread: threading.Thread) -> None:
            self._start()
            run(thread)

        threading.Thread.run = run_profiled  # type: ignore[assignment, method-assign]
        self._start()

    def _start(self) -> None:
        profile = cProfile.Profile(time.thread_time)
        with suppress(ValueError):  # From Python 3.12 on, one thread at a time can be profiled.
            profile.enable()
            self._profiles.append(profile)

    def times(self) -> Counter[str]:
        """Return the nanoseconds in each so far."""
        times: Counter[str] = Counter()
        self._profiles[0].disable()  # This look itself does not count.
        for profile in self._profiles:
            for entry in profile.getstats():
                times[name_of(entry.code)] += round(entry.inlinetime * 1e9)
        self._profiles[0].enable()
        return times


def name_of(code: str | CodeType) -> str:
    """Return a function's name, with its file below the folder of packages."""
    if isinstance(code, str):
        return code.strip("<>")
    path = code.co_filename
    for folder in ("/site-packages/", "/jchannel/", "/lib/python"):
        if folder in path:
            path = path[path.rindex(folder) + len(folder) * (folder != "/jchannel/") :].lstrip("/")
            break
    return f"{path}:{code.co_qualname}"


class Measure:
    """One pass."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._steps = Steps()
        self._functions = Functions()
        if kind == "copies":
            self._steps.watch()
        elif kind == "functions":
            self._functions.watch()

    @contextmanager
    def subject(self, name: str, times: int) -> Iterator[None]:
        """Measure what is done in the block, which is something so many times, and tell it."""
        if self._kind == "calls":
            # They mark the place in strace's record.
            mark("begin", name)
            yield
            mark("end", name)
            tell(subject=name, times=times)
            return
        before = self._look()
        yield
        difference = self._look()
        difference.subtract(before)
        tell(subject=name, times=times, figures=difference)

    def _look(self) -> Counter[str]:
        if self._kind == "functions":
            return self._functions.times()
        if self._kind == "copies":
            copied = {}
            with suppress(AttributeError):
                copied = {"bytes copied": ctypes.c_ulonglong.in_dll(ctypes.CDLL(None), "copied_bytes").value}
            return Counter(
                {"steps of trio's tasks": self._steps.trio, "steps of asyncio's loop": self._steps.asyncio, **copied}
            )
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Counter(
            {
                "processor, ns": time.process_time_ns(),
                "elapsed, ns": time.perf_counter_ns(),
                "switches, voluntary": used.ru_nvcsw,
                "switches, involuntary": used.ru_nivcsw,
            }
        )


def mark(what: str, name: str) -> None:
    """Make a call of the system that does nothing, and that a record shows."""
    with suppress(OSError):
        os.stat(f"/jchannel-benchmark/{what}/{name}")  # noqa: PTH116 (one call, and no more)


async def generate(size: int) -> AsyncIterator[bytes]:
    """Yield so many bytes, in pieces."""
    piece = bytes(PIECE)
    for _ in range(size // PIECE):
        yield piece


async def take(stream: AsyncIterable[Sized]) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done.

    Attributes:
        calls: Calls in turn.
        batch: Calls at once.
        batches: How often that.
        stream: The bytes of a stream.
        streams: How many, one after the other.
    """

    calls: int = 300
    batch: int = 2_000
    batches: int = 5
    stream: int = 64 * MIB
    streams: int = 2


SHORT: Final = Sizes(10, 20, 1, MIB, 1)


class Subjects:
    """What is measured, through one face.

    Args:
        channel: A channel of that face.
        call_at_once: What makes so many calls at once in it.
        sizes: How much is done.
    """

    def __init__(self, channel: Any, call_at_once: Callable[[int], Awaitable[object]], sizes: Sizes) -> None:
        self._channel = channel
        self._call_at_once = call_at_once
        self._sizes = sizes

    async def measure(self, measure: Measure) -> None:
        """Do everything once to warm up, and then so that it counts."""
        sizes = self._sizes
        batch, stream = f"batch of {sizes.batch:,}", f"stream of {sizes.stream // MIB} MiB"
        works: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "call to the page": (sizes.calls, self._call),
            "call from the page": (sizes.calls, self._answer),
            f"{batch} to the page": (sizes.batches, self._call_at_once_often),
            f"{batch} from the page": (sizes.batches, self._answer_at_once),
            f"{stream} to the page": (sizes.streams, self._send),
            f"{stream} from the page": (sizes.streams, self._receive),
        }
        for _, work in works.values():
            await work()
        for name, (times, work) in works.items():
            with measure.subject(name, times):
                await work()

    async def _call(self) -> None:
        for number in range(self._sizes.calls):
            await self._channel.call("add", number, 1, timeout=60)

    async def _answer(self) -> None:
        await self._channel.call("callInTurn", self._sizes.calls, timeout=60)

    async def _call_at_once_often(self) -> None:
        for _ in range(self._sizes.batches):
            await self._call_at_once(self._sizes.batch)

    async def _answer_at_once(self) -> None:
        for _ in range(self._sizes.batches):
            await self._channel.call("callAtOnce", self._sizes.batch, timeout=60)

    async def _send(self) -> None:
        for _ in range(self._sizes.streams):
            await self._channel.call_with_stream("take", generate(self._sizes.stream), timeout=60)

    async def _receive(self) -> None:
        for _ in range(self._sizes.streams):
            await take(await self._channel.call("generate", self._sizes.stream, timeout=60))


async def run_trio(measure: Measure, sizes: Sizes) -> None:
    """Do it in trio."""
    async with jchannel.trio.open_server(host="127.0.0.1", port=0) as server:
        tell(url=server.page_url)
        await server.wait_page(60)
        async with server.open_channel(CODE, handler=Handler()) as channel:

            async def call_at_once(count: int) -> None:
                async with trio.open_nursery() as nursery:
                    for number in range(count):
                        nursery.start_soon(functools.partial(channel.call, "add", number, 1, timeout=60))

            await Subjects(channel, call_at_once, sizes).measure(measure)


async def run_asyncio(measure: Measure, sizes: Sizes) -> None:
    """Do it in asyncio."""
    async with await jchannel.start(host="127.0.0.1", port=0) as server:
        tell(url=server.page_url)
        channel = await server.open(CODE, timeout=60)
        channel.handler = Handler()

        async def call_at_once(count: int) -> None:
            await asyncio.gather(*[channel.call("add", number, 1, timeout=60) for number in range(count)])

        await Subjects(channel, call_at_once, sizes).measure(measure)


def main() -> None:
    """Run one pass."""
    kind, face, short = sys.argv[1:]
    measure, sizes = Measure(kind), SHORT if short == "short" else Sizes()
    if face == "trio":
        trio.run(run_trio, measure, sizes)
    else:
        asyncio.run(run_asyncio(measure, sizes))


if __name__ == "__main__":
    main()
