"""Deadlines: one queue and one task expire everything whose time is over.

A scope or a task for each request would cost more than the request.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from typing import Final, Protocol

import trio

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


class Timer:
    """The place of something in the queue. ``Deadlines.add`` makes them, and ``Deadlines.remove`` takes them out."""

    __slots__ = ("item",)

    def __init__(self, item: Expiring) -> None:
        self.item: Expiring | None = item


class Deadlines:
    """A queue of deadlines. ``run`` expires what is due, in the order of time."""

    def __init__(self) -> None:
        # The numbers keep the order of what is due at the same time.
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._removed = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._timers) - self._removed

    def add(self, item: Expiring) -> Timer:
        """Add something that has a due time."""
        timer = Timer(item)
        self._push(item.due, timer)
        return timer

    def remove(self, timer: Timer) -> None:
        """Take something out, unless it is out already."""
        if timer.item is None:
            return
        timer.item = None
        self._removed += 1
        if timer is self._timers[0][2]:
            while self._timers and self._timers[0][2].item is None:
                heapq.heappop(self._timers)
                self._removed -= 1
            self._sleep.deadline = self._timers[0][0] if self._timers else math.inf
        elif self._removed > _MOST_REMOVED and self._removed > len(self._timers) // 2:
            # Those that wait for an hour would otherwise be kept for an hour.
            self._timers = [entry for entry in self._timers if entry[2].item is not None]
            heapq.heapify(self._timers)
            self._removed = 0

    async def run(self) -> None:
        """Expire what is due, until cancelled."""
        while True:
            with self._sleep:
                self._sleep.deadline = self._timers[0][0] if self._timers else math.inf
                await trio.sleep_forever()
            self._sleep = trio.CancelScope()
            self._expire_due()

    def _push(self, time: float, timer: Timer) -> None:
        heapq.heappush(self._timers, (time, next(self._numbers), timer))
        if timer is self._timers[0][2]:
            self._sleep.deadline = time

    def _expire_due(self) -> None:
        now = trio.current_time()
        while self._timers and self._timers[0][0] <= now:
            _, _, timer = heapq.heappop(self._timers)
            item = timer.item
            if item is None:
                self._removed -= 1
            elif item.due > now:  # It was moved.
                self._push(item.due, timer)
            else:
                timer.item = None
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
