"""Deadlines travel: the far side knows the time left of a call, and no link of a chain has more than the one before."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._protocol.messages import Call, Cancel, Error, Open, Result
from jchannel._protocol.values import pack
from jchannel.trio import Channel, Limits, PeerChannel, time_left
from tests.core.memory import MemoryServer, Page, open_memory_server


def result(id_: int, value: object) -> Result:
    return Result(id_, pack(value, field_name="value", shown_as="result"))


def args(*values: object) -> Any:
    return pack(list(values), field_name="args", shown_as="args")


async def source() -> AsyncIterator[bytes]:
    yield b"x"


class Clock:
    """A handler that tells of the time it has, and calls back."""

    def __init__(self) -> None:
        self.channel: PeerChannel | Channel | None = None
        self.ended: list[float] = []

    def left(self) -> float | None:
        return _finite(time_left())

    async def scope_left(self) -> float | None:
        await trio.lowlevel.checkpoint()
        return _finite(trio.current_effective_deadline() - trio.current_time())

    async def left_after(self, seconds: float) -> float | None:
        await trio.sleep(seconds)
        return _finite(time_left())

    async def hang(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append(trio.current_time())

    async def call_back(self, name: str, timeout: float | None, pause: float = 0) -> Any:
        await trio.sleep(pause)
        assert self.channel is not None
        return await self.channel.call(name, timeout=timeout)


def _finite(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds


class Pair:
    """A channel, and the peer's end of it, with a clock as the handler of each."""

    def __init__(self, memory: MemoryServer, channel: Channel, here: Clock, there: Clock) -> None:
        self.memory = memory
        self.channel = channel
        self.here = here
        self.there = there


@pytest.fixture
async def pair(autojump_clock: trio.testing.MockClock) -> Any:
    here, there = Clock(), Clock()
    async with (
        open_memory_server() as memory,
        memory.open_peer(there) as peer,
        memory.server.open_channel("", handler=here) as channel,
    ):
        there.channel, here.channel = await peer.wait_channel(), channel
        yield Pair(memory, channel, here, there)


@pytest.mark.parametrize("name", ["left", "scope_left"])
async def test_the_handler_sees_the_time_left_of_the_call(
    autojump_clock: trio.testing.MockClock, pair: Pair, name: str
) -> None:
    assert await pair.channel.call(name, timeout=7) == pytest.approx(7)


@pytest.mark.parametrize("name", ["left", "scope_left"])
async def test_a_call_without_a_limit_gives_its_handler_no_deadline(
    autojump_clock: trio.testing.MockClock, pair: Pair, name: str
) -> None:
    assert await pair.channel.call(name, timeout=None) is None


async def test_the_time_left_goes_by(autojump_clock: trio.testing.MockClock, pair: Pair) -> None:
    assert await pair.channel.call("left_after", 2, timeout=7) == pytest.approx(5)


async def test_a_cancel_scope_round_the_call_counts_as_its_timeout_does(
    autojump_clock: trio.testing.MockClock, pair: Pair
) -> None:
    with trio.fail_after(2):
        assert await pair.channel.call("left", timeout=7) == pytest.approx(2)
    with trio.fail_after(7):
        assert await pair.channel.call("left", timeout=2) == pytest.approx(2)


async def test_the_time_is_rounded_down_to_milliseconds(autojump_clock: trio.testing.MockClock, pair: Pair) -> None:
    assert await pair.channel.call("left", timeout=1.9996) == pytest.approx(1.999, abs=1e-6)


async def test_waiting_for_a_page_takes_from_the_time(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_memory_server() as memory,
        memory.server.hold_channel("") as channel,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(channel.open, 100)
        await trio.testing.wait_all_tasks_blocked()
        left: list[object] = []

        async def call() -> None:
            left.append(await channel.call("left", timeout=10))

        nursery.start_soon(call)
        await trio.sleep(4)
        async with memory.open_peer(Clock()):
            await trio.sleep(1)
        assert left == [pytest.approx(6)]
        nursery.cancel_scope.cancel()


async def test_the_time_without_progress_of_a_stream_is_no_deadline_but_a_scope_round_it_is(
    autojump_clock: trio.testing.MockClock, pair: Pair
) -> None:
    class Reader:
        async def take(self, stream: Any) -> float | None:
            assert await stream.join() == b"x"
            return _finite(time_left())

    assert pair.there.channel is not None
    pair.there.channel.handler = Reader()
    assert await pair.channel.call_with_stream("take", source(), timeout=3) is None
    with trio.fail_after(5):
        assert await pair.channel.call_with_stream("take", source(), timeout=3) == pytest.approx(5)


async def _open(page: Page) -> int:
    opening = await page.expect(Open)
    await page.send(result(opening.id, None))
    return opening.channel


class TestOfCallsFromThePage:
    async def test_the_handler_is_cancelled_when_the_time_is_over_and_the_answer_says_so(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        clock = Clock()
        async with open_memory_server() as memory, memory.open_page() as page, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("", handler=clock) as channel:
                nursery.start_soon(channel.open)
                number = await _open(page)
                start = trio.current_time()
                await page.send(Call(1, number, "hang", args(), None, 1.5))
                error = await page.expect(Error)
                assert (error.id, error.kind) == (1, "timeout")
                assert clock.ended == [pytest.approx(start + 1.5)]

    async def test_one_without_any_time_does_not_begin(self, autojump_clock: trio.testing.MockClock) -> None:
        clock = Clock()
        async with open_memory_server() as memory, memory.open_page() as page, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("", handler=clock) as channel:
                nursery.start_soon(channel.open)
                number = await _open(page)
                await page.send(Call(1, number, "hang", args(), None, 0))
                assert (await page.expect(Error)).kind == "timeout"
                assert clock.ended == []

    async def test_a_child_has_no_later_deadline_than_its_parent_however_long_messages_take(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("", handler=Clock()) as channel:
                nursery.start_soon(channel.open)
                number = await _open(page)
                nursery.start_soon(_expect_too_slow, lambda: channel.call("outer", timeout=10))
                outer = await page.expect(Call)
                assert outer.timeout == pytest.approx(10)
                await trio.sleep(4)
                await page.send(Call(1, number, "left", args(), None, 10, outer.id))
                assert (await page.expect(Result)).value == pytest.approx(6)
                await page.send(Call(2, number, "left", args(), None, 2, outer.id))
                assert (await page.expect(Result)).value == pytest.approx(2)
                await page.send(Call(3, number, "left", args(), None, None, outer.id))
                assert (await page.expect(Result)).value == pytest.approx(6)
                await page.expect(Cancel)

    async def test_a_parent_that_was_answered_means_nothing(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("", handler=Clock()) as channel:
                nursery.start_soon(channel.open)
                number = await _open(page)
                nursery.start_soon(lambda: channel.call("outer", timeout=10))
                outer = await page.expect(Call)
                await page.send(result(outer.id, None))
                await page.send(Call(1, number, "left", args(), None, None, outer.id))
                assert (await page.expect(Result)).value is None


async def _expect_too_slow(ask: Callable[[], Any]) -> None:
    with pytest.raises(trio.TooSlowError):
        await ask()


class TestOfChains:
    async def test_the_inner_deadline_is_the_outer_one_where_that_is_earlier(
        self, autojump_clock: trio.testing.MockClock, pair: Pair
    ) -> None:
        assert await pair.channel.call("call_back", "left", 60, 2, timeout=10) == pytest.approx(8)
        assert await pair.channel.call("call_back", "left", None, 2, timeout=10) == pytest.approx(8)
        assert await pair.channel.call("call_back", "left", 3, 2, timeout=10) == pytest.approx(3)

    async def test_a_chain_is_cancelled_to_its_end(self, autojump_clock: trio.testing.MockClock, pair: Pair) -> None:
        start = trio.current_time()
        with trio.move_on_after(2) as scope:
            await pair.channel.call("call_back", "hang", None, timeout=None)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(start + 2)
        assert pair.here.ended == [pytest.approx(start + 2)]
        assert pair.memory.server.statistics().running_requests == 0

    async def test_a_chain_that_is_too_slow_ends_at_once_in_all_its_links(
        self, autojump_clock: trio.testing.MockClock, pair: Pair
    ) -> None:
        start = trio.current_time()
        with pytest.raises(trio.TooSlowError, match="'call_back' was not answered within 2 s"):
            await pair.channel.call("call_back", "hang", 60, timeout=2)
        assert [*pair.here.ended, trio.current_time()] == pytest.approx([start + 2, start + 2])

    async def test_what_a_method_leaves_running_is_not_part_of_its_call_any_more(
        self, autojump_clock: trio.testing.MockClock, pair: Pair
    ) -> None:
        seen: list[object] = []

        class Starter:
            def __init__(self, nursery: trio.Nursery) -> None:
                self.nursery = nursery

            def start(self) -> None:
                self.nursery.start_soon(self.later)

            async def later(self) -> None:
                await trio.sleep(1)
                assert pair.there.channel is not None
                seen.extend([time_left(), await pair.there.channel.call("left", timeout=None)])

        assert pair.there.channel is not None
        async with trio.open_nursery() as nursery:
            pair.there.channel.handler = Starter(nursery)
            await pair.channel.call("start", timeout=5)
        assert seen == [math.inf, None]


class TestOfAnEarlyAnswerThatTheTimeIsOver:
    """The far side rounds the time down, and may be the first to say that it is over."""

    async def _answer_early(self, page: Page) -> None:
        call = await page.expect(Call)
        await page.send(Error(call.id, "timeout", "", "the page's time was over"))

    @pytest.fixture
    async def page_and_channel(self, autojump_clock: trio.testing.MockClock) -> Any:
        async with open_memory_server(limits=Limits()) as memory, memory.open_page() as page:
            async with memory.server.hold_channel("") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await _open(page)
                nursery.start_soon(self._answer_early, page)
                yield page, channel

    async def test_its_own_timeout_is_what_the_caller_sees(
        self, autojump_clock: trio.testing.MockClock, page_and_channel: tuple[Page, Channel]
    ) -> None:
        _, channel = page_and_channel
        start = trio.current_time()
        with pytest.raises(trio.TooSlowError, match="'f' was not answered within 3 s"):
            await channel.call("f", timeout=3)
        assert trio.current_time() == pytest.approx(start + 3)

    async def test_a_scope_round_the_call_is_what_ends_it(
        self, autojump_clock: trio.testing.MockClock, page_and_channel: tuple[Page, Channel]
    ) -> None:
        _, channel = page_and_channel
        with trio.move_on_after(3) as scope:
            await channel.call("f", timeout=None)
        assert scope.cancelled_caught

    async def test_without_a_time_of_its_own_the_caller_hears_the_far_sides_words(
        self, autojump_clock: trio.testing.MockClock, page_and_channel: tuple[Page, Channel]
    ) -> None:
        _, channel = page_and_channel
        with pytest.raises(trio.TooSlowError, match="the page's time was over"):
            await channel.call("f", timeout=None)


def test_outside_of_handler_methods_there_is_no_time_limit() -> None:
    assert time_left() == math.inf
