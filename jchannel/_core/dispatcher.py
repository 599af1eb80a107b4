"""What a channel does for the far side: it runs the methods of its handler, and sends streams back."""

from __future__ import annotations

import io
import logging
import math
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from jchannel._core.channel_streams import ChannelStreams, Give, give
from jchannel._core.handlers import Invoke, MethodCancelledError, NothingToCallError
from jchannel._core.incoming import IncomingStream
from jchannel._core.nursery import split_cancelled
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.registry import combine
from jchannel._core.session import Session
from jchannel._core.statistics import CallTally
from jchannel._core.tree import CallNode
from jchannel._protocol.messages import Call, Echo, Pipe, Request
from jchannel.errors import ClosedError

__all__ = ["Service"]

logger = logging.getLogger("jchannel")


class Service:
    """Answers the far side's requests of one channel.

    Args:
        nursery: The channel's nursery, which owns a task for each.
        streams: The channel's streams.
        find_handler: Gives the channel's present handler.
        run_method: Runs a method of it.
        give_stream: Makes what a method gets of the stream of its call.
        tally: Counts how the requests end.
        tracebacks: Whether the far side gets the traceback of an exception.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        streams: ChannelStreams,
        find_handler: Callable[[], object],
        run_method: Invoke,
        give_stream: Give,
        *,
        tally: CallTally,
        tracebacks: bool,
    ) -> None:
        self._nursery = nursery
        self._streams = streams
        self._find_handler = find_handler
        self._run_method = run_method
        self._give_stream = give_stream
        self._tally = tally
        self._tracebacks = tracebacks
        self._arrived: deque[tuple[_Served, Call, IncomingStream | None]] = deque()
        self._served: dict[_Served, None] = {}
        self._closing = 0
        self._closed = trio.lowlevel.ParkingLot()

    @property
    def running(self) -> int:
        """The number of requests that are being answered."""
        return len(self._served)

    def describe(self, now: float) -> tuple[CallNode, ...]:
        """The requests that are being answered, for the tree. Safe in any thread."""
        return tuple(served.describe(now) for served in list(self._served))

    def serve(self, session: Session, request: Request) -> None:
        """Starts what answers a request. It does not wait."""
        if isinstance(request, Echo):
            if session.answer_value(request, request.args, shown_as="args"):
                self._tally.count_answered()
            else:
                self._tally.count_failed()
            return
        # Nothing else comes here: only a server opens and closes channels, and the peer answers that itself.
        assert isinstance(request, Call | Pipe)
        served = _Served(session, request)
        self._served[served] = None
        stream = None
        if request.stream is not None:
            stream = self._streams.own(session.streams.accept(request.stream), f"argument of the {served.what}")
        if isinstance(request, Call):
            # trio runs new tasks in any order. Each takes the oldest call, so that methods begin in the order of calls.
            self._arrived.append((served, request, stream))
            self._nursery.start_soon(self._run_next_call)
        else:
            assert stream is not None
            self._nursery.start_soon(self._run_pipe, served, request, stream, name=served.task_name)

    def end(self) -> None:
        """Cancels all that is running, because the channel is closing."""
        for served in self._served:
            if not served.closed:
                served.closed = True
                self._closing += 1
                served.scope.cancel()

    async def wait_ended(self) -> None:
        """Waits until what ``end`` has cancelled has ended. Others may run: the channel may be open again."""
        while self._closing:
            await self._closed.park()

    async def _run_next_call(self) -> None:
        served, call, stream = self._arrived.popleft()
        trio.lowlevel.current_task().name = served.task_name
        session = served.session
        with session.running_request(call) as scope:
            answer = None
            try:
                # A sync method has no checkpoint, and may have been cancelled before it began.
                await trio.lowlevel.checkpoint_if_cancelled()
                args = call.args if stream is None else [self._give_stream(stream, math.inf), *call.args]
                value = await self._run_method(self._find_handler(), call.name, args)
                answer = await self._answer(served, value)
            except NothingToCallError as error:
                served.failed = True
                session.answer_error(call, error.kind, "", str(error))
            except MethodCancelledError as error:
                served.failed = True
                session.answer_error(call, "aborted", "", str(error))
            except Exception as error:
                logger.exception("the handler method %r raised", call.name)
                trace = "".join(traceback.format_exception(error)) if self._tracebacks else None
                served.failed = True
                session.answer_error(call, "exception", type(error).__name__, str(error), trace)
            except BaseExceptionGroup as group:
                # A nursery of the method was cancelled, and something in it has raised besides.
                cancelled, failures = split_cancelled(group)
                logger.exception("the handler method %r raised when it was cancelled", call.name, exc_info=failures)
                raise cancelled from None
            finally:
                if stream is not None and scope.cancel_called:
                    _close_unread(stream, always=True)
                elif stream is not None and answer is not None:
                    # The answer may be made of the stream, and begin to read it later.
                    answer.on_end = combine(answer.on_end, partial(_close_unread, stream))
                elif stream is not None:
                    _close_unread(stream)
                self._release(served)

    async def _run_pipe(self, served: _Served, pipe: Pipe, stream: IncomingStream) -> None:
        with served.session.running_request(pipe) as scope:
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._answer(served, give(stream, math.inf))
            finally:
                if scope.cancel_called:
                    _close_unread(stream, always=True)
                self._release(served)

    async def _answer(self, served: _Served, value: object) -> OutgoingStream | None:
        """Answers a request with what a method returned, a value or a stream. Gives the stream."""
        session, request = served.session, served.request
        if not _is_stream(value):
            served.answered = session.answer_value(request, value)
            served.failed = not served.answered
            return None
        stream = await self._streams.open(value, f"result of the {served.what}")
        try:
            session.answer_stream(request, stream, await stream.wait_short())
        except BaseException:
            stream.stop()
            raise
        served.answered = session.alive
        return stream

    def _release(self, served: _Served) -> None:
        if served.answered:
            self._tally.count_answered()
        elif served.failed:
            self._tally.count_failed()
        else:
            self._tally.count_cancelled()
        del self._served[served]
        if served.closed:
            self._closing -= 1
            if not self._closing:
                self._closed.unpark_all()


class _Served:
    """A request that is being answered.

    Attributes:
        session: The session that it came in.
        request: Its message.
        scope: The scope round what answers it.
        closed: Whether it was cancelled because its channel was closed.
        answered: Whether it was answered with a value or a stream.
        failed: Whether it was answered with an error.
    """

    __slots__ = ("_since", "answered", "closed", "failed", "request", "scope", "session")

    def __init__(self, session: Session, request: Call | Pipe) -> None:
        self.session = session
        self.request = request
        self.scope = session.scope_of(request)
        self.closed = self.answered = self.failed = False
        self._since = trio.current_time()

    @property
    def what(self) -> str:
        """What it is called in messages for people."""
        return f"call of {self.request.name!r}" if isinstance(self.request, Call) else "pipe"

    @property
    def task_name(self) -> str:
        """What its task is called, in what shows trio's tasks."""
        return f"{self.what} from {self.session.far_side}"

    def describe(self, now: float) -> CallNode:
        """What it does, for the tree. Safe in any thread."""
        # `cancel_called` of a scope can only be asked in trio's thread.
        over = self.closed or self.scope.deadline <= now or not self.session.alive
        cancelled = over or self.session.was_cancelled(self.request)
        return CallNode(
            what=self.what,
            number=self.request.id,
            seconds=now - self._since,
            time_left=max(0.0, self.scope.deadline - now),
            parent=self.request.parent,
            state="cancelled, has not ended yet" if cancelled else "running",
        )


def _close_unread(stream: IncomingStream, *, always: bool = False) -> None:
    """Closes the stream of a call that has ended, if nobody has begun to read it."""
    if always or not stream.begun:
        stream.fail(ClosedError("the stream was closed: its call has ended"), stop=True)


def _is_stream(value: object) -> bool:
    """Whether what a method returned is sent as a stream: an async iterable, a path or a file. Bytes are a value."""
    return hasattr(type(value), "__aiter__") or isinstance(value, Path | io.IOBase)
