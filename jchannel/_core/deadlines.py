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
from typing import Any, Final, Protocol, TypeAlias

import trio

from jchannel._core.trio_run import TrioRun
from jchannel._guarded import log

__all__ = ["Deadlines", "Expiring", "Timer"]


#: How many timers that were taken out may be kept before the queue is made anew without them.
_MOST_REMOVED: Final = 1000


class Expiring(Protocol):
    """What has a time at which it expires.

    Attributes:
        due: That time, by trio's clock. It may be moved to a later one at any time.
    """

    due: float

    def expire(self) -> None:
        """End it, because its time is over. Called once for each timer, in the task of the queue; it does not wait."""

    def fail(self, error: Exception) -> None:
        """End it with an error of the library: ``expire`` has raised it."""


#: The place of something in the queue: its time, a number that keeps the order of what is due at the same time, and the
#: thing itself; ``None`` in its place when it is out. ``Deadlines.add`` makes them.
Timer: TypeAlias = list[Any]

_TIME, _ITEM = 0, 2


class Deadlines:
    """A queue of deadlines. ``run`` expires what is due, in the order of time."""

    def __init__(self) -> None:
        self._run = TrioRun()
        #: Returns the time by trio's clock. Safe in any thread.
        self.now: Callable[[], float] = self._run.now
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._removed = 0
        self._sleep = trio.CancelScope()
        self._sleeps_lightly = False

    def __len__(self) -> int:
        return len(self._timers) - self._removed

    def add(self, item: Expiring) -> Timer:
        """Add something that has a due time."""
        timer: Timer = [item.due, next(self._numbers), item]
        self._push(timer)
        return timer

    def remove(self, timer: Timer) -> None:
        """Take something out, unless it is out already."""
        if timer[_ITEM] is None:
            return
        timer[_ITEM] = None
        self._removed += 1
        if timer is self._timers[0]:
            while self._timers and self._timers[0][_ITEM] is None:
                heapq.heappop(self._timers)
                self._removed -= 1
            if not self._sleeps_lightly:
                self._set_alarm()
        elif self._removed > _MOST_REMOVED and self._removed > len(self._timers) // 2:
            # Those that wait for an hour would otherwise be kept for an hour.
            self._timers = [entry for entry in self._timers if entry[_ITEM] is not None]
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
        if timer is not self._timers[0]:
            return
        if threading.get_ident() == self._run.thread:
            self._sleep.deadline = timer[_TIME]
        elif timer[_TIME] < self._sleep.deadline:
            # From now on the task sleeps until the time of what was removed: to wake once for nothing costs less than
            # to be woken for each request that another thread makes.
            self._sleeps_lightly = True
            self._run.run_soon(self._set_alarm)

    def _set_alarm(self) -> None:
        self._sleep.deadline = self._timers[0][_TIME] if self._timers else math.inf

    def _expire_due(self) -> None:
        now = trio.current_time()
        while self._timers and self._timers[0][_TIME] <= now:
            timer = heapq.heappop(self._timers)
            item: Expiring | None = timer[_ITEM]
            if item is None:
                self._removed -= 1
            elif item.due > now:  # It was moved.
                timer[:] = item.due, next(self._numbers), item
                self._push(timer)
            else:
                timer[_ITEM] = None
                self._expire(item)

    def _expire(self, item: Expiring) -> None:
        """Expire one item. An error of the library is logged, and ends that item and nothing else."""
        try:
            try:
                item.expire()
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                log(logging.ERROR, "an error of jchannel came up when the time of a request was over", error=error)
                item.fail(error)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "an error of jchannel came up when it ended a request", error=error)
