"""jchannel in trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

import jchannel.trio
from benchmarks.contestants.work import CODE, AwaitedFace, Handler, Teller, Work, parse_plan


class TrioFace(AwaitedFace):
    """A channel of `jchannel.trio`."""

    async def add_at_once(self, count: int) -> list[int]:
        """Call `add` with each number and 1, all at once."""
        sums = [0] * count

        async def add(number: int) -> None:
            sums[number] = await self._channel.call("add", number, 1, timeout=60)

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(add, number)
        return sums

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
