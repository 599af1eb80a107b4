"""The interpreter's sharing: how the trio thread gets it beside threads of the user's that are busy.

CPython gives the interpreter to a thread that has waited for it for the switch interval, 5 ms, and the wait begins anew
whenever the busy thread lets go of it, be it for the microsecond of a small write or of a look at the sockets. A loop
that never rests, with steps of 3 ms each, so kept calls waiting for 18 s and longer. docs/architecture.md has the
figures.

The switch interval is the whole process's, so it is changed only while somebody has asked for it, and put back after.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from typing import Final

__all__ = ["LoopPauses", "forget_sharers", "share_interpreter", "stop_sharing_interpreter"]

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

#: How many servers have asked for it.
sharers = 0

_lock = threading.Lock()
_shortened = False


def share_interpreter() -> None:
    """Shorten the interpreter's switch interval until ``stop_sharing_interpreter`` has been called as often.

    One that somebody has set stays as it is. While it is asked for, loops that never rest are paused, too.
    """
    global sharers, _shortened  # noqa: PLW0603 (the interval is the process's)
    with _lock:
        sharers += 1
        if sharers == 1 and _is(_DEFAULT_INTERVAL):
            sys.setswitchinterval(_SHORT_INTERVAL)
            _shortened = True


def stop_sharing_interpreter() -> None:
    """Put the switch interval back, unless others still need it or somebody has set another one meanwhile."""
    global sharers, _shortened  # noqa: PLW0603 (the interval is the process's)
    with _lock:
        sharers -= 1
        if sharers == 0 and _shortened:
            _shortened = False
            if _is(_SHORT_INTERVAL):
                sys.setswitchinterval(_DEFAULT_INTERVAL)


def forget_sharers() -> None:
    """Put the switch interval back in a forked process, where nobody shares it: their threads are not there."""
    global sharers, _shortened, _lock  # noqa: PLW0603 (the interval is the process's)
    _lock = threading.Lock()
    sharers = 0
    if _shortened and _is(_SHORT_INTERVAL):
        sys.setswitchinterval(_DEFAULT_INTERVAL)
    _shortened = False


def _is(interval: float) -> bool:
    # The interpreter keeps it in whole microseconds.
    return abs(sys.getswitchinterval() - interval) < _SHORT_INTERVAL / 2


class LoopPauses:
    """Stops a loop that never rests for moments, while it waits for trio. Everything here is called in its thread.

    It does nothing while nobody has asked to share the interpreter.

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
        """Remember that a request was sent into trio, and is waited for."""
        self._waiting += 1
        if not sharers:
            return
        if self._ticking and time.perf_counter() - self._looked >= _TICK:
            # The loop is held up, by a cell that computes: what it has asked for would wait for the cell's end.
            self._rest_if_busy()
        self._look_soon()

    def end_wait(self) -> None:
        """Remember that a request has ended."""
        self._waiting -= 1

    def note_arrival(self) -> None:
        """Remember that something came from trio."""
        if sharers:
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
        self._ticking = bool(sharers) and (bool(self._waiting) or time.perf_counter() < self._until)
        if self._ticking:
            self._tick_time = _TICK if self._rest_if_busy() else min(2 * self._tick_time, _LONGEST_TICK)
            self._call_later()

    def _rest_if_busy(self) -> bool:
        busy = time.thread_time() - self._computed > _BUSY * (time.perf_counter() - self._looked)
        if busy:
            time.sleep(_REST)
        self._looked, self._computed = time.perf_counter(), time.thread_time()
        return busy
