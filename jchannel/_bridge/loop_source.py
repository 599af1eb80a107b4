"""Sources that run outside of trio: the user's async iterables, which run on an asyncio loop.

Their items are gathered while trio is busy, up to a bound, and taken together.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final

import trio

from jchannel._bridge.mailbox import LOOP_CHECK_SECONDS, LoopClosedError, LoopMailbox, Work
from jchannel._bridge.portal import Portal
from jchannel._core.exits import explain_exit, is_closing
from jchannel._streams.sources import READ_SIZE, Source, close_iterator, gather, to_bytes
from jchannel.errors import StateError

__all__ = ["GATHERED_BYTES", "LoopSource"]

#: How far an async iterable is read ahead of trio, in bytes; the last item may exceed it.
GATHERED_BYTES: Final = 2**20

#: What an item counts beside its bytes when the loop is given time for others: one that is empty takes time, too.
_ITEM_COST: Final = 100


class LoopSource(Source):
    """An async iterable of the user's that runs on its loop, as a source in trio.

    A Task on the loop reads it, from the first read in trio on, in the given context.

    Args:
        stream: The async iterable.
        mailbox: The way to its loop.
        portal: The way to the trio that reads it.
        context: The context in which it runs.
    """

    def __init__(
        self, stream: AsyncIterable[object], mailbox: LoopMailbox, portal: Portal, context: contextvars.Context
    ) -> None:
        super().__init__()
        self._stream = stream
        self._mailbox = mailbox
        self._portal = portal
        self._context = context
        self._started = False
        self._changed = trio.Event()
        # What follows is shared between the threads. The lock is held for as long as the items and the flags of who
        # waits for whom must fit.
        self._lock = threading.Lock()
        self._items: deque[bytes] = deque()
        self._size = 0
        self._trio_waits = False
        self._loop_waits = False
        self._stopping = False
        self._over = False
        self._error: Exception | None = None
        # What follows belongs to the loop.
        self._task: asyncio.Task[None] | None = None
        self._inside = False
        self._room: asyncio.Future[None] | None = None

    # In trio

    async def _next_data(self) -> bytes | None:
        """Return items that came together, up to a chunk; ``None`` when the iterable has ended.

        Raises:
            StateError: Its loop is closed, or it was cancelled by its own side.
            What the iterable raises, after the items before.

        Cancelling it loses nothing.
        """
        if not self._started:
            self._start()
        lost = False
        while True:
            chunk, ended = self._take()
            if chunk:
                return chunk
            if ended:
                if self._error is not None:
                    raise self._error
                return None
            if lost:
                raise _explain_closed()
            # What was put before the loop was closed counts: it is looked for once more.
            lost = await self._wait()

    async def _close(self) -> None:
        """End the iterable: cancel it where it waits, close it, and wait until its ``finally`` has run.

        Of a loop that is closed there is nothing left to end.

        Raises:
            What the iterable raises then.
        """
        if self._drop():
            return
        self._stopping = True
        try:
            if not self._started:
                self._start()
            self._mailbox.post(self._stop)
        except (LoopClosedError, StateError):
            return
        while not self._drop():
            if await self._wait():
                return
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        self._post(self._begin)
        self._started = True

    def _post(self, work: Work) -> None:
        try:
            self._mailbox.post(work)
        except LoopClosedError as error:
            raise _explain_closed() from error

    def _take(self) -> tuple[bytes, bool]:
        """Return what has been gathered, up to a chunk or a single larger item, and whether nothing follows it."""
        with self._lock:
            taken = gather(self._items, READ_SIZE) if self._items else b""
            self._size -= len(taken)
            ended = self._over and not self._items
            self._trio_waits = not taken and not ended
            has_room_again = self._loop_waits and self._size <= GATHERED_BYTES // 2
            if has_room_again:
                self._loop_waits = False
        if has_room_again:
            self._post(self._make_room)
        return taken, ended

    def _drop(self) -> bool:
        """Drop what has been gathered. Return whether nothing more will be; else trio waits for that."""
        with self._lock:
            self._items.clear()
            self._size = 0
            self._trio_waits = not self._over
            return self._over

    async def _wait(self) -> bool:
        """Wait until something has changed. Return whether the loop has been closed, which tells nobody."""
        with trio.move_on_after(LOOP_CHECK_SECONDS):
            await self._changed.wait()
            return False
        return self._mailbox.closed

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # In the loop

    def _begin(self) -> None:
        loop, pulling = asyncio.get_running_loop(), self._pull()
        try:
            self._task = loop.create_task(pulling, name="source of a stream", context=self._context)
        except Exception as error:  # noqa: BLE001 (the loop's task factory is the program's)
            pulling.close()
            self._finish(error)
            return
        # Not its last line: a Task that is cancelled before its first step has none.
        self._task.add_done_callback(self._end)

    async def _pull(self) -> None:
        iterator = aiter(self._stream)
        try:
            await self._pull_items(iterator)
        finally:
            await close_iterator(iterator)

    async def _pull_items(self, iterator: AsyncIterator[object]) -> None:
        unrested = 0
        while not self._stopping:
            self._inside = True
            try:
                item = await iterator.__anext__()  # Not `anext`: as in `sources`.
            except StopAsyncIteration:
                return
            finally:
                self._inside = False
            data = to_bytes(item)
            if data and not self._put(data):
                self._room = asyncio.get_running_loop().create_future()
                await self._room
                unrested = 0
            unrested += len(data) + _ITEM_COST
            if unrested >= READ_SIZE:
                # An iterable that never waits would keep the loop from everything else.
                await asyncio.sleep(0)
                unrested = 0

    def _put(self, data: bytes) -> bool:
        """Put an item where trio takes it. Return whether there is room for more."""
        with self._lock:
            self._items.append(data)
            self._size += len(data)
            self._loop_waits = self._size >= GATHERED_BYTES and not self._stopping
            notify, self._trio_waits = self._trio_waits, False
            has_room = not self._loop_waits
        if notify:
            self._portal.post(self._notify)
        return has_room

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _stop(self) -> None:
        self._make_room()
        if self._inside:
            assert self._task is not None
            self._task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if task.cancelled() and not self._stopping:
            error = StateError("the source of the stream was cancelled in Python, by its own program")
        elif error is not None and not isinstance(error, Exception):
            error = None if is_closing(error) else explain_exit("the source of the stream", error)
        self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        """Note that the iterable has ended, in the Task's last step or before its first."""
        with self._lock:
            self._error, self._over = error, True
            notify, self._trio_waits = self._trio_waits, False
        if notify:
            self._portal.post(self._notify)


def _explain_closed() -> StateError:
    return StateError("the asyncio loop on which the source of the stream runs is closed")
