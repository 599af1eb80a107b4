"""Steps of trio's that other threads make, while trio waits for the network.

A request that crosses into trio's thread waits for that thread to wake up, and for the interpreter. While trio waits
for the network nothing in it changes, so the thread that has the request makes trio's step itself.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import asyncio
import inspect
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

import trio

__all__ = ["Steps"]

#: How long a thread waits for trio to end a step of its own, in seconds: that of an answer, which has woken the thread,
#: is over by then.
_PATIENCE: Final = 0.0002

# Those of ``signal`` look for the handler among its enums, and make its ``repr`` when it is none of them: with that of
# ``asyncio.run`` this took longer than the request. The tests of interrupts fail when these go.
_find_handler: Final[Callable[[int], Any]] = _signal.getsignal
_set_handler: Final[Callable[[int, Any], Any]] = _signal.signal

#: The other signals, without those that have no name. Each would be asked for at each step.
_OTHERS: Final = [int(number) for number in signal.Signals if number != signal.SIGINT]

#: The handler of signals that an asyncio loop takes: it does nothing, in any place. Windows has none.
_HARMLESS: Final = getattr(getattr(asyncio, "unix_events", None), "_sighandler_noop", None)


class Steps(trio.abc.Instrument):
    """Lends the steps of one run of trio to other threads: one at a time, and only while trio waits for the network.

    It is an instrument of that run. A step is short and waits for nothing.
    """

    def __init__(self) -> None:
        # Held by trio while it runs, and by whoever has borrowed a step.
        self._lock = threading.Lock()
        self._resting = False
        self._borrower: int | None = None
        self._handler: Any = None
        self._interrupted = False
        self._note = self._note_interrupt  # The same object each time.

    # In trio's thread

    def before_run(self) -> None:
        """Take the steps, which are trio's own until it waits."""
        self._lock.acquire()

    def before_io_wait(self, timeout: float) -> None:
        """Lend them while trio waits."""
        if timeout > 0:
            self._resting = True
            self._lock.release()

    def after_io_wait(self, timeout: float) -> None:
        """Take them back, when the step that is being made has ended."""
        if timeout > 0:
            self._resting = False
            self._lock.acquire()

    # In other threads

    @property
    def borrowed_here(self) -> bool:
        """Whether the present thread has borrowed a step. It cannot wait for trio then."""
        return self._borrower == threading.get_ident()

    def borrow(self) -> bool:
        """Borrow a step, and return whether there was one to be had. Then ``give_back``, in the same thread."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and (_may_raise() or not self._hold_interrupts()):
            return False
        if self._lock.acquire(timeout=_PATIENCE):
            if self._resting:
                self._borrower = threading.get_ident()
                return True
            self._lock.release()  # Trio has woken up and waits for it, or has ended.
        if is_main:
            self._release_interrupts()
        return False

    def give_back(self) -> None:
        """Give a borrowed step back. An interrupt that came meanwhile is raised."""
        self._borrower = None
        self._lock.release()
        if threading.current_thread() is threading.main_thread():
            self._release_interrupts()

    # An interrupt would be raised between any two lines of a step, and leave half of it behind.

    def leave_after_fork(self) -> None:
        """Put the handler of interrupts back in a forked process: the thread that makes the step may not be in it."""
        if _find_handler(signal.SIGINT) is self._note:
            _set_handler(signal.SIGINT, self._handler)
            self._handler = None

    def _hold_interrupts(self) -> bool:
        """Hold interrupts back, and return whether they were not held back already, by the step that this is within."""
        handler = _find_handler(signal.SIGINT)
        if handler is self._note:  # Python collects garbage within a step, and a finalizer makes a request.
            return False
        self._handler = handler
        if callable(handler):
            self._interrupted = False
            _set_handler(signal.SIGINT, self._note)
        return True

    def _release_interrupts(self) -> None:
        """Handle the interrupt that was held back, if one was, and those to come."""
        handler = self._handler
        if callable(handler):
            _set_handler(signal.SIGINT, handler)
            self._handler = None  # Not before: the process may be forked between any two lines, too.
            if self._interrupted:
                # Not raised once more: a loop that takes it has heard of it already, by the wake-up descriptor.
                handler(signal.SIGINT, inspect.currentframe())

    def _note_interrupt(self, number: int, frame: object) -> None:  # noqa: ARG002 (Python's)
        self._interrupted = True


def _may_raise() -> bool:
    """Whether another signal has a handler that may raise anywhere in the main thread, as time limits do.

    To hold them all back would take several steps, and one of them may come between those.
    """
    return any(handler is not _HARMLESS for handler in filter(callable, map(_find_handler, _OTHERS)))
