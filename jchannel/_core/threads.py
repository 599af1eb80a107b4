"""The threads of a server or a peer, in which the user's blocking code runs.

What may wait for ever (handler methods, sources, files that are not on a disk) may wait for what only another thread
can do. In one pool with everything else it would lock everything out, itself included. So it has a pool of its own
(``thread_pool``), in which nobody stands in line for those that wait themselves.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar, TypeVarTuple

import trio

from jchannel._core.limits import Limits
from jchannel._core.thread_pool import ThreadPool
from jchannel._core.thread_watch import IS_WATCHED, WATCH

__all__ = ["TrioThreads"]

#: How many short functions run at once. Others queue, and not for long.
_SHORT_THREADS: Final = 40

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


@contextmanager
def _watched() -> Iterator[None]:
    watch = WATCH.get()
    if watch is None:
        yield
        return
    wait = watch.begin()
    token = IS_WATCHED.set(True)
    try:
        yield
    finally:
        IS_WATCHED.reset(token)
        watch.end(wait)


class TrioThreads:
    """The threads of one server or peer.

    Args:
        limits: Its limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._short = trio.CapacityLimiter(_SHORT_THREADS)
        self._waiting = ThreadPool(limits)

    @property
    def waiting(self) -> int:
        """The number of threads that may wait for ever, and have not ended."""
        return self._waiting.holders

    async def run_short(self, function: Callable[[*_Args], _Result], /, *args: *_Args) -> _Result:
        """Call a function that ends soon, whatever others do. Cancelling it waits for the function."""
        watch = WATCH.get()
        if watch is not None and watch.short_runs_here:
            await trio.lowlevel.checkpoint()
            return function(*args)
        with _watched():
            return await trio.to_thread.run_sync(function, *args, limiter=self._short)

    async def run_waiting(
        self, function: Callable[[*_Args], _Result], /, *args: *_Args, abandon_on_cancel: bool = False
    ) -> _Result:
        """Call a function that may wait for ever. Cancelling it waits for the function, unless that is abandoned.

        Raises:
            NoThreadLeftError: There is no thread left for it.
        """
        with _watched():
            return await self._waiting.run(partial(function, *args), abandon_on_cancel=abandon_on_cancel)

    async def run_users(
        self, function: Callable[[*_Args], _Result], /, *args: *_Args, abandon_on_cancel: bool = False
    ) -> _Result:
        """Call a function of the user's that may wait for ever, such as a handler method, as ``run_waiting`` does.

        Raises:
            NoThreadLeftError: There is no thread left for it.
        """
        watch = WATCH.get()
        if watch is not None:
            function = watch.wrap(function)
        return await self._waiting.run(partial(function, *args), abandon_on_cancel=abandon_on_cancel)

    def start(self, function: Callable[[], None], name: str) -> None:
        """Start a thread that calls a function, which may wait for ever and must not raise.

        Raises:
            NoThreadLeftError: There is no thread left for it.
        """
        borrower = object()
        self._waiting.acquire_nowait(borrower)
        token = trio.lowlevel.current_trio_token()

        def end(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._waiting.release, borrower)

        context = contextvars.copy_context()
        context.run(IS_WATCHED.set, True)  # noqa: FBT003 (a value)
        trio.lowlevel.start_thread_soon(partial(context.run, function), end, name)

    def make_signal(self) -> _Signal:
        """Return a new signal, to wait for in the present run of trio."""
        return _Signal()


class _Signal:
    """An event that any thread can set."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def set(self) -> None:
        """Set it. Safe in any thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._event.set)

    async def wait(self) -> None:
        """Wait until it is set. Cancelling it does nothing else."""
        with _watched():
            await self._event.wait()
