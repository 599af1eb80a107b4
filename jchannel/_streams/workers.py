"""What the streams ask of a worker thread: beside awaiting, the one thing that they need of an async library.

This module imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, TypeVarTuple

__all__ = ["RunSync"]

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class RunSync(Protocol):
    """Runs a blocking function in a worker thread and gives what it returns or raises.

    ``trio.to_thread.run_sync`` is one. Any other must keep the same promise: when the caller is cancelled, the function
    either has not been started and never is, or its end is waited for, because a thread cannot be interrupted.
    """

    def __call__(self, function: Callable[[*_Args], _Result], /, *args: *_Args) -> Awaitable[_Result]:
        """Runs the function with the arguments."""
        ...
