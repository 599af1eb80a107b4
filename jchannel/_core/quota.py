"""What the streams of one session may hold together: so many streams, and so many bytes that wait in them.

It counts what the far side causes: the streams that come with its requests, and those that answer them. What this
side's own program sends is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from jchannel._core.limits import Limits
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._core.stream import Buffer

__all__ = ["StreamQuota", "TooManyStreamsError"]


class TooManyStreamsError(StateError):
    """As many streams are open as may be."""


class StreamQuota:
    """The streams of one session that the far side has caused, and the bytes that wait in them.

    Args:
        limits: The limits of the server or the peer.

    Attributes:
        open: The number of streams.
        held: The bytes that wait in them, and those that the far side has credit for: they may come at any time.
        full: Whether as many bytes wait as may. Then each stream gets no more than it needs to go on.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.open: int = 0
        self.held: int = 0
        self.full: bool = limits.stream_bytes <= 0
        self._soon_over = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._buffers: dict[Buffer, None] = {}

    # In number

    @property
    def used_up(self) -> bool:
        """Whether no further stream may be opened."""
        return self.open >= self._limits.streams

    def explain(self) -> str:
        """Return why no further stream may be opened, as a sentence."""
        return f"too many streams at once: {self.open:,} are open already (Limits.streams)"

    def enter(self) -> None:
        """Count a stream."""
        self.open += 1

    def expect_leave(self) -> None:
        """Take note that a stream has ended, and leaves as soon as its source is closed."""
        self._soon_over += 1

    def leave(self, *, expected: bool) -> None:
        """Count a stream no more, which has ended.

        Args:
            expected: Whether ``expect_leave`` has been called for it.
        """
        self._soon_over -= expected
        self.open -= 1
        self._wake()

    async def wait(self) -> None:
        """Wait until a stream may be opened, where some are over soon: they are being closed, or may be short.

        Raises:
            TooManyStreamsError: Only the far side can make room, by reading or stopping streams that it has.

        Cancelling it does nothing else. It is no checkpoint where it need not wait.
        """
        while self.used_up:
            if not self._soon_over:
                raise TooManyStreamsError(self.explain())
            await self._changed.park()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Count a stream for the time of a ``with`` block in which it is opened. Behind it, it counts itself."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Expect for the time of a ``with`` block that a stream is over soon, because it may be short."""
        self._soon_over += 1
        try:
            yield
        finally:
            self._soon_over -= 1
            self._wake()

    def _wake(self) -> None:
        # When none is left that is over soon, nobody else would wake those who wait.
        self._changed.unpark(count=1 if self._soon_over else len(self._changed))

    # In bytes

    @property
    def room(self) -> int:
        """How many more bytes may wait."""
        return max(0, self._limits.stream_bytes - self.held)

    def watch(self, buffer: Buffer) -> None:
        """Notify a buffer as soon as there is room again: there is none."""
        self._buffers[buffer] = None

    def forget(self, buffer: Buffer) -> None:
        """Notify a buffer no more: its stream has ended."""
        self._buffers.pop(buffer, None)

    def count(self, change: int) -> None:
        """Count bytes that have come into a buffer or may come, or that have left it."""
        self.held += change
        self.full = self.held >= self._limits.stream_bytes
        if self._buffers and not self.full:
            buffers, self._buffers = self._buffers, {}
            for buffer in buffers:
                buffer.notify()
