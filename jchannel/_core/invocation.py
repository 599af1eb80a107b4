"""The call that a handler method answers, as the method's code can see it: its time, and whose child its own calls are.

It is a context variable, so tasks and threads that a method starts have it, too. When the call has been answered, it is
gone for all of them.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from types import TracebackType

import trio

__all__ = ["Answering", "RunningCall", "carry", "running_call", "time_left"]


class RunningCall:
    """A request of the far side that runs here.

    Args:
        session: The session that it came in.
        id_: Its id there.
        scope: The scope in which it runs.

    Attributes:
        session: As above.
        id: As above.
        answered: Whether it is over.
    """

    __slots__ = ("_clock", "_scope", "answered", "id", "session")

    def __init__(self, session: object, id_: int, scope: trio.CancelScope) -> None:
        self.session = session
        self.id = id_
        self.answered = False
        self._scope = scope
        self._clock = trio.lowlevel.current_clock()

    @property
    def deadline(self) -> float:
        """When its time is over, by trio's clock; infinity for never."""
        return self._scope.deadline

    def time_left(self) -> float:
        """The seconds until then, not below 0. Safe in any thread."""
        return max(0.0, self._scope.deadline - self._clock.current_time())


_running: ContextVar[RunningCall | None] = ContextVar("_running", default=None)


def running_call() -> RunningCall | None:
    """The call that the present code answers, while it has no answer yet; ``None`` where there is none."""
    running = _running.get()
    return None if running is None or running.answered else running


def time_left() -> float:
    """The seconds that are left of the call that the present handler method answers.

    The time is the caller's ``timeout``, or what an earlier deadline has left of it; when it is over, the method is
    cancelled and the caller sees a timeout. In trio it is also part of ``trio.current_effective_deadline()``.

    Returns:
        Seconds, not below 0; infinity when the caller set no limit, and outside of handler methods.

    It works in handler methods of every face, and in the tasks and threads that they start, until the call is answered.
    """
    running = running_call()
    return math.inf if running is None else running.time_left()


def carry(running: RunningCall | None) -> None:
    """Makes all that runs in the present context from now on part of what answers a call."""
    _running.set(running)


class Answering:
    """Makes the code of a ``with`` block, and the tasks it starts, part of what answers a call.

    It is a class, and no generator, as it is part of each call.

    Args:
        running: The call; ``None`` for none.
    """

    __slots__ = ("_running", "_token")

    def __init__(self, running: RunningCall | None) -> None:
        self._running = running

    def __enter__(self) -> None:
        self._token = _running.set(self._running)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _running.reset(self._token)
