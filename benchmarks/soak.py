"""Soak: reconnects, reloads, cancels and streams for twenty minutes; the memory, tasks and descriptors meanwhile.

Two servers run side by side in one process: one whose Python peers come, work and go in every way, and one whose page
in Chromium works and is loaded again. (Chromium is a process of its own, and is not counted.)

    python -m benchmarks.soak [--seconds 1200] [--seed 1] [--no-browser]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import trio
import trio.testing

from benchmarks.harness import Conditions, describe_shortly, open_page
from benchmarks.surroundings import Footprint, look
from jchannel.errors import RemoteError, StateError
from jchannel.trio import Channel, PeerChannel, Server, open_peer, open_server
from jchannel.types import MetaGenerator

NAMED = (StateError, RemoteError, trio.TooSlowError)
DATA = bytes(range(256)) * 800
DIGEST = hashlib.sha256(DATA).hexdigest()

#: How often the process is looked at, besides at the start and at the end.
LOOKS = 8

CODE = """
(channel) => {
    channel.handler = {
        same: (value) => value,
        hang: () => new Promise(() => {}),
        digest: async (stream) => Array.from(
            new Uint8Array(await crypto.subtle.digest('SHA-256', await stream.join())),
            (byte) => byte.toString(16).padStart(2, '0')).join(''),
        give: async function* () {
            const data = new Uint8Array(204800).map((_, i) => i % 256);
            for (let i = 0; i < data.length; i += 20000) yield data.slice(i, i + 20000);
        },
        ask: (value) => channel.call('same', value),
        reload: () => { setTimeout(() => location.reload(), 0); },
    };
}
"""


@dataclass
class Soak:
    """What was done, and what the process was like.

    Attributes:
        done: How often each thing was done.
        looks: When the process was looked at, in seconds, and what it was like.
    """

    done: Counter[str] = field(default_factory=Counter)
    looks: list[tuple[float, Footprint]] = field(default_factory=list)

    def show(self) -> None:
        """Prints it."""
        print(", ".join(f"{count:,} {what}" for what, count in self.done.most_common()))
        for seconds, footprint in self.looks:
            print(f"{seconds:7,.0f} s   {footprint}")


class Handler:
    """What both sides do for each other."""

    def same(self, value: object) -> object:
        """Returns what it was given."""
        return value

    async def hang(self) -> None:
        """Never answers."""
        await trio.sleep_forever()

    async def digest(self, stream: MetaGenerator) -> str:
        """Reads a stream."""
        return hashlib.sha256(await stream.join()).hexdigest()

    async def give(self) -> AsyncIterator[bytes]:
        """Gives a stream."""
        for begin in range(0, len(DATA), 20_000):
            await trio.lowlevel.checkpoint()
            yield DATA[begin : begin + 20_000]


class Worker:
    """Does one thing after the other over a channel.

    Args:
        dice: What decides.
        side: The channel, or the peer's side of it.
        done: Where it is counted.
    """

    def __init__(self, dice: random.Random, side: Channel | PeerChannel, done: Counter[str]) -> None:
        self._dice = dice
        self._side = side
        self._done = done

    async def work(self) -> None:
        """Does one thing. It ends with its value, or with an error that has a name."""
        acts: list[Callable[[], Awaitable[None]]] = [
            self.call,
            self.call,
            self.cancel,
            self.send,
            self.receive,
            self.pipe,
        ]
        act = self._dice.choice(acts)
        try:
            await act()
        except* NAMED:
            self._done["named errors"] += 1
        else:
            self._done[act.__name__] += 1

    async def call(self) -> None:
        """Calls, ten times at once."""

        async def call(value: int) -> None:
            assert await self._side.call("same", value) == value

        async with trio.open_nursery() as nursery:
            for value in range(10):
                nursery.start_soon(call, value)

    async def cancel(self) -> None:
        """Cancels a call."""
        with trio.move_on_after(self._dice.choice((0, 0.005))):
            await self._side.call("hang", timeout=10)

    async def send(self) -> None:
        """Sends a stream."""
        assert await self._side.call_with_stream("digest", DATA) == DIGEST

    async def receive(self) -> None:
        """Receives a stream, or its beginning."""
        async with await self._side.call("give") as stream:
            if self._dice.choice((True, False)):
                assert await anext(stream)
            else:
                assert hashlib.sha256(await stream.join()).hexdigest() == DIGEST

    async def pipe(self) -> None:
        """Sends a stream that comes back."""
        async with await self._side.pipe(DATA) as stream:
            assert hashlib.sha256(await stream.join()).hexdigest() == DIGEST


async def soak_peers(dice: random.Random, server: Server, done: Counter[str]) -> None:
    """Lets one Python peer after the other come, work and go."""
    async with server.hold_channel("code", handler=Handler()) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(channel.open, None)
        while True:
            done["peers"] += 1
            streams: list[trio.abc.Stream] = []

            async def connect(streams: list[trio.abc.Stream] = streams) -> trio.abc.Stream:
                streams.append(await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2].strip("/"))))
                return streams[-1]

            async with open_peer(server.page_url, Handler(), client="peer", connect=connect) as peer:
                far = await peer.wait_channel()
                workers = [Worker(dice, dice.choice((channel, far)), done) for _ in range(6)]
                with trio.move_on_after(dice.choice((0.1, 0.5, 2))):
                    async with trio.open_nursery() as works:
                        for worker in workers:
                            works.start_soon(_repeat, worker)
                if dice.choice((True, False)):
                    done["cuts"] += 1
                    await trio.aclose_forcefully(streams[0])
                    await peer.wait_ended()


async def soak_page(dice: random.Random, server: Server, done: Counter[str]) -> None:
    """Lets a page in Chromium work, and be loaded again."""
    async with open_page(server.page_url), server.hold_channel(CODE, handler=Handler()) as channel:
        await channel.open(timeout=60)
        while True:
            with trio.move_on_after(dice.choice((1, 3))):
                async with trio.open_nursery() as works:
                    for _ in range(4):
                        works.start_soon(_repeat, Worker(dice, channel, done))
            try:
                assert await channel.call("ask", "x", timeout=20) == "x"
                await channel.call("reload", timeout=20)
                done["reloads"] += 1
            except NAMED:
                done["named errors"] += 1


async def _repeat(worker: Worker) -> None:
    while True:
        await worker.work()


async def run(
    seconds: float = 1_200, seed: int = 1, *, browser: bool = True, least: frozenset[str] = frozenset()
) -> Soak:
    """Soaks for some time, and until each act of `least` was done. Returns that and what the process was like."""
    soak = Soak()
    began = time.monotonic()

    def note() -> None:
        soak.looks.append((time.monotonic() - began, look()))

    async with AsyncExitStack() as stack:
        dice = random.Random(seed)  # noqa: S311 (no secret: it can be repeated)
        servers = [await stack.enter_async_context(open_server(port=0)) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()  # The servers listen.
        note()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(soak_peers, dice, servers[0], soak.done)
            if browser:
                nursery.start_soon(soak_page, dice, servers[1], soak.done)
            for _ in range(LOOKS):
                await trio.sleep(seconds / LOOKS)
                note()
            while not least <= soak.done.keys():  # noqa: ASYNC110 (there is no event)
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        # The last connections are kept for some seconds, as HTTP's are, and their tasks end after them.
        tasks = soak.looks[0][1].tasks
        with trio.move_on_after(30):
            while any(server.statistics().connections for server in servers) or look().tasks > tasks:  # noqa: ASYNC110 (there is no event)
                await trio.sleep(0.05)
        note()
    return soak


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1_200, help="how long (default: 1,200)")
    parser.add_argument("--seed", type=int, default=1, help="what is done in which order (default: 1)")
    parser.add_argument("--no-browser", action="store_true", help="leave Chromium out")
    given = parser.parse_args()
    conditions = Conditions()
    soak = trio.run(partial(run, given.seconds, given.seed, browser=not given.no_browser))
    print(describe_shortly(conditions.describe()))
    soak.show()


if __name__ == "__main__":
    main()
