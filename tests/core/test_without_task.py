"""Requests that are answered without a task of trio's, as those of an asyncio loop's methods, and what needs one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._core.handlers import Methods
from jchannel._core.invocation import Invocation
from jchannel._protocol.messages import Call, Cancel, Error, Goodbye, Open, Result
from jchannel._protocol.values import pack
from jchannel.trio import Channel, Limits
from tests.core.internals import channel_core
from tests.core.memory import Page, open_memory_server

NOTHING = pack(None, field_name="value", shown_as="result")


class Handler:
    async def same(self, value: Any) -> Any:
        return value


class World:
    """A channel that is open in a page that a test plays."""

    def __init__(self, page: Page, channel: Channel, number: int) -> None:
        self.page = page
        self.channel = channel
        self.number = number
        self._ids = 0

    def make(self, name: str, *args: object, timeout: float | None = None) -> Call:
        self._ids += 1
        return Call(self._ids, self.number, name, pack(list(args), field_name="args", shown_as="args"), None, timeout)


@asynccontextmanager
async def open_world(**options: Any) -> AsyncIterator[World]:
    async with open_memory_server(heartbeat=1e6, **options) as memory, memory.open_page() as page:
        async with memory.server.hold_channel("code", handler=Handler()) as channel, trio.open_nursery() as nursery:
            nursery.start_soon(channel.open)
            request = await page.expect(Open)
            await page.send(Result(request.id, NOTHING))
            await trio.testing.wait_all_tasks_blocked()
            yield World(page, channel, request.channel)
            nursery.cancel_scope.cancel()


async def test_calls_of_one_frame_whose_answers_take_the_room_begin_one_after_the_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world(limits=Limits(send_buffer_bytes=1_000)) as world:
        value = "x" * 1_500
        # The answer of the first takes the room before the second has begun.
        await world.page.send(*[world.make("same", value) for _ in range(3)])
        assert [len((await world.page.expect(Result)).value) for _ in range(3)] == [1_500] * 3
        assert world.channel.statistics().running_requests == 0


class Elsewhere(Methods):
    """Methods that run elsewhere, as those on an asyncio loop do: they begin, and only who waits for one has a task."""

    def __init__(self) -> None:
        self.begun: list[Invocation] = []
        self.cancelled = 0

    def begin(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> bool:
        invocation.begun = True
        self.begun.append(invocation)
        return True

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled += 1

    def answer(self, value: object) -> None:
        """Answers the oldest, in trio's thread or in a step that another one makes."""
        invocation = self.begun.pop(0)
        invocation.succeed(value)
        invocation.release()


@asynccontextmanager
async def open_elsewhere() -> AsyncIterator[tuple[World, Elsewhere]]:
    async with open_world() as world:
        methods = Elsewhere()
        channel_core(world.channel).dispatcher.methods = methods
        yield world, methods


def count_tasks(world: World) -> int:
    core = channel_core(world.channel)
    assert core.nursery is not None
    return len(core.nursery.child_tasks)


async def begin(world: World, **options: Any) -> int:
    call = world.make("run", **options)
    await world.page.send(call)
    await trio.testing.wait_all_tasks_blocked()
    return call.id


async def test_a_method_that_runs_elsewhere_has_no_task(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        before = count_tasks(world)
        await begin(world)
        assert count_tasks(world) == before
        methods.answer("done")
        assert (await world.page.expect(Result)).value == "done"
        assert world.channel.statistics().running_requests == 0


async def test_the_caller_that_cancels_it_is_answered_when_it_has_ended(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        await world.page.send(Cancel(await begin(world)))
        assert (await world.page.expect(Error)).kind == "cancelled"
        assert methods.cancelled == 1


async def test_its_time_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        start = trio.current_time()
        await begin(world, timeout=3)
        assert (await world.page.expect(Error)).kind == "timeout"
        assert methods.cancelled == 1
        assert trio.current_time() == pytest.approx(start + 3)


async def test_its_time_means_nothing_when_it_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        await begin(world, timeout=3)
        methods.answer(1)
        assert (await world.page.expect(Result)).value == 1
        await trio.sleep(5)
        assert methods.cancelled == 0


async def test_a_channel_that_is_closed_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        await begin(world)
        await begin(world)
        channel_core(world.channel).shut("the test closes it")
        await trio.testing.wait_all_tasks_blocked()
        assert methods.cancelled == 2
        assert world.channel.statistics().running_requests == 0


async def test_a_session_that_ends_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        await begin(world)
        await world.page.send(Goodbye("closed", "the page is closing"))
        await trio.testing.wait_all_tasks_blocked()
        assert methods.cancelled == 1
        assert world.channel.statistics().running_requests == 0


async def test_the_nursery_of_its_channel_waits_for_it_when_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, _):
        await begin(world)
        core = channel_core(world.channel)
        nursery = core.nursery
        assert nursery is not None
        before = count_tasks(world)
        core.leave_nursery(nursery)
        assert len(nursery.child_tasks) == before + 1
        core.use_nursery(nursery)


async def test_an_error_when_its_time_is_over_ends_it_and_nothing_else(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_elsewhere() as (world, methods):
        await begin(world, timeout=3)
        monkeypatch.setattr(methods.begun[0].__class__, "expire", lambda _: 1 / 0)
        assert (await world.page.expect(Error)).name == "ZeroDivisionError"
        assert "ZeroDivisionError" in caplog.text
        assert world.channel.statistics().running_requests == 0
        await begin(world)
        methods.begun.pop(0)
        methods.answer("alive")
        assert (await world.page.expect(Result)).value == "alive"


async def test_one_that_no_task_can_be_started_for_ends_with_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with open_elsewhere() as (world, methods):
        await begin(world)
        core = channel_core(world.channel)

        def refuse(*_: object, **__: object) -> None:
            raise RuntimeError("the nursery is closed to new arrivals")

        core.start_soon = refuse
        with pytest.raises(RuntimeError, match="closed to new arrivals"):
            methods.begun[0].cancel()
        methods.begun[0].fail(LookupError("a second error of the library"))
        assert (await world.page.expect(Error)).name == "RuntimeError"
        assert world.channel.statistics().running_requests == 0
