"""A server, a Python peer and a channel between them, both ends with the same handler: the world of generated tests."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio
import trio.testing

from jchannel._streams.reader import MetaGenerator
from jchannel.trio import Channel, Limits, Peer, PeerChannel, Server, open_peer
from tests.core.http_streams import carry_over_http
from tests.core.internals import count_entries, count_in_peer, count_in_server
from tests.core.memory import MemoryServer, open_memory_server

Side = Channel | PeerChannel

#: What is sent through a world's streams. It is longer than what travels inside a message.
DATA = bytes(range(250)) * 400


async def pieces(data: bytes = DATA, size: int = 20_000) -> AsyncIterator[bytes]:
    """A source that gives some data in pieces."""
    for start in range(0, len(data), size):
        await trio.lowlevel.checkpoint()
        yield data[start : start + size]


async def slow_pieces() -> AsyncIterator[bytes]:
    """A source that takes its time before each piece, and more than is waited for before the first."""
    for start in range(0, len(DATA), 60_000):
        await trio.sleep(1)
        yield DATA[start : start + 60_000]


async def endless() -> AsyncIterator[bytes]:
    """A source without an end."""
    while True:
        await trio.lowlevel.checkpoint()
        yield bytes(60_000)


def digest(data: bytes) -> str:
    """What two ends compare."""
    return hashlib.sha256(data).hexdigest()


class Handler:
    """What each side does for the other. It counts what has begun and what has ended, clean-up included."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.go = trio.Event()
        self.channel: Side

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.begun += 1
        try:
            yield
        finally:
            self.ended += 1

    def add(self, a: int, b: int) -> int:
        """A sync method."""
        with self._counted():
            return a + b

    async def add_slowly(self, a: int, b: int) -> int:
        """An async method that waits, and cleans up behind itself."""
        with self._counted():
            try:
                await trio.sleep(1)
                return a + b
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.1)

    async def hold(self, value: int) -> int:
        """Answers when it is told to."""
        with self._counted():
            await self.go.wait()
            return value

    async def hang(self) -> None:
        """Never answers."""
        with self._counted():
            await trio.sleep_forever()

    async def call_back(self, a: int, b: int) -> int:
        """Asks the caller's own side."""
        with self._counted():
            value: int = await self.channel.call("add_slowly", a, b)
            return value

    def length(self, value: bytes) -> int:
        """How much has come."""
        return len(value)

    async def digest(self, stream: MetaGenerator) -> str:
        """Reads a stream."""
        with self._counted():
            return digest(await stream.join())

    async def begin(self, stream: MetaGenerator) -> int:
        """Reads the beginning of a stream, and stops it."""
        with self._counted():
            async with stream:
                return len(await anext(stream))

    async def begin_slowly(self, stream: MetaGenerator) -> int:
        """Reads the beginning of a stream, and waits before it stops it."""
        with self._counted():
            async with stream:
                size = len(await anext(stream))
                await trio.sleep(1)
                return size

    def give(self) -> AsyncIterator[bytes]:
        """Gives a stream."""
        return pieces()

    def give_short(self) -> AsyncIterator[bytes]:
        """Gives a stream that travels inside its message."""
        return pieces(b"one\ntwo\nthree\n")

    def give_slowly(self) -> AsyncIterator[bytes]:
        """Gives a stream whose source makes everybody wait."""
        return slow_pieces()

    def give_endless(self) -> AsyncIterator[bytes]:
        """Gives a stream without an end."""
        return endless()

    async def fail(self) -> None:
        """Raises."""
        with self._counted():
            await trio.lowlevel.checkpoint()
            raise ValueError("it was asked to")


async def take_time(_channel: PeerChannel, code: str) -> None:
    """An initialization function that waits, or does not."""
    if code != "at once":
        await trio.sleep(0.1)


class World:
    """A server in memory and a peer.

    Args:
        memory: The server.
        lockstep: Whether what is sent waits until it is received.
        limits: Those of the peer.
        over_http: How many streams of the peer travel over HTTP at once, as a page's do. The others go as pieces.
    """

    def __init__(
        self, memory: MemoryServer, *, lockstep: bool, limits: Limits | None = None, over_http: float = 0
    ) -> None:
        self.memory = memory
        self.over_http = over_http
        self.limits = limits
        self.lockstep = lockstep
        self.handlers = Handler(), Handler()
        self.peer: Peer
        #: A nursery for what a script leaves to others.
        self.background: trio.Nursery
        self.channel: Channel
        self.near: Side
        self.far: Side

    @property
    def server(self) -> Server:
        """The server."""
        return self.memory.server

    async def connect(self) -> trio.abc.Stream:
        """A stream to the server."""
        await trio.lowlevel.checkpoint()
        listener = self.memory.listener
        return listener.connect_in_lockstep() if self.lockstep else listener.connect()

    @asynccontextmanager
    async def open_peer(self) -> AsyncIterator[Peer]:
        """Connects a peer with the far handler."""
        async with open_peer(
            self.server.page_url, self.handlers[1], connect=self.connect, limits=self.limits, on_open=take_time
        ) as peer:
            if self.over_http:
                carry_over_http(peer, self.server.url, self.connect, most=self.over_http)
            yield peer

    async def meet(self, channel: Channel, peer: Peer, caller: str = "server") -> None:
        """Makes both ends of a channel known to each other's handlers."""
        other = await peer.wait_channel()
        self.peer, self.channel = peer, channel
        self.handlers[0].channel, self.handlers[1].channel = channel, other
        self.near, self.far = (channel, other) if caller == "server" else (other, channel)

    async def check_wire(self) -> None:
        """Both sides can call, and a stream can go both ways."""
        assert await self.near.call("add", 20, 3) == 23
        assert await self.far.call("add", 4, 5) == 9
        async with await self.near.pipe(DATA) as stream:
            assert await stream.join() == DATA

    async def check_nothing_pending(self) -> None:
        """Nothing is under way on either side, and all handler methods that have begun have ended."""
        # A connection is kept for 5 s after its last answer (Limits.idle_seconds).
        await trio.sleep(10)
        statistics = self.server.statistics()
        assert (statistics.pending_requests, statistics.running_requests, statistics.streams) == (0, 0, 0)
        assert statistics.connections == 1
        assert statistics.channels == len(self.peer.channels) == 1
        assert count_in_peer(self.peer) == (0, 0, 0)
        assert count_in_server(self.server) == (0, 0, 0)
        for side in (self.near, self.far):
            assert count_entries(side) == (0, 0, 0, 0)
        for handler in self.handlers:
            assert handler.begun == handler.ended


@asynccontextmanager
async def open_world(
    caller: str = "server",
    *,
    lockstep: bool = False,
    limits: Limits | None = None,
    heartbeat: float = 1e6,
    over_http: float = 0,
) -> AsyncIterator[World]:
    """Opens a world with a channel. Its ``near`` end is that of the caller, ``server`` or ``peer``."""
    async with open_memory_server(heartbeat=heartbeat, limits=limits) as memory:
        world = World(memory, lockstep=lockstep, limits=limits, over_http=over_http)
        async with world.open_peer() as peer:
            async with world.server.open_channel("code", handler=world.handlers[0]) as channel:
                await world.meet(channel, peer, caller)
                yield world
