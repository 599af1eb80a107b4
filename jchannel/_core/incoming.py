"""A stream that this side receives: what has arrived, up to a bounded amount, until its reader takes it.

How the bytes get here (a message, posts, an HTTP response) is the concern of others.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from jchannel._core.nursery import copy_error
from jchannel._core.statistics import ChannelTally
from jchannel._core.stream import Buffer, Stream, Way
from jchannel._core.threads import TrioThreads
from jchannel._core.tree import StreamNode
from jchannel._protocol.messages import StreamInfo
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._core.outgoing import OutgoingStream
    from jchannel._core.session import Session
    from jchannel._core.stream_registry import StreamRegistry

__all__ = ["IncomingState", "IncomingStream", "read_in_trio"]


class IncomingState(enum.Enum):
    """How far an incoming stream is."""

    UNREAD = enum.auto()
    READING = enum.auto()
    ENDED = enum.auto()
    FAILED = enum.auto()


#: The states that may follow a state.
_FOLLOWING: Final = {
    IncomingState.UNREAD: {IncomingState.READING, IncomingState.ENDED, IncomingState.FAILED},
    IncomingState.READING: {IncomingState.ENDED, IncomingState.FAILED},
    IncomingState.ENDED: set[IncomingState](),
    IncomingState.FAILED: set[IncomingState](),
}


class IncomingStream(Stream):
    """A stream that this side receives.

    Args:
        info: Its announcement.
        session: The way to its source.
        what: What the stream is called in the tree.
        tallies: Count its bytes, but for those of a stream that travels inside its message.
        registry: Where it is entered.

    Attributes:
        info: As above.
        threads: Where the blocking code of its reader runs.
        received: The bytes that have arrived beside the messages.
        begun: Whether somebody has begun to read it.
        over: Whether nothing more will arrive, or be wanted.
        origin: The stream that it answers, of which it may be made; ``None`` where it answers none.
    """

    def __init__(
        self, info: StreamInfo, session: Session, what: str, tallies: Sequence[ChannelTally], registry: StreamRegistry
    ) -> None:
        data = info.data
        total = info.total if data is None else len(data)
        super().__init__(what, total, Buffer([data] if data else []), tallies, registry)
        self._buffer.limit += 1  # What fills it exactly holds nobody up.
        self.info = info
        self.threads: TrioThreads = registry.threads
        self.received: int = 0
        self.begun: bool = False
        self.over: bool = data is not None
        self.origin: OutgoingStream | None = None
        self._session = session
        self._state = IncomingState.UNREAD if data is None else IncomingState.ENDED
        self._error: Exception | None = None

    def describe(self, now: float) -> StreamNode:
        """Return what the tree shows of it. Safe in any thread."""
        if not self.begun:
            state = "nobody has begun to read it"
        else:
            state = "waits for its reader" if self._buffer.size else "waits for its source"
        return StreamNode(self.what, False, self.received, self.total, now - self._since, state)  # noqa: FBT003 (a field)

    # Its reader

    async def receive(self, limit: float = math.inf) -> bytes:
        """Wait for what arrives next, and return it.

        Args:
            limit: The most seconds to wait.

        Returns:
            The next bytes, as many as came together; empty at the end of the stream.

        Raises:
            As ``wait_arrived``.

        Cancelling it loses nothing.
        """
        if self.has_arrived:
            await trio.lowlevel.checkpoint()
        await self.wait_arrived(limit)
        if not self._buffer.size:
            return b""
        data = self._buffer.take_piece()
        if self.pieces is not None:  # Its source may get new credit.
            self.pieces.renew(self, self.credit + self._buffer.size)
        return data

    @property
    def has_arrived(self) -> bool:
        """Whether there is something to take: bytes, or the end of the stream."""
        return self._buffer.size > 0 or self._state is IncomingState.ENDED

    async def wait_arrived(self, limit: float) -> None:
        """Wait until something has arrived, or the end of the stream; the reading begins with that.

        It is no checkpoint where it need not wait.

        Args:
            limit: The most seconds to wait.

        Raises:
            trio.TooSlowError: Nothing has arrived within the limit.
            The error that ended the stream.

        Cancelling it does nothing else.
        """
        if not self.begun:
            self.begin()
        with trio.move_on_after(limit):
            while not self.has_arrived:
                if self._error is not None:
                    raise copy_error(self._error)
                await self._buffer.wait_changed()
            return
        raise trio.TooSlowError(f"no part of the stream arrived within {limit:g} s")

    def begin(self) -> None:
        """Begin to read it, as the first ``receive`` does: nobody has begun yet."""
        self.begun = True
        if self._state is IncomingState.UNREAD:
            self._move(IncomingState.READING)
            self._session.begin_stream(self)

    def take_arrived(self) -> list[bytes]:
        """Take all that has arrived, without waiting: for those who carry it to another thread.

        Behind the last bytes of the stream there is an empty piece, as ``receive`` would return it.
        """
        taken = self._buffer.take_pieces()
        if self.pieces is not None:
            self.pieces.renew(self, self.credit)
        if self._state is IncomingState.ENDED:
            taken.append(b"")
        return taken

    async def aclose(self) -> None:
        """End the stream: its source is stopped, and what has arrived is dropped. Cancelling it changes nothing."""
        self.drop()
        await trio.lowlevel.checkpoint()

    def drop(self) -> None:
        """End the stream as ``aclose`` does, without a checkpoint."""
        self.stop(StateError("the stream was closed by its reader"))

    def stop(self, error: Exception) -> None:
        """End the stream on this side: its source is stopped, and its reader gets an error at once."""
        if not self.over:
            self._session.stop_stream(self.info.id)
            self._registry.remember_ticket(self)
            self.fail(error)
        self._buffer.clear()

    def close_unread(self, error: Exception) -> None:
        """End the stream if nobody has begun to read it."""
        if not self.begun:
            self.stop(error)

    # Its source

    async def feed(self, data: bytes) -> bool:
        """Take bytes that have arrived, and wait until there is room for more.

        Returns:
            Whether more is wanted.

        Cancelling it while it waits loses nothing: the bytes have been taken.
        """
        if self.over:
            return False
        if data:
            self._count(data)
            self._buffer.put(data)
        while self._buffer.full and not self.over:
            await self._buffer.wait_changed()
        return not self.over

    def allow(self, size: int) -> None:
        """Let its source send so many more bytes as pieces; negative where they are not wanted any more."""
        self.credit += size
        if self.quota is not None:
            self.quota.count(size)

    def carry_over_http(self) -> None:
        """Let it come over HTTP, where it needs no credit."""
        self.take_way(Way.HTTP)
        self.allow(-self.credit)

    def feed_piece(self, data: bytes) -> None:
        """Take a piece that has arrived. Its credit, which is used up by it, has made sure that there is room."""
        self.credit -= len(data)
        self._count(data)
        self._buffer.put_short(data)

    def _count(self, data: bytes) -> None:
        self.received += len(data)
        for tally in self._tallies:
            tally.stream_bytes_received += len(data)

    def finish(self) -> None:
        """End the stream, because its source has declared its end. Its total was measured before, and is no promise."""
        if not self.over:
            self._end(IncomingState.ENDED)

    def fail(self, error: Exception) -> None:
        """End the stream with an error, which its reader gets after what has arrived."""
        if not self.over:
            if self.origin is not None:
                self.origin.name_cause(error)
            self._error = error
            self._end(IncomingState.FAILED)

    def break_off(self, error: Exception) -> None:
        """Stop its source, and end the stream with an error, which its reader gets after what has arrived."""
        self._session.stop_stream(self.info.id)
        self.fail(error)

    def _move(self, state: IncomingState) -> None:
        assert state in _FOLLOWING[self._state], (self._state, state)
        self._state = state

    def _end(self, state: IncomingState) -> None:
        self._move(state)
        self.over = True
        self.allow(-self.credit)
        self._buffer.notify()
        self._registry.forget(self)
        self.exits.close()


def read_in_trio(stream: IncomingStream, limit: float) -> MetaGenerator:
    """Return what a user in trio reads a stream with. A read that waits longer than the limit, in seconds, raises."""
    token = trio.lowlevel.current_trio_token()

    def abandon() -> None:
        # The garbage collector calls it, in any thread, maybe after the end of everything.
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(stream.drop)

    threads = stream.threads
    return MetaGenerator(
        partial(stream.receive, limit),
        stream.aclose,
        threads.run_short,
        stream.total,
        run_waiting=threads.run_waiting,
        abandon=abandon,
    )
