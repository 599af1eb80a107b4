"""The sources of outgoing streams: all become async iterators of bytes.

Blocking sources (sync iterables, files, paths) are read in other threads, one thread at a time. A sync iterable, a pipe
or a file object of the user's may wait for ever: it is never waited for by a thread that others need, and a source that
is closed while it waits is closed when it goes on. This module needs no async library: the caller passes in everything
that it awaits.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from jchannel._streams.files import check_binary_file
from jchannel._streams.workers import Signal, Threads
from jchannel.errors import StateError

__all__ = [
    "READ_SIZE",
    "Source",
    "check_source",
    "close_iterator",
    "gather",
    "open_source",
    "to_bytes",
]

READ_SIZE = 256 * 1024
"""The most bytes that are read of a source at once, and how far a sync iterable is read ahead."""

_ACCEPTED = (
    "a stream can be an async iterable or an iterable of bytes-like objects, a bytes-like object, a binary file object "
    "or a pathlib.Path"
)


def gather(chunks: deque[bytes], limit: float) -> bytes:
    """Remove the first chunks, up to a limit in bytes, or a single larger one, and return them as one."""
    taken: list[bytes] = []
    size = 0
    while chunks and (not taken or size + len(chunks[0]) <= limit):
        taken.append(chunks.popleft())
        size += len(taken[-1])
    return taken[0] if len(taken) == 1 else b"".join(taken)


class Source(ABC):
    """The source of an outgoing stream: an async iterator of ``bytes`` with 1 to ``READ_SIZE`` bytes each.

    It has one reader. A cancelled read loses nothing that a worker thread has read. The user's own async iterator is
    cancelled too, and an async generator ends with that. Reading again after an error raises it again, so that a broken
    source never looks complete.

    Attributes:
        total: The number of bytes to come, as known when the source is opened; ``None`` if it is unknown. A file that
            is being written may produce more or fewer.
    """

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self._data = b""
        self._offset = 0
        self._failure: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while self._offset == len(self._data):
            if self._failure is not None:
                raise self._failure
            try:
                data = await self._next_data()
            except StopAsyncIteration as error:
                # It comes from a sync iterable or a file. If it propagated, it would look like the end.
                self._failure = RuntimeError("the source of a stream raised StopAsyncIteration")
                raise self._failure from error
            except Exception as error:
                self._failure = error
                raise
            if data is None:
                raise StopAsyncIteration
            self._data, self._offset = data, 0
        chunk = self._data[self._offset : self._offset + READ_SIZE]
        self._offset += len(chunk)
        if self._offset == len(self._data):
            self._data, self._offset = b"", 0
        return chunk

    async def aclose(self) -> None:
        """Close the source, even before its end: run the ``finally`` of a generator and close a file opened here.

        A file object that the user has opened stays open. A source may be closed more than once, but not during a read.

        Cancelling: what is not closed yet stays open. Call it again, or call it in a shield.
        """
        self._data, self._offset = b"", 0
        if self._failure is None:
            self._failure = StateError("the source has been closed")
        await self._close()

    @abstractmethod
    async def _next_data(self) -> bytes | None:
        """Return any number of bytes, zero included; ``None`` at the end."""

    @abstractmethod
    async def _close(self) -> None:
        """Release the resources of the source. It may be called more than once."""


class _BufferSource(Source):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self._data = data

    async def _next_data(self) -> None:
        pass

    async def _close(self) -> None:
        pass


async def close_iterator(iterator: AsyncIterator[object]) -> None:
    """Close an async iterator, if it can be closed."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


class _AsyncSource(Source):
    """An async iterable."""

    def __init__(self, iterator: AsyncIterator[object]) -> None:
        super().__init__()
        self._iterator = iterator

    async def _next_data(self) -> bytes | None:
        # Not `anext` with a default, in which CPython 3.10 to 3.13 crash if `__anext__` raises by itself, and which
        # restarts an awaitable that is no coroutine.
        try:
            item = await self._iterator.__anext__()
        except StopAsyncIteration:
            return None
        return to_bytes(item)

    async def _close(self) -> None:
        await close_iterator(self._iterator)


class _FileSource(Source):
    """A binary file object, read in worker threads, one read at a time. A read returns what is available.

    Args:
        file: The file.
        threads: Runs what blocks.
        total: As that of ``Source``.
        owned: Whether the file was opened here, and is closed with the source.
        short: Whether a read never waits for anybody else: that of a file on a disk, or in memory.
    """

    def __init__(self, file: Any, threads: Threads, total: int | None, *, owned: bool, short: bool) -> None:
        super().__init__(total)
        self._file = file
        self._threads = threads
        self._owned = owned
        self._short = short
        # Held by the thread that uses the file.
        self._lock = threading.Lock()
        # The result of the last read in a thread; None at the end. If the read was cancelled, the next one returns it.
        self._chunk: bytes | None = b""

    async def _next_data(self) -> bytes | None:
        if self._chunk == b"":
            await self._run(self._read)
        chunk = self._chunk
        if chunk is not None:
            self._chunk = b""
        return chunk

    async def _close(self) -> None:
        # A read that was left to itself may still use the file.
        if self._lock.locked():
            await self._run(self._finish)
        elif self._owned:
            await self._threads.run_short(self._finish)

    async def _run(self, function: Callable[[], None]) -> None:
        if self._short:
            await self._threads.run_short(function)
        else:
            await self._threads.run_waiting(function, abandon_on_cancel=True)

    def _read(self) -> None:
        with self._lock:
            if self._chunk != b"":
                return  # One that was left to itself has read it meanwhile.
            # read1, if the file has it, returns what is available; read waits for a whole chunk.
            chunk = getattr(self._file, "read1", self._file.read)(READ_SIZE)
            if chunk is None:
                raise BlockingIOError(f"{self._file!r} has no bytes now: use a file that blocks")
            self._chunk = to_bytes(chunk) or None

    def _finish(self) -> None:
        with self._lock:
            if self._owned:
                self._file.close()


class _IterableSource(Source):
    """A sync iterable, read ahead by one chunk in a thread of its own.

    The next item may take a microsecond or a minute, or never come. The source must send many small items together, but
    never hold one back until the next arrives. So a thread reads the iterable while earlier items are being sent.
    """

    def __init__(self, iterable: Iterable[object], threads: Threads) -> None:
        super().__init__()
        self._iterable = iterable
        self._threads = threads
        self._started = False
        self._changed = threading.Condition()
        # The threads share these attributes.
        self._items: list[bytes] = []
        self._size = 0
        self._signal: Signal | None = None
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None

    async def _next_data(self) -> bytes | None:
        self._start()
        while (signal := self._ask(self._has_some)) is not None:
            await signal.wait()
        with self._changed:
            if self._items:
                data = b"".join(self._items)
                self._drop_items()
                return data
        if self._error is not None:
            raise self._error
        return None

    async def _close(self) -> None:
        iterable = self._iterable
        if not self._started:
            if not isinstance(iterable, Generator):
                return
            if inspect.getgeneratorstate(iterable) == inspect.GEN_CREATED:
                iterable.close()  # None of its code runs.
                return
        was_over = self._ended
        with self._changed:
            self._stopping = True
            self._drop_items()
        self._start()
        while (signal := self._ask(self._has_ended)) is not None:
            await signal.wait()
        if not was_over and self._error is not None:
            raise self._error

    def _start(self) -> None:
        if not self._started:
            self._threads.start(self._pull, "jchannel source")
            self._started = True

    def _ask(self, question: Callable[[], bool]) -> Signal | None:
        """Return what is given when the answer to a question may have changed; ``None`` where it is yes."""
        with self._changed:
            self._signal = None if question() else self._threads.make_signal()
            return self._signal

    def _has_some(self) -> bool:
        return bool(self._items) or self._ended

    def _has_ended(self) -> bool:
        return self._ended

    def _drop_items(self) -> None:
        self._items.clear()
        self._size = 0
        self._changed.notify_all()

    def _pull(self) -> None:
        """Read the iterable, and close it. Runs in the thread of its own."""
        try:
            iterator = iter(self._iterable)
            try:
                self._pull_items(iterator)
            finally:
                if isinstance(iterator, Generator):
                    iterator.close()
        except BaseException as error:  # noqa: BLE001 # Raised to the reader, after the earlier items.
            self._error = error
        with self._changed:
            self._ended = True
            self._give_signal()

    def _pull_items(self, iterator: Iterator[object]) -> None:
        if not self._stopping:
            for item in iterator:
                if not self._put(to_bytes(item)):
                    return

    def _put(self, item: bytes) -> bool:
        """Wait for room and add an item. Return whether more items are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < READ_SIZE or self._stopping)
            # An empty item counts as one byte, so that an iterable of empty items can be cancelled and uses no memory.
            self._items.append(item)
            self._size += len(item) or 1
            self._give_signal()
            return not self._stopping

    def _give_signal(self) -> None:
        if self._signal is not None:
            self._signal.set()
            self._signal = None


class _Opening:
    """The opening of a path that may have to wait for the other end of a pipe, or for a device.

    Args:
        path: The path.
    """

    def __init__(self, path: Path) -> None:
        self.file: io.FileIO | None = None
        self._path = path
        self._lock = threading.Lock()
        self._given_up = False

    def open(self) -> None:
        """Open it. Runs in a worker thread."""
        file = self._path.open("rb", buffering=0)
        with self._lock:
            self.file = file
            if self._given_up:
                file.close()

    def give_up(self) -> None:
        """Close what was opened, or will be."""
        with self._lock:
            self._given_up = True
            if self.file is not None:
                self.file.close()


def check_source(stream: object) -> object:
    """Check the source of a stream before anything is sent.

    Args:
        stream: An async iterable or an iterable of bytes-like objects, a bytes-like object, a binary file object, or a
            ``pathlib.Path`` (any ``os.PathLike``, but not a ``str``).

    Returns:
        The argument of ``open_source``: the same object, or the current bytes of a bytes-like object, so that later
        changes to it are not sent.

    Raises:
        TypeError: ``stream`` is none of these.
        ValueError: ``stream`` is a file that is closed or not open for reading.
    """
    if isinstance(stream, AsyncIterable | os.PathLike):
        return stream
    if isinstance(stream, str):
        raise TypeError(f"{_ACCEPTED}, and not a str: encode text, or make a pathlib.Path of the name of a file")
    if _is_file(stream):
        check_binary_file(stream, "read")
        return stream
    if _is_buffer(stream):
        return to_bytes(stream)
    if isinstance(stream, Iterable) and not isinstance(stream, type):
        return stream
    hint = ": call it, and pass what it returns" if callable(stream) else ""
    raise TypeError(f"{_ACCEPTED}, and not {stream!r}{hint}")


async def open_source(stream: object, threads: Threads) -> Source:
    """Open the source of a stream. A path is opened; anything else stays untouched until it is read.

    Args:
        stream: What ``check_source`` has returned.
        threads: Runs what blocks.

    Returns:
        The source, which must be closed.

    Raises:
        FileNotFoundError: The path does not exist.
        OSError: The path cannot be read.
        StateError: There is no thread left to wait for what the path leads to.

    If an iterable produces something other than bytes-like objects, the read raises ``TypeError``.

    Cancelling: the path is not opened, or the source is returned all the same.
    """
    if isinstance(stream, bytes):
        return _BufferSource(stream)
    if isinstance(stream, AsyncIterable):
        return stream if isinstance(stream, Source) else _AsyncSource(aiter(stream))
    if isinstance(stream, os.PathLike):
        path = Path(stream)
        opened = await threads.run_short(_open_regular, path)
        if opened is not None:
            file, total = opened
            return _FileSource(file, threads, total, owned=True, short=True)
        opening = _Opening(path)
        try:
            await threads.run_waiting(opening.open, abandon_on_cancel=True)
        except BaseException:
            opening.give_up()
            raise
        return _FileSource(opening.file, threads, None, owned=True, short=False)
    if _is_file(stream):
        total, short = await threads.run_short(_examine_file, stream)
        return _FileSource(stream, threads, total, owned=False, short=short)
    assert isinstance(stream, Iterable)
    return _IterableSource(stream, threads)


def _is_file(stream: object) -> bool:
    return callable(getattr(stream, "read", None)) and not isinstance(stream, type)


def _is_buffer(stream: object) -> bool:
    try:
        memoryview(stream).release()  # type: ignore[arg-type] # Whether it is one is the question.
    except TypeError:
        return False
    return True


def to_bytes(item: object) -> bytes:
    """Return the current bytes of a bytes-like object.

    Raises:
        TypeError: ``item`` is not a bytes-like object.
    """
    if isinstance(item, bytes):
        return item
    try:
        view = memoryview(item)  # type: ignore[arg-type] # Whether it is one is the question.
    except TypeError:
        hint = ": encode it" if isinstance(item, str) else ""
        raise TypeError(
            f"a stream is made of bytes-like objects, and {type(item).__qualname__} is none{hint}"
        ) from None
    with view:
        if "O" in view.format:
            raise TypeError(f"a stream is made of bytes, and this {type(item).__qualname__} holds Python objects")
        return view.tobytes()


def _open_regular(path: Path) -> tuple[io.FileIO, int | None] | None:
    """Open a path that leads to a file on a disk; return ``None`` for any other, which may make its opener wait."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    file = path.open("rb", buffering=0)
    try:
        return file, _file_size(file)
    except BaseException:
        file.close()
        raise


def _examine_file(file: Any) -> tuple[int | None, bool]:
    """Return the size of a file object, and whether reading it is short."""
    return _file_size(file), _is_short(file)


def _is_short(file: Any) -> bool:
    """Return whether reading a file object never waits for anybody else. Only those of Python's own are known."""
    if type(file) is io.BytesIO:
        return True
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    return type(raw) is io.FileIO and stat.S_ISREG(os.fstat(raw.fileno()).st_mode)


def _file_size(file: Any) -> int | None:
    """Return the number of bytes that a file still has, or ``None`` if only reading can tell."""
    if isinstance(file, io.BytesIO):
        return max(0, len(file.getbuffer()) - file.tell())
    # Other files, such as compressed ones, have the size of the file that they read, not of the data that they return.
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if not isinstance(raw, io.FileIO):
        return None
    status = os.fstat(raw.fileno())
    # A regular file of size 0 may be one that the system generates while it is read, as in /proc.
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return None
    return max(0, status.st_size - int(file.tell()))
