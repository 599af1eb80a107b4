"""The threads of a server or a peer, in which the user's blocking code runs.

What may wait for ever (handler methods, sources, files that are not on a disk) may wait for what only another thread
can do. In one pool with everything else it would lock everything out, itself included. So it has a limiter of its own,
``WaitingLimiter``, at which nobody stands in line for those that wait themselves.
"""

from __future__ import annotations

import contextvars
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

import trio

from jchannel._core.limits import Limits
from jchannel.errors import StateError

__all__ = ["IS_WATCHED", "WATCH", "NoThreadLeftError", "ThreadWatch", "TrioThreads", "WaitingLimiter"]

#: How many short functions run at once. Others queue, and not for long.
_SHORT_THREADS: Final = 40

#: How many functions that may wait for ever, and have not shown yet that they do, run at once. With more of them a
#: batch of methods that end soon is slower: they take turns with the interpreter, and a new thread costs more than a
#: call.
_BUSY_THREADS: Final = 16

#: A function that runs for this many seconds while others stand in line counts as one that waits.
_LOOK_SECONDS: Final = 0.005

#: What the threads in use may wait for, in the words of an error.
_WHAT_WAITS: Final = (
    "for handler methods that have not returned, and for sources and files that have not given their next bytes"
)

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


class _Turn:
    """A place in the line for threads.

    Attributes:
        since: From when on its time counts.
        come: Set when it has got its thread.
        scope: Where it is waited for. Only the first in line has a deadline: no other is over before.
    """

    __slots__ = ("come", "scope", "since")

    def __init__(self) -> None:
        self.since: float = trio.current_time()
        self.come = trio.Event()
        self.scope = trio.CancelScope()


class WaitingLimiter:
    """What ``trio.to_thread`` asks for a thread for a function that may wait for ever.

    Of a batch of functions that end soon, a few run at once, and the others stand in line for their threads. Those that
    wait leave the line moving all the same: a thread that does not come free counts no more after a moment, and the
    next in line gets another. At the limit the line waits as long as threads come free; when none has for
    ``Limits.thread_seconds``, whoever has stood in it for so long fails, as those who hold the threads may wait for it.

    Args:
        limits: The limits of the server or the peer.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._holders: set[object] = set()
        #: Those of the holders that are not known to wait.
        self._busy: set[object] = set()
        #: Ordered by a list of its own: the first of a ``dict`` is looked for behind all that have left.
        self._line: OrderedDict[object, _Turn] = OrderedDict()
        self._moved = -math.inf
        self._is_looking = False

    @property
    def holders(self) -> int:
        """The number of threads that are in use."""
        return len(self._holders)

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        """Take a thread for what lives long.

        Raises:
            NoThreadLeftError: There is none left.
        """
        if len(self._holders) >= self._limits.waiting_threads:
            raise NoThreadLeftError(f"{self._explain()}: {_WHAT_WAITS}")
        self._holders.add(borrower)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Take a thread, or stand in line for one. It is no checkpoint where there is one: its caller has one.

        Raises:
            NoThreadLeftError: None has come free for ``Limits.thread_seconds``.
        """
        if not self._line and self._has_free:
            self._lend(borrower)
            return
        turn = self._line[borrower] = _Turn()
        try:
            self._watch_line()
            await self._wait_turn(turn)
        except BaseException:
            if turn.come.is_set():  # It was cancelled in the moment in which it got its thread.
                self.release_on_behalf_of(borrower)
            else:
                del self._line[borrower]
                self._watch_line()
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give a thread back, to the first in line."""
        self._holders.discard(borrower)
        self._busy.discard(borrower)
        self._move_line()

    async def _wait_turn(self, turn: _Turn) -> None:
        while not turn.come.is_set():
            with turn.scope:
                await turn.come.wait()
            if not turn.come.is_set():
                self._look_soon()
                if not self._is_looking:
                    seconds = f"{self._limits.thread_seconds:g} s (Limits.thread_seconds)"
                    raise NoThreadLeftError(f"{self._explain()}, and none has come free for {seconds}: {_WHAT_WAITS}")
                # It may have another one in a moment, whatever the clock says.
                turn.since, turn.scope = trio.current_time(), trio.CancelScope()
                self._watch_line()

    def _watch_line(self) -> None:
        """See to it that the line moves, or that the first in it fails in time."""
        if self._line:
            first = next(iter(self._line.values()))
            first.scope.deadline = max(first.since, self._moved) + self._limits.thread_seconds
            self._look_soon()

    @property
    def _has_free(self) -> bool:
        return len(self._busy) < _BUSY_THREADS and len(self._holders) < self._limits.waiting_threads

    def _lend(self, borrower: object) -> None:
        self._holders.add(borrower)
        self._busy.add(borrower)

    def _move_line(self) -> None:
        self._moved = trio.current_time()
        while self._line and self._has_free:
            first, turn = self._line.popitem(last=False)
            self._lend(first)
            turn.come.set()
        self._watch_line()

    def _look_soon(self) -> None:
        """Look soon which threads wait, if somebody stands in line and could have another one."""
        if self._is_looking or not self._line or len(self._holders) >= self._limits.waiting_threads:
            return
        token, watch = trio.lowlevel.current_trio_token(), WATCH.get()
        end_watch = None if watch is None else partial(watch.end, watch.begin())
        look = partial(self._look, set(self._busy), end_watch)

        def wake(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(look)

        # Not by trio's clock, which need not go when the threads do.
        self._is_looking = True
        try:
            trio.lowlevel.start_thread_soon(partial(time.sleep, _LOOK_SECONDS), wake, "jchannel looks at its threads")
        except RuntimeError:  # No thread can be started now. The line moves when one is given back.
            self._end_look(end_watch)

    def _look(self, earlier: set[object], end_watch: Callable[[], None] | None) -> None:
        """Count those no more that were running earlier and still are."""
        self._end_look(end_watch)
        self._busy -= earlier
        self._move_line()

    def _end_look(self, end_watch: Callable[[], None] | None) -> None:
        self._is_looking = False
        if end_watch is not None:
            end_watch()

    def _explain(self) -> str:
        return f"{len(self._holders):,} threads wait already, as many as Limits.waiting_threads allows"


class TrioThreads:
    """The threads of one server or peer.

    Args:
        limits: Its limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._short = trio.CapacityLimiter(_SHORT_THREADS)
        self._waiting = WaitingLimiter(limits)

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
        # A limiter of trio's own is final; it is documented that another one will do.
        limiter: Any = self._waiting
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)

    def start(self, function: Callable[[], None], name: str) -> None:
        """Start a thread that calls a function, which may wait for ever and must not raise.

        Raises:
            NoThreadLeftError: There is no thread left for it.
            RuntimeError: Python cannot start one now.
        """
        borrower = object()
        self._waiting.acquire_on_behalf_of_nowait(borrower)
        token = trio.lowlevel.current_trio_token()

        def end(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._waiting.release_on_behalf_of, borrower)

        context = contextvars.copy_context()
        context.run(IS_WATCHED.set, True)  # noqa: FBT003 (a value)
        try:
            trio.lowlevel.start_thread_soon(partial(context.run, function), end, name)
        except BaseException:
            self._waiting.release_on_behalf_of(borrower)
            raise

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
