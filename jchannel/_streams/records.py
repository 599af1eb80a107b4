"""Splitting a byte stream into records. Sans-IO: chunks go in, records come out.

A record ends after a number of bytes, or after a separator. The boundaries of the chunks make no difference to the
records. The built-in functions do the searching, on whole chunks. This module imports nothing from the project.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Sequence
from io import BytesIO

__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_RECORD_LIMIT",
    "LimitSplitter",
    "LineDecoder",
    "RecordTooLongError",
    "SeparatorSplitter",
    "Splitter",
    "check_limit",
    "check_record_limit",
    "encode_separator",
]

DEFAULT_LIMIT = 8192
"""The default size of the records of ``by_limit``, in bytes."""

DEFAULT_RECORD_LIMIT = 64 * 2**20
"""The default maximum length of a record with its separator, in bytes."""

_NEWLINE = b"\n"


class RecordTooLongError(ValueError):
    """A record of a stream is longer than the reader's limit."""


def check_limit(limit: int) -> int:
    """Check the size of records.

    Args:
        limit: The size in bytes, at least 1.

    Returns:
        The same size.

    Raises:
        TypeError: ``limit`` is not an ``int``, or it is ``True`` or ``False``.
        ValueError: ``limit`` is less than 1.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be a number of bytes as int, and not {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1 byte, and it is {limit}")
    return limit


def check_record_limit(limit: int | None) -> int | None:
    """Check the maximum length of records that end with a separator.

    Args:
        limit: The length in bytes, at least 1; ``None`` for no limit.

    Returns:
        The same limit.

    Raises:
        TypeError: ``limit`` is neither ``None`` nor an ``int``, or it is ``True`` or ``False``.
        ValueError: ``limit`` is less than 1.
    """
    return None if limit is None else check_limit(limit)


def encode_separator(separator: str | bytes) -> bytes:
    """Check a separator and return it as bytes.

    Args:
        separator: At least one character or byte. Text is encoded as UTF-8.

    Returns:
        The bytes to search for.

    Raises:
        TypeError: ``separator`` is neither ``str`` nor ``bytes``.
        ValueError: ``separator`` is empty, or is text that UTF-8 cannot encode.
    """
    if isinstance(separator, str):
        separator = separator.encode()
    elif not isinstance(separator, bytes):
        raise TypeError(f"separator must be str or bytes, and not {separator!r}")
    if not separator:
        raise ValueError("separator must not be empty: by_limit returns records without one")
    return separator


class Splitter(ABC):
    """The base class of objects that split a byte stream into records.

    Attributes:
        failure: The error to raise after the records that ``feed`` has returned; ``None`` if there is none.
    """

    def __init__(self) -> None:
        self.failure: RecordTooLongError | None = None
        # The bytes of the incomplete record.
        self._rest = bytearray()

    @abstractmethod
    def feed(self, chunk: bytes) -> list[bytes]:
        """Split the next bytes of the stream. This must not be called after a failure.

        Args:
            chunk: The bytes, not empty.

        Returns:
            The records that they complete. Often there are none.
        """

    def end(self) -> list[bytes]:
        """End the stream.

        Returns:
            The last record, if the stream ends within one.
        """
        return [self.take_rest()] if self._rest else []

    def take_rest(self) -> bytes:
        """Return the bytes of the incomplete record, and forget them and the failure."""
        self.failure = None
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


class LimitSplitter(Splitter):
    """A splitter into records of one size. The last record may be shorter.

    Args:
        limit: The size of a record in bytes, checked by ``check_limit``.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """Split the next bytes of the stream."""
        records = []
        start = 0
        if self._rest:
            start = self._limit - len(self._rest)
            self._rest += chunk[:start]
            if len(self._rest) < self._limit:
                return []
            records.append(self.take_rest())
        stop = len(chunk) - (len(chunk) - start) % self._limit
        records += [chunk[place : place + self._limit] for place in range(start, stop, self._limit)]
        self._rest += chunk[stop:]
        return records


class SeparatorSplitter(Splitter):
    """A splitter after each separator.

    It finds separators from the left and without overlap, as ``bytes.split`` does. The bytes that it keeps are bounded
    by the longest record and the last chunk.

    Args:
        separator: The bytes to search for, checked by ``encode_separator``.
        limit: The maximum length of a record with its separator, in bytes; ``None`` for no limit.
    """

    def __init__(self, separator: bytes, limit: int | None) -> None:
        super().__init__()
        self._separator = separator
        self._limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """Split the next bytes of the stream."""
        # There is no separator in the incomplete record, but its last bytes may be the beginning of one.
        earlier = len(self._rest)
        size = earlier + len(chunk)
        overlap = min(earlier, len(self._separator) - 1)
        if overlap:
            chunk = bytes(self._rest[-overlap:]) + chunk
            del self._rest[-overlap:]
        records, last = self._split(chunk)
        if records and self._rest:
            self._rest += records[0]
            records[0] = bytes(self._rest)
            self._rest.clear()
        self._rest += last
        if self._limit is not None and size > self._limit:
            return self._cut(records, self._limit)
        return records

    def _split(self, chunk: bytes) -> tuple[list[bytes], bytes]:
        """Return the records in a chunk, and the bytes after the last separator."""
        if self._separator == _NEWLINE:
            # Twice as fast as splitting and adding the separators again. (splitlines would also cut after a \r.)
            records = BytesIO(chunk).readlines()
            last = b"" if records[-1].endswith(_NEWLINE) else records.pop()
            return records, last
        pieces = chunk.split(self._separator)
        last = pieces.pop()
        separator = self._separator
        return [piece + separator for piece in pieces], last

    def _cut(self, records: list[bytes], limit: int) -> list[bytes]:
        """Return the records before the first one that is too long. It and all after it become the rest."""
        for place, record in enumerate(records):
            if len(record) > limit:
                self._rest[:0] = b"".join(records[place:])
                self.failure = _too_long(f"{len(record):,} bytes with its separator", limit)
                return records[:place]
        if len(self._rest) > limit:
            self.failure = _too_long(f"{len(self._rest):,} bytes so far and no separator yet", limit)
        return records


def _too_long(length: str, limit: int) -> RecordTooLongError:
    return RecordTooLongError(
        f"a record of the stream is longer than the limit of {limit:,} bytes: {length}. The stream has been stopped. "
        "If the separator is right, pass a greater limit, or limit=None; by_limit reads without a separator"
    )


class LineDecoder:
    """A decoder of records that end with a line feed. Each line is decoded by itself.

    Args:
        encoding: The name of an encoding in which a line feed is the one byte 0x0A, as in UTF-8 and in all that extend
            ASCII. With ``utf-8-sig``, the byte order mark before the first line is removed.
        errors: How to handle bytes that cannot be decoded, as in ``bytes.decode``.

    Raises:
        LookupError: The encoding or the error handler is unknown.
        ValueError: A line feed is not the one byte 0x0A in that encoding.
    """

    def __init__(self, encoding: str, errors: str) -> None:
        codec = codecs.lookup(encoding).name
        codecs.lookup_error(errors)
        self._remove_mark = codec == "utf-8-sig"
        self._encoding = "utf-8" if self._remove_mark else codec
        self._errors = errors
        if "\n".encode(self._encoding) != _NEWLINE:
            raise ValueError(
                f"lines cannot be told apart in {encoding}, where a line feed is not the one byte 0x0A: "
                "read the whole stream with join() and decode that"
            )

    def decode(self, records: Sequence[bytes]) -> list[str]:
        r"""Decode records.

        Args:
            records: The records of a ``SeparatorSplitter`` whose separator is a line feed.

        Returns:
            The lines without their ends (``\n`` or ``\r\n``), up to the first record that cannot be decoded.

        Raises:
            UnicodeDecodeError: The first record cannot be decoded.
        """
        lines: list[str] = []
        try:
            for record in records:
                if record.endswith(b"\r\n"):
                    lines.append(record[:-2].decode(self._encoding, self._errors))
                elif record.endswith(_NEWLINE):
                    lines.append(record[:-1].decode(self._encoding, self._errors))
                else:
                    lines.append(record.decode(self._encoding, self._errors))
        except UnicodeDecodeError:
            if not lines:
                raise
        if self._remove_mark and lines:
            self._remove_mark = False
            lines[0] = lines[0].removeprefix("\ufeff")
        return lines
