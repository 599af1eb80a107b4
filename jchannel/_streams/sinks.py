"""The targets of ``MetaGenerator.write_to``: paths and binary file objects.

Everything here blocks and runs in a worker thread, except ``check_sink`` and ``Sink.discard``.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from jchannel._streams.files import check_binary_file

__all__ = ["BinaryWriter", "Sink", "check_sink", "open_sink"]


class BinaryWriter(Protocol):
    """A binary file object that can be written to."""

    def write(self, data: bytes, /) -> object:
        """Write bytes and return their number. If it returns no number, all of them count as written."""
        ...


class Sink:
    """A binary file object that is written to. The user has opened it, so it is not closed.

    Args:
        file: The file.

    Attributes:
        written: The number of bytes written so far.
        open: Opens what is to be written to, where that may wait for somebody else, and raises ``OSError``; ``None``
            where it is open.
        waits: Whether writing may wait for somebody else, for ever: only what is on a disk is known not to.
    """

    waits = True
    open: Callable[[], None] | None = None

    def __init__(self, file: BinaryWriter) -> None:
        self.written = 0
        self._file = file

    def write(self, data: bytes) -> None:
        """Write all of the bytes.

        Args:
            data: The bytes.

        Raises:
            BlockingIOError: The file is a non-blocking one and accepts no more bytes now.
            OSError: The file cannot be written to.
        """
        rest: bytes | memoryview = data
        while rest:
            # Only a raw file may write a part, and it accepts a memoryview, too.
            count = self._file.write(rest)  # type: ignore[arg-type]
            if count == 0 or (count is None and isinstance(self._file, io.RawIOBase)):
                raise BlockingIOError(f"{self._file!r} accepts no more bytes now: use a file that blocks")
            written = count if isinstance(count, int) else len(rest)
            self.written += written
            rest = memoryview(rest)[written:]

    def finish(self) -> None:
        """Finish after everything has been written."""

    def discard(self) -> None:
        """Finish after a failure. This is quick enough to be called anywhere."""


class _DeviceSink(Sink):
    """A device or a pipe, opened and closed here. It is never replaced, and bytes written to it cannot be removed."""

    _file: io.FileIO

    def __init__(self, path: Path, name: str) -> None:
        self.written = 0
        self._path = path
        self._name = name
        self.open = self._open

    def _open(self) -> None:
        # A pipe opens when somebody opens its other end.
        with _naming(self._name):
            self._file = self._path.open("wb", buffering=0)

    def finish(self) -> None:
        self._file.close()

    def discard(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class _PathSink(Sink):
    """A file that is written under another name in the same folder, and renamed when all has been written."""

    waits = False

    def __init__(self, path: Path, permissions: int | None) -> None:
        self._path = path
        self._permissions = permissions
        self._temporary = path.with_name(f".jchannel-{secrets.token_hex(8)}.part")
        # Only large pieces are written: a buffer would only copy them.
        self._raw = self._temporary.open("xb", buffering=0)
        super().__init__(self._raw)

    def finish(self) -> None:
        self._raw.close()
        if self._permissions is not None:
            self._temporary.chmod(self._permissions)
        self._temporary.replace(self._path)

    def discard(self) -> None:
        self._raw.close()
        # The file is missing if the renaming succeeded.
        self._temporary.unlink(missing_ok=True)


def check_sink(target: object) -> None:
    """Check the target of ``MetaGenerator.write_to``.

    Args:
        target: A path as ``str`` or ``os.PathLike``, or a binary file object.

    Raises:
        TypeError: ``target`` is neither of these.
        ValueError: ``target`` is a file that is closed or not open for writing.
    """
    if isinstance(target, str | os.PathLike):
        return
    if not callable(getattr(target, "write", None)):
        raise TypeError(f"a stream is written to a path or to a binary file object, and not to {target!r}")
    check_binary_file(target, "write")


def open_sink(target: str | os.PathLike[str] | BinaryWriter) -> Sink:
    """Open the target of ``MetaGenerator.write_to``.

    A file is written under another name in the same folder, and renamed when all has been written. It keeps the
    permissions of the file that it replaces. A link is followed. A device or a pipe is written to directly.

    Args:
        target: The target, checked by ``check_sink``.

    Returns:
        The sink, which is to be opened.

    Raises:
        OSError: The path cannot be written to.
    """
    if not isinstance(target, str | os.PathLike):
        return Sink(target)
    name = os.fspath(target)
    with _naming(name):
        path = Path(target).resolve()
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return _PathSink(path, None)
        return _PathSink(path, stat.S_IMODE(mode)) if stat.S_ISREG(mode) else _DeviceSink(path, name)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the path that the user knows in errors, and not what it leads to, or the temporary one beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
