"""Incoming streams outside of trio, with the core's stream but no connection: the test feeds it."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import pytest
import trio

from jchannel._bridge.call import in_task, wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._bridge.streams import BridgedStream, read_in_threads, read_on_loop
from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelTally
from jchannel._core.stream import Stream
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.threads import TrioThreads
from jchannel._protocol.messages import StreamInfo
from jchannel._streams.blocking import give_away
from jchannel.errors import ClosedError, StateError
from tests.peer_thread import TIMEOUT

T = TypeVar("T")


class Far:
    """The far side of a stream."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.stopped = threading.Event()
        self.threads = TrioThreads(Limits())
        self.stream = wait_blocking(TaskJob(open_thread_portal(), self._make))
        self.bridged = BridgedStream(self.stream, 20, open_thread_portal())

    def feed(self, *pieces: bytes, end: bool = False) -> None:
        async def feed() -> None:
            for piece in pieces:
                await self.stream.feed(piece)
            if end:
                self.stream.finish()
            await trio.lowlevel.checkpoint()

        wait_blocking(TaskJob(open_thread_portal(), feed))

    async def _make(self) -> IncomingStream:
        await trio.lowlevel.checkpoint()
        return IncomingStream(
            StreamInfo(1), cast("Session", self), "a stream", [ChannelTally()], cast("StreamRegistry", self)
        )

    # In place of its session, and of what it is entered in

    def begin_stream(self, stream: IncomingStream) -> None:
        self.begun.set()

    def stop_stream(self, number: int) -> None:
        self.stopped.set()

    def retire(self, stream: Stream) -> None:
        """Takes it out of nothing."""

    def forget(self, stream: Stream) -> None:
        """Takes it out of nothing."""


async def in_trio(function: Callable[[], Awaitable[T]]) -> T:
    return await in_task(TaskJob(open_thread_portal(), function), "")


def test_what_has_arrived_comes_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far()
    submissions: list[Any] = []
    portal = open_thread_portal()
    submit = portal.submit

    def count(submission: Any) -> None:
        submissions.append(submission)
        submit(submission)

    async def program() -> None:
        stream = read_on_loop(far.bridged)
        monkeypatch.setattr(portal, "submit", count)
        assert [chunk async for chunk in stream] == [b"a", b"b", b"c"]

    far.feed(b"a", b"b", b"c", end=True)
    asyncio.run(program())
    assert len(submissions) == 1  # It brings the end, too.
    assert far.stream.begun


def test_a_read_that_is_cancelled_when_it_has_arrived_keeps_it() -> None:
    far = Far()

    async def program() -> None:
        stream = read_on_loop(far.bridged)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(far.begun.wait, TIMEOUT)
        # The loop is held up meanwhile, so that the arrival and the cancellation come together.
        far.feed(b"kept", end=True)
        wait_blocking(TaskJob(open_thread_portal(), trio.testing.wait_all_tasks_blocked))
        assert far.bridged._fetched
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await stream.join() == b"kept"

    asyncio.run(program())


def test_closing_lets_a_reader_go_and_stops_the_source() -> None:
    far = Far()

    async def program() -> None:
        async with read_on_loop(far.bridged) as stream:
            reading = asyncio.ensure_future(stream.join())
            await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await reading
        assert await asyncio.to_thread(far.stopped.wait, TIMEOUT)

    asyncio.run(program())


@pytest.mark.parametrize("read", [read_on_loop, read_in_threads])
def test_a_stream_that_nobody_has_any_more_is_stopped(read: Callable[[BridgedStream], object]) -> None:
    far = Far()
    read(far.bridged)
    gc.collect()
    assert far.stopped.wait(TIMEOUT)


def test_writing_waits_for_the_worker_thread_when_it_is_cancelled() -> None:
    far = Far()
    writing, let_go = threading.Event(), threading.Event()
    written: list[bytes] = []

    class File:
        def write(self, data: bytes) -> None:
            writing.set()
            assert let_go.wait(TIMEOUT)
            written.append(bytes(data))

    async def program() -> None:
        stream = read_on_loop(far.bridged)
        task = asyncio.ensure_future(stream.write_to(File()))
        assert await asyncio.to_thread(writing.wait, TIMEOUT)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert written == [b"data"]

    far.feed(b"data", end=True)
    asyncio.run(program())


def test_a_stream_of_threads_is_read_in_trio_when_it_is_given_away() -> None:
    far = Far()
    stream = read_in_threads(far.bridged)
    far.feed(b"a", b"b", end=True)
    assert wait_blocking(TaskJob(open_thread_portal(), give_away(stream).join)) == b"ab"


def test_a_stream_of_threads_that_was_given_away_is_read_nowhere_else() -> None:
    far = Far()
    stream = read_in_threads(far.bridged)
    give_away(stream)
    with pytest.raises(StateError, match="given away"):
        stream.join()


def test_the_end_of_trio_has_ended_the_stream() -> None:
    far = Far()
    portal = Portal()
    portal.end("all is over")
    bridged = BridgedStream(far.stream, 20, portal)
    bridged.drop()
    assert not far.stopped.is_set()
