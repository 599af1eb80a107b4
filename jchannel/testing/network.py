"""A network in memory: byte streams with a bound, which a test can hold, delay and break.

No socket is needed, so a test may run under any clock. trio's memory streams have no bound or run in lockstep, so
backpressure could not be shown with them.
"""

from __future__ import annotations

import math
import operator
import weakref
from collections import deque
from contextlib import suppress
from typing import Final, TypeAlias

import trio

__all__ = ["CAPACITY", "MemoryListener", "MemoryStream", "Transit", "connect_streams"]

#: How many bytes are under way in one direction of a connection before its sender waits.
CAPACITY: Final = 64 * 2**10


class Transit:
    """What happens to what goes in one direction, in all connections of a page.

    Args:
        changed: Where tasks wait for a change; the two directions of a page share it.

    Attributes:
        held: Whether nothing passes.
        delay: Seconds from sending to arriving.
    """

    def __init__(self, changed: trio.lowlevel.ParkingLot | None = None) -> None:
        self.held: bool = False
        self.delay: float = 0.0
        self._changed = trio.lowlevel.ParkingLot() if changed is None else changed
        self._pipes: weakref.WeakSet[_Pipe] = weakref.WeakSet()

    def _draw_delay(self) -> float:
        """Return the delay of what is sent now."""
        return self.delay

    @property
    def _slows(self) -> bool:
        """Whether what is sent does not arrive at once."""
        return self.held or self.delay > 0

    def _notify(self) -> None:
        """Wake all who wait for a change of what happens, or for the end of a connection."""
        self._changed.unpark_all()
        for pipe in self._pipes:
            pipe.moved.unpark_all()

    async def _wait_changed(self) -> None:
        """Wait until what happens may have changed, or a connection has ended."""
        await self._changed.park()


class _Pipe:
    """One direction of a connection: what was sent and not received yet.

    Attributes:
        broken: Whether the connection has broken.
        sender_closed: Whether nothing more will be sent.
        receiver_closed: Whether nothing more will be received.
        moved: Where the two ends wait for each other.
    """

    def __init__(self, transit: Transit) -> None:
        self.transit = transit
        self.moved: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        transit._pipes.add(self)
        self.broken: bool = False
        self.sender_closed: bool = False
        self.receiver_closed: bool = False
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size = 0

    @property
    def room(self) -> int:
        """How many bytes can be sent now."""
        return CAPACITY - self._size

    @property
    def due(self) -> float:
        """When the next bytes arrive, by trio's clock; infinity for not before something changes."""
        if self.transit.held:
            return math.inf
        if self._pieces:
            return self._pieces[0][0]
        return -math.inf if self.sender_closed else math.inf

    def put(self, data: bytes) -> None:
        """Append bytes that are sent now."""
        due = trio.current_time() + self.transit._draw_delay()
        if self._pieces:
            due = max(due, self._pieces[-1][0])  # None overtakes another.
        self._pieces.append((due, data))
        self._size += len(data)
        self.moved.unpark_all()

    def take(self, most: int) -> bytes:
        """Remove and return bytes that have arrived; ``b""`` at the end."""
        if not self._pieces:
            return b""
        due, data = self._pieces.popleft()
        taken, rest = data[:most], data[most:]
        if rest:
            self._pieces.appendleft((due, rest))
        self._size -= len(taken)
        self.moved.unpark_all()
        return taken

    def close(self, *, sender: bool = False, receiver: bool = False, broken: bool = False) -> None:
        """Close one end, or break the connection."""
        self.sender_closed |= sender
        self.receiver_closed |= receiver
        self.broken |= broken
        self.transit._notify()


class MemorySendStream(trio.abc.SendStream):
    """The sending end of a pipe. It waits while as much is under way as the pipe holds."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._busy = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all the bytes, and wait while there is no room."""
        self._begin()
        try:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data).cast("B")
            self._check()
            while rest:
                await self._wait_room()
                size = self._pipe.room
                self._pipe.put(bytes(rest[:size]))
                rest = rest[size:]
        finally:
            self._busy = False

    def send_some_nowait(self, data: bytes | memoryview) -> int:
        """Send as many of the bytes as there is room for, as a socket does. Return how many."""
        if self._busy or self._pipe.sender_closed or self._pipe.broken or self._pipe.receiver_closed:
            return 0
        taken = data[: max(self._pipe.room, 0)]
        if taken:
            self._pipe.put(bytes(taken))
        return len(taken)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        self._begin()
        try:
            await trio.lowlevel.checkpoint()
            await self._wait_room()
        finally:
            self._busy = False

    async def aclose(self) -> None:
        """Close the end."""
        self._pipe.close(sender=True)
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Send nothing more, as trio's streams do that can be half-closed."""
        if self._busy:
            raise trio.BusyResourceError("another task is sending on this stream")
        await self.aclose()

    def _begin(self) -> None:
        if self._busy:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._busy = True

    async def _wait_room(self) -> None:
        self._check()
        while self._pipe.room <= 0:
            await self._pipe.moved.park()
            self._check()

    def _check(self) -> None:
        if self._pipe.sender_closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._pipe.broken or self._pipe.receiver_closed:
            raise trio.BrokenResourceError("the connection is broken")


class MemoryReceiveStream(trio.abc.ReceiveStream):
    """The receiving end of a pipe."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._busy = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes, and return them; ``b""`` at the end."""
        if self._busy:
            raise trio.BusyResourceError("another task is receiving from this stream")
        most = operator.index(CAPACITY if max_bytes is None else max_bytes)
        if most < 1:
            raise ValueError(f"max_bytes must be at least 1, and it is {most}")
        self._busy = True
        try:
            if self._pipe.due <= trio.current_time():  # Otherwise it waits, and need not try before.
                await trio.lowlevel.checkpoint()
            self._check()
            while (due := self._pipe.due) > trio.current_time():
                with trio.move_on_at(due):
                    await self._pipe.moved.park()
                self._check()
            return self._pipe.take(most)
        finally:
            self._busy = False

    async def aclose(self) -> None:
        """Close the end."""
        self._pipe.close(receiver=True)
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._pipe.receiver_closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._pipe.broken:
            raise trio.BrokenResourceError("the connection is broken")


#: One end of a connection.
MemoryStream: TypeAlias = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Connection:
    """A connection in memory.

    Attributes:
        client: The end of the side that has connected.
        server: The end of the side that has accepted.
    """

    def __init__(self, to_server: Transit, to_client: Transit) -> None:
        self._pipes = (_Pipe(to_server), _Pipe(to_client))
        there, back = self._pipes
        self.client: MemoryStream = trio.StapledStream(MemorySendStream(there), MemoryReceiveStream(back))
        self.server: MemoryStream = trio.StapledStream(MemorySendStream(back), MemoryReceiveStream(there))

    @property
    def released(self) -> bool:
        """Whether the side that has accepted it has closed its end in both directions."""
        there, back = self._pipes
        return there.receiver_closed and back.sender_closed

    def break_off(self) -> None:
        """Break the connection: what is under way is lost, and both ends raise an error."""
        for pipe in self._pipes:
            pipe.close(broken=True)


def connect_streams(to_server: Transit | None = None, to_client: Transit | None = None) -> Connection:
    """Return a connection in memory.

    Args:
        to_server: What happens to what its client sends; ``None`` for nothing.
        to_client: What happens to what its server sends; ``None`` for nothing.
    """
    return Connection(to_server or Transit(), to_client or Transit())


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Accepts connections in memory."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[MemoryStream](math.inf)

    def connect(self, to_server: Transit | None = None, to_client: Transit | None = None) -> Connection:
        """Connect, and return the connection.

        Args:
            to_server: What happens to what the client sends; ``None`` for nothing.
            to_client: What happens to what the server sends; ``None`` for nothing.

        Raises:
            ConnectionRefusedError: The listener is closed.
        """
        connection = connect_streams(to_server, to_client)
        try:
            self._send.send_nowait(connection.server)
        except trio.BrokenResourceError:
            raise ConnectionRefusedError("the server in memory is closed") from None
        return connection

    async def accept(self) -> MemoryStream:
        """Wait for a connection, and return the server's end."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Close the listener. Connections that were not accepted are broken."""
        with suppress(trio.WouldBlock, trio.ClosedResourceError):
            while True:
                await trio.aclose_forcefully(self._receive.receive_nowait())
        await self._receive.aclose()
