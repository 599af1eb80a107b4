"""What the streams of both directions have in common: their names, their buffers, and where they are entered.

What waits in the buffers of one session is bounded by its quota: so many streams, and so many bytes. It counts what
the far side causes: the streams that come with its requests, and those that answer them. What this side's own program
sends is its own.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import trio

from jchannel._core.limits import Limits
from jchannel._core.statistics import ChannelTally
from jchannel._core.tree import StreamNode
from jchannel._streams.sources import gather
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._core.pieces import Pieces
    from jchannel._core.stream_registry import StreamRegistry

__all__ = ["READ_AHEAD", "Buffer", "Stream", "StreamQuota", "TooManyStreamsError", "Way"]

#: How many bytes of a stream may wait in its buffer before whoever brings more waits, too.
READ_AHEAD = 2**20

# Up to how many bytes pieces are joined.
_SHORT: Final = 4 * 2**10


class Buffer:
    """Pieces of bytes in their order, and a way to wait for a change.

    Attributes:
        size: The number of bytes in it.
        limit: From how many bytes on it is full.
        quota: Counts its bytes together with those of others, or ``None``.
    """

    __slots__ = ("_changed", "_pieces", "limit", "quota", "size")

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        self._pieces = deque(pieces)
        self._changed = trio.lowlevel.ParkingLot()
        self.size: int = sum(map(len, self._pieces))
        self.limit: int = READ_AHEAD
        self.quota: StreamQuota | None = None

    def __bool__(self) -> bool:
        return bool(self._pieces)

    @property
    def full(self) -> bool:
        """Whether whoever brings more should wait."""
        return self.size >= self.limit or (self.quota is not None and self.quota.full and self.size > 0)

    def put(self, piece: bytes) -> None:
        """Append a piece."""
        self._pieces.append(piece)
        self._change(len(piece))

    def put_short(self, piece: bytes) -> None:
        """Append a piece that the quota has counted before it came, as credit.

        Short ones are joined, as each piece takes memory beside its bytes.
        """
        if self._pieces and len(self._pieces[-1]) + len(piece) <= _SHORT:
            self._pieces[-1] += piece
        else:
            self._pieces.append(piece)
        self.size += len(piece)
        self._changed.unpark_all()

    def take(self, limit: float = math.inf) -> bytes:
        """Remove and return what is there, up to a limit in bytes, or a single larger piece."""
        taken = self._pieces.popleft() if len(self._pieces) == 1 else gather(self._pieces, limit)
        self._change(-len(taken))
        return taken

    def peek(self) -> bytes:
        """Return all that is there, and leave it."""
        return b"".join(self._pieces)

    def take_within(self, limit: int) -> bytes:
        """Remove and return what is there, up to a limit in bytes: of a larger piece only its beginning."""
        if not self._pieces or len(self._pieces[0]) <= limit:
            return self.take(limit)
        taken, self._pieces[0] = self._pieces[0][:limit], self._pieces[0][limit:]
        self._change(-limit)
        return taken

    def take_piece(self) -> bytes:
        """Remove and return the next piece as it came."""
        piece = self._pieces.popleft()
        self._change(-len(piece))
        return piece

    def take_pieces(self) -> list[bytes]:
        """Remove and return all pieces."""
        pieces = list(self._pieces)
        self._pieces.clear()
        self._change(-self.size)
        return pieces

    def clear(self) -> None:
        """Drop what is there."""
        self._pieces.clear()
        self._change(-self.size)

    def notify(self) -> None:
        """Wake everybody who waits for a change, because something else of the stream has changed."""
        self._changed.unpark_all()

    def wait_changed(self) -> Awaitable[None]:
        """Wait until something may have changed. Cancelling it does nothing else."""
        if self.quota is not None and self.quota.full:
            self.quota.watch(self)
        return self._changed.park()

    def _change(self, change: int) -> None:
        """Count bytes that have come, or that have left, and wake everybody who waits for that."""
        self.size += change
        if self.quota is not None:
            self.quota.count(change)
        self._changed.unpark_all()


class TooManyStreamsError(StateError):
    """As many streams are open as may be."""


class StreamQuota:
    """The streams of one session that the far side has caused, and the bytes that wait in them.

    Args:
        limits: The limits of the server or the peer.

    Attributes:
        open: The number of streams.
        held: The bytes that wait in them, and those that the far side has credit for: they may come at any time.
        full: Whether as many bytes wait as may. Then each stream gets no more than it needs to go on.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.open: int = 0
        self.held: int = 0
        self.full: bool = limits.stream_bytes <= 0
        self._soon_over = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._buffers: dict[Buffer, None] = {}

    # In number

    @property
    def used_up(self) -> bool:
        """Whether no further stream may be opened."""
        return self.open >= self._limits.streams

    def explain(self) -> str:
        """Return why no further stream may be opened, as a sentence."""
        return f"too many streams at once: {self.open:,} are open already (Limits.streams)"

    def enter(self) -> None:
        """Count a stream."""
        self.open += 1

    def expect_leave(self) -> None:
        """Take note that a stream has ended, and leaves as soon as its source is closed."""
        self._soon_over += 1

    def leave(self, *, expected: bool) -> None:
        """Count a stream no more, which has ended.

        Args:
            expected: Whether ``expect_leave`` has been called for it.
        """
        self._soon_over -= expected
        self.open -= 1
        self._wake()

    async def wait(self) -> None:
        """Wait until a stream may be opened, where some are over soon: they are being closed, or may be short.

        Raises:
            TooManyStreamsError: Only the far side can make room, by reading or stopping streams that it has.

        Cancelling it does nothing else. It is no checkpoint where it need not wait.
        """
        while self.used_up:
            if not self._soon_over:
                raise TooManyStreamsError(self.explain())
            await self._changed.park()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Count a stream for the time of a ``with`` block in which it is opened. Behind it, it counts itself."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Expect for the time of a ``with`` block that a stream is over soon, because it may be short."""
        self._soon_over += 1
        try:
            yield
        finally:
            self._soon_over -= 1
            self._wake()

    def _wake(self) -> None:
        # When none is left that is over soon, nobody else would wake those who wait.
        self._changed.unpark(count=1 if self._soon_over else len(self._changed))

    # In bytes

    @property
    def room(self) -> int:
        """How many more bytes may wait."""
        return max(0, self._limits.stream_bytes - self.held)

    def watch(self, buffer: Buffer) -> None:
        """Notify a buffer as soon as there is room again: there is none."""
        self._buffers[buffer] = None

    def forget(self, buffer: Buffer) -> None:
        """Notify a buffer no more: its stream has ended."""
        self._buffers.pop(buffer, None)

    def count(self, change: int) -> None:
        """Count bytes that have come into a buffer or may come, or that have left it."""
        self.held += change
        self.full = self.held >= self._limits.stream_bytes
        if self._buffers and not self.full:
            buffers, self._buffers = self._buffers, {}
            for buffer in buffers:
                buffer.notify()


class Way(enum.Enum):
    """The way on which the bytes of a stream travel beside the messages."""

    OPEN = enum.auto()
    """It has not been decided: nobody has begun to read it."""

    HTTP = enum.auto()
    PIECES = enum.auto()


#: The ways that may follow. One that has been taken stays.
_FOLLOWING: Final = {
    Way.OPEN: {Way.HTTP, Way.PIECES},
    Way.HTTP: {Way.HTTP},
    Way.PIECES: {Way.PIECES},
}


class Stream(ABC):
    """A stream of bytes, in either direction.

    Attributes:
        what: What it is called in the tree.
        total: The bytes that it has altogether, as measured before, for showing progress; ``None`` where they were not.
        part_under_way: Whether a part of it is on its way.
        way: On which way it travels.
        credit: The bytes that its source may still send as pieces, and the reader still expects.
        quota: What it is counted in while it is open, or ``None``.
        pieces: What carries it as pieces. It is told whenever this side's program has moved the stream: its source has
            given more, or has come to its end; or its reader has taken some. ``None`` while nobody carries it so, and
            when nothing more will be carried.
        exits: Closed when nothing more will be carried. Whoever carries the stream adds what has to happen then.
        channel: The channel that it belongs to, and ``place`` its session and its number there, and ``ticket`` its
            ticket, or ``None``. The registry sets them.
    """

    def __init__(
        self, what: str, total: int | None, buffer: Buffer, tallies: Sequence[ChannelTally], registry: StreamRegistry
    ) -> None:
        self.what = what
        self.total = total
        self.part_under_way = False
        self.way: Way = Way.OPEN
        self.credit = 0
        self.quota: StreamQuota | None = None
        self.exits: ExitStack = ExitStack()
        self.channel: object = None
        self.place: tuple[object, int] | None = None
        self.ticket: str | None = None
        self._buffer = buffer
        self._tallies = tallies
        self._registry = registry
        self.pieces: Pieces | None = None
        self._since = trio.current_time()

    @property
    def buffered(self) -> int:
        """The bytes that wait here."""
        return self._buffer.size

    def take_way(self, way: Way) -> None:
        """Note on which way it travels from now on."""
        assert way in _FOLLOWING[self.way], (self.way, way)
        self.way = way

    def use_quota(self, quota: StreamQuota) -> None:
        """Count it, and the bytes that wait here, until it is forgotten, and the bytes until they are taken."""
        self.quota = self._buffer.quota = quota
        quota.enter()

    def leave_quota(self, *, expected: bool) -> None:
        """Count it no more, as it has ended. Bytes that wait here are counted until they are taken."""
        if self.quota is not None:
            self.quota.leave(expected=expected)
            self.quota.forget(self._buffer)

    @abstractmethod
    def break_off(self, error: Exception) -> None:
        """End it on both sides: nobody carries what is left of it. Its reader gets the error."""

    @abstractmethod
    def describe(self, now: float) -> StreamNode:
        """Return what the tree shows of it. Safe in any thread."""
