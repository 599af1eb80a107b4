"""One cell under way that may await asyncio code and trio code alike.

The cell is stepped in a trio task, so cancel scopes and nurseries work in it as they do in trio. During a step the Task
that follows it is asyncio's current one, so that what needs a current Task (``asyncio.timeout``, ``asyncio.TaskGroup``)
works as well. What it awaits decides: a future is waited for in asyncio, and anything else in trio.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

import outcome
import trio

__all__ = ["Cell"]

#: Resumes the cell: sends it a value, or throws an exception into it.
Resume: TypeAlias = Callable[[], Any]


class Cell:
    """A coroutine that may await both asyncio and trio.

    Args:
        coroutine: The coroutine.
        computing: A context manager that is entered for each step.
        check: Called before each step, where a ``KeyboardInterrupt`` can be raised. What it raises is thrown into the
            coroutine.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        computing: AbstractContextManager[None],
        check: Callable[[], None],
    ) -> None:
        self._coroutine = coroutine
        self._check = check
        self._computing = computing
        self._outcome: outcome.Outcome[Any] | None = None
        self._pending: BaseException | None = None
        self._throw: Callable[[BaseException], None] = self._keep
        self._loop: asyncio.AbstractEventLoop
        self._follower: asyncio.Task[Any]
        self._done: asyncio.Future[None]

    async def follow(self, nursery: trio.Nursery) -> Any:
        """Run the coroutine in a task of the nursery, and wait for it in the current asyncio Task.

        Returns:
            What the coroutine returned.

        Raises:
            What the coroutine raised.

        Cancelling it throws ``asyncio.CancelledError`` into the coroutine, and waits until that has ended.
        """
        task = asyncio.current_task()
        assert task is not None
        self._follower = task
        self._loop = task.get_loop()
        nursery.start_soon(self._run, name="cell")
        while self._outcome is None:
            self._done = self._loop.create_future()
            try:
                await self._done
            except asyncio.CancelledError as error:
                self.throw(error)
        return self._outcome.unwrap()

    def throw(self, error: BaseException) -> None:
        """Throw an exception into what the coroutine is waiting for, or is going to wait for next.

        Call it in trio's thread, and not from a step of the coroutine.
        """
        self._throw(error)

    def _keep(self, error: BaseException) -> None:
        self._pending = error

    def _throw_pending(self) -> None:
        if self._pending is not None:
            error, self._pending = self._pending, None
            self._throw(error)

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        resume: Resume = partial(self._coroutine.send, None)
        while self._outcome is None:
            try:
                trap = self._step(resume)
            except StopIteration as stop:
                self._outcome = outcome.Value(stop.value)
            except BaseException as error:  # noqa: BLE001 (it is the outcome)
                if inspect.getcoroutinestate(self._coroutine) == inspect.CORO_CLOSED:
                    self._outcome = outcome.Error(error)
                else:  # An interrupt came on the way into the coroutine, or out of it.
                    resume = partial(self._coroutine.throw, error)
            else:
                try:
                    resume = await self._wait(trap)
                finally:
                    self._throw = self._keep
        if not self._done.done():
            self._done.set_result(None)

    @trio.lowlevel.enable_ki_protection
    def _step(self, resume: Resume) -> Any:
        asyncio._enter_task(self._loop, self._follower)  # noqa: SLF001 (documented, for tasks that are not asyncio's)
        try:
            with self._computing:
                return _unprotected(self._check, resume)
        finally:
            asyncio._leave_task(self._loop, self._follower)  # noqa: SLF001 (the same)

    async def _wait(self, trap: Any) -> Resume:
        blocking = getattr(trap, "_asyncio_future_blocking", None)
        if blocking is not None:
            trap._asyncio_future_blocking = False  # noqa: SLF001 (as asyncio's own Task does)
            if trap.get_loop() is not self._loop:
                return self._refuse(
                    f"the cell awaits {trap!r}, which belongs to another asyncio loop than the kernel's"
                )
            return await self._wait_future(trap)
        if trap is None:  # asyncio.sleep(0): everything else has its turn.
            turn = self._loop.create_future()
            self._loop.call_soon(_set, turn)
            return await self._wait_future(turn)
        return await self._wait_trap(trap)

    def _refuse(self, why: str) -> Resume:
        return partial(self._coroutine.throw, RuntimeError(why))

    async def _wait_future(self, future: asyncio.Future[Any]) -> Resume:
        task = trio.lowlevel.current_task()
        thrown: BaseException | None = None
        cancelled: Callable[[], Any] | None = None

        def arrive(_: object) -> None:
            trio.lowlevel.reschedule(task)

        def throw(error: BaseException) -> None:
            nonlocal thrown
            # A future that has its value cannot be cancelled, and the value counts; but an interrupt does not wait.
            if future.cancel() or not isinstance(error, asyncio.CancelledError):
                thrown = error
            else:
                self._keep(error)

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal cancelled
            cancelled = raise_cancel
            future.cancel()
            return trio.lowlevel.Abort.FAILED

        future.add_done_callback(arrive)
        self._throw = throw
        self._throw_pending()
        await trio.lowlevel.wait_task_rescheduled(abort)
        # Nor is an interrupt lost when a Task has caught its cancellation, and ended with a value.
        if thrown is not None and (future.cancelled() or not isinstance(thrown, asyncio.CancelledError)):
            return partial(self._coroutine.throw, thrown)
        if cancelled is not None and future.cancelled():
            return partial(self._coroutine.throw, outcome.capture(cancelled).error)
        return partial(self._coroutine.send, None)

    async def _wait_trap(self, trap: Any) -> Resume:
        # An error is thrown into a trio wait through its abort function, and not by a cancel scope round the wait:
        # `Nursery.start` moves the scopes under it ("Cancel scope stack corrupted"), and a waiting nursery cancels its
        # tasks only for an error of its own.
        sleep = _Sleep(self, getattr(trap, "abort_func", _stay))
        self._throw = sleep.throw
        if self._pending is not None:
            if hasattr(trap, "abort_func"):
                # When trio has the task asleep.
                trio.lowlevel.current_trio_token().run_sync_soon(self._throw_pending)
            else:
                self._throw_pending()
        # What comes is an outcome, not unwrapped yet.
        value = await _to_trio(type(trap)(sleep.ask) if hasattr(trap, "abort_func") else trap)
        if sleep.error is None or sleep.taken:
            return partial(self._coroutine.send, value)
        if not isinstance(sleep.error, asyncio.CancelledError) or _is_at_checkpoint(self._coroutine):
            return partial(self._coroutine.throw, sleep.error)
        # It could not be aborted, and its value is not lost. The error is raised now, or by the next wait.
        self._pending = sleep.error
        return partial(self._coroutine.send, value)

    def take_pending(self, error: BaseException | None) -> None:
        """Forget an error that is being raised."""
        if self._pending is error:
            self._pending = None


class _Sleep:
    """The current task, about to wait in trio, and a way to throw an error into that wait.

    Attributes:
        error: What was thrown.
        taken: Whether what is waited for has raised it.
    """

    def __init__(self, cell: Cell, abort_func: Callable[[Callable[[], Any]], trio.lowlevel.Abort]) -> None:
        self.error: BaseException | None = None
        self.taken = False
        self._cell = cell
        self._abort_func = abort_func
        self._asked = False
        self._task = trio.lowlevel.current_task()
        # trio sets it to None for a task that will continue, which must not be aborted any more.
        self._task.custom_sleep_data = self._task.custom_sleep_data or self

    def throw(self, error: BaseException) -> None:
        self.error = error
        if self._task.custom_sleep_data is not None and self.ask(self._raise) is trio.lowlevel.Abort.SUCCEEDED:
            trio.lowlevel.reschedule(self._task, outcome.capture(self._raise))

    def ask(self, raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        """Abort the wait, if that is possible. Only the first call has an effect."""
        if self._asked:
            return trio.lowlevel.Abort.FAILED
        self._asked = True
        return self._abort_func(raise_cancel)

    def _raise(self) -> Any:
        self.taken = True
        # What was waited for may have kept this function, and call it later.
        self._cell.take_pending(self.error)
        assert self.error is not None
        raise self.error


@trio.lowlevel.disable_ki_protection
def _unprotected(check: Callable[[], None], resume: Resume) -> Any:
    check()
    return resume()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _stay(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


def _is_at_checkpoint(awaited: Any) -> bool:
    """Return whether a coroutine waits in ``trio.lowlevel.checkpoint``, which checks its scopes after others ran."""
    code = trio.lowlevel.checkpoint.__code__
    while awaited is not None:
        if getattr(awaited, "cr_code", None) is code:
            return True
        awaited = getattr(awaited, "cr_await", None)
    return False


@types.coroutine
def _to_trio(trap: Any) -> Generator[Any, Any, Any]:
    return (yield trap)
