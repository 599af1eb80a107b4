"""Running what blocks in other threads: what streams need from an async library. The caller passes it in.

What is short and what may wait for ever are told apart, so that the one never queues behind the other. This module
imports nothing from the project.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, TypeVarTuple

__all__ = ["RunSync", "Signal", "Threads"]

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


class Signal(Protocol):
    """Something that one task waits for, and any thread gives."""

    def set(self) -> None:
        """Give it. Safe in any thread."""

    def wait(self) -> Awaitable[None]:
        """Wait until it has been given."""
        ...


class Threads(Protocol):
    """Runs blocking functions in other threads. Those that may wait for ever are limited, and never queue."""

    def run_short(self, function: Callable[[*_Args], _Result], /, *args: *_Args) -> Awaitable[_Result]:
        """Call a function that ends soon, whatever others do, as ``RunSync`` does."""
        ...

    def run_waiting(
        self, function: Callable[[*_Args], _Result], /, *args: *_Args, abandon_on_cancel: bool = False
    ) -> Awaitable[_Result]:
        """Call a function that may wait for ever.

        Args:
            function: The function.
            args: Its arguments.
            abandon_on_cancel: Whether the function is left to itself when the caller is cancelled, and not waited for.

        Raises:
            StateError: As many functions wait already as the limit allows. The message names it.
        """
        ...

    def start(self, function: Callable[[], None], name: str) -> None:
        """Start a thread that calls a function, which may wait for ever and must not raise. Its context is a copy.

        Raises:
            StateError: As for ``run_waiting``.
        """

    def make_signal(self) -> Signal:
        """Return a new signal, to wait for in the present run of the async library."""
        ...
