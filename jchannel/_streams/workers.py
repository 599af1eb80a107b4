"""Running a blocking function in a worker thread: the only thing that streams need from an async library.

This module imports nothing from the project.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, TypeVarTuple

__all__ = ["RunSync"]

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class RunSync(Protocol):
    """A function that runs a blocking function in a worker thread, such as ``trio.to_thread.run_sync``.

    When the caller is cancelled, the blocking function either never starts or is waited for, because a thread cannot be
    interrupted.
    """

    def __call__(self, function: Callable[[*_Args], _Result], /, *args: *_Args) -> Awaitable[_Result]:
        """Call the function with the arguments and return its result."""
        ...
