"""jchannel in trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

import jchannel.trio
from benchmarks.contestants.work import CODE, Contestant, Handler, Teller, Work, generate, parse_plan, take


class TrioFace(Contestant):
    """A channel of `jchannel.trio`."""

    def __init__(self, channel: jchannel.trio.Channel) -> None:
        self._channel = channel

    async def call(self, name: str, *args: object) -> Any:
        """Call a method of the page, and return its value."""
        return await self._channel.call(name, *args, timeout=60)

    async def add_at_once(self, count: int) -> list[int]:
        """Call `add` with each number and 1, all at once."""
        sums = [0] * count

        async def add(number: int) -> None:
            sums[number] = await self._channel.call("add", number, 1, timeout=60)

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(add, number)
        return sums

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

    async def repeat_beside(self, work: Callable[[], Awaitable[object]], stream: Callable[[], Awaitable[int]]) -> None:
        """Repeat some work for as long as a stream runs."""
        ended = trio.Event()

        async def run_stream() -> None:
            await stream()
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_stream)
            while not ended.is_set():
                await work()


async def main() -> None:
    """Do the work of a round."""
    plan, teller = parse_plan(), Teller()
    async with jchannel.trio.open_server(host="127.0.0.1", port=0) as server:
        teller.tell(url=server.page_url)
        await server.wait_page(60)
        async with server.open_channel(CODE, handler=Handler()) as channel:
            await Work(TrioFace(channel), plan, teller).do()


if __name__ == "__main__":
    trio.run(main)
