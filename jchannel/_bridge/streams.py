"""The streams of a facade: what its user reads outside of trio, and what trio reads of the user's sources.

A read fetches all that has arrived, which the core bounds, in one call. What a call has fetched stays here until it is
taken, so that a read that is cancelled loses nothing.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import outcome
import trio

from jchannel._bridge.call import Call, running_loop, wait_blocking, wait_in_loop
from jchannel._bridge.jobs import Job, Running, TaskJob, start_task
from jchannel._bridge.loop_source import LoopSource
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.portal import Portal
from jchannel._core.incoming import IncomingStream, read_in_trio
from jchannel._core.threads import TrioThreads
from jchannel._streams.blocking import ByteStream, give_away
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import check_source
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._notebook.hearing import Hearing

__all__ = ["BridgedStream", "check_loop_source", "check_thread_source", "read_in_threads", "read_on_loop"]

Args = TypeVarTuple("Args")
T = TypeVar("T")


class BridgedStream(Job[None]):
    """An incoming stream of the core, seen from outside of trio. To fetch what has arrived is a job, whoever reads.

    Args:
        stream: The stream.
        limit: The most seconds that a read waits.
        portal: The way to its trio.
        hearing: What may keep the page from being heard while somebody reads; ``None`` for nothing.

    Attributes:
        portal, hearing: As above.
        total: Its length in bytes, as it was announced.
        threads: Where the blocking code of its reader runs.
    """

    def __init__(self, stream: IncomingStream, limit: float, portal: Portal, hearing: Hearing | None = None) -> None:
        self.portal = portal
        self.total: int | None = stream.total
        self.threads: TrioThreads = stream.threads
        self._stream = stream
        self._limit = limit
        self.hearing = hearing
        # What has been fetched, and nobody has taken: the next bytes, or empty at the end of the stream.
        self._fetched: deque[bytes] = deque()
        self._sent_on = threading.Event()

    def drop(self) -> None:
        """End the stream from any thread: its source is stopped. It may be called again, and never fails."""
        # Never at once: the ``__del__`` of an object of the user's may call this between any two lines of trio.
        self.portal.post_later(self._drop)

    async def aclose(self) -> None:
        """End the stream as ``drop`` does."""
        self.drop()

    # On a loop

    async def receive_on_loop(self) -> bytes:
        """Return the next bytes; empty at the end. Awaited on whichever asyncio loop runs. Cancelling loses nothing."""
        if not self._fetched:
            await wait_in_loop(self)
        return self._fetched.popleft()

    # trio's threads are waited for however often their caller is cancelled, and so is the job.
    def run_short_on_loop(self, function: Callable[[*Args], T], *args: *Args) -> Awaitable[T]:
        """Call a function that ends soon in a worker thread of trio's. Awaited on a loop."""
        return wait_in_loop(TaskJob(self.portal, partial(self.threads.run_short, function, *args)))

    def run_waiting_on_loop(self, function: Callable[[*Args], T], *args: *Args) -> Awaitable[T]:
        """Call a function that may wait for ever in a worker thread of trio's. Awaited on a loop."""
        return wait_in_loop(TaskJob(self.portal, partial(self.threads.run_waiting, function, *args)))

    # In a thread

    async def receive_in_thread(self) -> bytes:
        """Return the next bytes as ``receive_on_loop`` does, and block the thread until they are there.

        In trio it waits when the stream has been sent on.
        """
        if not self._fetched:
            if not self._sent_on.is_set():
                wait_blocking(self)
            elif self.portal.is_here:
                await self.fetch()
            else:
                raise StateError("the stream has been given away to be sent: nobody else can read it")
        return self._fetched.popleft()

    def send_on(self) -> None:
        """From now on only trio reads it, to send it in another request."""
        self._sent_on.set()

    # In trio

    def read_in_trio(self) -> MetaGenerator:
        """Return what reads the stream in trio."""
        return read_in_trio(self._stream, self._limit)

    def start(self, call: Call[None]) -> Running:
        """Fetch what has arrived, at once or in a task that waits for it: the reading has begun from now on."""
        arrived = self._stream.has_arrived
        if not self._stream.begun:
            self._stream.begin()
        if not arrived:
            return start_task(self.portal, self.fetch(), call)
        self._fetched.extend(self._stream.take_arrived())
        call.finish(outcome.Value(None))
        return trio.CancelScope()  # Nothing is left to be cancelled.

    async def fetch(self) -> None:
        """Wait for what arrives, and fetch it. Cancelling it loses nothing.

        Raises:
            As ``IncomingStream.wait_arrived``.
        """
        await self._stream.wait_arrived(self._limit)
        self._fetched.extend(self._stream.take_arrived())

    def _drop(self) -> None:
        if not self.portal.ended:  # Or it has ended with its trio.
            self._stream.drop()


def read_on_loop(stream: BridgedStream) -> MetaGenerator:
    """Return what reads a stream on an asyncio loop, whichever one runs where it is read."""
    return MetaGenerator(
        stream.receive_on_loop,
        stream.aclose,
        stream.run_short_on_loop,
        stream.total,
        run_waiting=stream.run_waiting_on_loop,
        abandon=stream.drop,
    )


def read_in_threads(stream: BridgedStream) -> ByteStream:
    """Return what reads a stream in a thread that waits; and in trio once it is sent on."""
    reader = MetaGenerator(stream.receive_in_thread, stream.aclose, _run_here, stream.total, abandon=stream.drop)
    return ByteStream(reader, on_sending=stream.send_on)


async def _run_here(function: Callable[[*Args], T], *args: *Args) -> T:
    return function(*args)


def check_loop_source(stream: object, portal: Portal) -> object:
    """Check what the user wants to send, and return what trio reads: an async iterable through the present loop.

    What blocks is left to trio's worker threads.

    Raises:
        TypeError, ValueError: It cannot be sent.
    """
    source = check_source(stream)
    if not isinstance(source, AsyncIterable):
        return source
    return LoopSource(source, LoopMailbox.of(running_loop()), portal, contextvars.copy_context())


def check_thread_source(stream: object) -> object:
    """Check what a user without a loop wants to send, and return what trio reads.

    A stream of a channel is read where it comes from, in trio, and all else in worker threads.

    Raises:
        TypeError, ValueError: It cannot be sent.
    """
    if isinstance(stream, ByteStream):
        return give_away(stream)
    source = check_source(stream)
    if isinstance(source, AsyncIterable):
        raise TypeError(
            f"a call that waits has no loop to read an async iterable in: give it an iterable, and not {stream!r}"
        )
    return source
