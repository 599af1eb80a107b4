"""What may be sent as a stream, and how each kind is read: all become async iterators of bytes.

What blocks (sync iterables, files, paths) is read in other threads, and never by two at once. This module needs no
async library: whatever it must await is given to it.
"""

from __future__ import annotations

import contextvars
import io
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from jchannel._streams.files import check_binary_file
from jchannel._streams.workers import RunSync
from jchannel.errors import StateError

__all__ = ["PIECE_SIZE", "Source", "check_source", "open_source", "to_bytes"]

PIECE_SIZE = 256 * 1024
"""The largest piece that a source gives, and how far a sync iterable is read ahead, in bytes."""

_TAKEN = (
    "a stream can be an async iterable or an iterable of bytes-like objects, a bytes-like object, a binary file object "
    "or a pathlib.Path"
)
_END = object()


class Source(ABC):
    """A stream that is being sent: an async iterator of ``bytes`` with 1 to ``PIECE_SIZE`` bytes each.

    It has one reader. A read that is cancelled loses nothing of what a worker thread has read, but a cancellation in
    the user's own async iterator is that iterator's affair: an async generator ends with it. An error comes again when
    the source is read again, so that a broken source never looks like one at its end.

    Attributes:
        total: How many bytes are to come, as far as it is known when the source is opened; ``None`` where it is not.
            A file that somebody else is writing may give more, or less.
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
                # From inside a sync iterable or a file. Passed on, it would look like the end.
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
        """Ends the source, also before its end: runs the ``finally`` of a generator and closes what was opened for it.

        A file object that the user has opened stays open. It may be called again. It must not be called while a read
        is under way.

        Cancelling: what was not yet closed stays open; call it again, or call it where it cannot be cancelled.
        """
        self._data, self._offset = b"", 0
        if self._failure is None:
            self._failure = StateError("the source has been closed")
        await self._close()

    @abstractmethod
    async def _next_data(self) -> bytes | None:
        """Any number of bytes, also none or many; ``None`` at the end."""

    @abstractmethod
    async def _close(self) -> None:
        """Closes what there is to close. It may be called again."""


class _BufferSource(Source):
    """Bytes that are there."""

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
    """A binary file object, read in worker threads: one read at a time, which gives what is there."""

    def __init__(self, file: Any, run_sync: RunSync, total: int | None, *, owned: bool) -> None:
        super().__init__(total)
        self._file = file
        self._run_sync = run_sync
        self._owned = owned
        # Held by the thread that is in the file. With a `run_sync` that keeps its promise nobody ever waits for it.
        self._lock = threading.Lock()
        # Where a thread leaves what it has read: the next read finds it, even if the one that sent the thread was
        # cancelled. None is the end.
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
            # Where a file has it, read1 gives what is there; read waits until a whole piece has come.
            piece = getattr(self._file, "read1", self._file.read)(PIECE_SIZE)
            if piece is None:
                raise BlockingIOError(f"{self._file!r} has nothing at present: a file that blocks is needed")
            self._piece = to_bytes(piece) or None

    def _close_file(self) -> None:
        with self._lock:
            self._file.close()


class _IterableSource(Source):
    """A sync iterable, read ahead by a thread of its own as far as a piece.

    Nothing says whether its next item will take a microsecond or a minute. To take many small items at once, and yet
    hold none back until the next one comes, somebody must be in the iterable while those before are already sent:
    hence the thread. A worker thread waits for it where there is nothing to send.
    """

    def __init__(self, iterable: Iterable[object], run_sync: RunSync) -> None:
        super().__init__()
        self._iterable = iterable
        self._iterator: Iterator[object] | None = None
        self._run_sync = run_sync
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # What follows is shared between the threads.
        self._items: list[bytes] = []
        self._size = 0
        self._stopping = False
        self._ended = False
        self._broken: BaseException | None = None

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
        if self._broken is not None:
            raise self._broken
        return None

    async def _close(self) -> None:
        if self._thread is not None or isinstance(self._iterable, Generator):
            await self._run_sync(self._finish)

    def _wait(self) -> None:
        """Waits until there is something to take. Runs in a worker thread."""
        if self._thread is None:
            context = contextvars.copy_context()
            # A daemon: an iterable that waits for ever shall not keep a program from ending.
            self._thread = threading.Thread(target=context.run, args=(self._pull,), name="jchannel source", daemon=True)
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)

    def _pull(self) -> None:
        """Reads the iterable. This is the thread of its own."""
        try:
            self._iterator = iter(self._iterable)
            for item in self._iterator:
                if not self._give(to_bytes(item)):
                    break
        except BaseException as error:  # noqa: BLE001 # The reader gets it, after the items that came before it.
            self._broken = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _give(self, item: bytes) -> bool:
        """Puts an item where it can be taken, when there is room. Says whether more is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < PIECE_SIZE or self._stopping)
            # An empty item counts, too: so an iterable of nothing else can be cancelled, and takes no memory.
            self._items.append(item)
            self._size += len(item) or 1
            self._changed.notify_all()
            return not self._stopping

    def _finish(self) -> None:
        """Ends the thread, which may still be waiting for an item, and then the iterable. Runs in a worker thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        iterator = self._iterator or self._iterable
        if isinstance(iterator, Generator):
            iterator.close()


def check_source(stream: object) -> object:
    """Checks what somebody wants to send, before anything is sent.

    Args:
        stream: An async iterable or an iterable of bytes-like objects, a bytes-like object, a binary file object, or a
            ``pathlib.Path`` (any ``os.PathLike``, but not a ``str``).

    Returns:
        What ``open_source`` takes: the same object, or of a bytes-like one its present bytes, so that what is written
        into it later is not sent.

    Raises:
        TypeError: It is nothing of the kind.
        ValueError: It is a file that is closed or not open for reading.
    """
    if isinstance(stream, AsyncIterable | os.PathLike):
        return stream
    if isinstance(stream, str):
        raise TypeError(f"{_TAKEN}, and not a str: encode text, or make a pathlib.Path of the name of a file")
    if _is_file(stream):
        check_binary_file(stream, "read")
        return stream
    if _is_buffer(stream):
        return to_bytes(stream)
    if isinstance(stream, Iterable) and not isinstance(stream, type):
        return stream
    hint = ": call it, and give what it returns" if callable(stream) else ""
    raise TypeError(f"{_TAKEN}, and not {stream!r}{hint}")


async def open_source(stream: object, run_sync: RunSync) -> Source:
    """Opens what is to be sent. But for the opening of a path, nothing happens to it until it is read.

    Args:
        stream: What ``check_source`` takes.
        run_sync: Runs a function in a worker thread.

    Returns:
        The source, which must be closed.

    Raises:
        TypeError: ``stream`` is nothing that can be sent. That an iterable gives other things than bytes-like objects
            shows only when they come: then the read raises ``TypeError``.
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
    """The bytes of a bytes-like object, as they are now.

    Raises:
        TypeError: It is none.
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
    """How many bytes a file still has, or ``None`` where that cannot be known without reading."""
    if isinstance(file, io.BytesIO):
        return max(0, len(file.getbuffer()) - file.tell())
    # Other files, such as compressed ones, show the size of what they read from, and not of what they give.
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if not isinstance(raw, io.FileIO):
        return None
    status = os.fstat(raw.fileno())
    # A regular file without a size may be one that the system makes up while it is read, as in /proc.
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return None
    return max(0, status.st_size - int(file.tell()))
