"""An incoming byte stream, as its reader sees it: chunks, records, lines, all of it at once, or a file.

One class serves trio and asyncio, since whatever it must await is given to it. The searching is in ``records``, the
writing in ``sinks``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from jchannel._streams.cursors import Cursor, RecordBatches, Records
from jchannel._streams.progress import Progress, ProgressReporter, check_progress
from jchannel._streams.records import (
    DEFAULT_LIMIT,
    DEFAULT_RECORD_LIMIT,
    LimitSplitter,
    LineDecoder,
    SeparatorSplitter,
    check_limit,
    check_record_limit,
    encode_separator,
)
from jchannel._streams.sinks import BinaryWriter, Sink, check_sink, open_sink
from jchannel._streams.workers import RunSync
from jchannel.errors import ClosedError, StateError

__all__ = ["DEFAULT_LIMIT", "DEFAULT_RECORD_LIMIT", "MetaGenerator", "RecordBatches", "Records"]

_T = TypeVar("_T")

_WINDOW = 256 * 1024
"""How many bytes are cut into records at a time: it bounds the memory of records that are ready."""

_WRITE_SIZE = 2**20
"""How many bytes are gathered for one write in a worker thread."""


class MetaGenerator:
    """An incoming byte stream.

    jchannel makes it; programs only read it. It is an async iterator of its chunks, and there are other ways to read
    it. All of them read the same stream: each goes on where the one before has stopped, and at the end of the stream
    each has nothing more to give. One task reads at a time.

    A stream that breaks raises its error, after the bytes that came before it, and again whenever it is read again: it
    never looks complete.

    The far source runs until the stream has ended or is closed. The sure way to close it is ``async with``::

        async with await channel.pipe(source) as stream:
            async for line in stream.lines():
                if line == "stop":
                    break  # The source is stopped when the block is left.

    In trio a read is a checkpoint when it takes bytes from the far side, or finds that they have ended. What has come
    before, such as the other records of a piece, it gives at once and without one: there can be millions of them. So
    are the further reads of a stream that has ended, and entering ``async with``; leaving it is a checkpoint.

    Without it, breaking out of ``async for`` closes nothing, so that the rest can be read in another way. The source is
    then stopped when nothing refers to the stream any more, which Python may notice late.

    Args:
        receive: Gives the next chunk of any size, ``b""`` at the end, or raises the stream's error. Cancelling it must
            lose no chunk.
        aclose: Stops the far source. It may be called again, at any time, and lets a waiting ``receive`` go.
        run_sync: Runs a function in a worker thread.
        total: How many bytes are to come; ``None`` where it is not known.
        abandon: Stops the far source when nobody can read or close the stream any more. It is called by the garbage
            collector, hence in any thread and at any time: it must be quick and must not refer to this object.
    """

    _abandon: Callable[[], None] | None = None

    def __init__(
        self,
        receive: Callable[[], Awaitable[bytes]],
        aclose: Callable[[], Awaitable[None]],
        run_sync: RunSync,
        total: int | None = None,
        *,
        abandon: Callable[[], None] | None = None,
    ) -> None:
        self._receive = receive
        self._stop = aclose
        self._run_sync = run_sync
        self._total = total
        self._received = 0
        self._ended = False
        self._closed = False
        self._error: Exception | None = None
        self._reader: str | None = None
        # What has come and no cursor has taken. The iterators know the stream, and the stream knows only their cursors:
        # without a cycle the stream is gone as soon as its user has dropped both.
        self._buffer: deque[bytes] = deque()
        self._cursor: Cursor[Any] | None = None
        self._abandon = abandon

    def __del__(self) -> None:
        if self._abandon is not None and self._error is None and not self._ended:
            self._abandon()

    def __repr__(self) -> str:
        of = "" if self._total is None else f" of {self._total:,}"
        state = "open" if self._error is None else "closed or broken"
        return f"<MetaGenerator: {self._received:,}{of} bytes received, {'ended' if self._ended else state}>"

    @property
    def bytes_received(self) -> int:
        """How many bytes have come from the far side so far, read or not."""
        return self._received

    @property
    def total(self) -> int | None:
        """How many bytes the far side has announced, or ``None`` where it did not know.

        It is for showing progress: a file that somebody was writing meanwhile may have given more, or less.
        """
        return self._total

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._begin("async for", None)
        try:
            chunk = self._buffer.popleft() if self._buffer else await self._fetch()
        finally:
            self._reader = None
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def join(self) -> bytes:
        """Reads all that is left.

        Returns:
            The bytes. At the end of the stream there are none.

        Raises:
            StateError: Another task is reading; or the stream was closed before its end (``ClosedError``).
            Exception: The error that has broken the stream.

        Cancelling: nothing is lost. What has come by then is read again by the next read.
        """
        self._begin("join()", None)
        try:
            while chunk := await self._fetch():
                self._buffer.append(chunk)
        finally:
            self._reader = None
        joined = b"".join(self._buffer)
        self._buffer.clear()
        return joined

    def by_limit(self, limit: int = DEFAULT_LIMIT) -> Records[bytes]:
        """Reads the stream in records of one size.

        Args:
            limit: Their size in bytes. The last one may be shorter; none is empty.

        Returns:
            An async iterator of ``bytes``. It raises what ``join`` raises.

        Raises:
            TypeError: ``limit`` is no ``int``.
            ValueError: ``limit`` is less than 1.
        """
        return self._read(Cursor("by_limit()", LimitSplitter(check_limit(limit)), _as_they_are))

    def by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> Records[bytes]:
        """Reads the stream in records that end with a separator.

        Args:
            separator: What ends a record. Text is encoded as UTF-8.
            limit: The longest record that is taken, in bytes with its separator; ``None`` for no limit. It bounds the
                memory that a stream can take.

        Returns:
            An async iterator of ``bytes``: each record with its separator, but the last one without where the stream
            does not end with one. It raises what ``join`` raises, and a ``ValueError`` when it comes to a record that
            is longer than the limit, which stops the stream.

        Raises:
            TypeError: ``separator`` is neither ``str`` nor ``bytes``, or ``limit`` is no ``int``.
            ValueError: ``separator`` is empty, or ``limit`` is less than 1.
        """
        return self._read(_separated("by_separator()", separator, limit))

    def batches_by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> RecordBatches[bytes]:
        """Reads the stream in lists of records that end with a separator: the fast way to read many short ones.

        Args:
            separator: As for ``by_separator``.
            limit: As for ``by_separator``: the longest record, and not the length of a list.

        Returns:
            An async iterator of lists of ``bytes``. The records are those of ``by_separator``; how many stand in a list
            depends on what has come. No list is empty. It raises what ``by_separator``'s raises.

        Raises:
            TypeError: As ``by_separator``.
            ValueError: As ``by_separator``.
        """
        cursor = _separated("batches_by_separator()", separator, limit)
        return RecordBatches(lambda: self._fill(cursor), self.aclose)

    def lines(
        self, encoding: str = "utf-8", errors: str = "strict", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> Records[str]:
        r"""Reads the stream in lines of text.

        A line ends with ``\n`` or ``\r\n``, and each is decoded by itself.

        Args:
            encoding: The name of an encoding in which a line feed is one byte, as it is in all that extend ASCII.
            errors: What happens to bytes that the encoding does not know, as in ``bytes.decode``.
            limit: The longest line that is taken, in bytes with its end; ``None`` for no limit.

        Returns:
            An async iterator of ``str``: the lines without their ends. It raises what ``by_separator``'s raises, and
            ``UnicodeDecodeError`` when it comes to a line that cannot be decoded. That line is not lost: it is what the
            next read begins with.

        Raises:
            LookupError: There is no such encoding, or no such way to handle errors.
            TypeError: ``limit`` is no ``int``.
            ValueError: ``limit`` is less than 1, or a line feed is something else in that encoding.
        """
        decoder = LineDecoder(encoding, errors)
        splitter = SeparatorSplitter(b"\n", check_record_limit(limit))
        return self._read(Cursor("lines()", splitter, decoder.decode))

    async def write_to(self, target: str | os.PathLike[str] | BinaryWriter, progress: Progress | None = None) -> int:
        """Writes all that is left to a file, in a worker thread and in large pieces.

        A path gets its file when all is there: until then it is written under another name in the same folder
        (``.jchannel-….part``), which is removed when the stream breaks or writing fails. So there is never half a
        stream under the path, and a file that was there before stays until it is replaced. A device or a pipe is
        written to directly.

        Args:
            target: A path, or a binary file object, which stays open and is not flushed.
            progress: Called with the bytes written and the bytes there are to write (``None`` where that is not known),
                at the beginning, at times, and at the end. An exception from it ends the writing.

        Returns:
            How many bytes have been written.

        Raises:
            TypeError: ``target`` is neither, or ``progress`` is no plain callable.
            ValueError: ``target`` is a file that is closed or not open for writing.
            OSError: It cannot be written. What has been written by then is not read again.
            StateError: Another task is reading; or the stream was closed before its end (``ClosedError``).
            Exception: The error that has broken the stream.

        Cancelling: ends the writing as an error does, when the piece that is being written is written. What is not yet
        written is not lost: the next read begins with it.
        """
        check_sink(target)
        check_progress(progress)
        self._begin("write_to()", None)
        try:
            sink = await self._run_sync(open_sink, target)
            try:
                with ProgressReporter(progress, self._left()) as report:
                    while data := await self._gather():
                        await self._write(sink, data)
                        report.advance(len(data))
                await self._run_sync(sink.finish)
            except BaseException:
                # Not in a worker thread: where this task has been cancelled, it could not wait for one.
                sink.discard()
                raise
        finally:
            self._reader = None
        return sink.written

    async def aclose(self) -> None:
        """Closes the stream: stops the far source, unless it has ended, and drops what has not been read.

        Reading then raises ``ClosedError``, unless everything had been read to the end. A task that is waiting for the
        stream gets the same error. It may be called again.

        Cancelling: the stream is closed all the same; only that the far side has done its part is not waited for.
        """
        self._take_back()
        self._closed = True
        if self._buffer or not self._ended:
            self._drop()
        await self._stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _begin(self, reader: str, cursor: Cursor[Any] | None) -> None:
        """Makes one way of reading the one that reads. Whoever calls it sets ``_reader`` to ``None`` in the end."""
        if self._reader is not None:
            raise StateError(
                f"the stream is being read already, by {self._reader} in another task: "
                "let that come to its end or cancel it first, or close the stream"
            )
        if self._cursor is not cursor or (cursor is not None and cursor.stuck):
            self._take_back()
            self._cursor = cursor
        self._reader = reader

    def _take_back(self) -> None:
        """Puts what the present cursor has not given back into the buffer."""
        if self._cursor is not None:
            self._put_back(self._cursor.take_back())
            self._cursor = None

    def _put_back(self, data: bytes) -> None:
        if data:
            self._buffer.appendleft(data)
            if self._closed:
                # It was being written when the stream was closed.
                self._drop()

    def _drop(self) -> None:
        """Drops what has not been read. From here on the stream is not one that was read to its end."""
        self._buffer.clear()
        if self._error is None:
            self._error = ClosedError("the stream was closed on this side before it had been read to its end")

    async def _fetch(self) -> bytes:
        """The next chunk from the far side; ``b""`` at the end."""
        if self._error is not None:
            raise self._error
        if self._ended:
            return b""
        try:
            chunk = await self._receive()
        except Exception as error:
            if self._error is None:
                self._error = error
                raise
            # Closed while this was waiting: that is why it failed, whatever it says.
            raise self._error from error
        self._received += len(chunk)
        if self._error is not None:
            raise self._error
        self._ended = not chunk
        return chunk

    async def _window(self) -> bytes:
        """The next bytes to be cut into records, not too many; ``b""`` at the end."""
        chunk = self._buffer.popleft() if self._buffer else await self._fetch()
        if len(chunk) > _WINDOW:
            starts = range(_WINDOW, len(chunk), _WINDOW)
            self._buffer.extendleft(chunk[start : start + _WINDOW] for start in reversed(starts))
            chunk = chunk[:_WINDOW]
        return chunk

    def _read(self, cursor: Cursor[_T]) -> Records[_T]:
        return Records(lambda: self._fill(cursor), self.aclose)

    async def _fill(self, cursor: Cursor[_T]) -> Iterator[_T]:
        """What a cursor has ready after reading on: at least one item, but none at the end."""
        self._begin(cursor.reader, cursor)
        try:
            while cursor.splitter.failure is None:
                window = await self._window()
                records = cursor.splitter.feed(window) if window else cursor.splitter.end()
                if records or not window:
                    cursor.load(records)
                    return cursor.items
            self._error = cursor.splitter.failure
            await self.aclose()
            raise self._error
        finally:
            self._reader = None

    async def _gather(self) -> bytes:
        """The next bytes to be written: a large piece, or what is left; ``b""`` at the end."""
        size = self._buffered()
        while size < _WRITE_SIZE and (chunk := await self._fetch()):
            self._buffer.append(chunk)
            size += len(chunk)
        data = b"".join(self._buffer)
        self._buffer.clear()
        return data

    async def _write(self, sink: Sink, data: bytes) -> None:
        """Writes a piece; what of it could not be written is put back."""
        before = sink.written
        try:
            await self._run_sync(sink.write, data)
        finally:
            self._put_back(data[sink.written - before :])

    def _buffered(self) -> int:
        return sum(map(len, self._buffer))

    def _left(self) -> int | None:
        """How many bytes are still to be read, where it is known."""
        return None if self._total is None else max(0, self._total - self._received + self._buffered())


def _as_they_are(records: Sequence[bytes]) -> Sequence[bytes]:
    return records


def _separated(reader: str, separator: str | bytes, limit: int | None) -> Cursor[bytes]:
    return Cursor(reader, SeparatorSplitter(encode_separator(separator), check_record_limit(limit)), _as_they_are)
