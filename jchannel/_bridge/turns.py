"""Turns: how the trio thread gets the interpreter beside threads of the user's that are busy.

CPython gives the interpreter to a thread that has waited for it for the switch interval, 5 ms, and the wait begins anew
whenever the busy thread lets go of it, be it for the microsecond of a small write or of a look at the sockets. A loop
that never rests, with steps of 3 ms each, so kept calls waiting for 18 s and longer. docs/architecture.md has the
figures.
"""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from typing import Final

__all__ = ["Turns", "shorten_switch_interval"]

#: CPython's own, in seconds. Any other is somebody's choice, and stays.
_DEFAULT_INTERVAL: Final = 0.005
_SHORT_INTERVAL: Final = 0.0002

#: The seconds between two looks at a loop that has requests under way, and the most that they grow to while it rests.
_TICK: Final = 0.005
_LONGEST_TICK: Final = 0.1

#: The part of the time that a loop's thread must have computed to count as one that never rests.
_BUSY: Final = 0.9

#: The seconds that it is stopped for then. Much shorter ones are over before the trio thread has woken up.
_REST: Final = 0.0005

#: The seconds after something came from trio in which a loop is looked at: more may be about to come.
_AFTERWARDS: Final = 1.0


def shorten_switch_interval() -> None:
    """Shortens the interpreter's switch interval, unless it was set already."""
    if abs(sys.getswitchinterval() - _DEFAULT_INTERVAL) < _SHORT_INTERVAL / 2:
        sys.setswitchinterval(_SHORT_INTERVAL)


class Turns:
    """Stops a loop that never rests for moments, while it waits for trio. Everything here is called in its thread.

    Args:
        loop: The asyncio loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting = 0
        self._ticking = False
        self._tick_time = _TICK
        self._until = 0.0
        self._looked = self._computed = 0.0

    def begin_wait(self) -> None:
        """Takes note of a request that was sent into trio, and waits for it."""
        self._waiting += 1
        if self._ticking and time.perf_counter() - self._looked >= _TICK:
            # The loop is held up, by a cell that computes: what it has asked for would wait for the cell's end.
            self._rest_if_busy()
        self._look_soon()

    def end_wait(self) -> None:
        """Takes note of its end."""
        self._waiting -= 1

    def take_note(self) -> None:
        """Takes note of something that came from trio."""
        self._until = time.perf_counter() + _AFTERWARDS
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._tick_time = _TICK
            self._looked, self._computed = time.perf_counter(), time.thread_time()
            self._call_later()

    def _call_later(self) -> None:
        loop = self._loop()
        assert loop is not None
        loop.call_later(self._tick_time, self._look)

    def _look(self) -> None:
        self._ticking = bool(self._waiting) or time.perf_counter() < self._until
        if self._ticking:
            self._tick_time = _TICK if self._rest_if_busy() else min(2 * self._tick_time, _LONGEST_TICK)
            self._call_later()

    def _rest_if_busy(self) -> bool:
        busy = time.thread_time() - self._computed > _BUSY * (time.perf_counter() - self._looked)
        if busy:
            time.sleep(_REST)
        self._looked, self._computed = time.perf_counter(), time.thread_time()
        return busy
