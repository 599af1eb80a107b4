"""Failures that nobody waits for: each is reported once, to who has asked for it, or in the log.

In the log the first of its kind is told at once, with the line of the user's that has caused it. Those that follow are
counted and told together: a loop that fails a thousand times writes two records and not a thousand.
"""

from __future__ import annotations

import _thread
import atexit
import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from jchannel._core.endpoint import Endpoint
from jchannel._guarded import is_async, is_caused_by_log, log, name_of, text_of
from jchannel._tracebacks import Place, find_caller
from jchannel.errors import FrontendError

__all__ = [
    "FAILURES",
    "SUMMARY_SECONDS",
    "Failures",
    "Listener",
    "OnFailure",
    "TaskListener",
    "call_on_failure",
    "check_on_failure",
]

#: For how long failures of one kind are counted before they are told together, in seconds.
SUMMARY_SECONDS: Final = 10.0

#: The most kinds of failures that are told apart at once. What is more is counted as one kind.
_MOST_KINDS: Final = 100

#: The most characters that are shown of an error's notes.
_MOST_OF_NOTES: Final = 300

#: Called with the error of each call that fails and that nobody waits for.
OnFailure: TypeAlias = Callable[[Exception], object]


@dataclass
class _Kind:
    """Failures of one kind.

    Attributes:
        what: What has failed, as the log calls it.
        unheard: Why nobody hears of them but the log, as a clause whose subject is one of them.
        place: Where the first of them was caused.
        context: The context in which they are told: a notebook shows it with the cell that has caused them.
        count: How many there were since they were told the last time.
        since: When the first of these was, by the clock on the wall.
        last: The last of these, as text.
    """

    what: str
    unheard: str
    place: Place | None
    context: contextvars.Context
    count: int = 0
    since: str = ""
    last: str = ""

    def add(self, error: BaseException) -> None:
        """Count one."""
        if not self.count:
            self.since = time.strftime("%H:%M:%S")
        self.count += 1
        self.last = _describe(error)

    def tell_first(self, error: BaseException) -> None:
        """Log the first of them."""
        place = "" if self.place is None else f"; made at {self.place}"
        text = "%s has failed, and %s: %s%s"
        self.context.copy().run(log, logging.ERROR, text, self.what, self.unheard, _describe(error), place)

    def tell_rest(self) -> None:
        """Log those that have come since."""
        count, self.count = self.count, 0
        place = "" if self.place is None else f"; the first was made at {self.place}"
        text = "%s has failed %s more since %s, and %s; the last time: %s%s"
        args = self.what, "once" if count == 1 else f"{count:,} times", self.since, self.unheard, self.last, place
        self.context.copy().run(log, logging.ERROR, text, *args)


def _describe(error: BaseException) -> str:
    text = f"{name_of(error)}: {text_of(error)}"
    if type(error) is FrontendError and hasattr(error, "__notes__"):  # They have the place in the user's JavaScript.
        text += f" [{' '.join(' '.join(error.__notes__).split())[:_MOST_OF_NOTES]}]"
    return text


class Failures:
    """The failures of a process that are told in the log. Safe in any thread, and where garbage is collected."""

    def __init__(self) -> None:
        # A finalizer may report a failure while this very thread holds it.
        self._lock = threading.RLock()
        self._kinds: dict[object, _Kind] = {}
        self._generation = 0
        self._is_timed = False
        self._is_ending = False

    def report(
        self,
        what: str,
        unheard: str,
        error: BaseException,
        place: Place | None,
        context: contextvars.Context,
    ) -> None:
        """Report a failure: in the log at once if it is the first of its kind for a while, and otherwise soon.

        Args:
            what: What has failed, such as ``channel.call('draw')``. With the class of the error, it is the kind.
            unheard: Why nobody hears of it but the log, as a clause.
            error: The error.
            place: The line of the user's that has caused it, or ``None``.
            context: The context in which it is told. What a log handler has caused is told by itself, as it is printed.
        """
        if is_caused_by_log(context):
            _Kind(what, unheard, place, context).tell_first(error)
            return
        with self._lock:
            key: object = (what, type(error))
            if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
                key, what, place = None, "what is told with others", None
            kind = self._kinds.get(key)
            if kind is not None:
                kind.add(error)
                return
            kind = self._kinds[key] = _Kind(what, unheard, place, context)
            self._start_timer()
        kind.tell_first(error)

    def flush(self) -> None:
        """Tell what has not been told. A kind of which there was nothing new is forgotten."""
        with self._lock:
            self._is_timed = False
            self._kinds = {key: kind for key, kind in self._kinds.items() if kind.count}
            untold = list(self._kinds.values())
            if untold:
                self._start_timer()
        for kind in untold:
            kind.tell_rest()

    def end(self) -> None:
        """Tell what has not been told, because the program ends. What follows is told once for each kind."""
        self._is_ending = True
        self.flush()

    def clear(self) -> None:
        """Forget everything, in a forked process: what there was is told by its parent. Tests do it, too."""
        self._lock = threading.RLock()
        self._kinds = {}
        self._generation += 1
        self._is_timed = False

    def _start_timer(self) -> None:
        if self._is_timed or self._is_ending:
            return
        # Not one of `threading`: its threads take locks when they begin, and this may be a finalizer that Python has
        # called while the present thread holds them.
        with suppress(RuntimeError):  # There may be no thread left. Then it is told when the program ends.
            _thread.start_new_thread(self._wait, (self._generation,))
            self._is_timed = True

    def _wait(self, generation: int) -> None:
        time.sleep(SUMMARY_SECONDS)
        if generation == self._generation:
            self.flush()


#: Those of this process.
FAILURES: Final = Failures()
atexit.register(FAILURES.end)
if hasattr(os, "register_at_fork"):  # pragma: no branch (Windows has no fork)
    os.register_at_fork(after_in_child=FAILURES.clear)


class Listener:
    """Hears of the failures of what nobody waits for, and tells the log.

    Args:
        what: What may fail, as the log calls it.

    Attributes:
        context: The context of the code that may hear of it, which is the present one.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._place = find_caller()
        self.context: contextvars.Context = contextvars.copy_context()

    def hear(self, error: Exception) -> None:
        """Hear of a failure. Called in trio's own thread, and does not wait."""
        FAILURES.report(self._what, "nobody waits for it", error, self._place, self.context)


class TaskListener(Listener):
    """Calls the user's ``on_failure`` in trio, in a task of the channel's, so that what it raises ends no session.

    Args:
        what: As that of a listener.
        endpoint: The side of the channel.
        on_failure: The user's function.
    """

    def __init__(self, what: str, endpoint: Endpoint, on_failure: OnFailure) -> None:
        super().__init__(what)
        self._endpoint = endpoint
        self._on_failure = on_failure

    def hear(self, error: Exception) -> None:
        """Call the function soon."""
        self._endpoint.start_soon(self._call, error)

    async def _call(self, error: Exception) -> None:
        call_on_failure(self._on_failure, error)


def call_on_failure(on_failure: OnFailure, error: Exception) -> None:
    """Call the user's ``on_failure``. An exception that it raises is logged, and ends nothing."""
    try:
        on_failure(error)
    except Exception as raised:  # noqa: BLE001 (a bulkhead)
        log(logging.ERROR, "on_failure raised", error=raised)


def check_on_failure(on_failure: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: It is neither ``None`` nor callable.
    """
    if on_failure is not None and (not callable(on_failure) or is_async(on_failure)):
        raise TypeError(
            f"on_failure must be a function of the error, and no async one, or None for the log, and not {on_failure!r}"
        )
