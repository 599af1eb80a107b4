"""Crossings: one request each, made in asyncio or in a blocking thread, that runs in trio, and the way of its outcome.

A crossing is submitted when the facade's method is called, before anything waits for it. Whoever waits can cancel it,
and waits until it has ended.
"""

from __future__ import annotations

import asyncio
import threading
import types
import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import outcome
import trio

from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox
from jchannel._bridge.portal import Portal
from jchannel._bridge.tasks import CallTask
from jchannel._core.invocation import Answering, running_call
from jchannel.errors import StateError

__all__ = ["Operation", "in_task", "running_loop", "wait_blocking", "wait_in_loop"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """Something to be done in trio.

    Attributes:
        portal: The way into the trio in which it is done.
        begin: Does, in trio, what cannot wait, and gives what is awaited for the rest.
        undo: Undoes it in trio, when it has succeeded and whoever waited for it was cancelled in the same moment;
            ``None`` where nothing is left to be undone.
    """

    portal: Portal
    begin: Callable[[], Awaitable[T]]
    undo: Callable[[], Awaitable[None]] | None = None


class _Crossing(ABC, Generic[T]):
    """An operation under way, and who waits for it."""

    def __init__(self, operation: Operation[T]) -> None:
        self._begin = operation.begin
        self._undo = operation.undo
        self._portal = operation.portal
        self._scope = trio.CancelScope()
        self._caller = running_call()
        self._begun = False
        self._cancelled = False
        self._outcome: outcome.Outcome[T] | None = None

    # For who waits

    def submit(self) -> None:
        """Sends the operation on its way."""
        self._portal.submit(self)

    def cancel(self) -> None:
        """Cancels the operation. Its outcome comes all the same."""
        self._cancelled = True
        self._portal.post(self._scope.cancel)

    def cancel_in_collection(self) -> None:
        """As ``cancel``, when Python collects garbage: that may be in trio's thread, between any two lines of trio."""
        self._cancelled = True
        self._portal.post_later(self._scope.cancel)

    def undoing(self) -> Operation[None] | None:
        """What is to be done when the outcome is there and nobody takes it; ``None`` when nothing is."""
        if self._undo is None or not isinstance(self._outcome, outcome.Value):
            return None
        return Operation(self._portal, self._undo)

    def forget(self) -> None:
        """Lets go of an outcome that nobody takes: a stream in it is closed by that."""
        self._outcome = _CANCELLED

    def unwrap(self) -> T:
        """The operation's value, or its error raised. A time that ran out is the builtin ``TimeoutError`` here."""
        assert self._outcome is not None
        if self._outcome is _CANCELLED:
            raise asyncio.CancelledError
        try:
            return self._outcome.unwrap()
        except trio.TooSlowError as error:
            raise TimeoutError(*error.args) from error

    # For the portal

    def start(self, nursery: trio.Nursery) -> None:
        """Begins the operation, if nobody has cancelled it yet."""
        if self._begun:
            return
        self._begun = True
        if self._cancelled:
            self._settle(_CANCELLED)
            return
        with Answering(self._caller):
            try:
                work = self._begin()
            except Exception as error:  # noqa: BLE001 (it is the outcome)
                self._settle(outcome.Error(error))
            else:
                self._portal.watch(self)
                nursery.start_soon(self._run, work)

    def lose(self, error: StateError) -> None:
        """Ends it with an error, because its trio has ended."""
        if self._outcome is None:
            self._settle(outcome.Error(error))

    async def _run(self, work: Awaitable[T]) -> None:
        # When it is cancelled from outside of its scope, the portal is ending, and says so to all who wait.
        result: outcome.Outcome[T] = _CANCELLED
        with self._scope:
            try:
                result = outcome.Value(await work)
            except Exception as error:  # noqa: BLE001 (it is the outcome)
                result = outcome.Error(error)
        self._portal.forget(self)
        self._settle(result)

    def _settle(self, result: outcome.Outcome[T]) -> None:
        """Takes the outcome. Called once, in any thread."""
        self._outcome = result
        self._notify()

    @abstractmethod
    def _notify(self) -> None:
        """Tells who waits that there is an outcome."""


#: The outcome of what was cancelled. It is known by its identity, and not unwrapped.
_CANCELLED: Final = outcome.Error(asyncio.CancelledError())


# In asyncio

#: Seconds.
_LONGER_THAN_ANY_LOOP: Final = 1e9


class _TaskCrossing(_Crossing[T]):
    """An operation that an asyncio Task waits for."""

    def __init__(self, operation: Operation[T], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(operation)
        self._loop = loop
        self._mailbox = LoopMailbox.of(loop)
        self._is_here = self._portal.serves(loop)
        self._task: asyncio.Task[T] | None = None
        # Weak, so that a Task whose loop was closed under it goes, and cancels the operation by that.
        self._waiter: weakref.ref[asyncio.Future[None]] | None = None

    def submit(self) -> None:
        """As the crossing's."""
        super().submit()
        if not self._is_here:
            self._mailbox.turns.begin_wait()

    async def wait_in_task(self) -> T:
        """As ``wait``, in a Task of its own, whose first step was made before it was one."""
        return await self.wait(_begun())

    async def wait(self, first: Awaitable[None] | None = None) -> T:
        """Waits for the outcome. Cancelling it cancels the operation and waits until it has ended."""
        try:
            if first is not None:
                await first
            if self._outcome is None:
                await self._arrival()
        except asyncio.CancelledError:
            self.cancel()
            await self._wait_to_the_end()
            undoing = self.undoing()
            if undoing is not None:
                crossing = _TaskCrossing(undoing, self._loop)
                crossing.submit()
                await crossing._wait_to_the_end()
            self.forget()
            raise
        except GeneratorExit:  # The loop was closed under its Task.
            self.cancel_in_collection()
            raise
        return self.unwrap()

    def keep(self, task: asyncio.Task[T]) -> None:
        """Keeps the Task that waits until it has ended: a loop has only weak references to its Tasks.

        The reference is one that goes with the loop, so that a Task whose loop was closed under it can be collected.
        """
        if self._is_here:
            self._task = task  # The portal, which ends with the loop, has the crossing.
            task.add_done_callback(self._release)
        else:
            timer = self._loop.call_later(_LONGER_THAN_ANY_LOOP, id, task)
            task.add_done_callback(lambda _: timer.cancel())

    def _release(self, _: object) -> None:
        self._task = None

    async def _wait_to_the_end(self) -> None:
        while self._outcome is None:
            with suppress(asyncio.CancelledError):
                await self._arrival()

    def lose(self, error: StateError) -> None:
        """As the crossing's; where loop and trio are one, both were cancelled from outside, and the Task is, too."""
        if self._is_here:
            self._settle(_CANCELLED)
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
            with suppress(LoopClosedError):  # Nobody waits any more.
                self._mailbox.post(self._come_home)

    def _come_home(self) -> None:
        self._mailbox.turns.end_wait()
        self._arrive()

    def _arrive(self) -> None:
        waiter = None if self._waiter is None else self._waiter()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


@types.coroutine
def _begun() -> Generator[None, None, None]:
    yield


def running_loop() -> asyncio.AbstractEventLoop:
    """The asyncio loop that runs in this thread.

    Raises:
        RuntimeError: There is none. The message says what to use instead.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "no asyncio loop is running here: call this from async code, or use channel.sync, or jchannel.sync in a "
            "script, whose methods wait and return the value (and jchannel.trio in trio)"
        ) from None


def in_task(operation: Operation[T], name: str) -> asyncio.Task[T]:
    """Submits an operation at once, and gives the Task that waits for its outcome on the running loop.

    Cancelling the Task cancels the operation. However often it is cancelled, it ends when the operation has ended. If
    it fails and nobody awaits it, it is logged.

    Args:
        operation: What is to be done.
        name: The Task's name.

    Raises:
        RuntimeError: No asyncio loop is running.
    """
    loop = running_loop()
    crossing = _TaskCrossing(operation, loop)
    crossing.submit()
    waiting: Any = crossing.wait_in_task()
    # A Task that is cancelled before its first step never enters its coroutine, which then could not pass it on: so the
    # first step is made here.
    waiting.send(None)
    task: asyncio.Task[T] = CallTask(waiting, loop, name)
    crossing.keep(task)
    return task


async def wait_in_loop(operation: Operation[T]) -> T:
    """Has an operation done, and waits for its outcome in the present asyncio Task.

    Cancelling it cancels the operation, and waits until that has ended.
    """
    crossing = _TaskCrossing(operation, running_loop())
    crossing.submit()
    return await crossing.wait()


# In blocking threads


#: Seconds.
_LONGEST_SLEEP: Final = 0.5


class _BlockingCrossing(_Crossing[T]):
    """An operation that a thread waits for."""

    def __init__(self, operation: Operation[T]) -> None:
        super().__init__(operation)
        self._pending = threading.Lock()
        self._pending.acquire()  # noqa: SIM115, RUF100 (it is released by who brings the outcome)

    def run(self, meanwhile: Callable[[], None] | None = None) -> T:
        """Submits it, does what is to be done meanwhile, and waits for the outcome.

        An interrupt, or an error of what is done meanwhile, cancels the operation and waits until it has ended.
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
                _BlockingCrossing(undoing).run()
            self.forget()
            raise
        return self.unwrap()

    def _wait(self) -> None:
        # An interrupt that comes in the moment before the thread sleeps does not wake it.
        while not self._pending.acquire(timeout=_LONGEST_SLEEP):
            pass

    def _notify(self) -> None:
        self._pending.release()


def wait_blocking(operation: Operation[T], *, meanwhile: Callable[[], None] | None = None) -> T:
    """Has an operation done, and waits for it.

    Args:
        operation: What is to be done.
        meanwhile: Called when the operation has been submitted. When it raises, the operation is cancelled.

    Raises:
        RuntimeError: This is the thread that trio runs in, which would wait for itself.
        What the operation raises.

    A ``KeyboardInterrupt`` cancels the operation, and is raised when it has ended; a second one is raised at once.
    """
    if operation.portal.is_here:
        raise RuntimeError(
            "this thread runs trio and would wait for itself: await the channel's methods here, or call this in "
            "another thread, with trio.to_thread.run_sync"
        )
    return _BlockingCrossing(operation).run(meanwhile)
