"""Ways of reading a stream by records: what one has ready, and the async iterators that give it.

A cursor turns chunks into records, and what it has not given back into the bytes that they were, so that another way of
reading goes on at the same place. The stream (``metagenerator``) fills it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar

from jchannel._streams.records import Splitter

__all__ = ["Cursor", "RecordBatches", "Records"]

_T = TypeVar("_T")


class Cursor(Generic[_T]):
    """What one way of reading has taken from the stream: what it has ready, and the beginning of the next record.

    It can be taken back as the bytes that it was, so that another way of reading goes on at the same place.

    Attributes:
        reader: The method that reads, as its user calls it.
        splitter: Cuts the bytes into records.
        items: What is ready.
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
        """Whether there are records that could not be made into items."""
        return self._converted < len(self._records)

    def load(self, records: list[bytes]) -> None:
        """Makes items of records. Raises what the conversion of the first record raises."""
        self._records = records
        self._converted = 0
        items = self._convert(records)
        self._converted = len(items)
        self.items = iter(items)

    def take_back(self) -> bytes:
        """The bytes of all that has not been read. The cursor is then empty, and so is every copy of ``items``."""
        unread = len(list(self.items)) + len(self._records) - self._converted
        records = self._records[len(self._records) - unread :]
        self._records = []
        self._converted = 0
        return b"".join(records) + self.splitter.take_rest()


class _Reading(Generic[_T]):
    """What ``Records`` and ``RecordBatches`` share."""

    def __init__(self, fill: Callable[[], Awaitable[Iterator[_T]]], aclose: Callable[[], Awaitable[None]]) -> None:
        self._fill = fill
        self._aclose = aclose

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Closes the stream: the same as ``MetaGenerator.aclose``."""
        await self._aclose()


class Records(_Reading[_T]):
    """The records of a stream, one by one: an async iterator. ``MetaGenerator.by_separator`` and others give it.

    Cancelling ``anext``: nothing is lost. The next call, or another way of reading the same stream, goes on there.
    """

    def __init__(self, fill: Callable[[], Awaitable[Iterator[_T]]], aclose: Callable[[], Awaitable[None]]) -> None:
        super().__init__(fill, aclose)
        self._items: Iterator[_T] = iter(())

    async def __anext__(self) -> _T:
        # The cheapest way to take one item, if there is one.
        for item in self._items:
            return item
        self._items = await self._fill()
        for item in self._items:
            return item
        raise StopAsyncIteration


class RecordBatches(_Reading[_T]):
    """The records of a stream in lists: an async iterator. ``MetaGenerator.batches_by_separator`` gives it.

    Cancelling ``anext``: nothing is lost. The next call, or another way of reading the same stream, goes on there.
    """

    async def __anext__(self) -> list[_T]:
        batch = list(await self._fill())
        if not batch:
            raise StopAsyncIteration
        return batch
