"""An incoming byte stream, as its reader sees it: chunks, records, lines, all of it at once, or a file.

One class serves trio and asyncio, since the caller passes in everything that it awaits. Splitting is in ``records``,
writing in ``sinks``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, final

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
from jchannel._tracebacks import trim, trimmed
from jchannel.errors import ClosedError, StateError

__all__ = ["DEFAULT_LIMIT", "DEFAULT_RECORD_LIMIT", "MetaGenerator", "RecordBatches", "Records"]

_T = TypeVar("_T")

_WINDOW = 256 * 1024
"""The number of bytes that are split into records at a time. It bounds the memory of records that are ready."""

_WRITE_SIZE = 2**20
"""The number of bytes to collect for one write in a worker thread."""


@final
class MetaGenerator:
    """An incoming byte stream.

    jchannel creates it; programs only read it. It is an async iterator of its chunks, and has other ways of reading.
    They all share one position: each continues where the previous one stopped, and at the end of the stream none of
    them returns anything more. One task reads at a time.

    A stream that breaks raises its error after the bytes that arrived before it, and again on each later read: it never
    looks complete.

    The far source runs until the stream ends or is closed. Use ``async with`` to be sure that it is closed::

        async with await channel.pipe(source) as stream:
            async for line in stream.lines():
                if line == "stop":
                    break  # Leaving the block stops the source.

    In trio, a read is a checkpoint if it receives bytes from the far side or finds that they have ended. Bytes that
    have already arrived, such as the other records of a chunk, are returned at once and without a checkpoint, since
    there can be millions of records. Reading again after the end is not a checkpoint, nor is entering ``async with``;
    leaving it is one.

    Without ``async with``, breaking out of ``async for`` closes nothing, so that the rest can be read in another way.
    The source then stops when nothing refers to the stream any more, which Python may notice late.

    Args:
        receive: Returns the next chunk of any size, or ``b""`` at the end, or raises the stream's error. Cancelling it
            must not lose a chunk.
        aclose: Stops the far source. It may be called more than once, at any time, and ends a waiting ``receive``.
        run_sync: Runs a function in a worker thread.
        run_waiting: Runs a function that may wait for ever, for what is written to a pipe or to a file object of the
            user's; ``None`` where ``run_sync`` does.
        total: The expected number of bytes; ``None`` if it is unknown.
        abandon: Stops the far source when nobody can read or close the stream any more. The garbage collector calls it,
            in any thread and at any time: it must be quick and must not refer to this object.
    """

    _abandon: Callable[[], None] | None = None

    def __init__(
        self,
        receive: Callable[[], Awaitable[bytes]],
        aclose: Callable[[], Awaitable[None]],
        run_sync: RunSync,
        total: int | None = None,
        *,
        run_waiting: RunSync | None = None,
        abandon: Callable[[], None] | None = None,
    ) -> None:
        self._receive = receive
        self._stop = aclose
        self._run_sync = run_sync
        self._run_waiting = run_sync if run_waiting is None else run_waiting
        self._total = total
        self._received = 0
        self._ended = False
        self._closed = False
        self._joined = False
        self._error: Exception | None = None
        self._reader: str | None = None
        # Bytes that have arrived and are not in the cursor. The iterators refer to the stream, but the stream refers
        # only to their cursor: without a cycle, the stream is gone as soon as its user has dropped both.
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
        """The number of bytes received from the far side so far, read or not."""
        return self._received

    @property
    def total(self) -> int | None:
        """The number of bytes that the far side announced, or ``None`` if it did not know.

        It is meant for showing progress: a file that was being written at the time may produce more or fewer bytes.
        """
        return self._total

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:  # As `trimmed` does, without a coroutine more for each chunk.
            self._begin("async for", None)
            try:
                chunk = self._buffer.popleft() if self._buffer else await self._fetch()
            finally:
                self._reader = None
        except (Exception, KeyboardInterrupt) as error:
            trim(error)
            raise
        if not chunk:
            raise StopAsyncIteration
        return chunk

    @trimmed
    async def join(self) -> bytes:
        """Read the rest of the stream.

        Returns:
            The bytes; none where the stream was read to its end in another way.

        Raises:
            StateError: Another task is reading; ``join`` has returned the bytes before; or the stream was closed before
                its end (``ClosedError``).
            Exception: The error that broke the stream.

        Cancelling loses nothing. The next read returns the bytes that have arrived by then.
        """
        if self._joined:
            raise StateError(
                "join() has returned the rest of this stream before, and there is no more: keep what it gave"
            )
        self._begin("join()", None)
        try:
            while chunk := await self._fetch():
                self._buffer.append(chunk)
        finally:
            self._reader = None
        joined = b"".join(self._buffer)
        self._buffer.clear()
        self._joined = True
        return joined

    def by_limit(self, limit: int = DEFAULT_LIMIT) -> Records[bytes]:
        """Read the stream in records of one size.

        Args:
            limit: The size of a record, in bytes. The last record may be shorter; none is empty.

        Returns:
            An async iterator of ``bytes``. It raises the same errors as ``join``.

        Raises:
            TypeError: ``limit`` is not an ``int``.
            ValueError: ``limit`` is less than 1.
        """
        return self._read(Cursor("by_limit()", LimitSplitter(check_limit(limit)), _unchanged))

    def by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> Records[bytes]:
        """Read the stream in records that end with a separator.

        Args:
            separator: The end of each record. Text is encoded as UTF-8.
            limit: The maximum length of a record with its separator, in bytes; ``None`` for no limit. It bounds the
                memory that a stream can use.

        Returns:
            An async iterator of ``bytes``: each record with its separator. The last record has none if the stream does
            not end with one. The iterator raises the same errors as ``join``, and ``ValueError`` when it reaches a
            record that is longer than the limit, which stops the stream.

        Raises:
            TypeError: ``separator`` is neither ``str`` nor ``bytes``, or ``limit`` is not an ``int``.
            ValueError: ``separator`` is empty, or ``limit`` is less than 1.
        """
        return self._read(_cursor_by_separator("by_separator()", separator, limit))

    def batches_by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> RecordBatches[bytes]:
        """Read the stream in lists of records that end with a separator: the fast way to read many short ones.

        Args:
            separator: As for ``by_separator``.
            limit: As for ``by_separator``: the maximum length of a record, not of a list.

        Returns:
            An async iterator of lists of ``bytes``. The records are those of ``by_separator``; how many are in a list
            depends on what has arrived. No list is empty. The iterator raises the same errors as that of
            ``by_separator``.

        Raises:
            TypeError: As ``by_separator``.
            ValueError: As ``by_separator``.
        """
        cursor = _cursor_by_separator("batches_by_separator()", separator, limit)
        return RecordBatches(lambda: self._fill(cursor), self.aclose)

    def lines(
        self, encoding: str = "utf-8", errors: str = "strict", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> Records[str]:
        r"""Read the stream in lines of text.

        A line ends with ``\n`` or ``\r\n``. Each line is decoded by itself.

        Args:
            encoding: The name of an encoding in which a line feed is one byte, as in all that extend ASCII.
            errors: How to handle bytes that cannot be decoded, as in ``bytes.decode``.
            limit: The maximum length of a line with its end, in bytes; ``None`` for no limit.

        Returns:
            An async iterator of ``str``: the lines without their ends. It raises the same errors as that of
            ``by_separator``, and ``UnicodeDecodeError`` when it reaches a line that cannot be decoded. That line is not
            lost: the next read begins with it.

        Raises:
            LookupError: The encoding or the error handler is unknown.
            TypeError: ``limit`` is not an ``int``.
            ValueError: ``limit`` is less than 1, or a line feed is not the one byte 0x0A in that encoding.
        """
        decoder = LineDecoder(encoding, errors)
        splitter = SeparatorSplitter(b"\n", check_record_limit(limit))
        return self._read(Cursor("lines()", splitter, decoder.decode))

    @trimmed
    async def write_to(self, target: str | os.PathLike[str] | BinaryWriter, progress: Progress | None = None) -> int:
        """Write the rest of the stream to a file, in a worker thread and in large pieces.

        A path gets its file when all has been written. Until then the file has another name in the same folder
        (``.jchannel-….part``); it is removed when the stream breaks or writing fails. So the path never holds half a
        stream, and an existing file stays until it is replaced. A device or a pipe is written to directly.

        Args:
            target: A path, or a binary file object, which is neither flushed nor closed.
            progress: Called with the number of bytes written and the number of bytes to write (``None`` if unknown),
                at the beginning, from time to time, and at the end. An exception from it ends the writing.

        Returns:
            The number of bytes written.

        Raises:
            TypeError: ``target`` is neither of these, or ``progress`` is not a plain callable.
            ValueError: ``target`` is a file that is closed or not open for writing.
            OSError: ``target`` cannot be written to. Bytes written before the error are not read again.
            StateError: Another task is reading; or the stream was closed before its end (``ClosedError``).
            Exception: The error that broke the stream.

        Cancelling ends the writing as an error does, once the current piece is written. Unwritten bytes are not lost:
        the next read begins with them.
        """
        check_sink(target)
        check_progress(progress)
        self._begin("write_to()", None)
        try:
            sink = await self._run_sync(open_sink, target)
            run_sync = self._run_waiting if sink.waits else self._run_sync
            try:
                if sink.open is not None:
                    await run_sync(sink.open)
                with ProgressReporter(progress, self._remaining()) as report:
                    while data := await self._gather():
                        await self._write(sink, data, run_sync)
                        report.advance(len(data))
                await run_sync(sink.finish)
            except BaseException:
                # Not in a worker thread: a task that has been cancelled could not wait for one.
                sink.discard()
                raise
        finally:
            self._reader = None
        return sink.written

    async def aclose(self) -> None:
        """Close the stream: stop the far source, unless it has ended, and drop the unread bytes.

        Reading then raises ``ClosedError``, unless the stream had been read to its end. So does a read that is waiting
        in another task. A stream may be closed more than once.

        Cancelling: the stream is closed all the same, without waiting for the far side.
        """
        self._drain_cursor()
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
        """Start reading in one way. The caller must set ``_reader`` to ``None`` at the end."""
        if self._reader is not None:
            raise StateError(
                f"the stream is being read already, by {self._reader} in another task: "
                "wait for it or cancel it first, or close the stream"
            )
        if self._cursor is not cursor or (cursor is not None and cursor.stuck):
            self._drain_cursor()
            self._cursor = cursor
        self._reader = reader

    def _drain_cursor(self) -> None:
        """Put the unread bytes of the current cursor back into the buffer."""
        if self._cursor is not None:
            self._put_back(self._cursor.drain())
            self._cursor = None

    def _put_back(self, data: bytes) -> None:
        if data:
            self._buffer.appendleft(data)
            if self._closed:
                # The data was being written when the stream was closed.
                self._drop()

    def _drop(self) -> None:
        """Drop the unread bytes. From now on the stream counts as closed before its end."""
        self._buffer.clear()
        if self._error is None:
            self._error = ClosedError("the stream was closed on this side before it had been read to its end")

    async def _fetch(self) -> bytes:
        """Receive the next chunk from the far side; ``b""`` at the end."""
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
            # The stream was closed while this was waiting, which is why it failed, whatever the error says.
            raise self._error from error
        self._received += len(chunk)
        if self._error is not None:
            raise self._error
        self._ended = not chunk
        return chunk

    async def _next_window(self) -> bytes:
        """Return the next bytes to split into records, at most ``_WINDOW`` of them; ``b""`` at the end."""
        chunk = self._buffer.popleft() if self._buffer else await self._fetch()
        if len(chunk) > _WINDOW:
            starts = range(_WINDOW, len(chunk), _WINDOW)
            self._buffer.extendleft(chunk[start : start + _WINDOW] for start in reversed(starts))
            chunk = chunk[:_WINDOW]
        return chunk

    def _read(self, cursor: Cursor[_T]) -> Records[_T]:
        return Records(lambda: self._fill(cursor), self.aclose)

    async def _fill(self, cursor: Cursor[_T]) -> Iterator[_T]:
        """Read until a cursor has items, and return them: at least one, but none at the end."""
        self._begin(cursor.reader, cursor)
        try:
            while cursor.splitter.failure is None:
                window = await self._next_window()
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
        """Return the next bytes to write: a large piece, or the rest of the stream; ``b""`` at the end."""
        size = self._buffered()
        while size < _WRITE_SIZE and (chunk := await self._fetch()):
            self._buffer.append(chunk)
            size += len(chunk)
        data = b"".join(self._buffer)
        self._buffer.clear()
        return data

    async def _write(self, sink: Sink, data: bytes, run_sync: RunSync) -> None:
        """Write a piece, and put the unwritten part of it back into the buffer."""
        before = sink.written
        try:
            await run_sync(sink.write, data)
        finally:
            self._put_back(data[sink.written - before :])

    def _buffered(self) -> int:
        return sum(map(len, self._buffer))

    def _remaining(self) -> int | None:
        """Return the number of bytes still to be read; ``None`` if it is unknown."""
        return None if self._total is None else max(0, self._total - self._received + self._buffered())


def _unchanged(records: Sequence[bytes]) -> Sequence[bytes]:
    return records


def _cursor_by_separator(reader: str, separator: str | bytes, limit: int | None) -> Cursor[bytes]:
    return Cursor(reader, SeparatorSplitter(encode_separator(separator), check_record_limit(limit)), _unchanged)
