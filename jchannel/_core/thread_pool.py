"""The pool of threads in which what may wait for ever runs: handler methods, sources, files that are not on a disk.

Of a batch of functions that end soon a few run at once, and the others stand in line. A thread takes the next of the
line itself when it is done, so trio's thread need not wake up for that, and hears of all that has ended meanwhile at
once. Those that wait leave the line moving all the same: a thread whose function has not ended counts no more after a
moment, and the next in line gets another. At the limit the line waits as long as threads come free; when none has for
``Limits.thread_seconds``, whoever has stood in it for so long fails, as those who hold the threads may wait for it.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import outcome
import trio

from jchannel._core.limits import Limits
from jchannel._core.nursery import copy_error
from jchannel._core.thread_watch import WATCH
from jchannel.errors import StateError

__all__ = ["NoThreadLeftError", "ThreadPool"]

_Result = TypeVar("_Result")

#: How many functions run at once of which it has not shown yet that they wait. With more of them a batch that ends soon
#: is slower: they take turns with the interpreter, and a new thread costs more than a call.
_BUSY_THREADS: Final = 16

#: A function that runs for this many seconds while others stand in line counts as one that waits, unless as many others
#: as there are threads have ended meanwhile: then it may have waited for the interpreter only.
_LOOK_SECONDS: Final = 0.005

#: Seconds for which a thread waits for its next function. A call in turn finds it ready.
_IDLE_SECONDS: Final = 1.0

#: The name of the threads, as the system shows it, too: that has 15 characters.
_NAME: Final = "jchannel worker"

#: What the threads in use may wait for, in the words of an error.
_WHAT_WAITS: Final = (
    "for handler methods that have not returned, and for sources and files that have not given their next bytes"
)


class NoThreadLeftError(StateError):
    """As many threads wait as may."""


class _Job:
    """A function that is to be called in a thread, and the task that waits for it.

    Args:
        call: The function, with its arguments.

    Attributes:
        since: When it was made, by trio's clock.
        task: The task; ``None`` when it waits no more.
        worker: Its thread; ``None`` while it stands in line.
        begun: Whether its function has been called, or is about to be.
        outcome: What came of the function.
    """

    __slots__ = ("_call", "_context", "begun", "outcome", "since", "task", "worker")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.since: float = trio.current_time()
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        self.worker: _Worker | None = None
        self.begun = False
        self.outcome: outcome.Outcome[Any] | None = None
        self._call = call
        self._context = contextvars.copy_context()

    def run(self) -> None:
        """Call the function. Called in its thread."""
        self.outcome = outcome.capture(self._context.run, self._call)
        del self._call, self._context  # What they hold must not wait for trio.

    def end(self) -> None:
        """Give the task that waits, if one does, what came of it. Called in trio."""
        task, self.task = self.task, None
        result, self.outcome = self.outcome, None  # An error would lead back to itself.
        if task is not None:
            assert result is not None
            trio.lowlevel.reschedule(task, result)


class _Worker:
    """A thread of the pool.

    Attributes:
        job: What is its to do; ``None`` where it is idle.
        scope: That of the task that waits for it in trio. To cancel it tells what runs in the thread.
        ends: Whether it gets no other job.
        wake: Released when it gets one.
    """

    __slots__ = ("ends", "job", "scope", "wake")

    def __init__(self) -> None:
        self.job: _Job | None = None
        self.scope = trio.CancelScope()
        self.ends = False
        self.wake = threading.Lock()
        self.wake.acquire()  # noqa: SIM115, RUF100 (it is released by who has a job)


class _NoLimiter:
    """What ``trio.to_thread`` asks for threads that the pool has counted already."""

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Do nothing."""

    def release_on_behalf_of(self, borrower: object) -> None:
        """Do nothing."""


#: A limiter of trio's own is final; it is documented that another one will do.
_NO_LIMITER: Final[Any] = _NoLimiter()


class ThreadPool:
    """The threads of one server or peer for what may wait for ever.

    Args:
        limits: Its limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._token: trio.lowlevel.TrioToken
        #: Held to change the line, or what a thread is: trio's thread and those of the pool do.
        self._lock = threading.Lock()
        #: Those that have no thread yet.
        self._line: deque[_Job] = deque()
        #: The threads of which it has not shown that they wait, those of which it has, and those that have nothing to
        #: do. Among the second are those that somebody else has started.
        self._busy: set[_Worker] = set()
        self._waiting: set[object] = set()
        self._idle: set[_Worker] = set()
        self._count_ended = 0
        #: What has ended and trio has not told yet.
        self._ended: deque[_Job] = deque()
        self._woken = False
        self._moved = -math.inf
        self._is_looking = False
        self._expiry: trio.CancelScope | None = None

    @property
    def holders(self) -> int:
        """The number of threads that are in use."""
        return len(self._busy) + len(self._waiting)

    # In trio

    @trio.lowlevel.enable_ki_protection
    async def run(self, call: Callable[[], _Result], *, abandon_on_cancel: bool) -> _Result:
        """Call a function in a thread, and return its result.

        Cancelling it keeps the function from beginning. Where it has begun, it is waited for, or left to itself;
        ``trio.from_thread.check_cancelled`` raises in it then.

        Raises:
            NoThreadLeftError: No thread has come free for ``Limits.thread_seconds``.
            What the function raises.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(call)
        with self._lock:
            self._line.append(job)
            self._move_line()
        self._look_after_line()
        result: _Result = await trio.lowlevel.wait_task_rescheduled(partial(self._give_up, job, abandon_on_cancel))
        return result

    def acquire_nowait(self, borrower: object) -> None:
        """Count a thread that somebody else starts, for what lives long.

        Raises:
            NoThreadLeftError: There is none left.
        """
        with self._lock:
            if self._is_full:
                raise NoThreadLeftError(f"{self._explain()}: {_WHAT_WAITS}")
            self._waiting.add(borrower)

    def release(self, borrower: object) -> None:
        """Count such a thread no more."""
        with self._lock:
            self._waiting.discard(borrower)
        self._go_on()

    def _give_up(self, job: _Job, abandon: bool, _: object) -> trio.lowlevel.Abort:  # noqa: FBT001 (for trio)
        """Keep a job from beginning, or tell its thread that nobody waits for it any more."""
        with self._lock:
            worker, begun = job.worker, job.begun
            if worker is None:
                self._line.remove(job)
            elif begun and worker.job is job:
                worker.ends = True  # To what is cancelled there it stays so, whatever runs.
                worker.scope.cancel()
            if begun and not abandon:
                return trio.lowlevel.Abort.FAILED
            job.task = None
            return trio.lowlevel.Abort.SUCCEEDED

    @property
    def _is_full(self) -> bool:
        return self.holders >= self._limits.waiting_threads

    @property
    def _has_free(self) -> bool:
        return len(self._busy) < _BUSY_THREADS and not self._is_full

    def _move_line(self) -> None:
        """Find threads for those in line, as far as there are. The lock is held."""
        while self._line and self._has_free:
            if self._idle:
                worker = self._idle.pop()
                self._give_next(worker)
                worker.wake.release()
            else:
                worker = _Worker()
                self._give_next(worker)
                self._token = trio.lowlevel.current_trio_token()
                trio.lowlevel.spawn_system_task(self._live, worker, name=_NAME)

    def _give_next(self, worker: _Worker) -> None:
        """Give a thread the first in line. The lock is held."""
        job = self._line.popleft()
        job.worker, worker.job = worker, job
        self._busy.add(worker)

    async def _live(self, worker: _Worker) -> None:
        with worker.scope:
            try:
                await trio.to_thread.run_sync(
                    self._work, worker, thread_name=_NAME, abandon_on_cancel=True, limiter=_NO_LIMITER
                )
            except RuntimeError as error:  # No thread can be started now.
                assert worker.job is not None
                with self._lock:
                    self._busy.discard(worker)
                _fail([worker.job], error)
                self._go_on()

    def _end_jobs(self) -> None:
        """Tell the tasks that wait what came of what has ended."""
        self._woken = False
        for _ in range(len(self._ended)):
            self._ended.popleft().end()
        self._go_on()

    def _go_on(self) -> None:
        """Move the line: a thread has come free."""
        self._moved = trio.current_time()
        with self._lock:
            self._move_line()
        self._look_after_line()

    # The line

    def _look_after_line(self) -> None:
        """See to it that the line moves, or fails in time."""
        if not self._line:
            if self._expiry is not None:
                self._expiry.cancel()
                self._expiry = None
        elif not self._is_full:
            self._look_soon()
        elif self._expiry is None:
            self._expiry = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._expire, self._expiry, name="jchannel's line for threads")

    def _look_soon(self) -> None:
        """Look soon which threads wait."""
        if self._is_looking:
            return
        token, watch = trio.lowlevel.current_trio_token(), WATCH.get()
        end_watch = None if watch is None else partial(watch.end, watch.begin())
        with self._lock:
            running = [worker.job for worker in self._busy if worker.job is not None and worker.job.begun]
            look = partial(self._look, running, self._count_ended, end_watch)

        def wake(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(look)

        # Not by trio's clock, which need not go when the threads do.
        self._is_looking = True
        try:
            trio.lowlevel.start_thread_soon(partial(time.sleep, _LOOK_SECONDS), wake, "jchannel looks at its threads")
        except RuntimeError:  # No thread can be started now. The line moves when one is given back.
            self._end_look(end_watch)

    def _look(self, earlier: list[_Job], count_ended: int, end_watch: Callable[[], None] | None) -> None:
        """Count the threads no more whose job was running earlier and still is, unless the line has moved well."""
        self._end_look(end_watch)
        with self._lock:
            if self._count_ended - count_ended < _BUSY_THREADS:
                stay = {job.worker for job in earlier if job.worker is not None and job.worker.job is job}
                self._busy -= stay
                self._waiting |= stay
                self._move_line()
        self._look_after_line()

    def _end_look(self, end_watch: Callable[[], None] | None) -> None:
        self._is_looking = False
        if end_watch is not None:
            end_watch()

    async def _expire(self, scope: trio.CancelScope) -> None:
        """Fail those who stand in line for too long while all threads wait."""
        with scope:
            due = -math.inf
            while due < math.inf:
                await trio.sleep_until(due)
                due = self._fail_late()
            self._expiry = None

    def _fail_late(self) -> float:
        """Fail those who stand in line for too long. Return when the next one will."""
        late: list[_Job] = []
        due, now, seconds = -math.inf, trio.current_time(), self._limits.thread_seconds
        with self._lock:
            while due <= now:
                due = math.inf
                if self._line and self._is_full:
                    due = max(self._line[0].since, self._moved) + seconds
                if due <= now:
                    late.append(self._line.popleft())
        text = f"{self._explain()}, and none has come free for {seconds:g} s (Limits.thread_seconds): {_WHAT_WAITS}"
        _fail(late, NoThreadLeftError(text))
        return due

    def _explain(self) -> str:
        return f"{self.holders:,} threads wait already, as many as Limits.waiting_threads allows"

    # In a thread

    def _work(self, worker: _Worker) -> None:
        """Run jobs, until there are none for a while."""
        job = worker.job
        while job is not None:
            if self._begin(job):
                job.run()
            self._find_next(worker)  # Before it is told: who hears of the end may count the threads.
            self._tell(job)
            if worker.job is None:
                self._rest(worker)
            job = worker.job

    def _begin(self, job: _Job) -> bool:
        """Begin a job, and return whether anybody waits for it still."""
        with self._lock:
            job.begun = job.task is not None
            return job.begun

    def _find_next(self, worker: _Worker) -> None:
        """Find the next job for a thread whose job has ended. Where there is none, it is idle."""
        with self._lock:
            self._count_ended += 1
            worker.job = None
            may_go_on = worker in self._busy or len(self._busy) < _BUSY_THREADS
            self._busy.discard(worker)
            self._waiting.discard(worker)
            if worker.ends:
                return
            if self._line and may_go_on:
                self._give_next(worker)
            else:
                self._idle.add(worker)

    def _rest(self, worker: _Worker) -> None:
        """Wait until a thread has a job, for a while."""
        if not worker.ends:
            worker.wake.acquire(timeout=_IDLE_SECONDS)
            with self._lock:
                self._idle.discard(worker)  # From now on it gets none.

    def _tell(self, job: _Job) -> None:
        """Tell trio that a job has ended: it is woken once for all that ends until it comes to them."""
        self._ended.append(job)
        if not self._woken:
            self._woken = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._end_jobs)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.outcome = outcome.Error(copy_error(error))
        job.end()
