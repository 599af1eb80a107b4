"""Requests: one of this side each, as one object with one state, from its making to its outcome.

A trio task waits for it with ``wait``; whoever cannot wait in trio is told when it is done.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import outcome
import trio

from jchannel._core.deadlines import Timer
from jchannel._core.invocation import Invocation
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.tree import CallNode
from jchannel._guarded import log
from jchannel._protocol import messages
from jchannel._protocol.messages import Call, Cancel, Error, Result
from jchannel.errors import ClosedError, PageLostError, RemoteCancelledError

if TYPE_CHECKING:
    from jchannel._core.outbox import Outbox
    from jchannel._core.session import Session

__all__ = ["CANCELLED", "Request", "RequestState", "Watcher"]

#: What a time may have lost as a point in time of floats, in milliseconds.
_LOST_BY_FLOATS: Final = 1e-3


class RequestState(enum.Enum):
    """How far a request is. The values are what the tree shows."""

    # That of enums is in Python, and each move of a request is looked up by two of them.
    __hash__: ClassVar[Callable[[object], int]] = object.__hash__

    OPENING = "opens its stream"
    QUEUED = "in line"
    SENT = "sent"
    CANCELLING = "cancelling"
    DONE = "done"


#: The states that may follow a state. A request never goes back.
_FOLLOWING: Final = {
    RequestState.OPENING: {RequestState.QUEUED, RequestState.DONE},
    RequestState.QUEUED: {RequestState.SENT, RequestState.DONE},
    RequestState.SENT: {RequestState.CANCELLING, RequestState.DONE},
    RequestState.CANCELLING: {RequestState.DONE},
    RequestState.DONE: set[RequestState](),
}

#: The outcome of a request that this side has cancelled. It is known by its identity, and never unwrapped.
CANCELLED: Final[outcome.Outcome[Any]] = outcome.Error(RuntimeError("the request was cancelled"))


class Watcher(Protocol):
    """What hears of the end of a request, where no task of trio's waits for it."""

    def note_done(self, request: Request) -> None:
        """Take note that it is done. Called once, in trio; it must not raise."""


class Request:
    """A request of this side.

    Args:
        owner: The channel's part that it is made in.
        message: Its message, before it is numbered.
        limit: Seconds for the whole; of one with a stream, seconds without progress. Infinity for no limit.
        deadline: When the code that makes it is ended by scopes of its own, by trio's clock.
        parent: The far side's request on whose behalf it is made, or ``None``.
        has_stream: Whether it has to open its stream before it can be sent.
        watcher: Hears that it is done, in place of a task that waits; ``None`` for nobody.
        is_awaited: Whether somebody gets its value. A stream in the answer that nobody gets is stopped.

    Attributes:
        message: As above.
        limit: As above.
        is_awaited: As above.
        state: How far it is.
        id: Its id, when it has been sent.
        session: The session in which it has been sent.
        stream: The stream that it carries, or ``None``.
        stream_data: The whole of the stream, where it is short and ready.
        outcome: Its outcome, when it is done.
        due: When this side ends it, by trio's clock.
    """

    __slots__ = (
        "_answered",
        "_far_side_was_too_slow",
        "_give_up_outcome",
        "_owner",
        "_parent",
        "_raise_cancel",
        "_since",
        "_task",
        "_timer",
        "_watcher",
        "deadline",
        "due",
        "has_stream",
        "id",
        "is_awaited",
        "limit",
        "message",
        "opening",
        "outcome",
        "session",
        "state",
        "stream",
        "stream_data",
    )

    def __init__(
        self,
        owner: Outbox,
        message: messages.Request,
        *,
        limit: float = math.inf,
        deadline: float = math.inf,
        parent: Invocation | None = None,
        has_stream: bool = False,
        watcher: Watcher | None = None,
        is_awaited: bool = True,
    ) -> None:
        now = owner.deadlines.now()
        self.message: messages.Request = message
        self.limit: float = limit
        self.due: float = now + limit
        #: When its time is over for the far side. That does not see progress.
        self.deadline: float = deadline if has_stream else min(deadline, self.due)
        self.has_stream: bool = has_stream
        self.is_awaited: bool = is_awaited
        self.state = RequestState.OPENING if has_stream else RequestState.QUEUED
        self.id: int | None = None
        self.session: Session | None = None
        self.stream: OutgoingStream | None = None
        self.stream_data: bytes | None = None
        self.opening: trio.CancelScope | None = None
        self.outcome: outcome.Outcome[Any] | None = None
        self._owner = owner
        self._parent = parent
        self._since = now
        self._watcher = watcher
        self._answered = False
        self._far_side_was_too_slow: Exception | None = None
        self._give_up_outcome: outcome.Outcome[Any] | None = None
        self._task: trio.lowlevel.Task | None = None
        self._raise_cancel: Callable[[], Any] | None = None
        self._timer: Timer | None = None if limit == math.inf else owner.deadlines.add(self)

    @property
    def since(self) -> float:
        """When it was made, by trio's clock."""
        return self._since

    @property
    def what(self) -> str:
        """What it is called in messages for people."""
        message = self.message
        return f"the call of {message.name!r}" if isinstance(message, Call) else f"the {message.type}"

    @property
    def done(self) -> bool:
        """Whether it has its outcome."""
        return self.state is RequestState.DONE

    @property
    def sent(self) -> bool:
        """Whether it has been sent, and has no outcome yet."""
        return self.state is RequestState.SENT or self.state is RequestState.CANCELLING

    @property
    def parent_id(self) -> int | None:
        """The number of the far side's request on whose behalf it is made, if that still runs in the same session."""
        parent = self._parent
        return None if parent is None or parent.answered or parent.session is not self.session else parent.id

    def describe(self, now: float, why_queued: str) -> CallNode:
        """Return what the tree shows of it. Safe in any thread.

        Args:
            now: The time, by trio's clock.
            why_queued: What requests that are in line wait for.
        """
        state = self.state
        return CallNode(
            what=self.what.removeprefix("the "),
            number=self.id,
            seconds=now - self._since,
            time_left=max(0.0, min(self.deadline, self.due if state is not RequestState.CANCELLING else now) - now),
            parent=self.parent_id,
            state=why_queued if state is RequestState.QUEUED else state.value,
        )

    # Its way out

    def enter_line(self, stream: OutgoingStream, data: bytes | None) -> None:
        """Take the stream that it carries: it can be sent now."""
        self.stream = stream
        self.stream_data = data
        self._move(RequestState.QUEUED)

    def send(self, session: Session, channel: int, *, more: bool = False) -> None:
        """Send it in a session. What cannot be sent is done with the error that says why.

        Args:
            session: The session.
            channel: The number of its channel there.
            more: Whether others follow in this step.
        """
        self.session = session
        try:
            if self.stream is None:
                self.id = session.request(self, channel, self._wire_time(), self.parent_id)
            elif self.stream.stopped:
                self.fail(ClosedError("the stream was ended before it could be sent: its channel is being closed"))
                return
            else:
                send = partial(session.request, self, channel, self._wire_time(), self.parent_id)
                self.id = session.send_stream(self.stream, self.stream_data, send)
        except ValueError as error:
            self.fail(error)
            return
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            session.break_off(error)
            # In another thread's step the session ends soon after it, and has not said why yet.
            why = session.why_ended or "an error of jchannel is ending its session"
            self.fail(PageLostError(f"the request was not sent: {why}"))
            return
        self._move(RequestState.SENT)
        session.send_queued(more=more)

    def note_progress(self) -> None:
        """Restart its time, because bytes of its stream have been taken."""
        if self.state is not RequestState.CANCELLING and not self._answered:
            self.due = trio.current_time() + self.limit

    # Its outcome

    def answer(self, answer: Result | Error) -> None:
        """End it with the far side's answer."""
        self._answered = True
        if isinstance(answer, Result):
            value = answer.value
            if answer.stream is not None:
                value = self._owner.convert_stream(self, answer)
            self.settle(outcome.Value(value))
            return
        if self._give_up_outcome is not None and self.stream is None:
            self.settle(self._give_up_outcome)  # What the far side says of it is of no use to anybody.
            return
        assert self.session is not None
        error = to_exception(answer, self.session)
        if self.stream is not None:
            self.stream.name_cause(error)
        self._owner.annotate(error)
        if answer.kind == "timeout" and self.deadline < math.inf and self.state is RequestState.SENT:
            # Times travel in whole milliseconds, rounded down, so the far side is often first. This side's scopes and
            # times say what comes of it, in a moment: a `move_on_after` round the call must not see an error instead.
            if self.deadline < self.due:
                self._far_side_was_too_slow = error
                self._set_due(self.deadline)
            return
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        self.settle(outcome.Error(error))

    def cancel(self) -> None:
        """Cancel it. One that has been sent is cancelled on the far side, and is done when that has ended it.

        That is given ``Limits.cancel_seconds``.
        """
        self._give_up(CANCELLED)

    def expire(self) -> None:
        """End it because its time is over: its own, or that of the far side to end what was cancelled."""
        self._timer = None
        if self.state is RequestState.CANCELLING:
            self.settle(CANCELLED)
        else:
            self._give_up(outcome.Error(self._far_side_was_too_slow or trio.TooSlowError(self._explain())))

    def settle(self, result: outcome.Outcome[Any]) -> None:
        """End it with an outcome. The first one counts, and of one that was given up, why it was."""
        if self.state is RequestState.DONE:
            return
        if self._give_up_outcome is not None:
            result = self._give_up_outcome
        self._move(RequestState.DONE)
        self.outcome = result
        try:
            if self._timer is not None:
                self._owner.deadlines.remove(self._timer)
                self._timer = None
            if self.session is not None and not self._answered:
                self.session.forget(self)
            if type(result) is outcome.Error:  # By `isinstance` the usual answer would be asked for in Python.
                if self.opening is not None:
                    self.opening.cancel()
                if self.stream is not None:
                    self.stream.stop()
        finally:  # Whatever goes wrong before: nobody would ever wake who waits.
            try:
                self._owner.release(self)
            finally:
                if self._task is not None:
                    self._wake(self._task)
                if self._watcher is not None:
                    watcher, self._watcher = self._watcher, None
                    watcher.note_done(self)

    @trio.lowlevel.enable_ki_protection  # The wait itself is interrupted, as it is cancelled.
    async def wait(self) -> Any:
        """Wait for the outcome, and return its value or raise its error.

        Cancelling it cancels the request on the far side, and waits until it has ended there, at most
        ``Limits.cancel_seconds``.
        """
        if self.state is RequestState.DONE:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        assert self.outcome is not None
        if self.id is None and isinstance(self.outcome, outcome.Error):
            # What has ended the channel may have cancelled this task, too: then it is cancelled, and no error.
            await trio.lowlevel.checkpoint_if_cancelled()
        return self.outcome.unwrap()

    def _abort(self, raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        task, self._task = self._task, None
        try:
            self.cancel()
        except Exception as error:  # noqa: BLE001 (a bulkhead: it would end trio as a whole)
            log(logging.ERROR, "an error of jchannel came up when %s was cancelled", self.what, error=error)
            self.fail(error)
        if self.done:
            return trio.lowlevel.Abort.SUCCEEDED
        self._task, self._raise_cancel = task, raise_cancel
        return trio.lowlevel.Abort.FAILED

    def _wake(self, task: trio.lowlevel.Task) -> None:
        woken: outcome.Outcome[None] = outcome.Value(None)
        if self._raise_cancel is not None:
            woken = outcome.capture(self._raise_cancel)
        trio.lowlevel.reschedule(task, woken)

    def _give_up(self, result: outcome.Outcome[Any]) -> None:
        """End it without its answer: at once, or when the far side has ended what it has begun."""
        if self.state is RequestState.CANCELLING:
            self._give_up_outcome = result
        elif self.state is RequestState.SENT and not self._answered:
            self._give_up_outcome = result
            self._move(RequestState.CANCELLING)
            assert self.session is not None
            assert self.id is not None
            self.session.tell(Cancel(self.id), more=False)
            if not self.done:  # An error of the library ends the session in that step.
                self._set_due(trio.current_time() + self.session.limits.cancel_seconds)
        else:
            self.settle(result)

    def _set_due(self, due: float) -> None:
        self.due = due
        if self._timer is not None:
            self._owner.deadlines.remove(self._timer)
        self._timer = self._owner.deadlines.add(self)

    def _move(self, state: RequestState) -> None:
        assert state in _FOLLOWING[self.state], (self.state, state)
        self.state = state

    def _wire_time(self) -> float | None:
        """Return the time as it travels: whole milliseconds, rounded down, so that the far side never allows more."""
        if self.deadline == math.inf:
            return None
        # In a scope that is cancelled already the time is minus infinity.
        left = max(0.0, self.deadline - self._owner.deadlines.now())
        return math.floor(left * 1000 + _LOST_BY_FLOATS) / 1000

    def _explain(self) -> str:
        time = f"{self.limit:g} s without progress" if self.has_stream else f"{self.limit:g} s"
        if self.state is RequestState.OPENING:
            return f"{self.what} was not sent within {time}: its stream is being opened still"
        if self.state is RequestState.SENT:
            stream = self.stream
            why = "; its stream waits for its source" if stream is not None and stream.waits_for_source else ""
            return f"{self.what} was not answered within {time}, and has been cancelled{why}"
        return f"{self.what} was not sent within {time}: {self._owner.explain_wait()}"


def to_exception(error: Error, session: Session) -> Exception:
    """Return the exception that the far side's error becomes on this side."""
    if error.kind in ("channel", "ended", "cancelled"):
        return ClosedError(error.message)
    if error.kind == "timeout":
        return trio.TooSlowError(error.message)
    if error.kind == "aborted":
        return RemoteCancelledError(error.message)
    return session.remote_error(error.kind, error.name, error.message, error.stack)
