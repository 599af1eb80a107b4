"""The newest value wins: of the values that a program sets, faster than the far side takes them, it gets the newest.

The field calls it conflation. There is one call under way at a time, and the next one begins when that has its outcome,
with the value that is the newest then. So there is never a backlog, at whatever rate the network carries.
"""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import outcome
import trio

from jchannel._core.arguments import pack_call
from jchannel._core.failures import Listener
from jchannel._core.nursery import copy_error
from jchannel._core.posts import find_error
from jchannel._core.request import Request, RequestState
from jchannel._core.session import Session
from jchannel._core.trio_run import TrioRun
from jchannel._protocol.messages import Call
from jchannel._protocol.values import Conversion
from jchannel._sealed import NoPublicConstructor
from jchannel.errors import ClosedError, PageLostError, StateError

if TYPE_CHECKING:
    from jchannel._core.outbox import Outbox

__all__ = ["Latest", "LatestStatistics", "LatestValue"]

#: Of a value: that none has been set.
_NONE: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestStatistics:
    """What has become of the values that were set so far.

    Attributes:
        values: The number of values that were set.
        sent: The number of them that were sent. One that was sent again to a page that came back counts once.
        skipped: The number of them that were never sent, because a newer one was set first.
        failed: The number of calls that have failed: the method raised, or its time ran out.
    """

    values: int
    sent: int
    skipped: int
    failed: int


class LatestRequest(Request):
    """A call with the newest value. It takes the value, and its time begins, when it is sent.

    Args:
        outbox: Where it is sent.
        latest: The value that it is a call of.
        message: The call as it is now.
    """

    __slots__ = ("_latest",)

    def __init__(self, outbox: Outbox, latest: LatestValue, message: Call) -> None:
        super().__init__(outbox, message, watcher=latest, is_awaited=False)
        self._latest = latest

    def send(self, session: Session, channel: int, *, more: bool = False) -> None:
        """Send it in a session, with the newest value."""
        self.message = self._latest.take()
        self.limit = self._latest.limit
        due = self._owner.deadlines.now() + self.limit
        self.deadline = due
        super().send(session, channel, more=more)
        if self.state is RequestState.SENT and due != math.inf:
            self._set_due(due)


class LatestValue:
    """The newest of the values that are set, on its way to the far side, from ``begin`` to ``abandon``.

    A block that ends well waits with ``finish`` for the last value before it abandons the rest; one that is left by an
    exception does not.

    Args:
        outbox: The requests of this side of the channel.
        name: The method of the far side's handler that is called with it.
        limit: Seconds for each call, from when it is sent; and for the last one, at the end.
        listener: Hears of the calls that fail.

    Attributes:
        name: As above.
        limit: As above.
        error: Why no more is sent; ``None`` while it is open. Safe in any thread.
    """

    def __init__(self, outbox: Outbox, name: str, limit: float, listener: Listener) -> None:
        self.name = name
        self.limit = limit
        self.error: StateError | None = None
        self._outbox = outbox
        self._listener = listener
        self._run = TrioRun()
        # The values are numbered, so that no lock is needed: who sets one leaves it here, and trio takes it from here.
        self._numbers = itertools.count(_NONE + 1)
        self._newest: tuple[int, Call | None] = _NONE, None
        self._woken = False
        self._last_sent = _NONE
        self._sending = _NONE
        self._sent = 0
        self._failed = 0
        # The number of the last value that the far side has got, or has refused.
        self._settled = _NONE
        self._request: LatestRequest | None = None
        self._changed = trio.lowlevel.ParkingLot()

    # In any thread

    def set(self, message: Call) -> None:
        """Set the newest value. It does not wait.

        Raises:
            ClosedError: It is over.
        """
        if self.error is not None:
            raise copy_error(self.error)
        self._newest = next(self._numbers), message
        if threading.get_ident() == self._run.thread:
            self._go_on()
            if self.error is not None:
                raise copy_error(self.error)
        elif not self._woken:
            try:
                self._woken = True
                self._run.run_soon(self._wake)
            except trio.RunFinishedError:
                raise ClosedError(f"the newest value of {self.name!r} cannot be sent: its trio has ended") from None
            except BaseException:  # An interrupt: nobody else would wake it.
                self._woken = False
                raise

    def statistics(self) -> LatestStatistics:
        """Return what has become of the values so far. It never waits."""
        values = self._newest[0]
        waiting = values > self._last_sent
        return LatestStatistics(
            values=values, sent=self._sent, skipped=max(0, values - self._sent - waiting), failed=self._failed
        )

    # In trio

    def begin(self) -> None:
        """Begin to send what is set.

        Raises:
            StateError: The channel is closed, or its connection has ended.
        """
        self._outbox.check_open()
        self._outbox.latest[self] = None

    async def finish(self) -> None:
        """Wait until the last value has arrived, and tell the listener where it does not in time.

        Cancelling it does nothing else.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(self.limit):
            while self.error is None and (self._request is not None or self._newest[0] > self._settled):
                await self._changed.park()
        if self._newest[0] > self._settled:
            self._tell(self.error or trio.TooSlowError(self._explain()))

    async def abandon(self) -> None:
        """Send nothing more, and wait until the call that is under way has ended: ``Limits.cancel_seconds`` at most.

        It cannot be cancelled at that, and is no checkpoint where there is none.
        """
        self._outbox.latest.pop(self, None)
        self.end(ClosedError(f"the newest value of {self.name!r} is not sent any more: its block was left"))
        if self._request is not None:
            self._request.cancel()
        with trio.CancelScope(shield=True):
            while self._request is not None:
                await self._changed.park()

    def take(self) -> Call:
        """Return the newest value, which is being sent."""
        number, message = self._newest
        assert message is not None
        if number > self._last_sent:
            self._last_sent = number
            self._sent += 1
        self._sending = number
        return message

    def send_again(self) -> None:
        """Send the newest value in a page that has just opened the channel, whether another one has had it or not."""
        if self.error is None and self._request is None and self._newest[1] is not None:
            self._start()

    def note_done(self, request: Request) -> None:
        """Handle the outcome of the call that was under way, and send what is newer."""
        self._request = None
        error = find_error(request.outcome)
        if isinstance(request.outcome, outcome.Value):
            self._settled = max(self._settled, self._sending)
            self._go_on()
        elif isinstance(error, StateError) and (request.session is None or self._is_over(error)):
            self.end(error)  # It could never be sent.
        elif self.error is None and not isinstance(error, PageLostError):  # The next page gets the newest value.
            assert error is not None
            self._settled = max(self._settled, self._sending)
            self._tell(error)
            self._go_on()
        self._changed.unpark_all()

    def end(self, error: StateError) -> None:
        """Send nothing more. The first reason counts."""
        if self.error is None:
            self.error = error
            self._changed.unpark_all()

    def _wake(self) -> None:
        self._woken = False  # First: what is set from now on wakes it again.
        self._go_on()

    def _go_on(self) -> None:
        if self.error is None and self._request is None and self._newest[0] > self._settled:
            self._start()

    def _start(self) -> None:
        message = self._newest[1]
        assert message is not None
        self._request = LatestRequest(self._outbox, self, message)
        self._outbox.enter(self._request)

    def _is_over(self, error: StateError) -> bool:
        """Whether an error has ended a connection that does not come back."""
        return isinstance(error, PageLostError) and not self._outbox.reconnects

    def _tell(self, error: Exception) -> None:
        self._failed += 1
        self._listener.hear(error)

    def _explain(self) -> str:
        why = "it was not answered" if self._request is not None and self._request.sent else self._outbox.explain_wait()
        return f"the last value of {self.name!r} was given up after {self.limit:g} s: {why}"


@final
class Latest(metaclass=NoPublicConstructor):
    """The newest value for a method of the far side. ``Channel.open_latest`` makes it.

    However often a value is set, one call is under way at a time, and the next one has the value that is the newest
    then. So the far side is never behind by more than one call, and nothing waits in line.
    """

    def __init__(self, core: LatestValue, conversion: Conversion) -> None:
        self._core = core
        self._conversion = conversion

    def __repr__(self) -> str:
        return f"<jchannel.Latest {self._core.name!r}, {'open' if self._core.error is None else 'closed'}>"

    def set(self, *args: object) -> None:
        """Set the newest value, which replaces every one that has not been sent. It does not wait.

        Args:
            *args: The value: the arguments of the method, as those of ``call``. They may be changed afterwards.

        Raises:
            TypeError, ValueError: An argument cannot be sent as it is. The value before is still the newest.
            StateError: Nothing more is sent: its block was left or the channel is closed (``ClosedError``), or, in the
                Python peer, the connection is lost (``PageLostError``).

        Safe in any thread, and from a busy cell. However fast it is called, it raises nothing for that.
        """
        self._core.set(pack_call(self._core.name, args, self._conversion))

    def statistics(self) -> LatestStatistics:
        """Return how many values were set, sent and skipped so far. Safe in any thread; it never waits."""
        return self._core.statistics()
