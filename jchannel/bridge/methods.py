"""Running the methods of a handler where its owner lives: on an asyncio loop, or in worker threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import outcome
import trio

from jchannel.bridge.mailbox import LoopClosedError, LoopMailbox, Work
from jchannel.bridge.outgoing import LoopSource
from jchannel.bridge.portal import Portal
from jchannel.bytestream import ByteStream
from jchannel.errors import StateError
from jchannel.sources import open_source
from jchannel.trio.handlers import MethodCancelledError, find_method
from jchannel.trio.running_call import carry, running_call

__all__ = ["LoopMethods", "Methods", "ThreadMethods"]

#: A loop that is closed tells nobody. While a method runs on one, it is looked at once in this many seconds.
LOOP_CHECK_SECONDS: Final = 1.0


class Methods(ABC):
    """Runs the methods of a channel's handler."""

    @abstractmethod
    async def run(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Runs a method and gives its result. Called in trio.

        Raises:
            NothingToCallError: There is nothing to call under that name.
            What the method raises.
        """


class LoopMethods(Methods):
    """Runs methods on an asyncio loop: sync ones as its callbacks, async ones as its Tasks.

    They run in a copy of the context in which this object was made. An async iterable that one returns runs there, too.

    Args:
        loop: The loop, which runs in the present thread.
        portal: The way to the trio in which ``run`` is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, portal: Portal) -> None:
        self._loop = loop
        self._mailbox = LoopMailbox.of(loop)
        self._portal = portal
        self._context = contextvars.copy_context()

    async def run(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """As the base class's.

        Cancelling it cancels an async method and waits until that has ended; a sync one cannot be cancelled once it
        has begun.

        Raises:
            StateError: The loop is closed.
            MethodCancelledError: The method was cancelled by its own side.
        """
        method = _MethodOnLoop(self._loop, self._portal, handler, name, args)
        context = self._context.copy()
        context.run(carry, running_call())
        self._post(partial(context.run, method.start), name)
        try:
            await self._wait(method)
        except trio.Cancelled:
            method.cancelled = True
            with trio.CancelScope(shield=True), suppress(StateError):
                self._post(method.cancel, name)
                await self._wait(method)
            if method.result is None:
                raise
        result = method.unwrap()
        if isinstance(result, AsyncIterable):
            return LoopSource(result, self._mailbox, self._portal, context)
        return result

    def _post(self, work: Work, name: str) -> None:
        try:
            self._mailbox.post(work)
        except LoopClosedError as error:
            raise _explain_closed(name) from error

    async def _wait(self, method: _MethodOnLoop) -> None:
        while not method.ended.is_set():
            with trio.move_on_after(LOOP_CHECK_SECONDS):
                await method.ended.wait()
            if self._mailbox.closed and not method.ended.is_set():
                raise _explain_closed(method.name)


def _explain_closed(name: str) -> StateError:
    return StateError(
        f"cannot run {name!r}: the asyncio loop in which the channel was opened is closed; open the channel in a loop "
        "that goes on running"
    )


class _MethodOnLoop:
    """A method that runs on an asyncio loop.

    Attributes:
        name: Its name.
        ended: Set in trio, when the method has ended.
        result: Its outcome; ``None`` while it runs and after it was cancelled from trio.
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

    # In trio

    def unwrap(self) -> Any:
        """The method's result, or its exception raised."""
        assert self.result is not None
        return self.result.unwrap()

    # In the loop

    def start(self) -> None:
        """Calls the method, and starts a Task for what it gives where that can be awaited."""
        if self.cancelled:
            self._end(None)
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

    async def run(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """As the base class's.

        Cancelling it returns at once: a thread cannot be cancelled, so the method runs on, and its result is dropped.

        Raises:
            TypeError: The method is an async one.
        """
        result = await trio.to_thread.run_sync(_call, handler, name, args, abandon_on_cancel=True)
        if isinstance(result, ByteStream):
            return result.give_away()
        if isinstance(result, Iterator) and not isinstance(result, io.IOBase):
            return await open_source(result, trio.to_thread.run_sync)
        return result


def _call(handler: object, name: str, args: Sequence[Any]) -> Any:
    try:
        result = find_method(handler, name)(*args)
    except Exception:
        raise
    except BaseException as error:
        raise _explain_exit(name, error) from error
    if isinstance(result, AsyncIterable):
        raise TypeError(
            f"{name!r} returned an async iterable, and a channel of jchannel.sync has no loop to read it in"
        )
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(f"{name!r} is an async method, and a channel of jchannel.sync has no loop to run it in")


def _explain_exit(name: str, error: BaseException) -> StateError:
    # In trio, an exception that is no Exception ends more than the call.
    return StateError(f"{name!r} has ended with {type(error).__name__}, which is meant for its own program")
