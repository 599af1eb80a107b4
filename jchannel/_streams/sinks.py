"""Where ``MetaGenerator.write_to`` writes: a path or a binary file object.

Everything here blocks and runs in a worker thread, but for ``check_sink`` and ``Sink.discard``.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
from pathlib import Path
from typing import Protocol

from jchannel._streams.files import check_binary_file

__all__ = ["BinaryWriter", "Sink", "check_sink", "open_sink"]


class BinaryWriter(Protocol):
    """A binary file object, as far as writing needs it."""

    def write(self, data: bytes, /) -> object:
        """Writes bytes and returns how many; a file that returns no number has written them all."""
        ...


class Sink:
    """A binary file object that is written to. It is somebody else's, and is left open.

    Args:
        file: The file.

    Attributes:
        written: How many bytes have been written.
    """

    def __init__(self, file: BinaryWriter) -> None:
        self.written = 0
        self._file = file

    def write(self, data: bytes) -> None:
        """Writes all of the bytes.

        Args:
            data: The bytes.

        Raises:
            BlockingIOError: The file takes no more at present, since it is one that does not block.
            OSError: The file cannot be written.
        """
        rest: bytes | memoryview = data
        while rest:
            count = self._file.write(rest)  # type: ignore[arg-type] # A raw file, which may take a part, takes both.
            if count == 0 or (count is None and isinstance(self._file, io.RawIOBase)):
                raise BlockingIOError(f"{self._file!r} takes no more at present: a file that blocks is needed")
            taken = count if isinstance(count, int) else len(rest)
            self.written += taken
            rest = memoryview(rest)[taken:]

    def finish(self) -> None:
        """Makes the end when everything has been written."""

    def discard(self) -> None:
        """Makes the end when something is missing. It takes so little time that it may be called anywhere."""


class _SpecialSink(Sink):
    """A device or a pipe, opened and closed here. It is never replaced, and what was written cannot be taken back."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("wb", buffering=0)
        super().__init__(self._raw)

    def finish(self) -> None:
        self._raw.close()

    def discard(self) -> None:
        self._raw.close()


class _PathSink(Sink):
    """A file that is written under another name in the same folder, and takes its own name when all is there."""

    def __init__(self, path: Path, permissions: int | None) -> None:
        self._path = path
        self._permissions = permissions
        self._temporary = path.with_name(f".jchannel-{secrets.token_hex(8)}.part")
        # Nothing but large pieces is written: a buffer would only copy them.
        self._raw = self._temporary.open("xb", buffering=0)
        super().__init__(self._raw)

    def finish(self) -> None:
        self._raw.close()
        if self._permissions is not None:
            self._temporary.chmod(self._permissions)
        self._temporary.replace(self._path)

    def discard(self) -> None:
        self._raw.close()
        # It is gone when the renaming was the last thing that succeeded.
        self._temporary.unlink(missing_ok=True)


def check_sink(target: object) -> None:
    """Checks where somebody wants to write a stream.

    Args:
        target: A path as ``str`` or ``os.PathLike``, or a binary file object.

    Raises:
        TypeError: It is neither.
        ValueError: It is a file that is closed or not open for writing.
    """
    if isinstance(target, str | os.PathLike):
        return
    if not callable(getattr(target, "write", None)):
        raise TypeError(f"a stream is written to a path or to a binary file object, and not to {target!r}")
    check_binary_file(target, "write")


def open_sink(target: str | os.PathLike[str] | BinaryWriter) -> Sink:
    """Opens what a stream is to be written to.

    A path is written under another name in the same folder, and takes its own name when all is there. A link stays and
    what it leads to is written; a device or a pipe is written to directly. A file that is replaced hands its
    permissions on.

    Args:
        target: What ``check_sink`` has checked.

    Returns:
        The sink.

    Raises:
        OSError: The path cannot be written.
    """
    if not isinstance(target, str | os.PathLike):
        return Sink(target)
    try:
        path = Path(target).resolve()
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return _PathSink(path, None)
        return _PathSink(path, stat.S_IMODE(mode)) if stat.S_ISREG(mode) else _SpecialSink(path)
    except OSError as error:
        # It shall name the path that its reader knows, and not the one beside it.
        raise OSError(error.errno, error.strerror, os.fspath(target)) from None
