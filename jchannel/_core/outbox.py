"""The requests of one side of a channel: they stand in a line until they can be sent, and leave in its order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol

import trio

from jchannel._core.channel_streams import ChannelStreams, Give
from jchannel._core.invocation import running_call
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.request import PendingRequest, raise_copy
from jchannel._core.session import Session
from jchannel._core.statistics import CallTally
from jchannel._core.tree import CallNode
from jchannel._protocol.messages import Request, StreamInfo
from jchannel._streams.progress import Progress
from jchannel.errors import ClosedError, PageLostError, StateError

__all__ = ["MakeRequest", "Requests", "Way"]


_LOST_BY_FLOATS: Final = 1e-3


class MakeRequest(Protocol):
    """Makes a request's message."""

    def __call__(
        self, id_: int, channel: int, stream: StreamInfo | None, timeout: float | None, parent: int | None, /
    ) -> Request:
        """Makes it for its id, the channel's number and, where it has them, its stream, its time and its parent."""
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
        tally: Counts how they end.
    """

    def __init__(self, way: Way, streams: ChannelStreams, give: Give, tally: CallTally) -> None:
        self._way = way
        self._streams = streams
        self._give = give
        self._tally = tally
        self._line: deque[_Asked] = deque()
        self._under_way: dict[_Asked, None] = {}

    @property
    def waiting(self) -> int:
        """The number of requests that wait to be sent."""
        return sum(asked.pending is None for asked in list(self._under_way))

    @property
    def pending(self) -> int:
        """The number of requests that were sent and have no outcome yet."""
        return sum(asked.pending is not None for asked in list(self._under_way))

    def describe(self, now: float) -> tuple[CallNode, ...]:
        """The requests that are under way, for the tree. Safe in any thread."""
        try:
            waits_for = "waits for a page" if self._way.find_session() is None else "in line"
        except StateError:
            waits_for = "in line"  # It is about to hear that there is no way.
        return tuple(asked.describe(now, waits_for) for asked in list(self._under_way))

    def begin(self, make: MakeRequest, limit: float, what: str) -> Awaitable[Any]:
        """Makes a request now: it leaves before every one that is made later.

        Args:
            make: Makes its message.
            limit: Seconds for the whole.
            what: What it is called in messages for people.

        Returns:
            What must be awaited at once; it does the waiting, and gives the value or the stream of the answer.
        """
        # Its time begins now and not when it is awaited, and is one for both sides: the far side's has begun, too.
        deadline = trio.current_time() + limit
        asked = self._add(_Asked(make, what, _least_deadline(deadline)))
        self._enter_line(asked)
        return self._finish(asked, deadline, limit)

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
        # The limit is for the time without progress, which the far side does not see.
        asked = self._add(_Asked(make, what, _least_deadline(math.inf)))
        with trio.move_on_after(limit) as scope, _Counted(asked, self._under_way, self._tally):
            asked.progress_scope = scope
            stream = await self._streams.open(source, f"argument of {what}", progress)
            stream.on_taken = partial(_restart, scope, limit)
            try:
                asked.take(stream, await stream.wait_short())
                if asked.waiting:
                    self._enter_line(asked)
                return await self._wait(asked, limit)
            except BaseException:
                stream.stop()
                raise
        raise trio.TooSlowError(self._explain(asked, f"{limit:g} s without progress"))

    def end(self, error: ClosedError) -> None:
        """Ends the requests, because the channel is closing: a channel that is opened again is another one for them."""
        self._line.clear()
        for asked in self._under_way:
            asked.fail(error)

    async def _finish(self, asked: _Asked, deadline: float, limit: float) -> Any:
        with trio.move_on_at(deadline), _Counted(asked, self._under_way, self._tally):
            return await self._wait(asked, limit)
        raise trio.TooSlowError(self._explain(asked, f"{limit:g} s"))

    def _add(self, asked: _Asked) -> _Asked:
        self._under_way[asked] = None
        return asked

    async def _wait(self, asked: _Asked, limit: float) -> Any:
        try:
            if asked.waiting:
                with asked.open_wait():
                    await self._wait_turn(asked)
        except trio.Cancelled:
            if asked.waiting:
                raise
            # Another's turn has sent it in the moment in which it was cancelled: it is cancelled where it waits next.
        finally:
            if asked.waiting:
                self._line.remove(asked)
        if asked.pending is None:
            # What has ended the channel may have cancelled this, too: then it is cancelled, and no error.
            await trio.lowlevel.checkpoint_if_cancelled()
        session, pending = asked.unwrap()
        value = await session.wait_answer(pending)
        if pending.stream is None:
            return value
        return self._give(self._streams.own(pending.stream, f"result of {asked.what}"), limit)

    async def _wait_turn(self, asked: _Asked) -> None:
        while asked.waiting:
            session, _ = await self._way.wait_session()
            if not session.has_room:
                await session.wait_room()
            self._send_line()

    def _enter_line(self, asked: _Asked) -> None:
        asked.in_line = True
        self._line.append(asked)
        try:
            self._send_line()
        except StateError as error:  # Whoever waits for it hears of it.
            self._line.remove(asked)
            asked.fail(error)

    def _send_line(self) -> None:
        """Sends the requests that wait to be sent, in their order, as far as there is room for them."""
        while self._line:
            found = self._way.find_session()
            if found is None or not found[0].has_room:
                return
            asked = self._line.popleft()
            asked.send(*found)

    def _explain(self, asked: _Asked, time: str) -> str:
        if asked.pending is None:
            return f"{asked.what} was not sent within {time}: {self._way.explain_wait()}"
        return f"{asked.what} was not answered within {time}, and has been cancelled"


class _Asked:
    """A request of this side: in the line of those that wait to be sent, and then sent.

    Attributes:
        what: What it is called in messages for people.
        pending: The request, when it has been sent.
        in_line: Whether it may be sent.
        progress_scope: The scope of its time without progress, where it has a stream.
    """

    def __init__(self, make: MakeRequest, what: str, deadline: float) -> None:
        self.what = what
        self.pending: PendingRequest | None = None
        self.in_line = False
        self.progress_scope: trio.CancelScope | None = None
        self._make = make
        self._deadline = deadline
        self._since = trio.current_time()
        self._caller = running_call()
        self._stream: OutgoingStream | None = None
        self._data: bytes | None = None
        self._session: Session
        self._error: Exception | None = None
        self._wait: trio.CancelScope | None = None

    @property
    def waiting(self) -> bool:
        """Whether it waits to be sent."""
        return self.pending is None and self._error is None

    def take(self, stream: OutgoingStream, data: bytes | None) -> None:
        """Takes the stream that goes with it, and the whole of it where it is short and ready."""
        self._stream = stream
        self._data = data

    def describe(self, now: float, waits_for: str) -> CallNode:
        """What it does, for the tree. Safe in any thread."""
        pending = self.pending
        if pending is None:
            state = waits_for if self.in_line else "opens its stream"
        else:
            state = "cancelling" if pending.cancelled else "sent"
        until = self._deadline if self.progress_scope is None else min(self._deadline, self.progress_scope.deadline)
        return CallNode(
            what=self.what.removeprefix("the "),
            number=None if pending is None else pending.request.id,
            seconds=now - self._since,
            time_left=max(0.0, until - now),
            parent=getattr(None if pending is None else pending.request, "parent", None),
            state=state,
        )

    def send(self, session: Session, channel: int) -> None:
        """Sends it. Errors are for ``unwrap``."""
        self._session = session
        if self._stream is not None and self._stream.stopped:
            self._error = ClosedError("the stream was ended before it could be sent: its channel is being closed")
            return
        info = None if self._stream is None else session.streams.announce(self._stream, self._data)
        timeout = None if self._deadline == math.inf else _wire_time(self._deadline - trio.current_time())
        caller = self._caller
        parent = None if caller is None or caller.answered or caller.session is not session else caller.id
        try:
            self.pending = session.send_request(
                lambda id_: self._make(id_, channel, info, timeout, parent), self._deadline
            )
        except (PageLostError, ValueError) as error:
            self._error = error
            return
        if self._stream is not None and info is not None:
            session.streams.announced(self._stream, info)

    def open_wait(self) -> trio.CancelScope:
        """The scope in which it is waited until it has been sent. That it has failed ends the waiting."""
        self._wait = trio.CancelScope()
        return self._wait

    def fail(self, error: StateError) -> None:
        """Ends it with an error of this side."""
        if self.pending is not None:
            self.pending.fail(error)
        elif self._error is None:
            self._error = error
            if self._wait is not None:
                self._wait.cancel()

    def unwrap(self) -> tuple[Session, PendingRequest]:
        """Gives the session and the request that was sent, or raises why it could not be."""
        if self._error is not None:
            raise_copy(self._error)
        assert self.pending is not None
        return self._session, self.pending


class _Counted:
    """The time in which a request is under way. How it ends is counted."""

    __slots__ = ("_asked", "_tally", "_under_way")

    def __init__(self, asked: _Asked, under_way: dict[_Asked, None], tally: CallTally) -> None:
        self._asked = asked
        self._under_way = under_way
        self._tally = tally

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._under_way[self._asked]
        if error is None:
            self._tally.count_answered()
        elif isinstance(error, trio.Cancelled | trio.TooSlowError):
            self._tally.count_cancelled()
        else:
            self._tally.count_failed()


def _least_deadline(deadline: float) -> float:
    """When a request's time is over: by its own limit, or when that of the code that makes it is."""
    caller = running_call()
    outer = math.inf if caller is None else caller.deadline
    return min(deadline, trio.current_effective_deadline(), outer)


def _wire_time(seconds: float) -> float:
    """A time as it travels: whole milliseconds, rounded down, so that the far side never allows more."""
    # What a float has lost when it was a point in time is not a millisecond.
    # In a scope that is cancelled already the time is minus infinity.
    return math.floor(max(0.0, seconds) * 1000 + _LOST_BY_FLOATS) / 1000


def _restart(scope: trio.CancelScope, limit: float) -> None:
    """Gives a request its whole time again, because there was progress."""
    scope.deadline = trio.current_time() + limit
