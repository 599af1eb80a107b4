"""Incoming streams outside of trio, with the core's stream but no connection: the test feeds it."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import trio

from jchannel._bridge.crossing import Operation, in_task, wait_blocking
from jchannel._bridge.incoming import Arrivals, give_to_loop, give_to_threads
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._core.incoming import IncomingStream
from jchannel._protocol.messages import StreamInfo
from jchannel.errors import ClosedError, StateError
from tests.peer_thread import TIMEOUT

T = TypeVar("T")


class Far:
    """The far side of a stream."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.stopped = threading.Event()
        self.stream = wait_blocking(Operation(open_thread_portal(), self._make))
        self.arrivals = Arrivals(self.stream, 20, open_thread_portal())

    def feed(self, *pieces: bytes, end: bool = False) -> None:
        async def feed() -> None:
            for piece in pieces:
                await self.stream.feed(piece)
            if end:
                self.stream.finish()
            await trio.lowlevel.checkpoint()

        wait_blocking(Operation(open_thread_portal(), feed))

    async def _make(self) -> IncomingStream:
        await trio.lowlevel.checkpoint()
        return IncomingStream(StreamInfo(1), begin=self.begun.set, stop=self.stopped.set)


async def in_trio(function: Callable[[], Awaitable[T]]) -> T:
    return await in_task(Operation(open_thread_portal(), function), "")


def test_what_has_arrived_comes_in_one_crossing(monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far()
    crossings: list[Any] = []
    portal = open_thread_portal()
    submit = portal.submit

    def count(traveller: Any) -> None:
        crossings.append(traveller)
        submit(traveller)

    async def program() -> None:
        stream = give_to_loop(far.arrivals)
        monkeypatch.setattr(portal, "submit", count)
        assert [chunk async for chunk in stream] == [b"a", b"b", b"c"]

    far.feed(b"a", b"b", b"c", end=True)
    asyncio.run(program())
    assert len(crossings) == 2  # The second brings the end.
    assert far.stream.begun


def test_a_read_that_is_cancelled_when_it_has_arrived_keeps_it() -> None:
    far = Far()

    async def program() -> None:
        stream = give_to_loop(far.arrivals)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(far.begun.wait, TIMEOUT)
        # The loop is held up meanwhile, so that the arrival and the cancellation come together.
        far.feed(b"kept", end=True)
        wait_blocking(Operation(open_thread_portal(), trio.testing.wait_all_tasks_blocked))
        assert far.arrivals.has_some
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await stream.join() == b"kept"

    asyncio.run(program())


def test_closing_lets_a_reader_go_and_stops_the_source() -> None:
    far = Far()

    async def program() -> None:
        async with give_to_loop(far.arrivals) as stream:
            reading = asyncio.ensure_future(stream.join())
            await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await reading
        assert await asyncio.to_thread(far.stopped.wait, TIMEOUT)

    asyncio.run(program())


@pytest.mark.parametrize("give", [give_to_loop, give_to_threads])
def test_a_stream_that_nobody_has_any_more_is_stopped(give: Callable[[Arrivals], object]) -> None:
    far = Far()
    give(far.arrivals)
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
        stream = give_to_loop(far.arrivals)
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
    stream = give_to_threads(far.arrivals)
    far.feed(b"a", b"b", end=True)
    assert wait_blocking(Operation(open_thread_portal(), stream.give_away().join)) == b"ab"


def test_a_stream_of_threads_that_was_given_away_is_read_nowhere_else() -> None:
    far = Far()
    stream = give_to_threads(far.arrivals)
    stream.give_away()
    with pytest.raises(StateError, match="given away"):
        stream.join()


def test_the_end_of_trio_has_ended_the_stream() -> None:
    far = Far()
    portal = Portal()
    portal.end("all is over")
    arrivals = Arrivals(far.stream, 20, portal)
    arrivals.drop()
    arrivals.abandon()
    assert not far.stopped.is_set()
