"""A stream that this side receives: what has arrived, up to a bounded amount, until its reader takes it.

How the bytes get here (a message, posts, an HTTP response) is not its concern.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from jchannel._protocol.messages import StreamInfo
from jchannel.errors import StateError

__all__ = ["IncomingStream"]

#: How much may have arrived that the reader has not taken, in bytes. More waits with its sender.
READ_AHEAD: Final = 2**20


class IncomingStream:
    """A stream that this side receives.

    Args:
        info: Its announcement.
        begin: Called when it is read for the first time, unless it is whole already: makes its source send.
        stop: Called when its reader wants no more before its end: makes its source stop.
    """

    def __init__(self, info: StreamInfo, *, begin: Callable[[], None], stop: Callable[[], None]) -> None:
        self.info = info
        self.total = info.total if info.data is None else len(info.data)
        #: Whether somebody has begun to read it.
        self.begun = False
        self.received = 0
        #: Whether a part of it is being received.
        self.feeding = False
        #: Whether this side asks for it part by part. What a source gave before it failed comes before the error then.
        self.in_parts = False
        #: Why its source has failed, where there are still parts to ask for.
        self.broken: Exception | None = None
        #: Told of the bytes that have arrived, but for those of a stream that travels inside its message.
        self.on_carried: Callable[[int], None] = lambda _: None
        #: Called once when nothing more will arrive, or be wanted.
        self.on_end: Callable[[], None] = lambda: None
        self._begin = begin
        self._stop = stop
        self._pieces: deque[bytes] = deque([info.data] if info.data else [])
        self._waiting = 0
        self._ended = info.data is not None
        self._error: Exception | None = None
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def over(self) -> bool:
        """Whether nothing more will arrive, or be wanted."""
        return self._ended or self._error is not None

    def describe(self) -> str:
        """What it waits for, for people. Safe in any thread."""
        if not self.begun:
            return "nobody has begun to read it"
        return "waits for its reader" if self._pieces else "waits for its source"

    async def receive(self) -> bytes:
        """Gives what arrived next, and waits for it.

        Returns:
            The next bytes, as many as came together; empty at the end of the stream.

        Raises:
            The error that ended the stream.

        Cancelling it loses nothing.
        """
        self.begin()
        if self._pieces or self._ended:
            await trio.lowlevel.checkpoint()
        while not self._pieces:
            if self._error is not None:
                raise copy.copy(self._error) from self._error.__cause__
            if self._ended:
                return b""
            await self._changed.park()
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        self._changed.unpark_all()
        return piece

    def begin(self) -> None:
        """Says that somebody has begun to read it, as the first ``receive`` does."""
        if not self.begun:
            self.begun = True
            if not self.over:
                self._begin()

    def take_arrived(self) -> list[bytes]:
        """Takes all that has arrived, without waiting: for those who carry it to another thread."""
        pieces = list(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        self._changed.unpark_all()
        return pieces

    async def aclose(self) -> None:
        """Ends the stream: its source is stopped, and what has arrived is dropped. Cancelling it changes nothing."""
        self.drop()
        await trio.lowlevel.checkpoint()

    def drop(self) -> None:
        """As ``aclose``, without a checkpoint."""
        self.fail(StateError("the stream was closed by its reader"), stop=True)

    async def feed(self, data: bytes) -> bool:
        """Takes bytes that have arrived, and waits until there is room for more.

        Returns:
            Whether more is wanted.

        Cancelling it while it waits loses nothing: the bytes have been taken.
        """
        if self.over:
            return False
        if data:
            self.received += len(data)
            self.on_carried(len(data))
            self._pieces.append(data)
            self._waiting += len(data)
            self._changed.unpark_all()
        while self._waiting > READ_AHEAD and not self.over:
            await self._changed.park()
        return not self.over

    def finish(self) -> None:
        """Ends the stream at its end. One that is shorter than announced is broken; a file may have grown."""
        if self.over:
            return
        if self.total is not None and self.received < self.total:
            size = f"it has {self.received:,} bytes, and {self.total:,} were announced"
            self.fail(StateError(f"the stream is not whole: {size}"))
            return
        self._ended = True
        self._changed.unpark_all()
        self.on_end()

    def fail(self, error: Exception, *, stop: bool = False) -> None:
        """Ends the stream with an error, which its reader gets after what has arrived; at once when it stops itself."""
        if stop:
            self._pieces.clear()
            self._waiting = 0
        if self.over:
            return
        self._error = error
        if stop:
            self._stop()
        self._changed.unpark_all()
        self.on_end()

    def note_broken(self, error: Exception) -> None:
        """Takes note of why its source has failed."""
        if self.in_parts:
            self.broken = error
            self._changed.unpark_all()
        else:
            self.fail(error)

    async def wait_broken(self) -> None:
        """Waits until it is known why its source has failed, or nothing is wanted. Cancelling it does nothing else."""
        while self.broken is None and not self.over:
            await self._changed.park()

    def break_off(self, error: Exception) -> None:
        """Ends the stream because nothing more comes, with the error of its source or, if there is none, this one."""
        self._stop()
        self.fail(self.broken or error)
