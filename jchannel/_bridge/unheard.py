"""Tasks of the asyncio facade that have failed and that nobody awaits: when they are logged, so that it is seen.

asyncio calls its loop's exception handler for such Tasks, which is not enough. What is printed outside of a cell's
context belongs to no cell, and is shown nowhere; IPython keeps the result of a cell for good, so that asyncio never
tells; and a trio-asyncio loop ends with an error that its handler is told of.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jchannel._bridge.call import CallTask

__all__ = ["watch_failure"]


def watch_failure(task: CallTask[Any]) -> None:
    """Log a Task that has just failed once nobody can await it any more, or as soon as a cell has shown it."""
    # Who awaits it gets the error in this turn of the loop.
    task.get_loop().call_soon(_log_if_shown, task)


def _log_if_shown(task: CallTask[Any]) -> None:
    if task.failed_unheard and _is_result_of_a_cell(task):
        task.log_failure()


def _is_result_of_a_cell(task: CallTask[Any]) -> bool:
    """Whether IPython keeps it because a cell has shown it."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    results = {} if shell is None else shell.user_ns.get("_oh", {})
    return any(value is task for value in results.values())
