"""The requests of one side of a channel: they stand in a line until they can be sent, and leave in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import trio

from jchannel.errors import ClosedError, PageLostError, StateError
from jchannel.progress import Progress
from jchannel.protocol.messages import Request, StreamInfo
from jchannel.trio.channel_streams import ChannelStreams, Give
from jchannel.trio.outgoing import OutgoingStream
from jchannel.trio.session import PendingRequest, Session

__all__ = ["MakeRequest", "Requests", "Way"]


class MakeRequest(Protocol):
    """Makes a request's message for its id, the channel's number and, where it has one, its stream."""

    def __call__(self, id_: int, channel: int, stream: StreamInfo | None, /) -> Request:
        """Makes the message."""
        ...


class Way(Protocol):
    """The way to the far side."""

    def find_session(self) -> tuple[Session, int] | None:
        """The session in which the channel is open, and the channel's number; ``None`` when there is none now.

        Raises:
            ClosedError, PageLostError: There will be none.
        """

    async def wait_session(self) -> tuple[Session, int]:
        """As ``find_session``, but waits until there is a session."""

    def explain_wait(self) -> str:
        """What ``wait_session`` waits for, as a sentence."""


class Requests:
    """The requests of one side of a channel.

    Args:
        way: The way to the far side.
        streams: The channel's streams.
        give: Makes what the user gets of the stream in an answer.
    """

    def __init__(self, way: Way, streams: ChannelStreams, give: Give) -> None:
        self._way = way
        self._streams = streams
        self._give = give
        self._line: deque[_Asked] = deque()
        self._sent: dict[PendingRequest, Session] = {}

    @property
    def pending(self) -> int:
        """The number of requests that were sent and have no outcome yet."""
        return len(self._sent)

    def begin(self, make: MakeRequest, limit: float, what: str) -> Awaitable[Any]:
        """Makes a request now: it leaves before every one that is made later.

        Args:
            make: Makes its message.
            limit: Seconds for the whole.
            what: What it is called in messages for people.

        Returns:
            What must be awaited at once; it does the waiting, and gives the value or the stream of the answer.
        """
        asked = _Asked(make, None, None)
        self._enter_line(asked)
        return self._finish(asked, limit, what)

    async def ask_with_stream(
        self, make: MakeRequest, source: object, progress: Progress | None, limit: float, what: str
    ) -> Any:
        """Makes a request with a stream. It leaves when its source has shown whether it is short and ready.

        Args:
            make: Makes its message.
            source: The source of the stream.
            progress: Told of what has been read of it.
            limit: Seconds without progress.
            what: What it is called in messages for people.

        Cancelling it closes the source, and is else as with ``Endpoint.call``.
        """
        asked = stream = None
        with trio.move_on_after(limit) as scope:
            stream = await self._streams.open(source, progress)
            stream.on_taken = partial(_restart, scope, limit)
            try:
                asked = _Asked(make, stream, await stream.wait_short())
                self._enter_line(asked)
                return await self._wait(asked, limit)
            except BaseException:
                stream.stop()
                raise
        raise trio.TooSlowError(self._explain(asked, f"{limit:g} s without progress", what))

    def end(self, why: str) -> None:
        """Ends the requests that were sent, because the channel is closing."""
        for pending in self._sent:
            pending.fail(ClosedError(why))

    async def _finish(self, asked: _Asked, limit: float, what: str) -> Any:
        with trio.move_on_after(limit):
            return await self._wait(asked, limit)
        raise trio.TooSlowError(self._explain(asked, f"{limit:g} s", what))

    async def _wait(self, asked: _Asked, limit: float) -> Any:
        try:
            while asked.waiting:
                session, _ = await self._way.wait_session()
                if not session.has_room:
                    await session.wait_room()
                self._send_line()
        finally:
            if asked.waiting:
                self._line.remove(asked)
        session, pending = asked.unwrap()
        try:
            value = await session.wait_answer(pending)
        finally:
            del self._sent[pending]
        return value if pending.stream is None else self._give(self._streams.own(pending.stream), limit)

    def _enter_line(self, asked: _Asked) -> None:
        self._line.append(asked)
        with suppress(StateError):  # Whoever waits for it hears of it.
            self._send_line()

    def _send_line(self) -> None:
        """Sends the requests that wait to be sent, in their order, as far as there is room for them."""
        while self._line:
            found = self._way.find_session()
            if found is None or not found[0].has_room:
                return
            asked = self._line.popleft()
            asked.send(*found)
            if asked.pending is not None:
                self._sent[asked.pending] = found[0]

    def _explain(self, asked: _Asked | None, time: str, what: str) -> str:
        if asked is None or asked.pending is None:
            return f"{what} was not sent within {time}: {self._way.explain_wait()}"
        return f"{what} was not answered within {time}, and has been cancelled"


class _Asked:
    """A request of this side: in the line of those that wait to be sent, and then sent.

    Attributes:
        pending: The request, when it has been sent.
    """

    def __init__(self, make: MakeRequest, stream: OutgoingStream | None, data: bytes | None) -> None:
        self.pending: PendingRequest | None = None
        self._make = make
        self._stream = stream
        self._data = data
        self._session: Session
        self._error: Exception | None = None

    @property
    def waiting(self) -> bool:
        """Whether it waits to be sent."""
        return self.pending is None and self._error is None

    def send(self, session: Session, channel: int) -> None:
        """Sends it. Errors are for ``unwrap``."""
        self._session = session
        info = None if self._stream is None else session.streams.announce(self._stream, self._data)
        try:
            self.pending = session.send_request(lambda id_: self._make(id_, channel, info))
        except (PageLostError, ValueError) as error:
            self._error = error
            return
        if self._stream is not None and info is not None:
            session.streams.announced(self._stream, info)

    def unwrap(self) -> tuple[Session, PendingRequest]:
        """Gives the session and the request that was sent, or raises why it could not be."""
        if self._error is not None:
            raise self._error
        assert self.pending is not None
        return self._session, self.pending


def _restart(scope: trio.CancelScope, limit: float) -> None:
    """Gives a request its whole time again, because there was progress."""
    scope.deadline = trio.current_time() + limit
