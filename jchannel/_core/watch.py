"""What has become of the page and of a channel, for whoever watches it: the newest state, never a backlog of events."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, Literal, Self, TypeVar

import trio

__all__ = ["Board", "ChannelStatus", "PageStatus", "Watch"]

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageStatus:
    """Whether a page is connected to a server.

    Attributes:
        connected: Whether one is.
        page: The name of its client, or of the last one's; empty before there was one. A page that comes back after a
            reload or a lost connection has the name that it had.
        pages: How many times a page has connected so far. Where it has grown by more than one, some have come and gone
            between two looks.
        why: Why the last page is not connected any more, in words; empty while one is, and before there was one.
    """

    connected: bool
    page: str
    pages: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatus:
    """How far a channel is.

    Attributes:
        state: ``open`` while it is open in a page; ``opening`` while it waits for a page, or the page opens it;
            ``closed`` before and after that.
        openings: How many times a page has opened it so far: once for each page that came, and each time that it was
            opened anew. Where it has grown, what was sent to the page before is gone with that.
        why: Why it is closed, in words; empty while it is not.
    """

    state: Literal["closed", "opening", "open"]
    openings: int
    why: str

    @property
    def is_open(self) -> bool:
        """Whether it is open in a page."""
        return self.state == "open"


class Board(Generic[S]):
    """The newest state of something. It is changed in trio.

    Args:
        status: The first state.

    Attributes:
        status: The newest one. Safe in any thread.
    """

    def __init__(self, status: S) -> None:
        self.status: S = status
        self._version = 0
        self._ended = False
        self._changed = trio.lowlevel.ParkingLot()

    def show(self, status: S) -> None:
        """Show a state. The same one again is no news."""
        if status != self.status:
            self.status = status
            self._version += 1
            self._changed.unpark_all()

    def end(self) -> None:
        """Show nothing more: what is watched is over."""
        self._ended = True
        self._changed.unpark_all()

    async def wait_after(self, version: int) -> tuple[int, S] | None:
        """Wait for a state that is newer than one that was seen.

        Args:
            version: The number of that one; ``-1`` for none.

        Returns:
            The number of the newest state, and that; ``None`` when nothing more comes.

        Cancelling it does nothing else.
        """
        await trio.lowlevel.checkpoint()
        while self._version == version and not self._ended:
            await self._changed.park()
        return None if self._version == version else (self._version, self.status)


class Watch(Generic[S]):
    """Iterates over the states of a board, the present one first. It holds nothing, and need not be closed.

    Args:
        board: The board.
    """

    def __init__(self, board: Board[S]) -> None:
        self._board = board
        self._seen = -1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> S:
        news = await self._wait()
        if news is None:
            raise StopAsyncIteration
        self._seen, status = news
        return status

    def _wait(self) -> Awaitable[tuple[int, S] | None]:
        """Wait for the next state, as ``Board.wait_after`` does."""
        return self._board.wait_after(self._seen)
