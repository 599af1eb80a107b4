"""What the cells of `benchmarks.notebook` measure, in the kernel: the same through each door."""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import anywidget

import jchannel

MIB: Final = 2**20

CODE: Final = """
(channel) => {
    let kept;
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
        take: async (stream) => { kept = await stream.join(); },
        give: async function* () {
            for (let i = 0; i < kept.length; i += 262144) yield kept.subarray(i, i + 262144);
        },
        digest: async () => Array.from(
            new Uint8Array(await crypto.subtle.digest('SHA-256', kept)),
            (byte) => byte.toString(16).padStart(2, '0')).join(''),
    };
}
"""


class Handler:
    """What the kernel answers the page, also while a cell computes.

    Attributes:
        arrived: When each number arrived.
        timed: The milliseconds that the page has measured; empty as long as it has not.
    """

    def __init__(self) -> None:
        self.arrived: dict[int, float] = {}
        self.timed: list[float] = []

    @jchannel.background
    def answer(self, number: int) -> int:
        """Return the number."""
        self.arrived[number] = time.perf_counter()
        return number

    @jchannel.background
    def finish(self, milliseconds: list[float]) -> None:
        """Take what the page has measured."""
        self.timed = milliseconds


def sleep() -> None:
    """Keep the cell waiting for a hundredth of a second."""
    time.sleep(0.01)


def compute() -> None:
    """Keep the cell busy for a hundredth of a second."""
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass


class Cells:
    """Measures through one door. Each method is one cell's.

    Args:
        channel: A channel to a page that has come by this door.
        handler: Its handler.
        repetitions: How often each call is made.
        at_once: How many are made at once.
        size: The bytes of a stream.
    """

    def __init__(self, channel: Any, handler: Handler, repetitions: int, at_once: int, size: int) -> None:
        self._channel = channel
        self._handler = handler
        self._repetitions = repetitions
        self._at_once = at_once
        self._data = os.urandom(size)
        self._received = b""

    async def call(self) -> float:
        """Await calls in turn. Return their median, in ms, as all below do that return times."""
        times = []
        for number in range(self._repetitions):
            began = time.perf_counter()
            await self._channel.call("add", number, 1)
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    def block(self) -> float:
        """Make blocking calls in turn, in a cell that never awaits."""
        times = []
        for number in range(self._repetitions):
            began = time.perf_counter()
            self._channel.sync.call("add", number, 1)
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    def bounce(self, be_busy: Callable[[], None]) -> float:
        """Call there and back in a busy cell."""
        arrived, left = self._handler.arrived, []
        arrived.clear()
        for number in range(self._repetitions):
            left.append(time.perf_counter())
            self._channel.call("bounce", number)
            be_busy()
        while len(arrived) < self._repetitions:
            be_busy()
        return statistics.median((arrived[number] - began) * 1e3 for number, began in enumerate(left))

    def answer(self, be_busy: Callable[[], None]) -> float:
        """Answer the page in a busy cell."""
        self._handler.timed = []
        self._channel.call("timeAnswers", self._repetitions, timeout=60)
        while not self._handler.timed:
            be_busy()
        return statistics.median(self._handler.timed)

    async def call_at_once(self) -> float:
        """Make many calls at once, and return how long all of them take, in ms."""
        began = time.perf_counter()
        calls = [self._channel.call("add", number, 1, timeout=60) for number in range(self._at_once)]
        assert await asyncio.gather(*calls) == list(range(1, self._at_once + 1))
        return (time.perf_counter() - began) * 1e3

    async def send(self) -> float:
        """Send a stream, which the page keeps. Return MiB/s. What it has kept is checked when the time is over."""
        rate = await self._time(self._send())
        assert await self._channel.call("digest", timeout=60) == hashlib.sha256(self._data).hexdigest()
        return rate

    async def receive(self) -> float:
        """Receive what the page has kept. Return MiB/s, and check it likewise."""
        rate = await self._time(self._receive())
        assert hashlib.sha256(self._received).digest() == hashlib.sha256(self._data).digest()
        return rate

    async def call_beside_sending(self) -> float:
        """Await calls in turn while a stream goes to the page."""
        return await self._call_beside(self._send())

    async def call_beside_receiving(self) -> float:
        """Await calls in turn while a stream comes from the page."""
        return await self._call_beside(self._receive())

    async def _send(self) -> None:
        await self._channel.call_with_stream("take", self._data, timeout=60)

    async def _receive(self) -> None:
        stream = await self._channel.call("give", timeout=60)
        self._received = await stream.join()

    async def _time(self, stream: Coroutine[Any, Any, None]) -> float:
        began = time.perf_counter()
        await stream
        return len(self._data) / MIB / (time.perf_counter() - began)

    async def _call_beside(self, stream: Coroutine[Any, Any, None]) -> float:
        flowing = asyncio.create_task(stream)
        times = []
        while not flowing.done():
            began = time.perf_counter()
            await self._channel.call("add", 1, 1, timeout=60)
            times.append((time.perf_counter() - began) * 1e3)
        await flowing
        return statistics.median(times)


class Echo(anywidget.AnyWidget):
    """A widget whose page sends back what it is sent."""

    _esm = "export default {render({model}) { model.on('msg:custom', (content) => { model.send(content); }); }}"


async def call_widget(widget: Echo, repetitions: int) -> float:
    """Await messages of a widget and their answers in turn, and return their median, in ms."""
    times = []
    answers: asyncio.Queue[object] = asyncio.Queue()

    def hear(_: object, content: object, __: object) -> None:
        answers.put_nowait(content)

    widget.on_msg(hear)
    for number in range(repetitions):
        began = time.perf_counter()
        widget.send({"number": number})
        assert await asyncio.wait_for(answers.get(), 10) == {"number": number}
        times.append((time.perf_counter() - began) * 1e3)
    widget.on_msg(hear, remove=True)
    return statistics.median(times)


async def open_cells(server: jchannel.Server, repetitions: int, at_once: int, size: int) -> Cells:
    """Open a channel of a server whose page has come by some door, and return what measures there."""
    handler = Handler()
    channel = await server.open(CODE, handler=handler, timeout=30)
    return Cells(channel, handler, repetitions, at_once, size)
