"""A call that may have run is sent once, whatever becomes of it: whether to send it again is its caller's decision."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

import pytest
import trio
import trio.testing

from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, FrontendError, PageLostError
from jchannel.trio import Channel, Limits
from tests.core.internals import begin_call, lose_page, lose_peer
from tests.core.memory import MemoryServer, open_memory_server


class Counter:
    """Counts how often each of its methods has begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.reached = trio.Event()

    def add(self, a: int, b: int) -> int:
        self.begun.append("add")
        return a + b

    async def hang(self) -> None:
        self.begun.append("hang")
        self.reached.set()
        await trio.sleep_forever()

    def fail(self) -> None:
        self.begun.append("fail")
        raise ValueError("it was asked to")

    async def read(self, stream: MetaGenerator) -> None:
        self.begun.append("read")
        await anext(stream)
        self.reached.set()
        await stream.join()


#: A page comes back by itself within seconds; so much later it has had every chance to send something again.
LONG = 1_000


class Pages:
    """Pages with one handler, which come and go."""

    def __init__(self, memory: MemoryServer) -> None:
        self.memory = memory
        self.handler = Counter()
        self._leave = trio.Event()
        self._left = trio.Event()

    async def hold(self, *, task_status: trio.TaskStatus[None]) -> None:
        """A page that is lost without a word when it is told to go."""
        leave, left = self._leave, self._left = trio.Event(), trio.Event()
        try:
            async with self.memory.open_peer(self.handler, client="page") as peer:
                await peer.wait_channel()
                await trio.testing.wait_all_tasks_blocked()  # The server has heard that its channel is open.
                task_status.started()
                await leave.wait()
                lose_peer(peer)
                await peer.wait_ended()
        finally:
            left.set()

    async def lose(self) -> None:
        """Loses the page that is there."""
        self._leave.set()
        await self._left.wait()


async def open_in_background(channel: Channel, nursery: trio.Nursery) -> None:
    nursery.start_soon(channel.open, None)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_call_whose_page_is_lost_is_not_sent_to_the_page_that_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as nursery:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)

            async def call() -> None:
                with pytest.raises(PageLostError, match="It may have run; it is not sent again"):
                    await channel.call("hang", timeout=None)

            nursery.start_soon(call)
            await pages.handler.reached.wait()
            await pages.lose()
            await nursery.start(pages.hold)
            assert await channel.call("add", 1, 2) == 3
            await trio.sleep(LONG)
            await pages.lose()
        assert pages.handler.begun == ["hang", "add"]


async def test_a_call_that_was_not_sent_goes_to_the_page_that_comes_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as nursery:
            pages = Pages(memory)
            await open_in_background(channel, nursery)

            async def call() -> None:
                assert await channel.call("add", 1, 2, timeout=None) == 3

            nursery.start_soon(call)
            await trio.sleep(LONG)
            assert pages.handler.begun == []
            for _ in range(2):
                await nursery.start(pages.hold)
                await trio.sleep(LONG)
                await pages.lose()
        assert pages.handler.begun == ["add"]


async def test_a_call_that_had_left_but_did_not_arrive_is_not_sent_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server(limits=Limits(send_buffer_bytes=1)) as memory:
        async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)

            async def wait(value: Awaitable[object]) -> None:
                assert await value == 7

            # The first is with the link, the second in the buffer, the third in line, and the connection is lost now.
            lost = [begin_call(channel, name, timeout=None) for name in ("hang", "fail")]
            nursery.start_soon(wait, begin_call(channel, "add", 3, 4, timeout=None))
            lose_page(memory.server)
            for one in lost:
                with pytest.raises(PageLostError, match="It may have run; it is not sent again"):
                    await one
            await pages.lose()
            await nursery.start(pages.hold)
            await trio.sleep(LONG)
            await pages.lose()
        # What the link had may have arrived before it was lost.
        assert pages.handler.begun in (["add"], ["hang", "add"])


async def test_a_call_that_was_too_slow_is_not_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code") as channel:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)
            with pytest.raises(trio.TooSlowError, match="was not answered within 1 s"):
                await channel.call("hang", timeout=1)
            await trio.sleep(LONG)
            await pages.lose()
            await nursery.start(pages.hold)
            await trio.sleep(LONG)
            await pages.lose()
        assert pages.handler.begun == ["hang"]


async def test_a_call_that_was_cancelled_is_not_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code") as channel:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)
            with trio.move_on_after(1):
                await channel.call("hang", timeout=None)
            await pages.lose()
            await nursery.start(pages.hold)
            await trio.sleep(LONG)
            await pages.lose()
        assert pages.handler.begun == ["hang"]


async def test_a_call_that_has_failed_is_not_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code") as channel:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)
            with pytest.raises(FrontendError, match="it was asked to"):
                await channel.call("fail")
            await pages.lose()
            await nursery.start(pages.hold)
            await trio.sleep(LONG)
            await pages.lose()
        assert pages.handler.begun == ["fail"]


async def test_a_call_that_ended_with_its_channel_is_not_sent_when_that_opens_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code") as channel:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)

            async def call() -> None:
                with pytest.raises(ClosedError):
                    await channel.call("hang", timeout=None)

            nursery.start_soon(call)
            await pages.handler.reached.wait()
            await channel.close()
            await channel.open()
            await trio.sleep(LONG)
            await pages.lose()
        assert pages.handler.begun == ["hang"]


async def test_a_stream_whose_page_is_lost_is_read_and_sent_once(autojump_clock: trio.testing.MockClock) -> None:
    given: list[int] = []

    async def source() -> AsyncIterator[bytes]:
        for number in range(1_000):
            given.append(number)
            await trio.sleep(1)
            yield bytes(50_000)

    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as nursery:
            pages = Pages(memory)
            await open_in_background(channel, nursery)
            await nursery.start(pages.hold)

            async def call() -> None:
                with pytest.raises(PageLostError):
                    await channel.call_with_stream("read", source(), timeout=None)

            nursery.start_soon(call)
            await pages.handler.reached.wait()
            await pages.lose()
            await nursery.start(pages.hold)
            await trio.sleep(LONG)
            await pages.lose()
        assert pages.handler.begun == ["read"]
        assert given == list(range(len(given)))
        assert len(given) < 1_000


async def test_a_call_of_the_page_is_not_sent_again_either(autojump_clock: trio.testing.MockClock) -> None:
    handler = Counter()
    async with open_memory_server() as memory:
        async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
            await open_in_background(channel, nursery)
            async with memory.open_peer(client="page") as peer:
                far = await peer.wait_channel()

                async def call() -> None:
                    with pytest.raises(PageLostError, match="It may have run; it is not sent again"):
                        await far.call("hang", timeout=None)

                async with trio.open_nursery() as calls:
                    calls.start_soon(call)
                    await handler.reached.wait()
                    lose_peer(peer)
            async with memory.open_peer(client="page") as peer:
                assert await (await peer.wait_channel()).call("add", 1, 2) == 3
                await trio.sleep(LONG)
    assert handler.begun == ["hang", "add"]
