"""Calls of the facades: from a loop or a thread into trio, and the way of the outcome back.

A call is submitted when the facade's method is called, before anything waits for it. Whoever waits can cancel it, and
waits until it has ended: a request at most for ``Limits.cancel_seconds`` (``Request.cancel``).
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import outcome
import trio

from jchannel._bridge.jobs import CANCELLED, Job, Running, TaskJob
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox
from jchannel._bridge.pauses import LoopPauses
from jchannel._core.failures import FAILURES
from jchannel._guarded import is_interrupt
from jchannel._tracebacks import find_caller, trim
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._notebook.hearing import Hearing

__all__ = ["Call", "CallTask", "in_task", "running_loop", "wait_blocking", "wait_in_loop"]

T = TypeVar("T")


class Call(Generic[T]):
    """A job under way that nobody waits for. Those who do have the subclasses. Portals start it in trio.

    Attributes:
        name: What it is called; empty where nobody has named it.
        thread: The thread that it keeps waiting, or ``None``.
        starts_anywhere: As the job's.
    """

    name = ""
    thread: int | None = None

    def __init__(self, job: Job[T]) -> None:
        self._job = job
        self.starts_anywhere: bool = job.starts_anywhere
        self._portal = job.portal
        self._started = False
        self._cancelled = False
        self._running: Running | None = None
        self._outcome: outcome.Outcome[T] | None = None

    # For who waits

    def submit(self) -> None:
        """Send the job on its way."""
        self._portal.submit(self)

    def cancel(self) -> None:
        """Cancel the job. Its outcome comes all the same."""
        self._cancelled = True
        self._portal.post(self._cancel_running)

    def cancel_in_collection(self) -> None:
        """Cancel the job when Python collects garbage: that may be in trio's thread, between any two lines of trio."""
        self._cancelled = True
        self._portal.post_later(self._cancel_running)

    def refuse(self, error: StateError) -> None:
        """End the job with an error at once, and cancel what it has begun: nobody could hear its outcome."""
        self._portal.post(partial(self._refuse, error))

    def undoing(self) -> Job[None] | None:
        """Return what has to be done when the outcome is there and nobody takes it; ``None`` when nothing has."""
        return self._find_undoing(self._outcome)

    def forget(self) -> None:
        """Drop an outcome that nobody takes: a stream in it is closed by that."""
        self._outcome = CANCELLED

    def unwrap(self) -> T:
        """Return the job's value, or raise its error. A time that ran out is the builtin ``TimeoutError`` here."""
        assert self._outcome is not None
        if self._outcome is CANCELLED:
            raise asyncio.CancelledError
        try:
            return self._outcome.unwrap()
        except trio.TooSlowError as error:
            words = "" if self._job.hearing is None else self._job.hearing.explain()
            raise TimeoutError(*((f"{error}{words}",) if words else error.args)) from None

    # For the portal

    def start(self) -> None:
        """Start the job, if nobody has cancelled it yet."""
        if self._started:  # A thread that was interrupted has submitted it twice.
            return
        self._started = True
        if self._portal.why_ended:
            self.lose(self._portal.explain_end())
            return
        self._portal.running.add(self)
        if self._cancelled and not self._job.certain:
            self.finish(CANCELLED)
            return
        try:
            running = self._job.start(self)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.finish(outcome.Error(error))
        else:
            if self._outcome is None:
                self._running = running
                if self._cancelled:
                    running.cancel()

    def lose(self, error: StateError) -> None:
        """End it with an error, because its trio has ended. It has no outcome yet. Called in any thread."""
        self._outcome = outcome.Error(error)
        self._notify()

    def _cancel_running(self) -> None:
        if self._running is not None and self._outcome is None:
            self._running.cancel()

    def _refuse(self, error: StateError) -> None:
        running = self._running
        if running is not None and self._outcome is None:
            self._outcome = outcome.Error(error)
            self._notify()
            running.cancel()

    def finish(self, result: outcome.Outcome[T]) -> None:
        """Take the job's outcome, and wake whoever waits for it. Called in trio."""
        self._portal.running.discard(self)
        self._running = None
        if self._outcome is None:
            self._outcome = result
            self._notify()
            return
        # It had succeeded when it was refused, and whoever waited for it has taken the error.
        undoing = self._find_undoing(result)
        if undoing is not None:
            Call(undoing).start()

    def _find_undoing(self, result: outcome.Outcome[T] | None) -> Job[None] | None:
        if self._job.undo is None or not isinstance(result, outcome.Value):
            return None
        return TaskJob(self._portal, self._job.undo)

    def _notify(self) -> None:
        """Wake whoever waits for the outcome. Where nobody does, the job has it."""
        assert self._outcome is not None
        self._job.note_unheard(self._outcome)


# In asyncio


class _LoopCall(Call[T]):
    """A job that an asyncio Task waits for."""

    def __init__(self, job: Job[T], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(job)
        self._loop = loop
        own_loop = self._portal.loop
        self._is_here = own_loop is not None and own_loop() is loop
        self._pauses: LoopPauses | None = None
        self._task: CallTask[T] | None = None
        # Weak, so that a Task whose loop was closed under it goes, and cancels the job by that.
        self._waiter: weakref.ref[asyncio.Future[None]] | None = None

    def submit(self) -> None:
        """Send the job on its way, and see to it that trio's thread gets the interpreter beside a busy loop."""
        self._mailbox = LoopMailbox.of(self._loop)
        try:
            waits = self._portal.submit(self)
            if not self._is_here:
                pauses = self._pauses = self._mailbox.pauses
                pauses.waiting += 1
                if pauses.looks_late or not pauses.looks:
                    pauses.look_soon()
                elif waits:
                    pauses.rest_if_held_up()
        except BaseException:  # An interrupt. Nobody will wait for what has begun.
            self.cancel()
            raise

    async def wait(self, *, pause: bool = False) -> T:
        """Wait for the outcome. Cancelling it cancels the job and waits until it has ended.

        Args:
            pause: Whether to pause first, for one turn of the loop.
        """
        try:
            if pause:
                await asyncio.sleep(0)
            if self._outcome is None:
                await self._arrival()
        except asyncio.CancelledError:
            self.cancel()
            await self._wait_to_the_end()
            undoing = self.undoing()
            if undoing is not None:
                call = _LoopCall(undoing, self._loop)
                call.submit()
                await call._wait_to_the_end()
            self.forget()
            raise
        except GeneratorExit:  # The loop was closed under its Task.
            self.cancel_in_collection()
            raise
        try:
            return self.unwrap()
        except Exception as error:
            trim(error)
            raise

    def keep(self, task: CallTask[T]) -> None:
        """Keep the Task that waits until it has ended: a loop has only weak references to its Tasks.

        The reference is one that goes with the loop, so that a Task whose loop was closed under it can be collected.
        """
        kept: set[Any] | None = None
        if self._is_here:
            self._task = task  # The portal, which ends with the loop, has the call.
        else:
            kept = self._mailbox.kept
            kept.add(task)
        # Not a bound method: the Task would keep itself. And none of its own, to which whoever awaits it comes.
        asyncio.Task.add_done_callback(task, partial(_let_go, kept))

    async def _wait_to_the_end(self) -> None:
        while self._outcome is None:
            with suppress(asyncio.CancelledError):
                await self._arrival()

    def lose(self, error: StateError) -> None:
        """End it with an error; where loop and trio are one, both were cancelled from outside, and the Task is, too."""
        if self._is_here:
            self._outcome = CANCELLED
            self._notify()
        else:
            super().lose(error)

    def _arrival(self) -> asyncio.Future[None]:
        waiter = self._loop.create_future()
        self._waiter = weakref.ref(waiter)
        return waiter

    def _notify(self) -> None:
        if self._is_here:
            self._arrive()
        else:
            try:  # noqa: SIM105 (a context manager would cost more than the call)
                self._mailbox.post(self._arrive)
            except LoopClosedError:  # Nobody waits any more.
                pass

    def _arrive(self) -> None:
        if self._pauses is not None:
            self._pauses.waiting -= 1
        waiter = None if self._waiter is None else self._waiter()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class CallTask(asyncio.Task[T]):
    """A Task that waits for a call. One that fails is logged when it is collected, unless somebody has awaited it.

    asyncio calls its loop's exception handler for such Tasks, which is not enough. What is printed outside of a cell's
    context belongs to no cell, and is shown nowhere; IPython keeps the result of a cell for good, so that asyncio never
    tells (so one that a cell has shown is logged at once); and a trio-asyncio loop ends with an error that its handler
    is told of.

    Args:
        waiting: Waits for the call.
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


class _DeafTask(CallTask[T]):
    """A Task whose outcome may not be heard while it is awaited: ``Hearing`` looks, each time that somebody begins to.

    Args:
        waiting, loop, name: Those of ``CallTask``.
        call: The call.
        hearing: What may keep its outcome from being heard.
    """

    def __init__(
        self,
        waiting: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        name: str,
        call: _LoopCall[T],
        hearing: Hearing,
    ) -> None:
        super().__init__(waiting, loop, name)
        self._call = call
        self._hearing = hearing

    def add_done_callback(self, *args: Any, **options: Any) -> None:
        """Add a callback, as who awaits a Task of a class of its own does."""
        super().add_done_callback(*args, **options)
        self._hearing.look_soon(self, self._call)


def _let_go(kept: set[Any] | None, task: CallTask[Any]) -> None:
    """Keep a Task no more, which has ended. If it has failed, look whether somebody awaits it."""
    if kept is not None:
        kept.discard(task)
    if task.failed_unheard:
        task.get_loop().call_soon(_log_if_shown, task)  # Who awaits it gets the error in this turn of the loop.


def _log_if_shown(task: CallTask[Any]) -> None:
    if task.failed_unheard and _is_result_of_a_cell(task):
        task.log_failure()


def _is_result_of_a_cell(task: CallTask[Any]) -> bool:
    """Whether IPython keeps it because a cell has shown it."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    results = {} if shell is None else shell.user_ns.get("_oh", {})
    return any(value is task for value in results.values())


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the asyncio loop that runs in this thread.

    Raises:
        RuntimeError: There is none. The message says what to use instead.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        runs_trio = trio.lowlevel.in_trio_run()
    if runs_trio:
        raise RuntimeError(
            "no asyncio loop is running here, but trio: use channel.sync in another thread, with "
            "trio.to_thread.run_sync, or jchannel.trio in a program of trio's"
        )
    raise RuntimeError(
        "no asyncio loop is running here: call this from async code, or use channel.sync, or jchannel.sync in a "
        "script, whose methods wait and return the value"
    )


def in_task(job: Job[T], name: str, loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[T]:
    """Submit a job at once, and return the Task that waits for its outcome on the running loop.

    Cancelling the Task cancels the job. However often it is cancelled, it ends when the job has ended. If it fails and
    nobody awaits it, it is logged.

    Args:
        job: What is to be done.
        name: The Task's name.
        loop: The running loop, where the caller has looked for it already.

    Raises:
        RuntimeError: No asyncio loop is running.
    """
    loop = loop or running_loop()
    call = _LoopCall(job, loop)
    call.name = name
    call.submit()
    waiting: Any = call.wait(pause=True)
    # A Task that is cancelled before its first step never enters its coroutine, which then could not pass it on: so the
    # first step is made here.
    waiting.send(None)
    hearing = job.hearing if job.needs_page else None
    task: CallTask[T] = (
        CallTask(waiting, loop, name) if hearing is None else _DeafTask(waiting, loop, name, call, hearing)
    )
    call.keep(task)
    return task


async def wait_in_loop(job: Job[T]) -> T:
    """Do a job, and wait for its outcome in the present asyncio Task.

    Cancelling it cancels the job, and waits until that has ended.
    """
    call = _LoopCall(job, running_loop())
    call.submit()
    return await call.wait()


# In blocking threads

#: Seconds.
_LONGEST_SLEEP: Final = 0.5


class _ThreadCall(Call[T]):
    """A job that a thread waits for."""

    def __init__(self, job: Job[T]) -> None:
        super().__init__(job)
        self.thread = threading.get_ident()
        self._pending = threading.Lock()
        self._pending.acquire()  # noqa: SIM115, RUF100 (it is released by who brings the outcome)

    def run(self, meanwhile: Callable[[], None] | None = None) -> T:
        """Submit it, do what is to be done meanwhile, and wait for the outcome.

        An interrupt, or an error of what is done meanwhile, cancels the job and waits until it has ended.
        """
        try:
            self.submit()
            if meanwhile is not None:
                meanwhile()
            self._wait()
        except BaseException:
            self.cancel()
            # The interrupt may have come before it was submitted. When it was, this does nothing.
            self.submit()
            # Or after the outcome: then nobody will release the lock once more.
            if self._outcome is None:
                self._wait()
            undoing = self.undoing()
            if undoing is not None:
                _ThreadCall(undoing).run()
            self.forget()
            raise
        return self.unwrap()

    def _wait(self) -> None:
        # An interrupt that comes in the moment before the thread sleeps does not wake it.
        while not self._pending.acquire(timeout=_LONGEST_SLEEP):
            pass

    def _notify(self) -> None:
        self._pending.release()


def wait_blocking(job: Job[T], *, meanwhile: Callable[[], None] | None = None) -> T:
    """Do a job, and wait for it.

    Args:
        job: What is to be done.
        meanwhile: Called when the job has been submitted. When it raises, the job is cancelled.

    Raises:
        RuntimeError: This is the thread that trio runs in, which would wait for itself.
        StateError: It is the one that hears the page, which could not answer.
        What the job raises.

    A ``KeyboardInterrupt`` cancels the job, and is raised when it has ended; a second one is raised at once.
    """
    if job.portal.is_here:
        # Only in a trio-asyncio loop can the channel's own methods be awaited in this thread.
        instead = "await the channel's methods here, or "
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            instead = ""
        raise RuntimeError(
            f"this thread runs trio and would wait for itself: {instead}call this in another thread, with "
            "trio.to_thread.run_sync"
        )
    if job.hearing is not None and job.needs_page:
        job.hearing.check_blocking()
    return _ThreadCall(job).run(meanwhile)
