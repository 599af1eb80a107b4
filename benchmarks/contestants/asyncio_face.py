"""jchannel in asyncio: trio runs in a thread of its own."""

from __future__ import annotations

import asyncio

import jchannel
from benchmarks.contestants.on_asyncio import AsyncioContestant
from benchmarks.contestants.work import CODE, AwaitedFace, Handler, Teller, Work, parse_plan


class AsyncioFace(AwaitedFace, AsyncioContestant):
    """A channel of `jchannel`."""


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
