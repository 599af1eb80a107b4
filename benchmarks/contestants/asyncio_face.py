"""jchannel in asyncio: trio runs in a thread of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import jchannel
from benchmarks.contestants.on_asyncio import AsyncioContestant
from benchmarks.contestants.work import CODE, Handler, Teller, Work, generate, parse_plan, take


class AsyncioFace(AsyncioContestant):
    """A channel of `jchannel`."""

    def __init__(self, channel: jchannel.Channel) -> None:
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


async def main() -> None:
    """Do the work of a round."""
    plan, teller = parse_plan(), Teller()
    async with await jchannel.start(host="127.0.0.1", port=0) as server:
        teller.tell(url=server.page_url)
        channel = await server.open(CODE, timeout=60)
        channel.handler = Handler()
        await Work(AsyncioFace(channel), plan, teller).do()


if __name__ == "__main__":
    asyncio.run(main())
