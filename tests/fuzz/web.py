"""Fuzzing of the HTTP side: malformed and slow requests on many connections at once, beside an honest page.

Each case is made by its number. Connections send what examples became by mutations, whole or in pieces with pauses, and
then read, or do not, and end or break off. Meanwhile the page's calls are answered, every answer is one of HTTP and
tells of no fault of the server's, and when the connections have ended nothing is left of them.

The cases run over streams in memory with a clock that jumps, so a slow request may take its minutes. With sockets they
run over loopback, in real time.
"""

from __future__ import annotations

import math
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import trio
import trio.testing

from jchannel.testing.network import MemoryListener
from jchannel.trio import Limits, Server, open_peer, open_server
from tests.core.http_streams import carry_over_http
from tests.core.world import DATA, Handler
from tests.fuzz.journal import Journal
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import WORDS, examples_of

__all__ = ["run_case"]

#: How many strangers a case has.
STRANGERS: Final = 24

_GONE: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)

Connect = Callable[[], Awaitable[trio.abc.Stream]]


def run_case(number: int, *, sockets: bool = False) -> None:
    """Runs one case, and raises where a promise is broken."""
    clock = None if sockets else trio.testing.MockClock(autojump_threshold=0)
    trio.run(partial(_run, number, sockets=sockets), clock=clock)


async def _run(number: int, *, sockets: bool) -> None:
    dice = random.Random(number)  # noqa: S311 (no secret: it can be repeated)
    # In real time everything is shorter.
    unit = 0.003 if sockets else 1.0
    limits = Limits(connections=STRANGERS + 10, handshake_seconds=100 * unit if sockets else 10, close_seconds=1)
    handler = Handler()
    with Journal() as journal, trio.fail_after(100 if sockets else math.inf):
        async with _open_server(limits, sockets=sockets) as (server, connect):
            async with open_peer(server.page_url, handler, connect=connect) as peer:
                if dice.random() < 0.5:  # As a browser's page.
                    carry_over_http(peer, server.url, connect)
                async with server.open_channel("code", handler=Handler(), timeout=None) as channel:
                    handler.channel = await peer.wait_channel()
                    async with trio.open_nursery() as nursery:
                        mutator = Mutator(examples_of("head"), WORDS, number)
                        for _ in range(STRANGERS):
                            stranger = _Stranger(random.Random(dice.random()), mutator, connect, unit)  # noqa: S311
                            nursery.start_soon(stranger.run, server.token.encode())
                        for _ in range(10):
                            await trio.sleep(unit)
                            assert await channel.call("add", 1, 2, timeout=None) == 3
                            assert await handler.channel.call("add", 3, 4, timeout=None) == 7
                    async with await channel.pipe(DATA, timeout=None) as stream:
                        assert await stream.join() == DATA
                    await _wait_left(server, sockets=sockets)
    journal.check()


async def _wait_left(server: Server, *, sockets: bool) -> None:
    """Waits until nothing is left of the strangers, who have all gone."""
    # In memory all times are over then. In real time there is no event to wait for.
    await trio.sleep(0 if sockets else 1_000)
    with trio.move_on_after(30):
        while sockets and server.statistics().connections > 1:  # noqa: ASYNC110 (there is no event)
            await trio.sleep(0.02)
    assert server.statistics().connections == 1, server.statistics()


@asynccontextmanager
async def _open_server(limits: Limits, *, sockets: bool) -> AsyncIterator[tuple[Server, Connect]]:
    if sockets:
        async with open_server(port=0, limits=limits, heartbeat=1e6) as server:
            port = int(server.url.rpartition(":")[2].strip("/"))
            yield server, partial(trio.open_tcp_stream, "127.0.0.1", port)
        return
    listener = MemoryListener()

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return listener.connect().client

    async with open_server(listeners=[listener], limits=limits, heartbeat=1e6) as server:
        yield server, connect


class _Stranger:
    """Somebody who connects once.

    Args:
        dice: What decides.
        mutator: What is said is made by it.
        connect: Opens the connection.
        unit: What stands for a second.
    """

    def __init__(self, dice: random.Random, mutator: Mutator, connect: Connect, unit: float) -> None:
        self._dice = dice
        self._connect = connect
        self._unit = unit
        requests = [mutator.next() for _ in range(dice.choice((1, 1, 2, 4)))]
        self._data = b"".join(requests) * dice.choice((1, 1, 1, 50))

    async def run(self, token: bytes) -> None:
        """Connects, sends, and goes."""
        stream = await self._connect()
        try:
            async with trio.open_nursery() as nursery:
                # The token of every second one is right.
                nursery.start_soon(self._send, stream, self._data.replace(b"TOKEN", self._dice.choice((token, b"x"))))
                with suppress(*_GONE):
                    await self._listen(stream)
                nursery.cancel_scope.cancel()
        finally:
            self._end(stream)
            await trio.aclose_forcefully(stream)

    async def _send(self, stream: trio.abc.Stream, data: bytes) -> None:
        size = self._dice.choice((len(data), len(data), 1_000, 7, 1)) or 1
        pause = self._dice.choice((0, 0, 0, 0.01, 0.2))
        with suppress(*_GONE):
            for begin in range(0, len(data), size):
                await stream.send_all(data[begin : begin + size])
                if pause and begin < 2_000:
                    await trio.sleep(pause * self._unit)
            if self._dice.random() < 0.3 and isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()

    async def _listen(self, stream: trio.abc.Stream) -> None:
        how = self._dice.randrange(4)
        if how == 0:  # It does not read.
            await trio.sleep(self._dice.choice((1, 30, 200)) * self._unit)
            return
        answer = b""
        with trio.move_on_after(self._dice.choice((1, 30, 200)) * self._unit):
            while data := await stream.receive_some(None if how > 1 else 1):
                answer = (answer + data)[:100]
                if how == 2:
                    await trio.sleep(0.1 * self._unit)
        # A connection may be closed before its answer is whole, and may be one of a WebSocket.
        assert answer[:9] == b"HTTP/1.1 "[: len(answer)], answer
        assert not answer.startswith(b"HTTP/1.1 500"), answer

    def _end(self, stream: trio.abc.Stream) -> None:
        if self._dice.random() < 0.3 and isinstance(stream, trio.SocketStream):
            # Closing it resets the connection.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
