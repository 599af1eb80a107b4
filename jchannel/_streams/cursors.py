"""Reading a stream in records: the cursor that holds the records, and the async iterators that return them.

The stream (``reader``) fills the cursor. A cursor can turn unread records back into bytes, so that another way of
reading can continue at the same position.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar, final

from jchannel._streams.records import Splitter
from jchannel._tracebacks import trim, trimmed

__all__ = ["Cursor", "RecordBatches", "Records"]

_T = TypeVar("_T")


class Cursor(Generic[_T]):
    """The position of one way of reading: the items that are ready, and the beginning of the next record.

    Attributes:
        reader: The name of the method that reads, for error messages.
        splitter: Splits the bytes into records.
        items: The items that are ready.
    """

    def __init__(self, reader: str, splitter: Splitter, convert: Callable[[Sequence[bytes]], Sequence[_T]]) -> None:
        self.reader = reader
        self.splitter = splitter
        self.items: Iterator[_T] = iter(())
        self._convert = convert
        self._records: list[bytes] = []
        self._converted = 0

    @property
    def stuck(self) -> bool:
        """Whether there are records that could not be converted into items."""
        return self._converted < len(self._records)

    def load(self, records: list[bytes]) -> None:
        """Convert records into items.

        Raises:
            Exception: The first record cannot be converted.
        """
        self._records = records
        self._converted = 0
        items = self._convert(records)
        self._converted = len(items)
        self.items = iter(items)

    def drain(self) -> bytes:
        """Return the unread bytes. The cursor is then empty, and so is every reference to ``items``."""
        unread = len(list(self.items)) + len(self._records) - self._converted
        records = self._records[len(self._records) - unread :]
        self._records = []
        self._converted = 0
        return b"".join(records) + self.splitter.take_rest()


class _Reading(Generic[_T]):
    """The base class of ``Records`` and ``RecordBatches``."""

    def __init__(self, fill: Callable[[], Awaitable[Iterator[_T]]], aclose: Callable[[], Awaitable[None]]) -> None:
        self._fill = fill
        self._aclose = aclose

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Close the stream, as ``MetaGenerator.aclose`` does."""
        await self._aclose()


@final
class Records(_Reading[_T]):
    """The records of a stream, one by one: an async iterator, returned by ``MetaGenerator.by_separator`` and others.

    Cancelling ``anext`` loses nothing. The next call, or another way of reading the same stream, continues there.
    """

    def __init__(self, fill: Callable[[], Awaitable[Iterator[_T]]], aclose: Callable[[], Awaitable[None]]) -> None:
        super().__init__(fill, aclose)
        self._items: Iterator[_T] = iter(())

    async def __anext__(self) -> _T:
        # The cheapest way to get one item, if there is one.
        for item in self._items:
            return item
        try:
            self._items = await self._fill()
        except Exception as error:
            trim(error)
            raise
        for item in self._items:
            return item
        raise StopAsyncIteration


@final
class RecordBatches(_Reading[_T]):
    """The records of a stream in lists: an async iterator, returned by ``MetaGenerator.batches_by_separator``.

    Cancelling ``anext`` loses nothing. The next call, or another way of reading the same stream, continues there.
    """

    @trimmed
    async def __anext__(self) -> list[_T]:
        batch = list(await self._fill())
        if not batch:
            raise StopAsyncIteration
        return batch
