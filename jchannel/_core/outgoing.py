"""A stream that this side sends: its source is read by a task of its own, ahead of its reader by a bounded amount.

Where the bytes go from here (a message, an HTTP response, posts) is not its concern.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from jchannel._core.nursery import split_cancelled
from jchannel._protocol.parts import Part, PartMark
from jchannel._streams.progress import Progress, ProgressReporter
from jchannel._streams.sources import Source

__all__ = ["INLINE_BYTES", "INLINE_SECONDS", "PART_BYTES", "OutgoingStream", "SourceFailedError"]

logger = logging.getLogger("jchannel")

#: The longest stream that travels inside its message, in bytes (docs/protocol.md).
INLINE_BYTES: Final = 32 * 2**10

#: How long a source has to show that it is short and ready, in seconds. A GET or POST costs about 5 ms in Chromium.
INLINE_SECONDS: Final = 0.002

#: How far a source is read ahead of its reader, in bytes.
READ_AHEAD: Final = 2**20

#: The most that a part of a stream holds, in bytes, and how far a source is read ahead of a reader that asks for parts:
#: while one is on its way, the next one gathers.
PART_BYTES: Final = 4 * 2**20

#: The most that is taken at once for an HTTP response: fewer, larger pieces are faster, and cost memory.
_PIECE: Final = 256 * 2**10


class SourceFailedError(Exception):
    """The source of a stream raised. The exception is the cause."""


class OutgoingStream:
    """A stream that this side sends.

    Args:
        source: Where its bytes come from. It is closed in the end, whatever happens.
        progress: Told of what has been read of the source, or ``None``.
    """

    def __init__(self, source: Source, progress: Progress | None = None) -> None:
        self.total = source.total
        self.taken = 0
        #: Whether it was ended before its end.
        self.stopped = False
        #: Whether its reader asks for it part by part. When its source fails, the reader asks for what is left, too.
        self.in_parts = False
        #: Whether a part of it is being waited for.
        self.fetching = False
        #: Told of the bytes that have been taken, but for those of a stream that travels inside its message.
        self.on_carried: Callable[[int], None] = lambda _: None
        #: Called whenever bytes have been taken.
        self.on_taken: Callable[[], None] = lambda: None
        #: Called once when the source has raised, before its reader can notice.
        self.on_failure: Callable[[Exception], None] = lambda _: None
        #: Called once when nothing more will be taken.
        self.on_end: Callable[[], None] = lambda: None
        self._source = source
        self._progress = progress
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._exhausted = False
        self._error: Exception | None = None
        self._ended = False
        self._closed = False
        self._scope = trio.CancelScope()
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def error(self) -> Exception | None:
        """What the source has raised, or ``None``."""
        return self._error

    async def run(self) -> None:
        """Reads the source until its end. The channel's nursery runs it.

        A source that raises fails its stream and nothing else. Cancelling it stops the stream: what was read of it
        never looks like the whole.
        """
        whole = False
        try:
            with self._scope:
                await self._read_source()
                whole = True
        except Exception as error:
            logger.exception("the source of a stream raised")
            self._error = error
            self.on_failure(error)
        finally:
            if not whole and self._error is None:
                self.stop()
            self._exhausted = True
            self._changed.unpark_all()
            with trio.CancelScope(shield=True):
                await self._close_source()
            self._closed = True

    @property
    def over(self) -> bool:
        """Whether nothing of it is left: its source is closed, and nothing more will be taken."""
        return self._closed and self._ended

    def describe(self) -> str:
        """What it waits for, for people. Safe in any thread."""
        if self.stopped:
            return "its source is being closed"
        return "waits for its reader" if self._pieces or self._exhausted else "waits for its source"

    async def wait_short(self) -> bytes | None:
        """Waits until the source has shown whether it is short and ready.

        Returns:
            The whole stream, if it is: the stream has ended then. ``None`` if it is not, or has failed or been stopped.

        Cancelling it loses nothing.
        """
        with trio.move_on_after(INLINE_SECONDS):
            while not self._exhausted and self._waiting <= INLINE_BYTES:
                await self._changed.park()
        if not self._exhausted or self._error is not None or self.stopped or self._waiting > INLINE_BYTES:
            return None
        data = self._take(math.inf)
        self.end()
        return data

    async def take(self, limit: float = _PIECE) -> bytes:
        """Takes what is there, up to a limit in bytes or a single larger piece, and waits until there is something.

        Returns:
            The next bytes; empty at the end of the stream.

        Raises:
            SourceFailedError: The source has raised, and what it gave before has been taken.

        Cancelling it loses nothing.
        """
        while not self._pieces:
            if self._error is not None:
                self.end()
                raise SourceFailedError from self._error
            if self._exhausted:
                self.end()
                return b""
            await self._changed.park()
        data = self._take(limit)
        self.on_carried(len(data))
        return data

    async def take_part(self) -> Part:
        """Takes the next part, and waits until there is something. The last one ends the stream.

        Cancelling it loses nothing.
        """
        self.in_parts = True
        self._changed.unpark_all()
        try:
            data = await self.take(PART_BYTES)
        except SourceFailedError:
            return Part(b"", PartMark.FAIL)
        if self._pieces or not self._exhausted:
            return Part(data, PartMark.MORE)
        self.end()
        return Part(data, PartMark.LAST if self._error is None else PartMark.FAIL)

    def stop(self) -> None:
        """Ends the stream before its end: the source is closed, and nothing more is given."""
        self.stopped = True
        self._scope.cancel()
        self._pieces.clear()
        self._waiting = 0
        self._exhausted = True
        self._changed.unpark_all()
        self.end()

    def end(self) -> None:
        """Says that nobody else will begin to take it. Whoever has begun goes on to its end."""
        if not self._ended:
            self._ended = True
            self.on_end()

    def _take(self, limit: float) -> bytes:
        taken: list[bytes] = []
        size = 0
        while self._pieces and (not taken or size + len(self._pieces[0]) <= limit):
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._waiting -= size
        self.taken += size
        self._changed.unpark_all()
        self.on_taken()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def _read_source(self) -> None:
        try:
            with ProgressReporter(self._progress, self.total) as reporter:
                async for piece in self._source:
                    self._pieces.append(piece)
                    self._waiting += len(piece)
                    self._changed.unpark_all()
                    reporter.advance(len(piece))
                    while self._waiting >= (PART_BYTES if self.in_parts else READ_AHEAD):
                        await self._changed.park()
        except BaseExceptionGroup as group:
            if isinstance(group, Exception):
                raise
            # A nursery of the source was cancelled, and something in it has raised besides.
            cancelled, failures = split_cancelled(group)
            logger.exception("the source of a stream raised when it was cancelled", exc_info=failures)
            raise cancelled from None

    async def _close_source(self) -> None:
        try:
            await self._source.aclose()
        except Exception:
            # The stream has ended for its reader already: there is nobody left whom it could be raised to.
            logger.exception("closing the source of a stream raised")
