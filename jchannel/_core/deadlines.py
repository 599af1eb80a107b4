"""Deadlines: one queue and one task expire everything whose time is over.

A scope or a task for each request would cost more than the request.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from jchannel._core.trio_run import TrioRun
from jchannel._guarded import log

if TYPE_CHECKING:
    from jchannel._core.invocation import Invocation
    from jchannel._core.request import Request

__all__ = ["Deadlines", "Timer"]


#: How many timers that were taken out may be kept before the queue is made anew without them.
_MOST_REMOVED: Final = 1000


#: What can be in the queue: a request of this side, or of the far side.
Timed: TypeAlias = "Request | Invocation"

#: The place of a request in the queue: its time, a number that keeps the order of what is due at the same time, and the
#: request itself; ``None`` in its place when it is out. ``Deadlines.add`` makes them.
Timer: TypeAlias = list[Any]

_TIME, _REQUEST = 0, 2


class Deadlines:
    """A queue of requests that have a time. ``run`` expires what is due, in the order of time.

    The due time of a request in it may be moved to a later one at any time. What is taken out leaves the alarm where it
    is: to wake once for nothing costs less than to move trio's deadline twice for each call, which took a tenth of it,
    or to be woken for each request that another thread makes or answers.
    """

    def __init__(self) -> None:
        self._run = TrioRun()
        #: Returns the time by trio's clock. Safe in any thread.
        self.now: Callable[[], float] = self._run.now
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._removed = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._timers) - self._removed

    def add(self, request: Timed) -> Timer:
        """Add a request that has a due time."""
        timer: Timer = [request.due, next(self._numbers), request]
        self._push(timer)
        return timer

    def remove(self, timer: Timer) -> None:
        """Take a request out, unless it is out already."""
        if timer[_REQUEST] is None:
            return
        timer[_REQUEST] = None
        self._removed += 1
        if timer is self._timers[0]:
            while self._timers and self._timers[0][_REQUEST] is None:
                heapq.heappop(self._timers)
                self._removed -= 1
        elif self._removed > _MOST_REMOVED and self._removed > len(self._timers) // 2:
            # Those that wait for an hour would otherwise be kept for an hour.
            self._timers = [entry for entry in self._timers if entry[_REQUEST] is not None]
            heapq.heapify(self._timers)
            self._removed = 0

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Expire what is due, until cancelled."""
        while True:
            with self._sleep:
                self._set_alarm()
                await trio.sleep_forever()
            self._sleep = trio.CancelScope()
            self._expire_due()

    def _push(self, timer: Timer) -> None:
        heapq.heappush(self._timers, timer)
        if timer is self._timers[0] and timer[_TIME] < self._sleep.deadline:
            if threading.get_ident() == self._run.thread:
                self._set_alarm()
            else:  # The scope is trio's own to move.
                self._run.run_soon(self._set_alarm)

    def _set_alarm(self) -> None:
        self._sleep.deadline = self._timers[0][_TIME] if self._timers else math.inf

    def _expire_due(self) -> None:
        now = trio.current_time()
        while self._timers and self._timers[0][_TIME] <= now:
            timer = heapq.heappop(self._timers)
            request: Timed | None = timer[_REQUEST]
            if request is None:
                self._removed -= 1
            elif request.due > now:  # It was moved.
                timer[:] = request.due, next(self._numbers), request
                self._push(timer)
            else:
                timer[_REQUEST] = None
                self._expire(request)

    def _expire(self, request: Timed) -> None:
        """Expire a request. An error of the library is logged, and ends that request and nothing else."""
        try:
            try:
                request.expire()
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                log(logging.ERROR, "an error of jchannel came up when the time of a request was over", error=error)
                request.fail(error)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "an error of jchannel came up when it ended a request", error=error)
