"""The threads of a server or a peer, in which the user's blocking code runs.

What may wait for ever (handler methods, sources, files that are not on a disk) may wait for what only another thread
can do. In one pool with everything else it would lock everything out, itself included. So it has a limiter of its own
and never queues: what exceeds ``Limits.waiting_threads`` fails at once, with an error that says so.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, Protocol, TypeVar, TypeVarTuple

import trio

from jchannel._core.limits import Limits
from jchannel.errors import StateError

__all__ = ["IS_WATCHED", "WATCH", "NoThreadLeftError", "ThreadWatch", "TrioThreads"]

#: How many short functions run at once. Others queue, and not for long.
_SHORT_THREADS: Final = 40

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class ThreadWatch(Protocol):
    """Is told of what trio waits for in threads: reads and writes, and handler methods and a ``progress`` apart.

    Attributes:
        short_runs_here: Whether what is short runs in trio's own thread, so that no other decides when it ends.
    """

    short_runs_here: bool

    def begin(self) -> object:
        """Note that trio begins to wait for a thread, and return what ``end`` is called with."""
        ...

    def end(self, wait: object) -> None:
        """Note that trio waits no more."""

    def wrap(self, function: Callable[[*_Args], _Result]) -> Callable[[*_Args], _Result]:
        """Return what calls a function of the user's in a thread, and is known to."""
        ...


#: The watch of the present run of trio, or ``None``. The kit for tests has one, which lets no time pass meanwhile.
WATCH: Final[trio.lowlevel.RunVar[ThreadWatch | None]] = trio.lowlevel.RunVar("jchannel's thread watch", None)

#: Whether the present thread is one that trio waits for, as its watch knows.
IS_WATCHED: Final = contextvars.ContextVar("IS_WATCHED", default=False)


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


class NoThreadLeftError(StateError):
    """As many threads wait as may."""


class TrioThreads:
    """The threads of one server or peer.

    Args:
        limits: Its limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._short = trio.CapacityLimiter(_SHORT_THREADS)
        self._waiting = trio.CapacityLimiter(limits.waiting_threads)

    @property
    def waiting(self) -> int:
        """The number of threads that may wait for ever, and have not ended."""
        return self._waiting.borrowed_tokens

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
            return await self._run_waiting(function, *args, abandon_on_cancel=abandon_on_cancel)

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
        return await self._run_waiting(function, *args, abandon_on_cancel=abandon_on_cancel)

    async def _run_waiting(
        self, function: Callable[[*_Args], _Result], /, *args: *_Args, abandon_on_cancel: bool
    ) -> _Result:
        self._check_room()
        return await trio.to_thread.run_sync(
            function, *args, abandon_on_cancel=abandon_on_cancel, limiter=self._waiting
        )

    def start(self, function: Callable[[], None], name: str) -> None:
        """Start a thread that calls a function, which may wait for ever and must not raise.

        Raises:
            NoThreadLeftError: There is no thread left for it.
        """
        self._check_room()
        borrower = object()
        self._waiting.acquire_on_behalf_of_nowait(borrower)
        token = trio.lowlevel.current_trio_token()

        def end(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._waiting.release_on_behalf_of, borrower)

        context = contextvars.copy_context()
        context.run(IS_WATCHED.set, True)  # noqa: FBT003 (a value)
        trio.lowlevel.start_thread_soon(partial(context.run, function), end, name)

    def make_signal(self) -> _Signal:
        """Return a new signal, to wait for in the present run of trio."""
        return _Signal()

    def _check_room(self) -> None:
        if not self._waiting.available_tokens:
            raise NoThreadLeftError(
                f"{self._waiting.total_tokens:,} threads wait already, as many as Limits.waiting_threads allows: for "
                "handler methods that have not returned, and for sources and files that have not given their next bytes"
            )


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
