"""Running the methods of a handler where its owner lives: on an asyncio loop, or in worker threads.

Those that are marked ``@jchannel.background`` run beside the loop: plain ones in worker threads, async ones in trio.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import outcome
import trio

from jchannel._bridge import marks
from jchannel._bridge.blocked import BlockedMethods
from jchannel._bridge.loop_source import LoopSource
from jchannel._bridge.mailbox import LOOP_CHECK_SECONDS, LoopClosedError, LoopMailbox, Work
from jchannel._bridge.marks import Place, find_place
from jchannel._bridge.portal import Portal
from jchannel._bridge.streams import BridgedStream, read_in_threads, read_on_loop
from jchannel._core.exits import explain_exit
from jchannel._core.handlers import MethodCancelledError, Methods, find_method
from jchannel._core.invocation import CURRENT, Invocation, UnsendableError, is_stream, pack_result
from jchannel._guarded import log
from jchannel._protocol.values import Packed
from jchannel._streams.blocking import ByteStream, give_away
from jchannel._streams.sources import open_source
from jchannel.errors import StateError

__all__ = ["BridgedMethods", "LoopInvocation", "LoopMethods", "ThreadMethods"]


#: The most methods that could not begin which an error can name.
_MOST_NAMED: Final = 10


class BridgedMethods(Methods):
    """Runs the methods of a handler that lives outside of trio."""

    contains_exits = True

    @abstractmethod
    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Run the method that answers a request, where it belongs, and return its result.

        Cancelling it cancels an async method, and does not wait for a worker thread, whose result is dropped.

        Args:
            invocation: The request.
            handler: The handler, or ``None``.
            name: The method's name.
            args: Its arguments. A ``BridgedStream`` in the first place becomes a stream that can be read where it runs.

        Raises:
            NothingToCallError: There is nothing to call under that name.
            What the method raises.
        """

    def watch(self, blocked: BlockedMethods) -> None:
        """Add, from now on, the methods that wait for a loop whose thread waits. Called in trio."""

    def unwatch(self, blocked: BlockedMethods) -> None:
        """Add methods no more. Called in trio."""

    def find_late(self, since: float) -> Sequence[str]:  # noqa: ARG002 (the other's)
        """Return the names of methods that the loop has not come to since a time of trio's clock. Called in trio."""
        return ()

    async def _run_in_thread(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        args = _bind_stream(args, read_in_threads)
        threads = invocation.session.threads
        call = partial(self._call, handler, name, args)
        if invocation.conversion.default is not None:  # It may take long, and trio's own thread has no time for it.
            call = partial(_call_and_convert, call, invocation)
        result = await threads.run_users(call, abandon_on_cancel=True)
        if isinstance(result, ByteStream):
            return give_away(result)
        if isinstance(result, Iterator) and not isinstance(result, io.IOBase):
            return await open_source(result, threads)
        return result

    async def _run_in_trio(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        return await super().run(invocation, handler, name, _bind_stream(args, BridgedStream.read_in_trio))

    def _call(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        return _call(handler, name, args)


class LoopMethods(BridgedMethods):
    """Runs methods on an asyncio loop: sync ones as its callbacks, async ones as its Tasks.

    They run in a copy of the context in which this object was made, and so do those in worker threads. An async
    iterable that one returns runs on the loop, too.

    Args:
        loop: The loop, which runs in the present thread.
        portal: The way to the trio in which ``run`` is called.

    Attributes:
        under_way: The methods that have not ended. Changed in trio, or in a step of its.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, portal: Portal) -> None:
        self.loop = loop
        self.portal = portal
        self._mailbox = LoopMailbox.of(loop)
        self._context = contextvars.copy_context()
        self._thread = threading.get_ident()
        self.under_way: set[LoopInvocation] = set()
        self._watched = False
        self._blocked: set[BlockedMethods] = set()
        #: The last methods that were given up before the loop had come to them, and when.
        self._never_begun: deque[tuple[float, str]] = deque(maxlen=_MOST_NAMED)

    def watch(self, blocked: BlockedMethods) -> None:
        """Add, from now on, the methods that wait for the loop, if it is its thread that waits."""
        if blocked.thread == self._thread:
            self._blocked.add(blocked)
            for invocation in self.under_way:
                blocked.add(invocation)

    def unwatch(self, blocked: BlockedMethods) -> None:
        """Add methods no more."""
        self._blocked.discard(blocked)

    def find_late(self, since: float) -> Sequence[str]:
        """Return the names of methods that have not begun, and of those that were given up before since then."""
        given_up = [name for time, name in self._never_begun if time >= since]
        return [*given_up, *(invocation.name for invocation in self.under_way if not invocation.claimed.locked())]

    def begin(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> bool:
        """Send a method on its way to the loop, if it runs there, whose thread answers where it can."""
        try:
            if marks.in_use and find_place(handler, name) is not None:
                return False
        except BaseException:  # noqa: BLE001 (an object of the user's: a task looks again, and answers for it)
            return False
        assert isinstance(invocation, LoopInvocation)
        self._begin(invocation, handler, name, args)
        return True

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Run a method on the loop, or beside it where it is marked.

        Cancelling it cancels an async method on the loop and waits until that has ended, at most
        ``Limits.cleanup_seconds``; a sync one cannot be cancelled once it has begun. One that has not begun never does,
        and nothing is waited for.

        Raises:
            StateError: The loop is closed.
            MethodCancelledError: The method was cancelled by its own side.
        """
        assert isinstance(invocation, LoopInvocation)
        if not invocation.begun:
            place = find_place(handler, name) if marks.in_use else None  # To look is a tenth of the work of a call.
            if place is not None:
                run = self._run_in_thread if place is Place.THREAD else self._run_in_trio
                return await run(invocation, handler, name, args)
            self._begin(invocation, handler, name, args)
        try:
            await invocation.wait_ended()
        except trio.Cancelled:
            await self._give_up(invocation)
            self.under_way.discard(invocation)
            if invocation.outcome is None:
                raise
        result, invocation.outcome = invocation.outcome, None  # A stream in it refers to the invocation.
        if result is None:
            raise _explain_closed(name)
        return result.unwrap() if invocation.packed is None else invocation.packed

    def read_result(self, result: AsyncIterable[Any]) -> LoopSource:
        """Return what trio reads the stream by that a method has returned. Called in the method's context."""
        return LoopSource(result, self._mailbox, self.portal, contextvars.copy_context())

    def _begin(self, invocation: LoopInvocation, handler: object, name: str, args: Sequence[Any]) -> None:
        context = self._context.copy()
        context.run(CURRENT.set, invocation)
        invocation.bind(self, handler, name, args)
        self.under_way.add(invocation)
        if not self._watched:
            self._watch_loop()
        try:
            self._post(partial(context.run, invocation.begin), name)
        except StateError as error:
            invocation.outcome = outcome.Error(error)
            invocation.settle()
            return
        for blocked in self._blocked:
            blocked.add(invocation)

    def _call(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        context = self._context.copy()
        context.run(CURRENT.set, CURRENT.get())
        return context.run(_call, handler, name, args)

    def _post(self, work: Work, name: str) -> None:
        try:
            self._mailbox.post(work)
        except LoopClosedError as error:
            raise _explain_closed(name) from error

    def _watch_loop(self) -> None:
        """End methods whose loop is closed, which tells nobody. One timer for all is cheaper than one each."""
        self._watched = True
        # Not in the context of the method that is the first: it would be kept with its arguments for as long.
        contextvars.Context().run(self.portal.start_soon, self._look_after_methods)

    async def _look_after_methods(self) -> None:
        while self.under_way:
            await trio.sleep(LOOP_CHECK_SECONDS)
            if self._mailbox.closed:
                for invocation in list(self.under_way):
                    invocation.settle()
        self._watched = False

    async def _give_up(self, invocation: LoopInvocation) -> None:
        """Keep a method from beginning, or cancel it and wait until it has ended."""
        if invocation.claimed.acquire(blocking=False):
            self._never_begun.append((trio.current_time(), invocation.name))
        else:
            await self._cancel(invocation)

    async def _cancel(self, invocation: LoopInvocation) -> None:
        """Cancel a method that has begun, and wait until it has ended, or has had its time for that."""
        invocation.task_cancelled = True
        seconds = invocation.session.limits.cleanup_seconds
        with trio.move_on_after(seconds, shield=True) as timer, suppress(StateError):
            self._post(invocation.cancel_task, invocation.name)
            await self._wait_to_the_end(invocation)
        if timer.cancelled_caught:
            text = "the handler method %r did not end within %g s (Limits.cleanup_seconds) after it was cancelled"
            log(logging.ERROR, f"{text}: it is left to itself", invocation.name, seconds)

    async def _wait_to_the_end(self, invocation: LoopInvocation) -> None:
        # Everything may be ending, and nobody look after the methods any more.
        while not invocation.ended and not self._mailbox.closed:
            with trio.move_on_after(LOOP_CHECK_SECONDS):
                await invocation.wait_ended()


def _explain_closed(name: str) -> StateError:
    return StateError(
        f"cannot run {name!r}: the asyncio loop in which the channel was opened is closed; open the channel in a loop "
        "that goes on running"
    )


class LoopInvocation(Invocation):
    """An invocation whose method runs on an asyncio loop.

    Attributes:
        name: The method's name.
        outcome: What has come of the method; ``None`` while it runs, after it was cancelled from trio, where its loop
            was closed, and when it has been answered.
        ended: Whether trio knows that it has ended, or its loop was closed under it.
        packed: What the method returned, as it is sent; ``None`` where it is none, or cannot be sent.
        task_cancelled: Whether trio has cancelled it.
        claimed: Taken by the loop that begins it, or by trio that cancels it before: a lock says in one step, in any
            thread, who was first. Without it, a cancellation would wait for the busy loop.
    """

    __slots__ = (
        "_args",
        "_future",
        "_handler",
        "_methods",
        "_waiting",
        "claimed",
        "ended",
        "name",
        "outcome",
        "packed",
        "task_cancelled",
    )

    def bind(self, methods: LoopMethods, handler: object, name: str, args: Sequence[Any]) -> None:
        """Say what is to be called, and where. Before that, nothing of it is there."""
        self.begun = True
        self.name: str = name
        self.outcome: outcome.Outcome[Any] | None = None
        self.ended: bool = False
        self.claimed: threading.Lock = threading.Lock()
        self.packed: Packed | None = None
        self.task_cancelled: bool = False
        self._waiting: trio.Event | None = None
        self._methods = methods
        self._handler = handler
        self._args = args if self.stream is None else _bind_stream(args, read_on_loop)
        self._future: asyncio.Future[Any] | None = None

    # In the loop

    def begin(self) -> None:
        """Call the method, and start a Task for what it returns where that can be awaited."""
        if not self.claimed.acquire(blocking=False):
            return
        result: outcome.Outcome[Any]
        try:
            value = find_method(self._handler, self.name)(*self._args)
            if inspect.isawaitable(value):
                self._future = self._ensure_future(value)
                self._future.add_done_callback(self._take)
                return
            result = outcome.Value(value)
        except Exception as error:  # noqa: BLE001 (it is the outcome)
            result = outcome.Error(error)
        except BaseException as error:
            self._end(outcome.Error(self._explain(error)))
            raise
        self._end(result)

    def cancel_task(self) -> None:
        """Cancel the method's Task, where it has one."""
        if self._future is not None:
            self._future.cancel()

    def _ensure_future(self, result: Any) -> asyncio.Future[Any]:
        loop = self._methods.loop
        if inspect.iscoroutine(result):
            return loop.create_task(result, name=f"handler method {self.name!r}")
        future: asyncio.Future[Any] = asyncio.ensure_future(result, loop=loop)
        return future

    def _take(self, future: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._end(outcome.Value(future.result()))
        elif isinstance(error, Exception):
            self._end(outcome.Error(error))
        elif self.task_cancelled and future.cancelled():
            self._end(None)
        else:
            self._end(outcome.Error(self._explain(error)))

    def _explain(self, error: BaseException) -> Exception:
        if isinstance(error, asyncio.CancelledError):
            return MethodCancelledError(f"{self.name!r} was cancelled in Python, by its own program")
        return explain_exit(repr(self.name), error)

    def _end(self, result: outcome.Outcome[Any] | None) -> None:
        self.outcome = result
        answered = False
        portal = self._methods.portal
        try:
            if isinstance(result, outcome.Value):
                self._pack(result.value)
                if self.packed is not None and portal.borrow_step():
                    try:
                        answered = self._answer_without_task()
                    finally:
                        portal.give_step_back()
        finally:
            if not answered:
                portal.post(self.settle)

    def _pack(self, value: object) -> None:
        """Pack what the method has returned, in its own thread: to convert it may take long."""
        try:
            if isinstance(value, AsyncIterable):
                self.outcome = outcome.Value(self._methods.read_result(value))
            elif self.session.alive and not is_stream(value):
                self.packed = _convert(value, self)
        except Exception as error:  # noqa: BLE001 (its task reports it)
            self.outcome = outcome.Error(error)

    # In trio, or in a step of its that the loop's thread has borrowed

    def settle(self) -> None:
        """Answer, now that the method has ended or its loop was closed; or let the task do it, if it needs one."""
        self._methods.under_way.discard(self)
        if self.ended or self.answered:
            return  # Its loop was closed when it had just ended, or an interrupt came behind its answer.
        self.ended = True
        if self._waiting is not None:
            self._waiting.set()
        if not self.attended and not self._answer_without_task():
            assert self.dispatcher is not None
            self.dispatcher.attend(self)

    def _answer_without_task(self) -> bool:
        # What has no room waits for it.
        if self.attended or self.packed is None or not self.session.room.free:
            return False
        self.succeed(self.packed)
        self.release()
        self._methods.under_way.discard(self)
        self.outcome = None
        return True

    async def wait_ended(self) -> None:
        """Wait until trio knows that the method has ended. Cancelling it does nothing else."""
        self._waiting = trio.Event()
        if self.ended:
            self._waiting.set()
        await self._waiting.wait()


LoopMethods.invocation_type = LoopInvocation


class ThreadMethods(BridgedMethods):
    """Runs plain methods in worker threads: for programs that have no loop.

    An iterator that one returns is a stream, and is read in worker threads.
    """

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Run a method in a worker thread, or in trio where it is marked.

        Raises:
            TypeError: The method is an async one, and not marked.
        """
        in_trio = marks.in_use and find_place(handler, name) is Place.TRIO
        run = self._run_in_trio if in_trio else self._run_in_thread
        return await run(invocation, handler, name, args)


def _bind_stream(args: Sequence[Any], read: Callable[[BridgedStream], object]) -> Sequence[Any]:
    """Return the arguments, with the stream in their first place, if there is one, as its reader gets it."""
    if args and isinstance(args[0], BridgedStream):
        return [read(args[0]), *args[1:]]
    return args


def _call_and_convert(call: Callable[[], Any], invocation: Invocation) -> Any:
    """Call a method, and convert what it returns, unless that is a stream."""
    result = call()
    return result if is_stream(result) or isinstance(result, Iterator | ByteStream) else _convert(result, invocation)


def _convert(value: object, invocation: Invocation) -> Packed:
    """Pack what a method has returned.

    Raises:
        UnsendableError: It cannot be sent.
        What the conversion's ``default`` raises.
    """
    try:
        return pack_result(value, invocation.conversion)
    except (TypeError, ValueError) as error:
        raise UnsendableError(error) from error


def _call(handler: object, name: str, args: Sequence[Any]) -> Any:
    try:
        result = find_method(handler, name)(*args)
    except Exception:
        raise
    except BaseException as error:
        raise explain_exit(repr(name), error) from error
    if isinstance(result, AsyncIterable):
        raise TypeError(
            f"{name!r} returned an async iterable, and the worker thread it ran in has no loop to read that in"
        )
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(
        f"{name!r} is an async method, and a worker thread has no loop to run it in: write it with async def for trio, "
        "and mark it with @jchannel.background"
    )
