"""The outbox of a channel's side: its requests stand in a line until they can be sent, and leave in its order."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import outcome
import trio

from jchannel._core.deadlines import Deadlines
from jchannel._core.exits import contain
from jchannel._core.incoming import IncomingStream
from jchannel._core.invocation import Invocation
from jchannel._core.nursery import copy_error
from jchannel._core.request import CANCELLED, Request, RequestState, Watcher
from jchannel._core.session import Session
from jchannel._core.statistics import CallTally
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.tree import CallNode
from jchannel._core.trio_run import TrioRun
from jchannel._guarded import log
from jchannel._protocol import messages
from jchannel._protocol.messages import Result
from jchannel._streams.progress import Progress
from jchannel.errors import PageLostError, StateError

if TYPE_CHECKING:
    from jchannel._core.endpoint import Endpoint
    from jchannel._core.latest import LatestValue

__all__ = ["ConvertStream", "Outbox"]

#: Makes what the user gets of an incoming stream, which waits at most so many seconds for each part of it.
ConvertStream: TypeAlias = Callable[[IncomingStream, float], Any]


class Outbox:
    """The requests of one side of a channel.

    Args:
        sender: The side of the channel.
        convert_stream: Makes what the user gets of the stream in an answer.
        streams: Where the streams are entered.
        tallies: Count how they end.
        deadlines: Expires them.
        reconnects: Whether requests wait for the next session when one has ended. Otherwise they are lost.

    Attributes:
        deadlines: As above.
        reconnects: As above.
        session: The session in which the channel is open, or the last one; ``None`` before there is one.
        latest: The newest values that are kept up to date on the far side.
    """

    def __init__(
        self,
        sender: Endpoint,
        convert_stream: ConvertStream,
        streams: StreamRegistry,
        tallies: Sequence[CallTally],
        deadlines: Deadlines,
        *,
        reconnects: bool,
    ) -> None:
        self.deadlines = deadlines
        self.reconnects = reconnects
        self.latest: dict[LatestValue, None] = {}
        self._sender = sender
        self._convert_stream = convert_stream
        self._streams = streams
        self._tallies = tallies
        self.session: Session | None = None
        self._channel = 0
        self._closed: StateError | None = None
        self._run = TrioRun()
        self._line: deque[Request] = deque()
        self._under_way: dict[Request, None] = {}

    @property
    def waiting(self) -> int:
        """The number of requests that wait to be sent. Safe in any thread."""
        return sum(not request.sent for request in list(self._under_way))

    @property
    def pending(self) -> int:
        """The number of requests that were sent and have no outcome yet. Safe in any thread."""
        return sum(request.sent for request in list(self._under_way))

    def describe(self, now: float) -> tuple[CallNode, ...]:
        """Return the requests that are under way, for the tree. Safe in any thread."""
        session = self.session  # Once: other threads ask, too.
        is_open = session is not None and session.alive
        why_queued = RequestState.QUEUED.value if is_open or self._closed is not None else "waits for a page"
        return tuple(request.describe(now, why_queued) for request in list(self._under_way))

    def start(
        self,
        message: messages.Request,
        limit: float,
        *,
        source: object = None,
        progress: Progress | None = None,
        parent: Invocation | None,
        outer_deadline: float = math.inf,
        watcher: Watcher | None = None,
    ) -> Request:
        """Make a request now: it leaves before every one that is made later.

        One with a stream leaves when its source has shown whether it is short and ready.

        Args:
            message: Its message, before it is numbered and has its stream.
            limit: Seconds for the whole; with a stream, without progress.
            source: The source of its stream; ``None`` without one.
            progress: Called with what has been read of the source.
            parent: The far side's request that the code which makes it answers, or has answered; or ``None``.
            outer_deadline: When the scopes round the code that makes it end it, by trio's clock.
            watcher: As that of ``Request``.
        """
        # Its time begins now and not when it is awaited, and is one for both sides: the far side's has begun, too.
        deadline = outer_deadline if parent is None or parent.answered else min(outer_deadline, parent.due)
        has_stream = source is not None
        request = Request(
            self, message, limit=limit, deadline=deadline, parent=parent, has_stream=has_stream, watcher=watcher
        )
        self._under_way[request] = None
        if not has_stream:
            self._enter_line(request)
        elif not self._fail_unless_open(request):
            request.opening = trio.CancelScope()
            self._sender.start_soon(self._open_stream, request, source, progress)
        return request

    def enter(self, request: Request) -> None:
        """Send a request without a stream that was made elsewhere: it leaves before every one that is made later."""
        self._under_way[request] = None
        self._enter_line(request)

    def send_now(self, message: messages.Request, session: Session, channel: int, watcher: Watcher | None) -> Request:
        """Send a request beside the line: one that opens or closes the channel. It is in no statistics.

        Args:
            message: Its message, before it is numbered.
            session: The session.
            channel: The channel's number.
            watcher: As that of ``Request``.
        """
        request = Request(self, message, watcher=watcher)
        request.send(session, channel)
        return request

    def connect(self, session: Session, channel: int) -> None:
        """Send what waits, and what comes, in a session in which the channel is open now.

        Args:
            session: The session.
            channel: The channel's number.
        """
        self.session, self._channel = session, channel
        self.flush()
        for latest in list(self.latest):
            latest.send_again()

    def reopen(self) -> None:
        """Take requests again, which wait for a session: the channel is being opened."""
        self.session = self._closed = None

    def flush(self) -> bool:
        """Send the requests that wait to be sent, in their order, as far as there is room for them.

        Returns:
            ``False``: they take the room at once.
        """
        while self._line:
            session = self.session
            if self._closed is not None or session is None or not session.alive:
                if not self._fail_unless_open(self._line[0]):
                    break
            elif session.room.has_turn(self):
                request = self._line.popleft()
                request.send(session, self._channel, more=bool(self._line))
            else:
                session.room.flush_when_free(self)
                break
        return False

    def close(self, error: StateError) -> None:
        """End the requests, and those to come, because the channel is closing or its connection has ended.

        A channel that is opened again is another one for them.
        """
        self._closed = error
        for latest in list(self.latest):
            latest.end(error)
        self._line.clear()
        for request in list(self._under_way):
            request.fail(copy_error(error))

    def disown(self, error: StateError) -> None:
        """Refuse the requests to come, in a forked process. Those that there are belong to its parent's tasks."""
        self._closed = error
        for latest in self.latest:
            latest.error = error

    def check_open(self) -> None:
        """Refuse to go on with a channel that is closed, or whose connection has ended for good.

        Raises:
            StateError: It is.
        """
        error = self._find_end()
        if error is not None:
            raise copy_error(error)

    def _fail_unless_open(self, request: Request) -> bool:
        """End a request that can never be sent, because the channel is closed or its connection has ended."""
        error = self._find_end()
        if error is not None:
            request.fail(copy_error(error))
        return error is not None

    def _find_end(self) -> StateError | None:
        session = self.session
        if self._closed is None and session is not None and not session.alive and not self.reconnects:
            self._closed = PageLostError(f"the request cannot be sent: {session.why_ended}")
        return self._closed

    # For the requests

    def convert_stream(self, request: Request, result: Result) -> Any:
        """Return what the user gets of the stream that has answered a request; drop it where nobody wants it."""
        assert request.session is not None
        assert result.stream is not None
        stream = self._streams.accept(result.stream, f"result of {request.what}", self._sender, request.session)
        stream.origin = request.stream
        if request.state is RequestState.CANCELLING or not request.is_awaited:
            stream.drop()
            return None
        return self._convert_stream(stream, request.limit)

    def annotate(self, error: Exception) -> None:
        """Add to an error of the far side's what this side knows about it."""
        self._sender.annotate(error)

    def explain_wait(self) -> str:
        """Return what requests that have not been sent wait for."""
        return self._sender.explain_wait()

    def release(self, request: Request) -> None:
        """Forget a request that is done, and count how it has ended."""
        if request not in self._under_way:
            return
        del self._under_way[request]
        if request.id is None and request in self._line:
            self._line.remove(request)
        result = request.outcome
        answered = type(result) is outcome.Value  # By `isinstance` it would be asked for in Python.
        for tally in self._tallies:
            if answered:
                tally.answered += 1
            elif result is CANCELLED or isinstance(getattr(result, "error", None), trio.TooSlowError):
                tally.cancelled += 1
            else:
                tally.failed += 1

    def _enter_line(self, request: Request) -> None:
        self._line.append(request)
        if len(self._line) == 1 or threading.get_ident() == self._run.thread:
            self.flush()
        else:  # To send those before it, which may carry streams and have tasks that wait, is trio's.
            self._run.run_soon(self.flush)

    async def _open_stream(self, request: Request, source: object, progress: Progress | None) -> None:
        assert request.opening is not None
        with request.opening:
            try:
                stream = await self._streams.open(source, f"argument of {request.what}", self._sender, progress)
            except BaseException as raised:
                contains = self._sender.dispatcher.methods.contains_exits
                error = contain(raised, "the source of the stream", contains=contains)
                if not isinstance(error, Exception):
                    raise
                request.fail(error)
                return
            stream.consumer = request
            try:
                data = await stream.wait_short()
            except BaseException as error:
                stream.stop()
                if not isinstance(error, Exception):
                    raise
                log(logging.ERROR, "an error of jchannel has ended %s", request.what, error=error)
                request.fail(error)
                return
            if request.done:
                stream.stop()
            else:
                request.enter_line(stream, data)
                self._enter_line(request)
