"""Watching the page and a channel from outside of trio: by iteration on a loop, and by a function that is called."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio

from jchannel._bridge.call import wait_in_loop
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox
from jchannel._bridge.portal import Portal
from jchannel._core.threads import TrioThreads
from jchannel._core.watch import Board, Watch
from jchannel._guarded import is_async, log
from jchannel.errors import StateError

__all__ = ["Listening", "LoopWatch", "check_callback"]

S = TypeVar("S")

#: How often it is looked whether the loop of a function that has not returned was closed, in seconds.
_LOOK_SECONDS: Final = 1


class LoopWatch(Watch[S]):
    """Iterates over the states of a board on an asyncio loop, the present one first. It need not be closed.

    Args:
        board: The board.
        portal: The way to its trio.
    """

    def __init__(self, board: Board[S], portal: Portal) -> None:
        super().__init__(board)
        self._portal = portal

    def _wait(self) -> Awaitable[tuple[int, S] | None]:
        return wait_in_loop(TaskJob(self._portal, super()._wait))


class Listening:
    """A function that is called with each state. ``listen`` of a server and of a channel make it.

    ``close`` ends it, and so does leaving a ``with`` block. Otherwise it lasts as long as what it listens to.
    """

    def __init__(
        self,
        callback: Callable[[Any], object],
        board: Board[Any],
        portal: Portal,
        where: LoopMailbox | TrioThreads,
    ) -> None:
        self._callback = callback
        self._portal = portal
        #: Where the function is called: on an asyncio loop, or in worker threads.
        self._where = where
        self._closed = False
        self._scope: trio.CancelScope | None = None
        self._context = contextvars.copy_context()
        portal.post(partial(self._start, board))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Call the function no more. One call may still run in a worker thread. Closing it again does nothing."""
        self._closed = True
        self._portal.post(self._stop)

    # In trio

    def _start(self, board: Board[Any]) -> None:
        if not self._portal.ended:
            self._portal.start_soon(self._run, board)

    def _stop(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, board: Board[Any]) -> None:
        self._scope = trio.CancelScope()
        seen = -1
        with self._scope:
            while not self._closed:
                news = await board.wait_after(seen)
                if news is None:
                    return
                seen, status = news
                if isinstance(self._where, LoopMailbox):
                    await self._call_on_loop(self._where, status)
                else:
                    await self._call_in_thread(self._where, status)

    async def _call_in_thread(self, threads: TrioThreads, status: object) -> None:
        try:
            await threads.run_waiting(self._call_to_its_end, status, abandon_on_cancel=True)
        except StateError as error:  # There is no thread left for it: the next state may find one.
            log(logging.ERROR, "a function that listens to states could not be called", error=error)

    async def _call_on_loop(self, mailbox: LoopMailbox, status: object) -> None:
        returned = trio.Event()
        try:
            mailbox.post(partial(self._call_and_tell, status, returned))
        except LoopClosedError:
            self._closed = True
            return
        # A loop that is closed drops what waits in it, and tells nobody.
        while not returned.is_set() and not self._closed:
            with trio.move_on_after(_LOOK_SECONDS) as timer:
                await returned.wait()
            if timer.cancelled_caught and mailbox.closed:
                self._closed = True

    # Where the user's function lives

    def _call_to_its_end(self, status: object) -> None:
        with suppress(BaseException):  # In trio it would end more than the call.
            self._call(status)

    def _call_and_tell(self, status: object, returned: trio.Event) -> None:
        try:
            self._call(status)
        finally:
            self._portal.post(returned.set)

    def _call(self, status: object) -> None:
        """Call the function, unless this was closed. An exception that it raises is logged, and ends nothing."""
        if self._closed:
            return
        try:
            self._context.copy().run(self._callback, status)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "a function that listens to states raised", error=error)


def check_callback(callback: object) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: It is not callable.
    """
    if not callable(callback) or is_async(callback):
        raise TypeError(f"what listens must be a function, and no async one, and not {callback!r}")
