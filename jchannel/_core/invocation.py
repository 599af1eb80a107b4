"""Invocations: one request of the far side each, from its arrival to its answer.

The code that answers can see its own: the time that is left, and whose child its own requests are. It is a context
variable, so tasks and threads that a method starts have it, too, until the request has been answered.
"""

from __future__ import annotations

import enum
import io
import math
from collections.abc import Callable
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self

import trio

from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import LONG_TEXT, MAX_NAME, SHORT_TEXT
from jchannel._core.tree import CallNode
from jchannel._guarded import name_of, text_of
from jchannel._protocol.messages import Call, Echo, Error, Open, Pipe, Result, StreamInfo
from jchannel._protocol.values import PLAIN, Conversion, Packed, pack
from jchannel.errors import ClosedError

if TYPE_CHECKING:
    from jchannel._core.deadlines import Timer
    from jchannel._core.dispatcher import Dispatcher
    from jchannel._core.outgoing import OutgoingStream
    from jchannel._core.session import FrameLoad, Session

__all__ = [
    "CURRENT",
    "Invocation",
    "InvocationState",
    "UnsendableError",
    "current_invocation",
    "is_stream",
    "pack_result",
    "time_left",
]


class InvocationState(enum.Enum):
    """How far an invocation is: it runs, or how it has been answered."""

    # That of enums is in Python.
    __hash__: ClassVar[Callable[[object], int]] = object.__hash__

    RUNNING = enum.auto()
    SUCCEEDED = enum.auto()
    FAILED = enum.auto()
    ENDED = enum.auto()


#: The states that may follow a state. There is one answer; that it has ended is known when its block is left.
_FOLLOWING: Final = {
    InvocationState.RUNNING: {InvocationState.SUCCEEDED, InvocationState.FAILED, InvocationState.ENDED},
    InvocationState.SUCCEEDED: set[InvocationState](),
    InvocationState.FAILED: {InvocationState.ENDED},
    InvocationState.ENDED: set[InvocationState](),
}


class UnsendableError(Exception):
    """What a method has returned cannot be sent. ``reason`` is the error that says why."""

    def __init__(self, reason: TypeError | ValueError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Invocation:
    """A request of the far side that runs here.

    It is a context manager round the code that answers. The far side's cancel, the end of the request's time and the
    session's end cancel its scope. Whatever happens inside, the request is answered when the block is left: as
    cancelled, too slow or ended if nothing else has answered it.

    Where its method runs elsewhere, there is no task until something has to be waited for (``Dispatcher.attend``).

    Args:
        session: The session that it came in.
        request: Its message.
        deadline: When its time is over, by trio's clock; infinity for no limit.

    Attributes:
        session: As above.
        request: As above.
        due: When its time is over, by trio's clock; infinity for never.
        id: Its id in the session.
        stream: The stream that came with it, or ``None``.
        state: How far it is.
        attended: Whether a task runs its block, or will.
        begun: Whether its method is on its way to where it runs, or has been.
        dispatcher: What has started its code, and is told when it has been answered, at the latest when its block is
            left; ``None`` before and after that.
        channel_closed: Whether it was cancelled because its channel was closed.
        timer: Its place among the deadlines, where it has one and no task; otherwise ``None``.
        conversion: What becomes of values in its answer that JSON has no form for: that of its channel.
        load: What the session counts for it.
    """

    __slots__ = (
        "_clock",
        "_scope",
        "_sender_cancelled",
        "_since",
        "_token",
        "attended",
        "begun",
        "channel_closed",
        "conversion",
        "dispatcher",
        "due",
        "id",
        "load",
        "request",
        "session",
        "state",
        "stream",
        "timer",
    )

    _token: Token[Invocation | None]
    load: FrameLoad

    def __init__(self, session: Session, request: Call | Pipe | Open | Echo, deadline: float) -> None:
        self.session: Session = session
        self.request: Call | Pipe | Open | Echo = request
        self.id: int = request.id
        self.stream: IncomingStream | None = None
        self.state: InvocationState = InvocationState.RUNNING
        self.attended: bool = False
        self.begun: bool = False
        self.timer: Timer | None = None
        self.dispatcher: Dispatcher | None = None
        self.channel_closed: bool = False
        self.conversion: Conversion = PLAIN
        self.due: float = deadline
        self._scope = trio.CancelScope(deadline=deadline)
        self._clock = trio.lowlevel.current_clock()
        self._since = self._clock.current_time()
        self._sender_cancelled = False

    @property
    def what(self) -> str:
        """What it is called in messages for people."""
        request = self.request
        return f"call of {request.name!r}" if isinstance(request, Call) else request.type

    @property
    def answered(self) -> bool:
        """Whether it is over."""
        return self.state is not InvocationState.RUNNING

    @property
    def cancelled(self) -> bool:
        """Whether its code is being cancelled. Asked in trio's thread."""
        return self._scope.cancel_called

    def time_left(self) -> float:
        """Return the seconds until its deadline, not below 0. Safe in any thread."""
        return max(0.0, self.due - self._clock.current_time())

    def describe(self, now: float) -> CallNode:
        """Return what the tree shows of it. Safe in any thread."""
        # `cancel_called` of a scope can only be asked in trio's thread.
        over = self.channel_closed or self.due <= now or not self.session.alive
        return CallNode(
            what=self.what,
            number=self.id,
            seconds=now - self._since,
            time_left=max(0.0, self.due - now),
            parent=getattr(self.request, "parent", None),
            state="cancelled, has not ended yet" if over or self._sender_cancelled else "running",
        )

    # Its end

    def cancel(self) -> None:
        """Cancel the code that answers it. It is answered as ended, unless its deadline or its sender ended it."""
        self._scope.cancel()
        if not self.attended and self.dispatcher is not None:
            self.dispatcher.attend(self)

    def cancel_by_sender(self) -> None:
        """Cancel the code, because the far side does not want the answer any more."""
        self._sender_cancelled = True
        self.cancel()

    def expire(self) -> None:
        """Cancel the code, because its time is over."""
        self.cancel()

    def fail(self, error: Exception) -> None:
        """End it with an error of the library: it could not be cancelled."""
        if not self.answered:
            self.fail_with(error)
        self.release()

    # Its answer

    def succeed(self, value: object) -> None:
        """Answer with a value, which may be packed already, or with the error that says why it cannot be sent."""
        try:
            packed = value if isinstance(value, Packed) else pack_result(value, self.conversion)
            self._answer(Result(self.id, packed), InvocationState.SUCCEEDED)
        except (TypeError, ValueError) as error:
            self.fail_with(error, kind="value")

    def succeed_with_stream(self, stream: OutgoingStream, data: bytes | None) -> None:
        """Answer with a stream.

        Args:
            stream: The stream.
            data: The whole of it, where it is short and ready.

        Raises:
            ValueError: Its announcement is larger than a frame may be.
        """
        session = self.session
        if not session.alive:
            stream.stop()
        if stream.stopped:
            return  # It is closed with its channel, or its session, and the request is answered as ended.
        session.send_stream(stream, data, self._answer_with)

    def _answer_with(self, info: StreamInfo) -> None:
        result = Result(self.id, pack_result(None), info)
        self._answer(result, InvocationState.SUCCEEDED)

    def answer_error(self, kind: str, name: str, message: str, stack: str | None = None) -> None:
        """Answer with an error. What is too long for a person to read, or for a frame, is shortened."""
        name = name[:MAX_NAME]
        # Errors do not wait for room: where there is none, they are short.
        is_long = max(len(message), len(stack or "")) > SHORT_TEXT
        limit = LONG_TEXT if is_long and self.session.room.free else SHORT_TEXT
        try:
            error = Error(self.id, kind, name, message[:limit], stack and stack[-limit:])
            self._answer(error, InvocationState.FAILED)
        except ValueError:
            error = Error(self.id, kind, name, message[:SHORT_TEXT], stack and stack[-SHORT_TEXT:])
            self._answer(error, InvocationState.FAILED)

    def fail_with(self, error: BaseException, *, kind: str = "exception", stack: str | None = None) -> None:
        """Answer with an exception, of whatever class, as an error of a kind of the wire's."""
        self.answer_error(kind, name_of(error), text_of(error), stack)

    def _answer(self, answer: Result | Error, state: InvocationState) -> None:
        session = self.session
        session.answer(answer)
        sent = session.alive
        session.send_queued()
        self._move(state if sent or state is InvocationState.FAILED else InvocationState.ENDED)

    def _move(self, state: InvocationState) -> None:
        assert state in _FOLLOWING[self.state], (self.state, state)
        self.state = state

    def _answer_unfinished(self) -> None:
        if self._sender_cancelled:
            self.answer_error("cancelled", "", "the request was cancelled by its sender")
        elif self.due <= trio.current_time():
            self.answer_error("timeout", "", "the time of the request was over before it was answered")
        else:
            self.answer_error("ended", "", "the channel was closed while the request was running")
        self._move(InvocationState.ENDED)

    # Its block

    def __enter__(self) -> Self:
        self.attended = True
        self._scope.__enter__()
        self._token = CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        failed = isinstance(error, Exception)
        try:
            CURRENT.reset(self._token)
            if failed:
                # The code of the user's has been answered for. Only the library itself can have raised this.
                assert isinstance(error, Exception)
                self.session.break_off(error)
            if self.state is InvocationState.RUNNING:
                self._answer_unfinished()
        except Exception as late:  # noqa: BLE001 (a bulkhead)
            self.session.break_off(late)
        finally:
            self.release()
            swallowed = self._scope.__exit__(kind, error, traceback)
        return swallowed or failed

    def release(self) -> None:
        """Notify whoever keeps it that it has been answered, once."""
        dispatcher, self.dispatcher = self.dispatcher, None
        try:
            if self.id in self.session.invocations:  # It was not answered.
                self.session.forget_invocation(self)
            if dispatcher is not None:
                dispatcher.release(self)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self.session.break_off(error)

    def close_stream(self, answer: OutgoingStream | None) -> None:
        """Close the stream that came with it: at once if it was cancelled, otherwise if nobody has begun to read it.

        Args:
            answer: The stream that answers it, if one does. It may be made of the stream, and begin to read it later.
        """
        assert self.stream is not None
        error = ClosedError("the stream was closed: its call has ended")
        if self.cancelled:
            self.stream.stop(error)
        elif answer is not None:
            answer.exits.callback(self.stream.close_unread, error)
        else:
            self.stream.close_unread(error)


def pack_result(value: object, conversion: Conversion = PLAIN) -> Packed:
    """Pack what answers a request.

    Raises:
        TypeError, ValueError: It cannot be sent.
        What the conversion's ``default`` raises.
    """
    return pack(value, field_name="value", shown_as="result", conversion=conversion)


def is_stream(value: object) -> bool:
    """Return whether what a method returned is sent as a stream: an async iterable, a path or a file."""
    return hasattr(type(value), "__aiter__") or isinstance(value, Path | io.IOBase)


#: The request that the present code answers, or has answered; ``None`` where there is none.
CURRENT: Final[ContextVar[Invocation | None]] = ContextVar("CURRENT", default=None)


def current_invocation() -> Invocation | None:
    """Return the request that the present code answers, while it has no answer yet; ``None`` where there is none."""
    invocation = CURRENT.get()
    return invocation if invocation is not None and invocation.state is InvocationState.RUNNING else None


def time_left() -> float:
    """Return the seconds that are left of the call that the present handler method answers.

    The time is the caller's ``timeout``, or what an earlier deadline has left of it; when it is over, the method is
    cancelled and the caller sees a timeout. In trio it is also part of ``trio.current_effective_deadline()``.

    Returns:
        Seconds, not below 0; infinity when the caller set no limit, and outside of handler methods.

    It works in handler methods of every face, and in the tasks and threads that they start, until the call is answered.
    """
    invocation = current_invocation()
    return math.inf if invocation is None else invocation.time_left()
