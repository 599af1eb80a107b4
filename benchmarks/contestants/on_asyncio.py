"""What the contestants in asyncio share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.contestants.work import Contestant


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
