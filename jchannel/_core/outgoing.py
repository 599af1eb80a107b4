"""A stream that this side sends: a task of its own reads its source, ahead of its reader by a bounded amount.

Where the bytes go from here (a message, an HTTP response, posts) is the concern of others.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

from jchannel._core.exits import contain, is_closing
from jchannel._core.limits import LONG_TEXT, MAX_NAME, SHORT_TEXT
from jchannel._core.nursery import split_cancelled
from jchannel._core.statistics import ChannelTally
from jchannel._core.stream import Buffer, Stream, StreamQuota, Way
from jchannel._core.tree import StreamNode
from jchannel._guarded import is_a, log, name_of, text_of
from jchannel._protocol.messages import Broken
from jchannel._protocol.parts import Part, PartMark
from jchannel._streams.progress import Progress, ProgressReporter
from jchannel._streams.sources import Source
from jchannel.errors import RemoteError, StateError

if TYPE_CHECKING:
    from jchannel._core.request import Request
    from jchannel._core.session import Session
    from jchannel._core.stream_registry import StreamRegistry

__all__ = ["INLINE_BYTES", "INLINE_SECONDS", "PART_BYTES", "OutgoingStream", "SourceFailedError", "SourceState"]

#: The longest stream that travels inside its message, in bytes (docs/protocol.md).
INLINE_BYTES: Final = 32 * 2**10

#: How long a source has to show that it is short and ready, in seconds. A GET or POST costs about 5 ms in Chromium.
INLINE_SECONDS: Final = 0.002

#: The most that a part of a stream holds, in bytes, and how far a source is read ahead of a reader that asks for parts:
#: while one is on its way, the next one gathers. 64 MiB through a proxy in parts of 1, 2, 4 and 8 MiB, medians of 6
#: each: 54, 76, 93 and 86 MiB/s.
PART_BYTES: Final = 4 * 2**20

#: The most that is taken at once for an HTTP response: fewer, larger pieces are faster, and cost memory.
_PIECE: Final = 256 * 2**10


class SourceFailedError(Exception):
    """The source of a stream raised. The exception is the cause."""


class SourceState(enum.Enum):
    """How far the source of a stream is."""

    READING = enum.auto()
    EXHAUSTED = enum.auto()
    FAILED = enum.auto()
    STOPPED = enum.auto()


#: The states that may follow a state. A stream may be stopped at any time, and what was stopped stays so.
_FOLLOWING: Final = {
    SourceState.READING: {SourceState.EXHAUSTED, SourceState.FAILED, SourceState.STOPPED},
    SourceState.EXHAUSTED: {SourceState.STOPPED},
    SourceState.FAILED: {SourceState.STOPPED},
    SourceState.STOPPED: {SourceState.STOPPED},
}


class OutgoingStream(Stream):
    """A stream that this side sends.

    Args:
        source: Where its bytes come from. It is closed in the end, whatever happens.
        what: What the stream is called in the tree.
        tallies: Count its bytes, but for those of a stream that travels inside its message.
        registry: Where it is entered.
        close_seconds: How long closing the source may take.
        contains_exits: Whether what its source raises for the user's program, such as ``SystemExit``, fails the stream.
        progress: Called with what has been read of the source, or ``None``.

    Attributes:
        source_state: How far its source is.
        stopped: Whether it was ended before its end.
        error: What the source has raised, or ``None``.
        in_parts: Whether its reader asks for it part by part. When the source fails, it asks for what is left, too.
        taken: The bytes that its reader has taken.
        consumer: Notified of progress, or ``None``.
    """

    def __init__(
        self,
        source: Source,
        what: str,
        tallies: Sequence[ChannelTally],
        registry: StreamRegistry,
        *,
        close_seconds: float,
        contains_exits: bool = False,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(what, source.total, Buffer(), tallies, registry)
        self.source_state: SourceState = SourceState.READING
        self.stopped: bool = False
        self.error: Exception | None = None
        self.in_parts: bool = False
        self.taken: int = 0
        self.consumer: Request | None = None
        self._source = source
        self._close_seconds = close_seconds
        self._contains_exits = contains_exits
        self._progress = progress
        self._announcement: tuple[Session, int] | None = None
        self._ended = False
        self._source_closed = False
        self._scope = trio.CancelScope()
        self._begun = False
        self._ahead = self._buffer.limit

    def use_quota(self, quota: StreamQuota) -> None:
        """Count it. Until it is asked for, only so much of it is read that it shows whether it is short."""
        super().use_quota(quota)
        self._buffer.limit = min(self._ahead, INLINE_BYTES + 1)

    @property
    def ready(self) -> bool:
        """Whether it has a piece to take that its credit allows, or only its end. One that was stopped has none."""
        if self._buffer.size:
            return self.credit > 0
        return self.source_state in (SourceState.EXHAUSTED, SourceState.FAILED)

    @property
    def waits_for_source(self) -> bool:
        """Whether all that was read of its source has been taken, and the source goes on. Safe in any thread."""
        return not self._buffer.size and self.source_state is SourceState.READING

    def describe(self, now: float) -> StreamNode:
        """Return what the tree shows of it. Safe in any thread."""
        if self.stopped:
            state = "its source is being closed"
        else:
            state = "waits for its source" if self.waits_for_source else "waits for its reader"
        return StreamNode(self.what, True, self.taken, self.total, now - self._since, state)  # noqa: FBT003 (a field)

    # The source

    async def run(self) -> None:
        """Read the source until its end. The channel's nursery runs it.

        A source that raises fails its stream and nothing else, and an error of the library is logged and ends the
        stream and nothing else. Cancelling it stops the stream: what was read of it never looks like the whole.
        """
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "an error of jchannel has ended a stream: %s", self.what, error=error)
            self.stop()

    async def _run(self) -> None:
        try:
            with self._scope:
                if not self.stopped:  # Else it is closed, and none of its code runs before.
                    await self._read_source()
                    self._leave_reading(SourceState.EXHAUSTED)
        except BaseException as raised:
            error = contain(raised, "the source of the stream", contains=self._contains_exits)
            if not isinstance(error, Exception):
                raise
            # Of another stream that is passed on, the end may have come from the far side, or from this one's closing.
            level = logging.DEBUG if is_a(error, StateError) else logging.ERROR
            log(level, "the source of a stream raised", error=error)
            self._fail(error)
        finally:
            if self.source_state is SourceState.READING:
                self.stop()
            self._buffer.notify()
            if self.pieces is not None:  # Its end may be sent.
                self.pieces.enter_line(self)
            with trio.move_on_after(self._close_seconds, shield=True) as timer:
                await self._close_source()
            if timer.cancelled_caught:
                text = "the source of a stream did not close within %g s (Limits.cleanup_seconds): it is left"
                log(logging.ERROR, text, self._close_seconds)
            self._source_closed = True
            self._forget_if_over()

    async def _read_source(self) -> None:
        # What nobody has asked for takes no bytes of those that are asked for.
        while self.quota is not None and self.quota.full and not self._begun:
            await self._buffer.wait_changed()
        try:
            if self._progress is None:
                async for piece in self._source:
                    await self._put(piece)
            else:
                with ProgressReporter(self._progress, self.total) as reporter:
                    async for piece in self._source:
                        reporter.advance(len(piece))
                        await self._put(piece)
        except BaseExceptionGroup as group:
            if isinstance(group, Exception):
                raise
            # A nursery of the source was cancelled, and something in it has raised besides.
            cancelled, failures = split_cancelled(group)
            log(logging.ERROR, "the source of a stream raised when it was cancelled", error=failures)
            raise cancelled from None

    async def _put(self, piece: bytes) -> None:
        """Put a piece where the reader takes it, and wait until there is room for more.

        What comes when nobody wants it any more is dropped: a thread's read ends also when it was cancelled.
        """
        if self.stopped:
            await trio.lowlevel.checkpoint()  # It raises, and the source need have no checkpoint of its own.
        self._buffer.put(piece)
        if self.pieces is not None:
            self.pieces.enter_line(self)
        while self._buffer.full:
            await self._buffer.wait_changed()

    async def _close_source(self) -> None:
        try:
            await self._source.aclose()
        except BaseException as raised:
            if is_closing(raised):
                return
            error = contain(raised, "closing the source of the stream", contains=self._contains_exits)
            cancelled = None
            if isinstance(error, BaseExceptionGroup) and not isinstance(error, Exception):
                # It took too long, and something in it has raised besides.
                cancelled, error = split_cancelled(error)
            if not isinstance(error, Exception):
                raise
            # The stream has ended for its reader already: nobody is left to raise it to.
            log(logging.ERROR, "closing the source of a stream raised", error=error)
            if cancelled is not None:
                raise cancelled from None

    def _fail(self, error: Exception) -> None:
        if self._leave_reading(SourceState.FAILED):
            self.error = error
            if self._announcement is not None and self.way is not Way.PIECES:
                self.tell_broken(error)

    def _leave_reading(self, state: SourceState) -> bool:
        """Change the state, unless the stream was stopped meanwhile: one that was stopped stays so."""
        if self.source_state is not SourceState.READING:
            return False
        self._move(state)
        return True

    def _move(self, state: SourceState) -> None:
        assert state in _FOLLOWING[self.source_state], (self.source_state, state)
        self.source_state = state
        self.stopped = state is SourceState.STOPPED

    # Its announcement

    def name_cause(self, error: Exception) -> None:
        """Give an error of the far side its cause, where that is what the source here has raised."""
        if self.error is not None and isinstance(error, RemoteError):
            error.__cause__ = self.error

    def announced(self, session: Session, number: int) -> None:
        """Remember that a message has announced it. From now on its reader hears of a failure."""
        self._announcement = session, number
        if self.error is not None:
            self.tell_broken(self.error)

    def tell_broken(self, error: Exception) -> None:
        """Tell the reader that the stream is broken, and why."""
        assert self._announcement is not None
        session, number = self._announcement
        name, text = name_of(error)[:MAX_NAME], text_of(error)
        try:
            session.tell(Broken(number, name, text[:LONG_TEXT]))
        except ValueError:
            session.tell(Broken(number, name, text[:SHORT_TEXT]))
        if not self.in_parts:
            self.end()

    def break_off(self, error: Exception) -> None:
        """Stop its source, and end the stream with an error, which its reader gets."""
        self.tell_broken(error)
        self.stop()

    # Its reader

    async def wait_short(self) -> bytes | None:
        """Wait until the source has shown whether it is short and ready.

        Returns:
            The whole stream, if it is. ``None`` if it is not, or has failed or been stopped.

        It takes nothing, as it may turn out that there is no room for it in its message. Cancelling it loses nothing.
        """
        with trio.move_on_after(INLINE_SECONDS):
            while self.source_state is SourceState.READING and self._buffer.size <= INLINE_BYTES:
                await self._buffer.wait_changed()
        if self.source_state is not SourceState.EXHAUSTED or self._buffer.size > INLINE_BYTES:
            return None
        return self._buffer.peek()

    def sent_inside(self) -> None:
        """Take the whole stream, which a message has taken with it. It has ended."""
        self._count(self._buffer.take(), inside=True)
        self.end()

    def carry_in_pieces(self) -> None:
        """Begin to carry it as pieces, and no more by its ticket."""
        self._begin(self._ahead)
        self.take_way(Way.PIECES)
        self._registry.revoke_ticket(self)

    def take_piece(self, limit: int) -> bytes:
        """Take what is there, up to a limit in bytes; empty where only the end is left."""
        if not self._buffer.size:
            return b""
        return self._count(self._buffer.take_within(limit))

    async def take(self, limit: float = _PIECE) -> bytes:
        """Take what is there, up to a limit in bytes or a single larger piece, and wait until there is something.

        Returns:
            The next bytes; empty at the end of the stream.

        Raises:
            SourceFailedError: The source has raised, and what came before has been taken.

        Cancelling it loses nothing.
        """
        return self._count(self._buffer.take(limit)) if await self._wait_ready() else b""

    async def take_within(self, limit: int) -> bytes:
        """Take what is there as ``take`` does, and of a larger piece only its beginning."""
        return self._count(self._buffer.take_within(limit)) if await self._wait_ready() else b""

    async def _wait_ready(self) -> bool:
        """Wait until there is something to take. Return ``False`` at the end of the stream.

        Raises:
            SourceFailedError: The source has raised, and what came before has been taken.
        """
        if not self._begun:
            self._begin(self._ahead)
        while not self._buffer.size:
            if self.end_if_all_taken():
                if self.error is not None:
                    raise SourceFailedError from self.error
                return False
            await self._buffer.wait_changed()
        return True

    async def take_part(self) -> Part:
        """Take the next part, and wait until there is something. The last one ends the stream.

        Cancelling it loses nothing.
        """
        self.in_parts = True
        self._begin(PART_BYTES)
        try:
            data = await self.take_within(PART_BYTES)
        except SourceFailedError:
            return Part(b"", PartMark.FAIL)
        if self._buffer.size or self.source_state is SourceState.READING:
            return Part(data, PartMark.MORE)
        self.end()
        return Part(data, PartMark.LAST if self.error is None else PartMark.FAIL)

    def _begin(self, ahead: int) -> None:
        """Read the source ahead of its reader, who has asked for it, by so many bytes."""
        self._begun = True
        self._buffer.limit = ahead
        self._buffer.notify()

    def stop(self) -> None:
        """End the stream before its end: the source is closed, and nothing more can be taken."""
        self._move(SourceState.STOPPED)
        self._scope.cancel()
        self._buffer.clear()
        self.end()

    def end(self) -> None:
        """End the stream for those who would begin to take it. Whoever has begun goes on to its end."""
        if not self._ended:
            self._ended = True
            if self.quota is not None:
                self.quota.expect_leave()
            # It is the channel's until its source is closed and its reader has all of it, whichever is later.
            if self._source_closed:
                self._registry.forget(self)
            else:
                self._registry.retire(self)
            self.exits.close()

    def _forget_if_over(self) -> None:
        """Take it out of the registry, as its source is closed, unless its reader has not had all of it."""
        if self._ended:
            self._registry.forget(self)

    def end_if_all_taken(self) -> bool:
        """End the stream if all of it has been taken, and its source gives nothing more. Return whether."""
        if self._buffer.size or self.source_state is SourceState.READING:
            return False
        self.end()
        return True

    def _count(self, data: bytes, *, inside: bool = False) -> bytes:
        """Count bytes that have been taken, inside a message or beside it, and return them."""
        self.taken += len(data)
        if self.consumer is not None:
            self.consumer.note_progress()
        for tally in self._tallies if not inside else ():
            tally.stream_bytes_sent += len(data)
        return data
