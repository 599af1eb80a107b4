"""The sources of outgoing streams: all become async iterators of bytes.

Blocking sources (sync iterables, files, paths) are read in other threads, one thread at a time. This module needs no
async library: the caller passes in everything that it awaits.
"""

from __future__ import annotations

import contextvars
import io
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from jchannel._streams.files import check_binary_file
from jchannel._streams.workers import RunSync
from jchannel.errors import StateError

__all__ = ["PIECE_SIZE", "Source", "check_source", "gather", "open_source", "to_bytes"]

PIECE_SIZE = 256 * 1024
"""The maximum size of a piece, and the number of bytes that a sync iterable is read ahead."""

_ACCEPTED = (
    "a stream can be an async iterable or an iterable of bytes-like objects, a bytes-like object, a binary file object "
    "or a pathlib.Path"
)
_END = object()


def gather(pieces: deque[bytes], limit: float) -> bytes:
    """Remove the first pieces, up to a limit in bytes, or a single larger one, and return them as one."""
    taken: list[bytes] = []
    size = 0
    while pieces and (not taken or size + len(pieces[0]) <= limit):
        taken.append(pieces.popleft())
        size += len(taken[-1])
    return taken[0] if len(taken) == 1 else b"".join(taken)


class Source(ABC):
    """The source of an outgoing stream: an async iterator of ``bytes`` with 1 to ``PIECE_SIZE`` bytes each.

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
        piece = self._data[self._offset : self._offset + PIECE_SIZE]
        self._offset += len(piece)
        if self._offset == len(self._data):
            self._data, self._offset = b"", 0
        return piece

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


class _AsyncSource(Source):
    """An async iterable."""

    def __init__(self, iterator: AsyncIterator[object]) -> None:
        super().__init__()
        self._iterator = iterator

    async def _next_data(self) -> bytes | None:
        item = await anext(self._iterator, _END)
        return None if item is _END else to_bytes(item)

    async def _close(self) -> None:
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            await aclose()


class _FileSource(Source):
    """A binary file object, read in worker threads, one read at a time. A read returns what is available."""

    def __init__(self, file: Any, run_sync: RunSync, total: int | None, *, owned: bool) -> None:
        super().__init__(total)
        self._file = file
        self._run_sync = run_sync
        self._owned = owned
        # Held by the thread that uses the file. If `run_sync` keeps its promise, nobody ever waits for it.
        self._lock = threading.Lock()
        # The result of the last read in a thread; None at the end. If the read was cancelled, the next one returns it.
        self._piece: bytes | None = b""

    async def _next_data(self) -> bytes | None:
        if self._piece == b"":
            await self._run_sync(self._read)
        piece = self._piece
        if piece is not None:
            self._piece = b""
        return piece

    async def _close(self) -> None:
        if self._owned:
            await self._run_sync(self._close_file)

    def _read(self) -> None:
        with self._lock:
            # read1, if the file has it, returns what is available; read waits for a whole piece.
            piece = getattr(self._file, "read1", self._file.read)(PIECE_SIZE)
            if piece is None:
                raise BlockingIOError(f"{self._file!r} has no bytes now: use a file that blocks")
            self._piece = to_bytes(piece) or None

    def _close_file(self) -> None:
        with self._lock:
            self._file.close()


class _IterableSource(Source):
    """A sync iterable, read ahead by one piece in a thread of its own.

    The next item may take a microsecond or a minute. The source must send many small items together, but never hold
    one back until the next arrives. So a thread of its own reads the iterable while earlier items are being sent. A
    worker thread waits for that thread when there is nothing to send.
    """

    def __init__(self, iterable: Iterable[object], run_sync: RunSync) -> None:
        super().__init__()
        self._iterable = iterable
        self._iterator: Iterator[object] | None = None
        self._run_sync = run_sync
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # The threads share these attributes.
        self._items: list[bytes] = []
        self._size = 0
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None

    async def _next_data(self) -> bytes | None:
        if not (self._items or self._ended):
            await self._run_sync(self._wait)
        with self._changed:
            if self._items:
                data = b"".join(self._items)
                self._items.clear()
                self._size = 0
                self._changed.notify_all()
                return data
        if self._error is not None:
            raise self._error
        return None

    async def _close(self) -> None:
        if self._thread is not None or isinstance(self._iterable, Generator):
            await self._run_sync(self._stop)

    def _wait(self) -> None:
        """Wait for an item or the end. Runs in a worker thread."""
        if self._thread is None:
            context = contextvars.copy_context()
            # A daemon thread, so that an iterable that waits for ever does not keep a program from ending.
            self._thread = threading.Thread(target=context.run, args=(self._pull,), name="jchannel source", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)

    def _pull(self) -> None:
        """Read the iterable. Runs in the thread of its own."""
        try:
            self._iterator = iter(self._iterable)
            for item in self._iterator:
                if not self._put(to_bytes(item)):
                    break
        except BaseException as error:  # noqa: BLE001 # Raised to the reader, after the earlier items.
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, item: bytes) -> bool:
        """Wait for room and add an item. Return whether more items are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < PIECE_SIZE or self._stopping)
            # An empty item counts as one byte, so that an iterable of empty items can be cancelled and uses no memory.
            self._items.append(item)
            self._size += len(item) or 1
            self._changed.notify_all()
            return not self._stopping

    def _stop(self) -> None:
        """End the thread, which may still be waiting for an item, then the iterable. Runs in a worker thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        iterator = self._iterator or self._iterable
        if isinstance(iterator, Generator):
            iterator.close()


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


async def open_source(stream: object, run_sync: RunSync) -> Source:
    """Open the source of a stream. A path is opened; anything else stays untouched until it is read.

    Args:
        stream: An object that ``check_source`` accepts.
        run_sync: Runs a function in a worker thread.

    Returns:
        The source, which must be closed.

    Raises:
        TypeError: ``stream`` cannot be sent. If an iterable produces something other than bytes-like objects, the read
            raises ``TypeError``.
        ValueError: ``stream`` is a file that is closed or not open for reading.
        FileNotFoundError: The path does not exist.
        OSError: The path cannot be read.

    Cancelling: the path is not opened, or the source is returned all the same.
    """
    stream = check_source(stream)
    if isinstance(stream, bytes):
        return _BufferSource(stream)
    if isinstance(stream, AsyncIterable):
        return _AsyncSource(aiter(stream))
    if isinstance(stream, os.PathLike):
        file, total = await run_sync(_open_path, Path(stream))
        return _FileSource(file, run_sync, total, owned=True)
    if _is_file(stream):
        total = await run_sync(_file_size, stream)
        return _FileSource(stream, run_sync, total, owned=False)
    assert isinstance(stream, Iterable)
    return _IterableSource(stream, run_sync)


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


def _open_path(path: Path) -> tuple[io.FileIO, int | None]:
    file = path.open("rb", buffering=0)
    try:
        return file, _file_size(file)
    except BaseException:
        file.close()
        raise


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
