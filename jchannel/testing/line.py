"""The line of a page's requests: they begin in the order in which they are made, also those that wait for a channel."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from jchannel._core.peer import PeerChannel
from jchannel._core.request import Request

__all__ = ["BeginRequest", "RequestLine", "Turn"]

#: Makes a request in a channel, which leaves before every one that is made later.
BeginRequest: TypeAlias = Callable[[PeerChannel], Request]


class Turn:
    """One request's place in the line.

    Args:
        begin: Makes the request when there is a channel.

    Attributes:
        request: The request; ``None`` while it waits for a channel.
    """

    def __init__(self, begin: BeginRequest) -> None:
        self.begin = begin
        self.request: Request | None = None


class RequestLine:
    """The requests of one page, each in the first channel that is open.

    Args:
        find_channel: Returns that channel; ``None`` where there is none.
        wait_channel: Waits for it.
    """

    def __init__(
        self, find_channel: Callable[[], PeerChannel | None], wait_channel: Callable[[], Awaitable[PeerChannel]]
    ) -> None:
        self._find_channel = find_channel
        self._wait_channel = wait_channel
        self._turns: deque[Turn] = deque()

    def find_channel(self) -> PeerChannel | None:
        """Return the channel in which a request can be made now, after all that wait; ``None`` where there is none."""
        channel = self._find_channel()
        if channel is not None:
            self._begin_all(channel)
        return channel

    def stand(self, begin: BeginRequest) -> Turn:
        """Make a request now, or stand in line until there is a channel."""
        turn = Turn(begin)
        self._turns.append(turn)
        self.find_channel()
        return turn

    async def wait(self, turn: Turn) -> Any:
        """Wait for the outcome of a request, and return its value or raise its error.

        Cancelling it cancels the request, and waits until it has ended on the far side.
        """
        if turn.request is None:
            try:
                channel = await self._wait_channel()
            except BaseException:
                if turn.request is None:
                    self._turns.remove(turn)
                    raise
                # Another has begun it in the same moment: its outcome counts, and it is what is to be cancelled.
            else:
                # trio wakes all who wait for a channel, in any order: the first begins the requests of all, in theirs.
                self._begin_all(channel)
        assert turn.request is not None
        return await turn.request.wait()

    def _begin_all(self, channel: PeerChannel) -> None:
        while self._turns:
            turn = self._turns.popleft()
            turn.request = turn.begin(channel)
