"""Where one record of a byte stream ends and the next begins. Sans-IO: chunks go in, records come out.

A record ends after a number of bytes, or after a separator. How the bytes were cut into chunks makes no difference to
the records. The searching is left to the runtime's own functions, on whole chunks. This module imports nothing of the
project.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from io import BytesIO
from typing import Protocol

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
"""The size of the records that ``by_limit`` gives, in bytes, where no other is asked for."""

DEFAULT_RECORD_LIMIT = 64 * 2**20
"""The longest record that is taken, its separator included, in bytes, where no other limit is given."""

_NEWLINE = b"\n"


class RecordTooLongError(ValueError):
    """A record of a stream is longer than its reader's limit."""


def check_limit(limit: int) -> int:
    """Checks the size of records.

    Args:
        limit: Bytes, at least 1.

    Returns:
        The same.

    Raises:
        TypeError: It is no ``int``. ``True`` and ``False`` are not taken, either.
        ValueError: It is less than 1.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be a number of bytes as int, and not {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1 byte, and it is {limit}")
    return limit


def check_record_limit(limit: int | None) -> int | None:
    """Checks the limit on the length of records that end with a separator.

    Args:
        limit: Bytes, at least 1; ``None`` for no limit.

    Returns:
        The same.

    Raises:
        TypeError: It is neither ``None`` nor ``int``. ``True`` and ``False`` are not taken, either.
        ValueError: It is less than 1.
    """
    return None if limit is None else check_limit(limit)


def encode_separator(separator: str | bytes) -> bytes:
    """Checks a separator and gives it as bytes.

    Args:
        separator: At least one character or byte. Text is encoded as UTF-8.

    Returns:
        The bytes to search for.

    Raises:
        TypeError: It is neither ``str`` nor ``bytes``.
        ValueError: It is empty, or text that UTF-8 cannot express.
    """
    if isinstance(separator, str):
        separator = separator.encode()
    elif not isinstance(separator, bytes):
        raise TypeError(f"separator must be str or bytes, and not {separator!r}")
    if not separator:
        raise ValueError("separator must not be empty: by_limit gives records without one")
    return separator


class Splitter(Protocol):
    """Cuts a byte stream into records.

    Attributes:
        failure: Why it cannot go on, once the records that ``feed`` has returned are read; ``None`` while it can.
    """

    failure: RecordTooLongError | None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Takes the next bytes of the stream. It must not be called after a failure.

        Args:
            chunk: The bytes, not empty.

        Returns:
            The records that they complete. Often there is none.
        """
        ...

    def end(self) -> list[bytes]:
        """Takes note of the end of the stream.

        Returns:
            The last record, where the stream ends within one.
        """
        ...

    def take_rest(self) -> bytes:
        """Gives back the bytes that are in no record yet, and forgets them and the failure."""
        ...


class LimitSplitter:
    """Cuts a byte stream into records of one size, of which the last may be shorter. See ``Splitter``.

    Args:
        limit: Their size in bytes, checked by ``check_limit``.
    """

    def __init__(self, limit: int) -> None:
        self.failure: RecordTooLongError | None = None
        self._limit = limit
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """As ``Splitter.feed``."""
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

    def end(self) -> list[bytes]:
        """As ``Splitter.end``."""
        return [self.take_rest()] if self._rest else []

    def take_rest(self) -> bytes:
        """As ``Splitter.take_rest``."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


class SeparatorSplitter:
    """Cuts a byte stream after each separator. See ``Splitter``.

    Separators are found from the left and do not overlap, just as ``bytes.split`` finds them. What it keeps is bounded
    by the longest record and the last chunk.

    Args:
        separator: The bytes to search for, checked by ``encode_separator``.
        limit: The longest record that is taken, its separator included, in bytes; ``None`` for no limit.
    """

    def __init__(self, separator: bytes, limit: int | None) -> None:
        self.failure: RecordTooLongError | None = None
        self._separator = separator
        self._limit = limit
        # The record that is not complete. No separator is in it, but its last bytes may be the beginning of one.
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """As ``Splitter.feed``."""
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

    def end(self) -> list[bytes]:
        """As ``Splitter.end``."""
        return [self.take_rest()] if self._rest else []

    def take_rest(self) -> bytes:
        """As ``Splitter.take_rest``."""
        self.failure = None
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def _split(self, chunk: bytes) -> tuple[list[bytes], bytes]:
        """The records in a chunk, and what follows the last separator."""
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
        """The records before the first that is too long; it and all after it become the rest."""
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
        "If the separator is the right one, give a greater limit, or limit=None; by_limit reads without a separator"
    )


class LineDecoder:
    """Makes text of records that end with a line feed. Each line is decoded by itself.

    Args:
        encoding: The name of an encoding in which a line feed is the byte 0x0A and nothing else, as in UTF-8 and in
            all that extend ASCII. With ``utf-8-sig`` the mark before the first line is left out.
        errors: What happens to bytes that the encoding does not know, as in ``bytes.decode``.

    Raises:
        LookupError: There is no such encoding, or no such way of handling errors.
        ValueError: A line feed is something else in that encoding.
    """

    def __init__(self, encoding: str, errors: str) -> None:
        codec = codecs.lookup(encoding).name
        codecs.lookup_error(errors)
        self._marked = codec == "utf-8-sig"
        self._encoding = "utf-8" if self._marked else codec
        self._errors = errors
        if "\n".encode(self._encoding) != _NEWLINE:
            raise ValueError(
                f"lines cannot be told apart in {encoding}, where a line feed is not the one byte 0x0A: "
                f"read the whole stream with join(), and decode that"
            )

    def decode(self, records: Sequence[bytes]) -> list[str]:
        r"""Decodes records.

        Args:
            records: What ``SeparatorSplitter`` has found with a line feed as its separator.

        Returns:
            The lines without their ends (``\n`` or ``\r\n``): one for each record, up to the first that cannot be
            decoded.

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
        if self._marked and lines:
            self._marked = False
            lines[0] = lines[0].removeprefix("\ufeff")
        return lines
