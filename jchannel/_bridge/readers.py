"""Incoming streams, as they are read outside of trio: on an asyncio loop, or in a thread that waits.

A read fetches all that has arrived, which the core bounds, in one call. What a call has fetched stays here until it is
taken, so that a read that is cancelled loses nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

import trio

from jchannel._bridge.call import wait_blocking, wait_in_loop
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.portal import Portal
from jchannel._core.incoming import IncomingStream, read_in_trio
from jchannel._core.threads import TrioThreads
from jchannel._streams.blocking import ByteStream
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import StateError

__all__ = ["BridgedStream", "read_in_threads", "read_on_loop"]

Args = TypeVarTuple("Args")
T = TypeVar("T")


class BridgedStream:
    """An incoming stream of the core, seen from outside of trio.

    Args:
        stream: The stream.
        limit: The most seconds that a read waits.
        portal: The way to its trio.

    Attributes:
        portal: As above.
        total: Its length in bytes, as it was announced.
        threads: Where the blocking code of its reader runs.
        fetched: What has been fetched, and nobody has taken: the next bytes, or empty at the end of the stream.
    """

    def __init__(self, stream: IncomingStream, limit: float, portal: Portal) -> None:
        self.portal = portal
        self.total: int | None = stream.total
        self.threads: TrioThreads = stream.threads
        self._stream = stream
        self._limit = limit
        self.fetched: deque[bytes] = deque()

    def drop(self) -> None:
        """End the stream from any thread: its source is stopped. It may be called again, and never fails."""
        # Never at once: the ``__del__`` of an object of the user's may call this between any two lines of trio.
        self.portal.post_later(self._drop)

    # In trio

    def read_in_trio(self) -> MetaGenerator:
        """Return what reads the stream in trio."""
        return read_in_trio(self._stream, self._limit)

    def fetch(self) -> Awaitable[None]:
        """Begin to fetch what has arrived, and return what waits for it: the reading has begun from now on.

        Cancelling it loses nothing. It raises ``trio.TooSlowError`` when nothing arrives within the limit, and the
        error that ended the stream.
        """
        if not self._stream.begun:
            self._stream.begin()
        return self._fetch()

    async def _fetch(self) -> None:
        with trio.move_on_after(self._limit):
            data = await self._stream.receive()
            self.fetched.append(data)
            if data:
                self.fetched.extend(self._stream.take_arrived())
            return
        raise trio.TooSlowError(f"no part of the stream arrived within {self._limit:g} s")

    def _drop(self) -> None:
        if not self.portal.ended:  # Or it has ended with its trio.
            self._stream.drop()


def read_on_loop(bridged: BridgedStream) -> MetaGenerator:
    """Return what reads a stream on an asyncio loop, whichever one runs where it is read."""

    async def receive() -> bytes:
        if not bridged.fetched:
            await wait_in_loop(TaskJob(bridged.portal, bridged.fetch))
        return bridged.fetched.popleft()

    async def aclose() -> None:
        bridged.drop()

    # trio's threads are waited for however often their caller is cancelled, and so is the job.
    def run_short(function: Callable[[*Args], T], *args: *Args) -> Awaitable[T]:
        return wait_in_loop(TaskJob(bridged.portal, partial(bridged.threads.run_short, function, *args)))

    def run_waiting(function: Callable[[*Args], T], *args: *Args) -> Awaitable[T]:
        return wait_in_loop(TaskJob(bridged.portal, partial(bridged.threads.run_waiting, function, *args)))

    return MetaGenerator(receive, aclose, run_short, bridged.total, run_waiting=run_waiting, abandon=bridged.drop)


def read_in_threads(bridged: BridgedStream) -> ByteStream:
    """Return what reads a stream in a thread that waits; and in trio once it is sent on."""
    sent_on = threading.Event()

    async def receive() -> bytes:
        if not bridged.fetched:
            if not sent_on.is_set():
                wait_blocking(TaskJob(bridged.portal, bridged.fetch))
            elif bridged.portal.is_here:
                await bridged.fetch()
            else:
                raise StateError("the stream has been given away to be sent: nobody else can read it")
        return bridged.fetched.popleft()

    async def aclose() -> None:
        bridged.drop()

    async def run_sync(function: Callable[[*Args], T], *args: *Args) -> T:
        return function(*args)

    stream = MetaGenerator(receive, aclose, run_sync, bridged.total, abandon=bridged.drop)
    return ByteStream(stream, on_sending=sent_on.set)
