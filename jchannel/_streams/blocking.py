"""An incoming byte stream for programs that wait: ``MetaGenerator`` with plain methods and iterators.

It does what the ``MetaGenerator`` in it does: that one waits in its thread, so its coroutines never stop on the way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from jchannel._streams.progress import Progress
from jchannel._streams.reader import DEFAULT_LIMIT, DEFAULT_RECORD_LIMIT, MetaGenerator, RecordBatches, Records
from jchannel._streams.sinks import BinaryWriter

__all__ = ["BlockingRecords", "ByteStream"]

T = TypeVar("T")


class BlockingRecords(Generic[T]):
    """The records of a stream: an iterator. ``ByteStream.by_separator`` and others give it.

    An interrupt of ``next`` loses nothing. The next call, or another way of reading the same stream, goes on there.
    """

    def __init__(self, records: Records[T] | RecordBatches[Any]) -> None:
        self._records: Any = records

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item: T = _next(self._records.__anext__())
        return item

    def close(self) -> None:
        """Closes the stream: the same as ``ByteStream.close``."""
        _finish(self._records.aclose())


class ByteStream:
    """An incoming byte stream: an iterator of its chunks, which waits for them.

    jchannel makes it; programs only read it. All ways of reading it read the same stream: each goes on where the one
    before has stopped. One thread reads at a time; any may close it. The sure way to close it is ``with``::

        with channel.pipe(source) as stream:
            for line in stream.lines():
                if line == "stop":
                    break  # The source is stopped when the block is left.

    A stream that breaks raises its error, after the bytes that came before it, and again whenever it is read again. A
    read that waits longer than the timeout of its request raises ``TimeoutError``. An interrupt loses nothing.

    Args:
        stream: The stream, whose methods wait in the present thread.
        on_sending: Called when it is given away to be sent: from then on its methods wait as those of trio do.
    """

    def __init__(self, stream: MetaGenerator, *, on_sending: Callable[[], None]) -> None:
        self._stream = stream
        self._on_sending = on_sending

    def __repr__(self) -> str:
        return repr(self._stream).replace("MetaGenerator", "ByteStream", 1)

    def give_away(self) -> MetaGenerator:
        """Gives what is left to be sent in a stream of another request. The bridge calls it."""
        self._on_sending()
        return self._stream

    @property
    def bytes_received(self) -> int:
        """How many bytes have come from the far side so far, read or not."""
        return self._stream.bytes_received

    @property
    def total(self) -> int | None:
        """How many bytes the far side has announced, or ``None`` where it did not know."""
        return self._stream.total

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return _next(self._stream.__anext__())

    def join(self) -> bytes:
        """Reads all that is left.

        Returns:
            The bytes. At the end of the stream there are none.

        Raises:
            TimeoutError: Nothing arrived for too long.
            StateError: Another thread is reading; or the stream was closed before its end (``ClosedError``).
            Exception: The error that has broken the stream.
        """
        return _finish(self._stream.join())

    def by_limit(self, limit: int = DEFAULT_LIMIT) -> BlockingRecords[bytes]:
        """Reads the stream in records of one size.

        Args:
            limit: Their size in bytes. The last one may be shorter; none is empty.

        Returns:
            An iterator of ``bytes``. It raises what ``join`` raises.

        Raises:
            TypeError: ``limit`` is no ``int``.
            ValueError: ``limit`` is less than 1.
        """
        return BlockingRecords(self._stream.by_limit(limit))

    def by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> BlockingRecords[bytes]:
        """Reads the stream in records that end with a separator.

        Args:
            separator: What ends a record. Text is encoded as UTF-8.
            limit: The longest record that is taken, in bytes with its separator; ``None`` for no limit.

        Returns:
            An iterator of ``bytes``: each record with its separator, but the last one without where the stream does not
            end with one. It raises what ``join`` raises, and a ``ValueError`` when it comes to a record that is longer
            than the limit, which stops the stream.

        Raises:
            TypeError: ``separator`` is neither ``str`` nor ``bytes``, or ``limit`` is no ``int``.
            ValueError: ``separator`` is empty, or ``limit`` is less than 1.
        """
        return BlockingRecords(self._stream.by_separator(separator, limit=limit))

    def batches_by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> BlockingRecords[list[bytes]]:
        """Reads the stream in lists of records that end with a separator: the fast way to read many short ones.

        Args and exceptions are those of ``by_separator``.

        Returns:
            An iterator of lists of ``bytes``. No list is empty.
        """
        return BlockingRecords(self._stream.batches_by_separator(separator, limit=limit))

    def lines(
        self, encoding: str = "utf-8", errors: str = "strict", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> BlockingRecords[str]:
        r"""Reads the stream in lines of text.

        A line ends with ``\n`` or ``\r\n``, and each is decoded by itself.

        Args:
            encoding: The name of an encoding in which a line feed is one byte, as it is in all that extend ASCII.
            errors: What happens to bytes that the encoding does not know, as in ``bytes.decode``.
            limit: The longest line that is taken, in bytes with its end; ``None`` for no limit.

        Returns:
            An iterator of ``str``: the lines without their ends. It raises what ``by_separator``'s raises, and
            ``UnicodeDecodeError`` when it comes to a line that cannot be decoded, which the next read begins with.

        Raises:
            LookupError: There is no such encoding, or no such way to handle errors.
            TypeError: ``limit`` is no ``int``.
            ValueError: ``limit`` is less than 1, or a line feed is something else in that encoding.
        """
        return BlockingRecords(self._stream.lines(encoding, errors, limit=limit))

    def write_to(self, target: str | os.PathLike[str] | BinaryWriter, progress: Progress | None = None) -> int:
        """Writes all that is left to a file, in large pieces. A path gets its file when all is there.

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
            What ``join`` raises.
        """
        return _finish(self._stream.write_to(target, progress))

    def close(self) -> None:
        """Closes the stream: stops the far source, unless it has ended, and drops what has not been read.

        Reading then raises ``ClosedError``, unless everything had been read to the end. A thread that is waiting for
        the stream gets the same error. It may be called again.
        """
        _finish(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never stops on the way."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise RuntimeError("the stream would have to be awaited here: it does not wait in this thread")


def _next(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return _finish(coroutine)
    except StopAsyncIteration:
        raise StopIteration from None
