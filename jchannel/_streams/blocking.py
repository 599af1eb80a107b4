"""An incoming byte stream for blocking programs: ``MetaGenerator`` with plain methods and iterators.

It runs the coroutines of a ``MetaGenerator`` that blocks where others await, so they never suspend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final

from jchannel._streams.progress import Progress
from jchannel._streams.reader import DEFAULT_LIMIT, DEFAULT_RECORD_LIMIT, MetaGenerator, RecordBatches, Records
from jchannel._streams.sinks import BinaryWriter
from jchannel._tracebacks import trimmed

__all__ = ["BlockingRecords", "ByteStream", "give_away"]

T = TypeVar("T")


@final
class BlockingRecords(Generic[T]):
    """The records of a stream: an iterator, returned by ``ByteStream.by_separator`` and others.

    Interrupting ``next`` loses nothing. The next call, or another way of reading the same stream, continues there.
    """

    def __init__(self, records: Records[T] | RecordBatches[Any]) -> None:
        self._records: Any = records

    def __iter__(self) -> Self:
        return self

    @trimmed
    def __next__(self) -> T:
        item: T = _next(self._records.__anext__())
        return item

    def close(self) -> None:
        """Close the stream, as ``ByteStream.close`` does."""
        _finish(self._records.aclose())


@final
class ByteStream:
    """An incoming byte stream for blocking programs: an iterator of its chunks.

    jchannel creates it; programs only read it. All ways of reading share one position: each continues where the
    previous one stopped. One thread reads at a time; any thread may close the stream. Use ``with`` to be sure that it
    is closed::

        with channel.pipe(source) as stream:
            for line in stream.lines():
                if line == "stop":
                    break  # Leaving the block stops the source.

    A stream that breaks raises its error after the bytes that arrived before it, and again on each later read. A read
    that waits longer than the timeout of its request raises ``TimeoutError``. An interrupted read loses nothing.

    Args:
        stream: The stream, whose methods block in the current thread.
        on_sending: Called when the stream is given away to be sent. From then on its methods await in trio.
    """

    def __init__(self, stream: MetaGenerator, *, on_sending: Callable[[], None]) -> None:
        self._stream = stream
        self._on_sending = on_sending

    def __repr__(self) -> str:
        return repr(self._stream).replace("MetaGenerator", "ByteStream", 1)

    @property
    def bytes_received(self) -> int:
        """The number of bytes received from the far side so far, read or not."""
        return self._stream.bytes_received

    @property
    def total(self) -> int | None:
        """The number of bytes that the far side announced, or ``None`` if it did not know."""
        return self._stream.total

    def __iter__(self) -> Self:
        return self

    @trimmed
    def __next__(self) -> bytes:
        return _next(self._stream.__anext__())

    @trimmed
    def join(self) -> bytes:
        """Read the rest of the stream.

        Returns:
            The bytes; none at the end of the stream.

        Raises:
            TimeoutError: Nothing arrived for too long.
            StateError: Another thread is reading; or the stream was closed before its end (``ClosedError``).
            Exception: The error that broke the stream.
        """
        return _finish(self._stream.join())

    def by_limit(self, limit: int = DEFAULT_LIMIT) -> BlockingRecords[bytes]:
        """Read the stream in records of one size.

        Args:
            limit: The size of a record, in bytes. The last record may be shorter; none is empty.

        Returns:
            An iterator of ``bytes``. It raises the same errors as ``join``.

        Raises:
            TypeError: ``limit`` is not an ``int``.
            ValueError: ``limit`` is less than 1.
        """
        return BlockingRecords(self._stream.by_limit(limit))

    def by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> BlockingRecords[bytes]:
        """Read the stream in records that end with a separator.

        Args:
            separator: The end of each record. Text is encoded as UTF-8.
            limit: The maximum length of a record with its separator, in bytes; ``None`` for no limit.

        Returns:
            An iterator of ``bytes``: each record with its separator. The last record has none if the stream does not
            end with one. The iterator raises the same errors as ``join``, and ``ValueError`` when it reaches a record
            that is longer than the limit, which stops the stream.

        Raises:
            TypeError: ``separator`` is neither ``str`` nor ``bytes``, or ``limit`` is not an ``int``.
            ValueError: ``separator`` is empty, or ``limit`` is less than 1.
        """
        return BlockingRecords(self._stream.by_separator(separator, limit=limit))

    def batches_by_separator(
        self, separator: str | bytes = "\n", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> BlockingRecords[list[bytes]]:
        """Read the stream in lists of records that end with a separator: the fast way to read many short ones.

        The arguments and exceptions are those of ``by_separator``.

        Returns:
            An iterator of lists of ``bytes``. No list is empty.
        """
        return BlockingRecords(self._stream.batches_by_separator(separator, limit=limit))

    def lines(
        self, encoding: str = "utf-8", errors: str = "strict", *, limit: int | None = DEFAULT_RECORD_LIMIT
    ) -> BlockingRecords[str]:
        r"""Read the stream in lines of text.

        A line ends with ``\n`` or ``\r\n``. Each line is decoded by itself.

        Args:
            encoding: The name of an encoding in which a line feed is one byte, as in all that extend ASCII.
            errors: How to handle bytes that cannot be decoded, as in ``bytes.decode``.
            limit: The maximum length of a line with its end, in bytes; ``None`` for no limit.

        Returns:
            An iterator of ``str``: the lines without their ends. It raises the same errors as that of
            ``by_separator``, and ``UnicodeDecodeError`` when it reaches a line that cannot be decoded. The next read
            begins with that line.

        Raises:
            LookupError: The encoding or the error handler is unknown.
            TypeError: ``limit`` is not an ``int``.
            ValueError: ``limit`` is less than 1, or a line feed is not the one byte 0x0A in that encoding.
        """
        return BlockingRecords(self._stream.lines(encoding, errors, limit=limit))

    @trimmed
    def write_to(self, target: str | os.PathLike[str] | BinaryWriter, progress: Progress | None = None) -> int:
        """Write the rest of the stream to a file, in large pieces. A path gets its file when all has been written.

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
            What ``join`` raises.
        """
        return _finish(self._stream.write_to(target, progress))

    def close(self) -> None:
        """Close the stream: stop the far source, unless it has ended, and drop the unread bytes.

        Reading then raises ``ClosedError``, unless the stream had been read to its end. So does a read that is waiting
        in another thread. A stream may be closed more than once.
        """
        _finish(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def give_away(stream: ByteStream) -> MetaGenerator:
    """Return the rest of a stream for trio, to be sent in another request. Only the bridge calls this."""
    stream._on_sending()  # noqa: SLF001 # A method would be public to users.
    return stream._stream  # noqa: SLF001 # The same.


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise RuntimeError("the stream would have to be awaited here: it does not block in this thread")


def _next(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return _finish(coroutine)
    except StopAsyncIteration:
        raise StopIteration from None
