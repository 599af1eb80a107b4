"""The dispatcher of a channel's side: it answers the far side's requests by running the methods of the handler."""

from __future__ import annotations

import io
import logging
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from jchannel._core.deadlines import Deadlines
from jchannel._core.exits import contain
from jchannel._core.handlers import MethodCancelledError, Methods, NothingToCallError
from jchannel._core.incoming import read_in_trio
from jchannel._core.invocation import Invocation, InvocationState, UnsendableError, is_stream
from jchannel._core.nursery import split_cancelled
from jchannel._core.outbox import ConvertStream
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.session import Session
from jchannel._core.statistics import CallTally
from jchannel._core.stream import TooManyStreamsError
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.threads import NoThreadLeftError
from jchannel._core.tree import CallNode
from jchannel._guarded import is_a, log, name_of, text_of
from jchannel._protocol.messages import Call, Echo, Error, Pipe, Result
from jchannel._protocol.values import pack
from jchannel._streams.sources import check_source

if TYPE_CHECKING:
    from jchannel._core.endpoint import Endpoint

__all__ = ["Dispatcher"]


class Dispatcher:
    """Answers the far side's requests of one channel.

    Args:
        endpoint: This side of the channel.
        methods: Runs the handler's methods.
        convert_stream: Makes what a method gets of the stream of its call.
        streams: Where the streams are entered.
        deadlines: Expire the requests that have no task.
        tallies: Count how the requests end.
        tracebacks: Whether the far side gets the traceback of an exception.

    Attributes:
        methods: As above.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        methods: Methods,
        convert_stream: ConvertStream,
        streams: StreamRegistry,
        deadlines: Deadlines,
        *,
        tallies: Sequence[CallTally],
        tracebacks: bool,
    ) -> None:
        self.methods = methods
        self._endpoint = endpoint
        self._convert_stream = convert_stream
        self._streams = streams
        self._deadlines = deadlines
        self._tallies = tallies
        self._tracebacks = tracebacks
        #: Those that a task is on its way for, and those that wait for room to be answered.
        self._arrived: deque[Invocation] = deque()
        self._held: deque[Invocation] = deque()
        self._running: dict[Invocation, None] = {}
        self._closing = 0
        self._closed = trio.lowlevel.ParkingLot()

    @property
    def running(self) -> int:
        """The number of requests that are being answered."""
        return len(self._running)

    def describe(self, now: float) -> tuple[CallNode, ...]:
        """Return the requests that are being answered, for the tree. Safe in any thread."""
        return tuple(invocation.describe(now) for invocation in list(self._running))

    def dispatch(self, invocation: Invocation) -> None:
        """Start what answers a request, when there is room to answer it. It does not wait."""
        request = invocation.request
        invocation.conversion = self._endpoint.conversion
        if isinstance(request, Call | Pipe) and request.stream is not None:
            what = f"argument of the {invocation.what}"
            session = invocation.session
            quota = session.stream_quota
            invocation.stream = self._streams.accept(request.stream, what, self._endpoint, session, quota)
        if self._held or not invocation.session.room.free:
            self._held.append(invocation)
            invocation.session.room.flush_when_free(self)
        elif not self._begin(invocation):
            self._start(invocation)

    def flush(self) -> bool:
        """Start what answers the oldest request that waits for room, if there is room. Its task starts the next.

        Returns:
            Whether something was started.
        """
        started = False
        while self._held:
            session = self._held[0].session
            if session.alive and not session.room.free:
                session.room.flush_when_free(self)
                break
            self._start(self._held.popleft())
            started = True
            if session.alive:
                break
        return started

    def attend(self, invocation: Invocation) -> None:
        """Start a task for a request that has begun without one."""
        invocation.attended = True
        try:
            self._endpoint.start_soon(self._run, invocation)
        except Exception as error:
            invocation.fail(error)  # Nobody else would answer it.
            raise

    def attend_all(self) -> None:
        """Start tasks for all that run without one: the nursery in which they could be started later is ending."""
        for invocation in list(self._running):
            if not invocation.attended:
                self.attend(invocation)

    def _begin(self, invocation: Invocation) -> bool:
        """Begin to answer a request without a task, if that can be, and nothing is before it.

        Returns:
            Whether it has begun.
        """
        request = invocation.request
        if self._arrived or not isinstance(request, Call) or request.stream is not None:
            return False
        has_time = invocation.due < math.inf
        if invocation.session.frame_cancels or (has_time and invocation.due <= self._deadlines.now()):
            return False
        self._running[invocation] = None
        invocation.dispatcher = self
        if not self.methods.begin(invocation, self._endpoint.handler, request.name, request.args):
            del self._running[invocation]
            return False
        if has_time and not invocation.attended:
            invocation.timer = self._deadlines.add(invocation)
        return True

    def _start(self, invocation: Invocation) -> None:
        # trio runs new tasks in any order. Each takes the oldest request, so that methods begin in the order of calls.
        # Tasks that wait for one another's turn would keep it, too, but cost a pass of the scheduler for each call:
        # 18,000 to 36,000 calls/s from JavaScript against 39,000 to 41,000.
        self._endpoint.start_soon(self._run)
        # Nothing fails from here on: one that is entered has a task, which takes it out.
        invocation.attended = True
        self._arrived.append(invocation)
        self._running[invocation] = None
        invocation.dispatcher = self

    def end(self) -> None:
        """Cancel all that is running or waits for room, because the channel is closing."""
        # Those that wait for room, too: each has a task then, which answers it and does not begin.
        while self._held:
            self._start(self._held.popleft())
        for invocation in list(self._running):
            if not invocation.channel_closed:
                invocation.channel_closed = True
                self._closing += 1
                invocation.cancel()

    async def wait_ended(self) -> None:
        """Wait until what ``end`` has cancelled has ended. Others may run: the channel may be open again."""
        while self._closing:
            await self._closed.park()

    def answer_echo(self, session: Session, echo: Echo) -> None:
        """Answer an echo."""
        try:
            value = pack(echo.args, field_name="value", shown_as="args", conversion=self._endpoint.conversion)
            session.tell(Result(echo.id, value))
        except (TypeError, ValueError) as error:
            session.tell(Error(echo.id, "value", name_of(error), text_of(error)))
            for tally in self._tallies:
                tally.failed += 1
        else:
            for tally in self._tallies:
                tally.answered += 1

    def _find_next(self) -> Invocation | None:
        """Return the oldest request that has arrived, if there is one and room to answer it."""
        if not self._arrived:
            return None  # They were held back, by a task before this one.
        session = self._arrived[0].session
        if session.alive and not session.room.free and not self._arrived[0].cancelled:
            # What has just been answered took the room. Of many calls in one frame each would have its result here.
            self._held.extendleft(reversed(self._arrived))
            self._arrived.clear()
            session.room.flush_when_free(self)
            return None
        invocation = self._arrived.popleft()
        if self._held:
            self.flush()
        return invocation

    async def _run(self, begun: Invocation | None = None) -> None:
        """Answer a request: one that has begun without a task, or the oldest that has not."""
        invocation = self._find_next() if begun is None else begun
        if invocation is None:
            return
        trio.lowlevel.current_task().name = f"{invocation.what} from {invocation.session.far_side}"
        with invocation:
            answer = None
            try:
                value = await self._find_value(invocation)
                if is_stream(value):
                    answer = await self._answer_with_stream(invocation, value)
                else:
                    await invocation.session.room.wait()
                    invocation.succeed(value)
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 (what is not the request's is raised again)
                self._fail(invocation, error)
            finally:
                if invocation.stream is not None:
                    invocation.close_stream(answer)

    async def _find_value(self, invocation: Invocation) -> Any:
        """Return what a request is answered with."""
        if not invocation.begun:
            # A sync method has no checkpoint, and may have been cancelled before it began.
            await trio.lowlevel.checkpoint_if_cancelled()
        request = invocation.request
        if isinstance(request, Echo):
            return request.args
        if invocation.stream is None:
            assert isinstance(request, Call)
            return await self.methods.run(invocation, self._endpoint.handler, request.name, request.args)
        if not isinstance(request, Call):  # A pipe calls no method.
            return read_in_trio(invocation.stream, math.inf)
        args = [self._convert_stream(invocation.stream, math.inf), *request.args]
        return await self.methods.run(invocation, self._endpoint.handler, request.name, args)

    def _fail(self, invocation: Invocation, error: BaseException) -> None:
        """Answer a request with what has ended it, or raise what is meant for others. Called where that is handled."""
        name = getattr(invocation.request, "name", "pipe")
        error = contain(error, repr(name), contains=self.methods.contains_exits)
        if is_a(error, NothingToCallError):
            invocation.answer_error(error.kind, "", text_of(error))
        elif is_a(error, UnsendableError):
            invocation.fail_with(error.reason, kind="value")
        elif is_a(error, MethodCancelledError):
            invocation.answer_error("aborted", "", text_of(error))
        elif is_a(error, NoThreadLeftError) or is_a(error, TooManyStreamsError):
            invocation.fail_with(error, kind="busy")
        elif isinstance(error, Exception):
            log(logging.ERROR, "the handler method %r raised", name, error=error)
            stack = self.methods.format_stack(error) if self._tracebacks else None
            invocation.fail_with(error, stack=stack)
        elif isinstance(error, BaseExceptionGroup):
            # A nursery of the method was cancelled, and something in it has raised besides.
            cancelled, failures = split_cancelled(error)
            log(logging.ERROR, "the handler method %r raised when it was cancelled", name, error=failures)
            raise cancelled from None
        else:
            raise error

    async def _answer_with_stream(self, invocation: Invocation, source: object) -> OutgoingStream:
        """Answer a request with the stream that a method returned, and return the stream."""
        what = f"result of the {invocation.what}"
        quota = invocation.session.stream_quota
        try:
            await invocation.session.room.wait()
            await quota.wait()
        except BaseException:
            if not isinstance(source, Path | io.IOBase):  # Of those nothing is open, or it is the program's.
                # The method has given it away: nobody else closes it.
                (await self._streams.open(source, what, self._endpoint)).stop()
            raise
        with quota.preparing():
            with quota.opening():  # No checkpoint before it: the place is taken.
                stream = await self._streams.open(check_source(source), what, self._endpoint, quota=quota)
            try:
                invocation.succeed_with_stream(stream, await stream.wait_short())
            except BaseException:
                stream.stop()
                raise
        return stream

    def release(self, invocation: Invocation) -> None:
        """Forget an invocation that has been answered, and count how it has ended."""
        del self._running[invocation]
        if invocation.timer is not None:
            self._deadlines.remove(invocation.timer)
        if invocation.channel_closed:
            self._closing -= 1
            if not self._closing:
                self._closed.unpark_all()
        for tally in self._tallies:
            if invocation.state is InvocationState.SUCCEEDED:
                tally.answered += 1
            elif invocation.state is InvocationState.FAILED:
                tally.failed += 1
            else:
                tally.cancelled += 1
