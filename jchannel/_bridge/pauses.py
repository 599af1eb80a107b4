"""Pauses of an asyncio loop that never rests, so that the trio thread gets the interpreter while the loop waits for it.

CPython gives the interpreter to a thread that has waited for it for the switch interval, 5 ms, and the wait begins anew
whenever the busy thread lets go of it, be it for the microsecond of a look at the sockets. A loop with steps of 3 ms so
kept a call waiting for 32 s, and one with steps of 1 ms for 3 s. docs/architecture.md has the figures.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Final

__all__ = ["LoopPauses"]

#: The seconds until the first look at a loop that waits for trio, and the least between two.
_TICK: Final = 0.005

#: The most between two looks at a loop that was busy, and the part of the time in which nothing has come that they grow
#: to: a long wait costs little.
_LONGEST_TICK: Final = 0.1
_PART: Final = 1 / 20

#: The most between two looks at a loop that rests. They double up to it.
_LONGEST_REST: Final = 1.0

#: The part of the time that a loop's thread must have computed to be stopped. One that never rests computes all the
#: time, and less on a machine that has more to do than cores. One that rests has time for it.
_BUSY: Final = 0.3

#: The seconds that it is stopped for. Much shorter ones are over before the trio thread has woken up.
_REST: Final = 0.0005

#: The seconds after something came from trio in which a loop is looked at: more may be about to come.
_AFTERWARDS: Final = 1.0


class LoopPauses:
    """Stops a loop that never rests for moments, while it waits for trio. Everything here is called in its thread.

    It is stopped where nothing has come from trio between two looks: otherwise that thread has had the interpreter.

    Args:
        loop: The asyncio loop.

    Attributes:
        waiting: The number of requests that were sent into trio and are waited for.
        has_arrived: Whether something has come from trio since the last look.
        looks: Whether the loop has a timer for the next look.
        looks_late: Whether that is so far away that a new request should not wait for it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: int = 0
        self.has_arrived: bool = False
        self.looks: bool = False
        self.looks_late: bool = False
        # Neither the loop nor its timer, which refers to it: this is kept for as long as the loop is there.
        self._loop = weakref.ref(loop)
        self._due = 0.0
        self._tick_time = _TICK
        #: When something has come last, or the first request after a while was sent.
        self._since = 0.0
        self._looked = self._computed = 0.0

    def look_soon(self) -> None:
        """Look at the loop soon, and from then on for as long as something is waited for."""
        self._since = time.perf_counter()
        if not self.looks:
            self._looked, self._computed = self._since, time.thread_time()
        self._look_in(_TICK)

    def rest_if_held_up(self) -> None:
        """Stop the loop if it does not come to its looks: a cell computes, and its requests would wait for its end."""
        if time.perf_counter() - self._looked >= _TICK and self._is_busy() and self._is_starving():
            time.sleep(_REST)

    def _look_in(self, seconds: float, *, late: bool = False) -> None:
        loop = self._loop()
        assert loop is not None
        self._tick_time = seconds
        self._due = loop.time() + seconds
        self.looks, self.looks_late = True, late
        loop.call_at(self._due, self._look, self._due)

    def _look(self, due: float) -> None:
        if due != self._due:
            return  # An earlier one has taken its place.
        self.looks = False
        busy, starving = self._is_busy(), self._is_starving()
        quiet = self._looked - self._since
        if self.waiting > 0 or quiet < _AFTERWARDS:
            tick = min(_PART * quiet, _LONGEST_TICK) if busy else min(2 * self._tick_time, _LONGEST_REST)
            self._look_in(max(_TICK, tick), late=tick > (2 * _TICK if busy else _LONGEST_TICK))
        if busy and starving:  # The last act: a signal's handler may raise in it.
            time.sleep(_REST)

    def _is_busy(self) -> bool:
        """Return whether the loop's thread has computed most of the time since this was last asked."""
        now, computed = time.perf_counter(), time.thread_time()
        busy = computed - self._computed > _BUSY * (now - self._looked)
        self._looked, self._computed = now, computed
        return busy

    def _is_starving(self) -> bool:
        """Return whether nothing has come from trio since this was last asked."""
        starving = not self.has_arrived
        if self.has_arrived:
            self.has_arrived = False
            self._since = self._looked
        return starving
