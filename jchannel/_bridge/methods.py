"""Running the methods of a handler where its owner lives: on an asyncio loop, or in worker threads.

Those that are marked ``@jchannel.background`` run beside the loop: plain ones in worker threads, async ones in trio.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import outcome
import trio

from jchannel._bridge.held_up import HeldUp
from jchannel._bridge.incoming import Arrivals, give_to_loop, give_to_threads
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox, Work
from jchannel._bridge.marks import Place, find_place
from jchannel._bridge.outgoing import LoopSource
from jchannel._bridge.portal import Portal
from jchannel._core.handlers import MethodCancelledError, find_method, invoke
from jchannel._core.invocation import carry, running_call
from jchannel._streams.blocking import ByteStream
from jchannel._streams.sources import open_source
from jchannel.errors import StateError

__all__ = ["LoopMethods", "Methods", "ThreadMethods"]

#: A loop that is closed tells nobody. While a method runs on one, it is looked at once in this many seconds.
LOOP_CHECK_SECONDS: Final = 1.0


class Methods(ABC):
    """Runs the methods of a channel's handler."""

    async def run(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Runs a method and gives its result. Called in trio.

        Cancelling it cancels an async method, and does not wait for a worker thread, whose result is dropped.

        Args:
            handler: The handler.
            name: The method's name.
            args: Its arguments. An ``Arrivals`` in the first place becomes a stream that can be read where it runs.

        Raises:
            NothingToCallError: There is nothing to call under that name.
            What the method raises.
        """
        place = find_place(handler, name)
        if place is Place.THREAD:
            return await self._run_in_thread(handler, name, args)
        if place is Place.TRIO:
            return await _run_in_trio(handler, name, args)
        return await self._run_at_home(handler, name, args)

    def watch(self, held_up: HeldUp) -> None:  # noqa: B027 (where methods need no loop, nothing holds them up)
        """Tells it, from now on, of the methods that wait for a loop that its thread holds up. Called in trio."""

    def unwatch(self, held_up: HeldUp) -> None:  # noqa: B027 (as above)
        """Tells it no more. Called in trio."""

    @abstractmethod
    async def _run_at_home(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Runs a method that is not marked."""

    async def _run_in_thread(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        args = _give_stream(args, give_to_threads)
        result = await trio.to_thread.run_sync(self._call, handler, name, args, abandon_on_cancel=True)
        if isinstance(result, ByteStream):
            return result.give_away()
        if isinstance(result, Iterator) and not isinstance(result, io.IOBase):
            return await open_source(result, trio.to_thread.run_sync)
        return result

    def _call(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        return _call(handler, name, args)


class LoopMethods(Methods):
    """Runs methods on an asyncio loop: sync ones as its callbacks, async ones as its Tasks.

    They run in a copy of the context in which this object was made, and so do those in worker threads. An async
    iterable that one returns runs on the loop, too.

    Args:
        loop: The loop, which runs in the present thread.
        portal: The way to the trio in which ``run`` is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, portal: Portal) -> None:
        self._loop = loop
        self._mailbox = LoopMailbox.of(loop)
        self._portal = portal
        self._context = contextvars.copy_context()
        self._thread = threading.get_ident()
        self._methods: set[_MethodOnLoop] = set()
        self._watched = False
        self._held_up: set[HeldUp] = set()

    def watch(self, held_up: HeldUp) -> None:
        """As the base class's."""
        if held_up.thread == self._thread:
            self._held_up.add(held_up)
            for method in self._methods:
                held_up.add(method)

    def unwatch(self, held_up: HeldUp) -> None:
        """As the base class's."""
        self._held_up.discard(held_up)

    async def _run_at_home(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """As the base class's.

        Cancelling it cancels an async method and waits until that has ended; a sync one cannot be cancelled once it
        has begun. One that has not begun never does, and nothing is waited for.

        Raises:
            StateError: The loop is closed.
            MethodCancelledError: The method was cancelled by its own side.
        """
        args = _give_stream(args, give_to_loop)
        method = _MethodOnLoop(self._loop, self._portal, handler, name, args)
        context = self._context.copy()
        context.run(carry, running_call())
        self._post(partial(context.run, method.start), name)
        self._methods.add(method)
        self._watch_loop()
        for held_up in self._held_up:
            held_up.add(method)
        try:
            await method.ended.wait()
        except trio.Cancelled:
            if method.claim():
                raise
            method.cancelled = True
            with trio.CancelScope(shield=True), suppress(StateError):
                self._post(method.cancel, name)
                await self._wait_to_the_end(method)
            if method.result is None:
                raise
        finally:
            self._methods.discard(method)
        if method.result is None:
            raise _explain_closed(name)
        result = method.unwrap()
        if isinstance(result, AsyncIterable):
            return LoopSource(result, self._mailbox, self._portal, context)
        return result

    def _call(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        return self._context.copy().run(_call, handler, name, args)

    def _post(self, work: Work, name: str) -> None:
        try:
            self._mailbox.post(work)
        except LoopClosedError as error:
            raise _explain_closed(name) from error

    def _watch_loop(self) -> None:
        """Has methods hear that their loop is closed, which tells nobody. A timer for all is cheaper than one each."""
        if not self._watched:
            self._watched = True
            self._portal.start_soon(self._look_after_methods)

    async def _look_after_methods(self) -> None:
        while self._methods:
            await trio.sleep(LOOP_CHECK_SECONDS)
            if self._mailbox.closed:
                for method in self._methods:
                    method.ended.set()
        self._watched = False

    async def _wait_to_the_end(self, method: _MethodOnLoop) -> None:
        # Everything may be ending, and nobody look after the methods any more.
        while not method.ended.is_set() and not self._mailbox.closed:
            with trio.move_on_after(LOOP_CHECK_SECONDS):
                await method.ended.wait()


def _explain_closed(name: str) -> StateError:
    return StateError(
        f"cannot run {name!r}: the asyncio loop in which the channel was opened is closed; open the channel in a loop "
        "that goes on running"
    )


class _MethodOnLoop:
    """A method that runs on an asyncio loop.

    Attributes:
        name: Its name.
        ended: Set in trio, when the method has ended, or its loop was closed under it.
        result: Its outcome; ``None`` while it runs, after it was cancelled from trio, and where its loop was closed.
        cancelled: Whether trio has cancelled it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, portal: Portal, handler: object, name: str, args: Sequence[Any]
    ) -> None:
        self.name = name
        self.ended = trio.Event()
        self.result: outcome.Outcome[Any] | None = None
        self.cancelled = False
        self._loop = loop
        self._portal = portal
        self._handler = handler
        self._args = args
        self._future: asyncio.Future[Any] | None = None
        # Taken by the loop that begins it, or by trio that cancels it before: a lock says in one step who was first.
        self._claimed = threading.Lock()

    @property
    def begun(self) -> bool:
        """Whether it has begun, or was cancelled before."""
        return self._claimed.locked()

    def claim(self) -> bool:
        """Decides that it begins, or that it never does. Says whether that was still open. Safe in any thread."""
        return self._claimed.acquire(blocking=False)

    # In trio

    def unwrap(self) -> Any:
        """The method's result, or its exception raised."""
        assert self.result is not None
        return self.result.unwrap()

    # In the loop

    def start(self) -> None:
        """Calls the method, and starts a Task for what it gives where that can be awaited."""
        if not self.claim():
            return
        try:
            result = find_method(self._handler, self.name)(*self._args)
            if inspect.isawaitable(result):
                self._future = self._ensure_future(result)
                self._future.add_done_callback(self._take)
            else:
                self._end(outcome.Value(result))
        except Exception as error:  # noqa: BLE001 (it is the outcome)
            self._end(outcome.Error(error))
        except BaseException as error:
            self._end(outcome.Error(self._explain(error)))
            raise

    def cancel(self) -> None:
        """Cancels the method's Task, where it has one."""
        if self._future is not None:
            self._future.cancel()

    def _ensure_future(self, result: Any) -> asyncio.Future[Any]:
        if inspect.iscoroutine(result):
            return self._loop.create_task(result, name=f"handler method {self.name!r}")
        future: asyncio.Future[Any] = asyncio.ensure_future(result, loop=self._loop)
        return future

    def _take(self, future: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._end(outcome.Value(future.result()))
        elif isinstance(error, Exception):
            self._end(outcome.Error(error))
        elif self.cancelled and future.cancelled():
            self._end(None)
        else:
            self._end(outcome.Error(self._explain(error)))

    def _explain(self, error: BaseException) -> Exception:
        if isinstance(error, asyncio.CancelledError):
            return MethodCancelledError(f"{self.name!r} was cancelled in Python, by its own program")
        return _explain_exit(self.name, error)

    def _end(self, result: outcome.Outcome[Any] | None) -> None:
        self.result = result
        self._portal.post(self.ended.set)


class ThreadMethods(Methods):
    """Runs plain methods in worker threads: for programs that have no loop.

    An iterator that one returns is a stream, and is read in worker threads.
    """

    async def _run_at_home(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """As the base class's.

        Raises:
            TypeError: The method is an async one.
        """
        return await self._run_in_thread(handler, name, args)


async def _run_in_trio(handler: object, name: str, args: Sequence[Any]) -> Any:
    try:
        return await invoke(handler, name, _give_stream(args, Arrivals.give_to_trio))
    except BaseException as error:
        if _ends_more_than_a_task(error):
            raise _explain_exit(name, error) from error
        raise


def _ends_more_than_a_task(error: BaseException) -> bool:
    usual = Exception, trio.Cancelled, GeneratorExit
    if isinstance(error, BaseExceptionGroup):
        return error.split(usual)[1] is not None
    return not isinstance(error, usual)


def _give_stream(args: Sequence[Any], give: Callable[[Arrivals], object]) -> Sequence[Any]:
    """The arguments, with the stream in their first place, if there is one, as who reads it gets it."""
    if args and isinstance(args[0], Arrivals):
        return [give(args[0]), *args[1:]]
    return args


def _call(handler: object, name: str, args: Sequence[Any]) -> Any:
    try:
        result = find_method(handler, name)(*args)
    except Exception:
        raise
    except BaseException as error:
        raise _explain_exit(name, error) from error
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


def _explain_exit(name: str, error: BaseException) -> StateError:
    # In trio, an exception that is no Exception ends more than the call.
    return StateError(f"{name!r} has ended with {type(error).__name__}, which is meant for its own program")
