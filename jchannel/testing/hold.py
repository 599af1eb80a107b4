"""Time that stands still while trio waits for work of the library's in a thread: a file that is read, an iterator.

trio does not know of threads: to ``MockClock`` a run of which all tasks wait for one is idle, and it jumps. That it
does not while a task waits in ``wait_all_tasks_blocked`` is documented, and so is that this counts in real seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio
import trio.testing

from jchannel._core.threads import WATCH, ThreadWatch

__all__ = ["PATIENCE", "TimeHold", "hold_time"]

#: For how many real seconds nothing at all may happen before a thread counts as one that waits itself, for something
#: that comes with time, or never.
PATIENCE: Final = 5.0

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class TimeHold(ThreadWatch):
    """What trio waits for in threads. ``run``, in its run of trio, keeps an autojumping clock from jumping meanwhile.

    Args:
        short_runs_here: As the watch's.

    Attributes:
        short_runs_here: As above.
        threads: The threads that run handler methods, and others of the user's functions.
    """

    def __init__(self, *, short_runs_here: bool = False) -> None:
        self.short_runs_here = short_runs_here
        self.threads: set[int] = set()
        self._waits: set[object] = set()
        self._changed = trio.lowlevel.ParkingLot()
        self._holding = trio.CancelScope()

    @property
    def working(self) -> bool:
        """Whether trio waits for a thread that has not been given up."""
        return bool(self._waits)

    def begin(self) -> object:
        """Note that trio begins to wait for a thread."""
        wait = object()
        self._waits.add(wait)
        self._changed.unpark_all()
        return wait

    def end(self, wait: object) -> None:
        """Note that trio waits no more."""
        self._waits.discard(wait)
        if not self._waits:
            self._stop_holding()

    def wrap(self, function: Callable[[*_Args], _Result]) -> Callable[[*_Args], _Result]:
        """Return what calls a function of the user's, and enters its thread."""

        def run(*args: *_Args) -> _Result:
            thread = threading.get_ident()
            self.threads.add(thread)
            try:
                return function(*args)
            finally:
                self.threads.discard(thread)

        return run

    def give_up(self) -> None:
        """Wait no more for what trio waits for: it waits itself, for something that comes with time, or never."""
        self._waits.clear()
        self._stop_holding()

    async def run(self) -> None:
        """Hold the time whenever trio waits for threads."""
        while True:
            while not self._waits:
                await self._changed.park()
            with trio.CancelScope() as self._holding:
                await trio.testing.wait_all_tasks_blocked(PATIENCE)
                self.give_up()

    async def wait_idle(self) -> None:
        """Wait until trio waits for no thread, or those that it waits for have been given up."""
        while self._waits:
            await self._changed.park()

    def _stop_holding(self) -> None:
        self._holding.cancel()
        self._changed.unpark_all()


def hold_time(*, short_runs_here: bool = False) -> None:
    """Hold the time of the present run of trio while it waits for threads, from now on.

    Args:
        short_runs_here: As the watch's. What was chosen first counts.
    """
    if WATCH.get() is None:
        hold = TimeHold(short_runs_here=short_runs_here)
        WATCH.set(hold)
        # It is the run's, as the clock is: the servers of the kit come and go in any order.
        trio.lowlevel.spawn_system_task(hold.run, name="jchannel.testing: no time passes while threads work")
