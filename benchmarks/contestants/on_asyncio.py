"""What the contestants in asyncio share."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from benchmarks.contestants.work import Contestant, Handler, take

Piece = TypeVar("Piece", bytes, memoryview)


class AsyncioContestant(Contestant):
    """A contestant in a plain asyncio loop."""

    async def add_at_once(self, count: int) -> list[int]:
        """Call `add` with each number and 1, all at once."""
        sums: list[int] = await asyncio.gather(*[self.call("add", number, 1) for number in range(count)])
        return sums

    async def repeat_beside(self, work: Callable[[], Awaitable[object]], stream: Callable[[], Awaitable[int]]) -> None:
        """Repeat some work for as long as a stream runs."""
        task = asyncio.ensure_future(stream())
        while not task.done():
            await work()
        await task


class NumberedStreams(AsyncioContestant, Generic[Piece]):
    """A channel that has no streams of its own: pieces with a number, of which so many may wait to be read.

    Args:
        handler: The handler of the page's calls.
        held: The pieces of a stream that may wait.
    """

    def __init__(self, handler: Handler, held: int) -> None:
        self.connected = asyncio.Event()
        self._handler = handler
        self._held = held
        self._last = 0
        self._streams: dict[int, asyncio.Queue[Piece]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @abc.abstractmethod
    async def _request(self, name: str, args: tuple[object, ...], size: int | None = None) -> Any:
        """Make a request of the page, maybe with a stream of so many bytes, and return its value."""

    def _stream(self, number: int) -> asyncio.Queue[Piece]:
        return self._streams.setdefault(number, asyncio.Queue(self._held))

    async def _read(self, number: int) -> AsyncIterator[Piece]:
        waiting = self._stream(number)
        while piece := await waiting.get():
            yield piece
        del self._streams[number]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def call(self, name: str, *args: object) -> Any:
        """Call a method of the page, and return its value."""
        return await self._request(name, args)

    async def send(self, size: int) -> int:
        """Send a stream to the page's `take`, and return what that returns."""
        taken: int = await self._request("take", (), size)
        return taken

    async def receive(self, size: int) -> int:
        """Read the stream of the page's `generate`, and return its size."""
        return await take(await self.call("generate", size))

    async def pipe(self, size: int) -> int:
        """Send a stream, read what comes back of it, and return its size."""
        return await take(await self._request("pipe", (), size))
