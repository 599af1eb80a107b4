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

from jchannel.errors import ClosedError
from jchannel.protocol.messages import Call, Echo, Pipe, Request
from jchannel.trio.channel_streams import ChannelStreams, Give, give
from jchannel.trio.handlers import Invoke, NothingToCallError
from jchannel.trio.incoming import IncomingStream
from jchannel.trio.outgoing import OutgoingStream
from jchannel.trio.session import Session
from jchannel.trio.stream_table import combine

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
        tracebacks: bool,
    ) -> None:
        self._nursery = nursery
        self._streams = streams
        self._find_handler = find_handler
        self._run_method = run_method
        self._give_stream = give_stream
        self._tracebacks = tracebacks
        self._arrived: deque[tuple[Session, Call, IncomingStream | None]] = deque()
        self._scopes: set[trio.CancelScope] = set()
        self._idle = trio.Event()

    @property
    def running(self) -> int:
        """The number of requests that are being answered."""
        return len(self._scopes)

    def serve(self, session: Session, request: Request) -> None:
        """Starts what answers a request. It does not wait."""
        if isinstance(request, Echo):
            session.answer_value(request, request.args, shown_as="args")
            return
        # Nothing else comes here: only a server opens and closes channels, and the peer answers that itself.
        assert isinstance(request, Call | Pipe)
        if not self._scopes:
            self._idle = trio.Event()
        self._scopes.add(session.scope_of(request))
        stream = None if request.stream is None else self._streams.own(session.streams.accept(request.stream))
        if isinstance(request, Call):
            # trio runs new tasks in any order. Each takes the oldest call, so that methods begin in the order of calls.
            self._arrived.append((session, request, stream))
            self._nursery.start_soon(self._run_next_call)
        else:
            assert stream is not None
            self._nursery.start_soon(self._run_pipe, session, request, stream)

    def end(self) -> None:
        """Cancels all that is running, because the channel is closing."""
        for scope in self._scopes:
            scope.cancel()

    async def wait_idle(self) -> None:
        """Waits until nothing is running."""
        if self._scopes:
            await self._idle.wait()

    async def _run_next_call(self) -> None:
        session, call, stream = self._arrived.popleft()
        with session.running_request(call) as scope:
            answer = None
            try:
                # A sync method has no checkpoint, and may have been cancelled before it began.
                await trio.lowlevel.checkpoint_if_cancelled()
                args = call.args if stream is None else [self._give_stream(stream, math.inf), *call.args]
                value = await self._run_method(self._find_handler(), call.name, args)
                answer = await self._answer(session, call, value)
            except NothingToCallError as error:
                session.answer_error(call, error.kind, "", str(error))
            except Exception as error:
                logger.exception("the handler method %r raised", call.name)
                trace = "".join(traceback.format_exception(error)) if self._tracebacks else None
                session.answer_error(call, "exception", type(error).__name__, str(error), trace)
            finally:
                if stream is not None and scope.cancel_called:
                    _close_unread(stream, always=True)
                elif stream is not None and answer is not None:
                    # The answer may be made of the stream, and begin to read it later.
                    answer.on_end = combine(answer.on_end, partial(_close_unread, stream))
                elif stream is not None:
                    _close_unread(stream)
                self._release(scope)

    async def _run_pipe(self, session: Session, pipe: Pipe, stream: IncomingStream) -> None:
        with session.running_request(pipe) as scope:
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._answer(session, pipe, give(stream, math.inf))
            finally:
                if scope.cancel_called:
                    _close_unread(stream, always=True)
                self._release(scope)

    async def _answer(self, session: Session, request: Request, value: object) -> OutgoingStream | None:
        """Answers a request with what a method returned, a value or a stream. Gives the stream."""
        if not _is_stream(value):
            session.answer_value(request, value)
            return None
        stream = await self._streams.open(value)
        try:
            session.answer_stream(request, stream, await stream.wait_short())
        except BaseException:
            stream.stop()
            raise
        return stream

    def _release(self, scope: trio.CancelScope) -> None:
        self._scopes.discard(scope)
        if not self._scopes:
            self._idle.set()


def _close_unread(stream: IncomingStream, *, always: bool = False) -> None:
    """Closes the stream of a call that has ended, if nobody has begun to read it."""
    if always or not stream.begun:
        stream.fail(ClosedError("the stream was closed: its call has ended"), stop=True)


def _is_stream(value: object) -> bool:
    """Whether what a method returned is sent as a stream: an async iterable, a path or a file. Bytes are a value."""
    return hasattr(type(value), "__aiter__") or isinstance(value, Path | io.IOBase)
