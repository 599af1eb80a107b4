"""A proxy that does to connections what networks do: it cuts, delays, throttles, corrupts, half-closes, goes silent.

Each fault waits for a byte of a direction. Streams may be in memory or sockets: with memory and a clock that jumps, a
case is the same in every run.
"""

from __future__ import annotations

import enum
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from jchannel._core.nursery import aclose_now
from jchannel.testing.network import Connection, MemoryListener, connect_streams

__all__ = ["Fault", "Kind", "Proxy", "Way"]

_GONE: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
_BUFFER: Final = 64 * 2**10


class Way(enum.Enum):
    """A direction."""

    TO_SERVER = enum.auto()
    TO_PAGE = enum.auto()


class Kind(enum.Enum):
    """What happens at a byte."""

    #: The connection is reset, in both directions.
    CUT = enum.auto()
    #: The connection ends as if both sides had closed it.
    END = enum.auto()
    #: This direction ends, the other one lives on.
    HALF_CLOSE = enum.auto()
    #: This direction stops for some time.
    DELAY = enum.auto()
    #: From here on this direction is slow.
    THROTTLE = enum.auto()
    #: Some bytes are others.
    CORRUPT = enum.auto()
    #: This direction carries nothing more, and nobody is told.
    SILENCE = enum.auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens once.

    Attributes:
        kind: What.
        way: In which direction.
        at: Before which byte of it.
        seconds: For a delay: how long. For a throttled direction: the pause behind each piece.
        size: For a corruption: how many bytes. For a throttled direction: the bytes of a piece.
    """

    kind: Kind
    way: Way
    at: int
    seconds: float = 1.0
    size: int = 1


class Proxy:
    """Stands between those who connect and a server.

    Args:
        connect: Opens a connection to the server.

    Attributes:
        connections: How many connections it has carried.
        met: The faults that have happened.
    """

    def __init__(self, connect: Callable[[], Awaitable[tuple[trio.abc.Stream, Callable[[], None]]]]) -> None:
        self._connect = connect
        self._plans: dict[int, Sequence[Fault]] = {}
        self._open: set[_Carried] = set()
        self.connections = 0
        self.met: list[Fault] = []

    @classmethod
    def in_memory(cls, listener: MemoryListener) -> Proxy:
        """Makes one to a server in memory."""

        async def connect() -> tuple[trio.abc.Stream, Callable[[], None]]:
            await trio.lowlevel.checkpoint()
            connection = listener.connect()
            return connection.client, connection.break_off

        return cls(connect)

    @classmethod
    def to_port(cls, port: int) -> Proxy:
        """Makes one to a port of this machine."""

        async def connect() -> tuple[trio.abc.Stream, Callable[[], None]]:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            return stream, partial(_reset_when_closed, stream)

        return cls(connect)

    def plan(self, number: int, faults: Iterable[Fault]) -> None:
        """Lets faults happen to a connection to come, by its number, counted from 0."""
        self._plans[number] = tuple(faults)

    def arm(self, fault: Fault) -> None:
        """Lets a fault happen to each connection that is open, counted from what has passed until now."""
        for carried in self._open:
            carried.ways[fault.way].add(fault)

    def close(self) -> None:
        """Ends all connections that are open."""
        for carried in self._open:
            carried.close()

    def connect_in_memory(self, nursery: trio.Nursery) -> trio.abc.Stream:
        """Connects in memory, and returns the client's end. The nursery carries the connection."""
        connection: Connection = connect_streams()
        nursery.start_soon(self._carry, connection.server, connection.break_off)
        return connection.client

    async def serve(self, stream: trio.SocketStream) -> None:
        """Carries an accepted connection, until it has ended."""
        await self._carry(stream, partial(_reset_when_closed, stream))

    async def _carry(self, near: trio.abc.Stream, break_near: Callable[[], None]) -> None:
        number, self.connections = self.connections, self.connections + 1
        try:
            far, break_far = await self._connect()
        except OSError:
            await aclose_now(near)
            return
        carried = _Carried(near, far, (break_near, break_far), self.met)
        for fault in self._plans.get(number, ()):
            carried.ways[fault.way].add(fault)
        self._open.add(carried)
        try:
            await carried.run()
        finally:
            self._open.remove(carried)


class _Carried:
    """One connection that is carried."""

    def __init__(
        self,
        near: trio.abc.Stream,
        far: trio.abc.Stream,
        breaks: tuple[Callable[[], None], Callable[[], None]],
        met: list[Fault],
    ) -> None:
        self._streams = near, far
        self._breaks = breaks
        self._scope = trio.CancelScope()
        self.ways = {
            Way.TO_SERVER: _Direction(near, far, self, met),
            Way.TO_PAGE: _Direction(far, near, self, met),
        }

    async def run(self) -> None:
        """Carries it until both directions have ended."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for way in self.ways.values():
                        nursery.start_soon(way.run)
        finally:
            for stream in self._streams:
                await aclose_now(stream)

    def end(self, *, reset: bool) -> None:
        """Ends both directions. Without a reset only when both have ended, or carry nothing more."""
        if reset:
            for break_off in self._breaks:
                break_off()
        if reset or all(way.stopped for way in self.ways.values()):
            self._scope.cancel()

    def close(self) -> None:
        """Ends both directions now."""
        self._scope.cancel()


class _Direction:
    """One direction of a connection."""

    def __init__(
        self,
        source: trio.abc.Stream,
        sink: trio.abc.Stream,
        carried: _Carried,
        met: list[Fault],
    ) -> None:
        self._source = source
        self._sink = sink
        self._end = carried.end
        self._close = carried.close
        self._met = met
        self._faults: list[tuple[int, Fault]] = []
        self._passed = 0
        self._piece: float = math.inf
        self._pause = 0.0
        #: Whether it carries nothing more.
        self.stopped = False

    def add(self, fault: Fault) -> None:
        """Lets a fault happen, counted from what has passed until now."""
        self._faults.append((self._passed + fault.at, fault))
        self._faults.sort(key=lambda entry: entry[0])

    async def run(self) -> None:
        """Carries what comes until its end, and then the end."""
        try:
            while data := await self._source.receive_some(_BUFFER):
                await self._carry(bytes(data))
            self.stopped = True
            await self._close_half()
            self._end(reset=False)
        except _GONE:
            self._end(reset=True)

    async def _carry(self, data: bytes) -> None:
        while data:
            at, fault = self._faults[0] if self._faults else (math.inf, None)
            if fault is None or at >= self._passed + len(data):
                await self._send(data)
                return
            before = max(int(at) - self._passed, 0)
            await self._send(data[:before])
            del self._faults[0]
            self._met.append(fault)
            data = await self._do(fault, data[before:])

    async def _send(self, data: bytes) -> None:
        self._passed += len(data)
        size = int(min(self._piece, len(data))) or 1
        for begin in range(0, len(data), size):
            await self._sink.send_all(data[begin : begin + size])
            if self._pause:
                await trio.sleep(self._pause)

    async def _do(self, fault: Fault, data: bytes) -> bytes:
        """Does what a fault does before some bytes, and returns what becomes of them."""
        match fault.kind:
            case Kind.CUT:
                self._end(reset=True)
                await trio.lowlevel.checkpoint()
            case Kind.END:
                self._close()
                await trio.lowlevel.checkpoint()
            case Kind.HALF_CLOSE:
                await self._close_half()
                await self._stop()
            case Kind.DELAY:
                await trio.sleep(fault.seconds)
            case Kind.THROTTLE:
                self._piece, self._pause = fault.size, fault.seconds
            case Kind.CORRUPT:
                changed = bytes(byte ^ 0x55 for byte in data[: fault.size])
                return changed + data[fault.size :]
            case Kind.SILENCE:
                await self._stop()
        return data

    async def _stop(self) -> None:
        """Takes nothing more, so that its sender has to wait, as behind a network that has gone."""
        self.stopped = True
        await trio.sleep_forever()

    async def _close_half(self) -> None:
        if isinstance(self._sink, trio.abc.HalfCloseableStream):
            with suppress(*_GONE):
                await self._sink.send_eof()


def _reset_when_closed(stream: trio.SocketStream) -> None:
    """Makes the closing of a socket a reset."""
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
