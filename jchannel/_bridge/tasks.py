"""The Tasks that the asyncio facade returns: one that fails and that nobody awaits is logged, where it is seen.

asyncio calls its loop's exception handler for such Tasks, which is not enough. What is printed outside of a cell's
context belongs to no cell, and is shown nowhere; IPython keeps the result of a cell for good, so that asyncio never
tells; and a trio-asyncio loop ends with an error that its handler is told of.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from jchannel._core.failures import FAILURES, find_caller

__all__ = ["CallTask", "watch_failure"]

T = TypeVar("T")


class CallTask(asyncio.Task[T]):
    """A Task that waits for a request. One that fails is logged when it is collected, unless somebody has awaited it.

    Args:
        waiting: Waits for the request.
        loop: The loop, which runs in the present thread.
        name: The Task's name. It is what the log calls it.
    """

    def __init__(self, waiting: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str) -> None:
        super().__init__(waiting, loop=loop, name=name)
        self._cell = contextvars.copy_context()
        self._place = find_caller()

    def __del__(self) -> None:
        if self._log_traceback:
            self.log_failure()
        super().__del__()

    def __repr__(self) -> str:
        # What wants a coroutine, such as a TaskGroup, shows it in its error.
        state = "cancelled" if self.cancelled() else "finished" if self.done() else "pending"
        advice = "its request is on its way: await it, in a coroutine of your own where one is expected"
        return f"<{type(self).__name__} {state} name={self.get_name()!r}, {advice}>"

    @property
    def failed_unheard(self) -> bool:
        """Whether it has failed, and nobody has asked for the exception."""
        # asyncio's own attribute: whether it would tell the loop's exception handler.
        return self._log_traceback

    def log_failure(self) -> None:
        """Log that it has failed unheard, by itself or with others. From now on somebody knows."""
        error = self.exception()
        assert error is not None
        FAILURES.report(self.get_name(), "nobody has awaited it", error, self._place, self._cell)


def watch_failure(task: CallTask[Any]) -> None:
    """Log a Task that has just failed once nobody can await it any more, or as soon as a cell has shown it."""
    # Who awaits it gets the error in this turn of the loop.
    task.get_loop().call_soon(_log_if_shown, task)


def _log_if_shown(task: CallTask[Any]) -> None:
    if task.failed_unheard and _is_result_of_a_cell(task):
        task.log_failure()


def _is_result_of_a_cell(task: asyncio.Task[Any]) -> bool:
    """Whether IPython keeps it because a cell has shown it."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    results = {} if shell is None else shell.user_ns.get("_oh", {})
    return any(value is task for value in results.values())
