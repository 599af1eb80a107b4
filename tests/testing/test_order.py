"""The orders that the kit keeps, as a page does: under many orders of trio's tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from jchannel.errors import KernelError, PageLostError
from jchannel.testing import AsyncioKit, Exploration, LoopPage, RecordedCall, explore, open_page, open_pair, open_server
from jchannel.testing.scheduling import seeded_order
from jchannel.trio import PeerChannel

NUMBERS = list(range(5))


class Notes:
    """A handler that notes what it is called with."""

    def __init__(self) -> None:
        self.come: list[object] = []

    def note(self, number: int) -> int:
        self.come.append(number)
        return number


def explore_order(program: Callable[[Exploration], Awaitable[object]]) -> None:
    # Without delays: what comes at once is the hard case.
    explore(program, seeds=range(10), delay=0)


def test_the_page_s_calls_begin_in_the_order_in_which_they_are_made() -> None:
    async def program(_run: Exploration) -> None:
        handler = Notes()
        async with open_pair(handler=handler) as (_, page):
            async with trio.open_nursery() as nursery:
                for number in NUMBERS:
                    nursery.start_soon(page.call, "note", number)
            assert handler.come == NUMBERS

    explore_order(program)


def test_calls_that_wait_for_a_channel_begin_in_their_order_too() -> None:
    async def program(_run: Exploration) -> None:
        handler = Notes()
        async with open_server() as server, open_page(server) as page, trio.open_nursery() as nursery:
            for number in NUMBERS:
                nursery.start_soon(page.call, "note", number)
            await trio.testing.wait_all_tasks_blocked()
            async with server.open_channel("(channel) => {}", handler=handler):
                nursery.start_soon(page.call, "note", 5)
                await trio.testing.wait_all_tasks_blocked()
        assert handler.come == [*NUMBERS, 5]

    explore_order(program)


async def test_a_call_that_is_cancelled_while_it_waits_for_a_channel_is_never_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handler = Notes()
    async with open_server() as server, open_page(server) as page:
        with trio.move_on_after(1):
            await page.call("note", 1)
        async with server.open_channel("(channel) => {}", handler=handler):
            assert await page.call("note", 2) == 2
    assert handler.come == [2]


async def test_a_call_waits_a_minute_for_a_channel(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server, open_page(server) as page:
        with pytest.raises(trio.TooSlowError, match="no channel was opened in the page within 60 s"):
            await page.call("note", 1, timeout=None)
        page.lose()
        await page.wait_lost()
        with pytest.raises(PageLostError):
            await page.call("note", 1)


async def test_a_call_that_cannot_be_made_raises_where_it_is_awaited(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(handler=Notes()) as (_, page):
        wrong = [page.call("note", object()), page.call("note", 1, timeout=-1), page.pipe(3)]
        for call in wrong:
            with pytest.raises((TypeError, ValueError)):
                await call
        with pytest.raises(KernelError):
            await page.call("nothing")


def test_the_page_begins_python_s_calls_in_order_and_answers_at_once_in_order() -> None:
    async def program(_run: Exploration) -> None:
        handler = Notes()
        answered: list[int] = []
        async with open_pair(handler) as (channel, page):
            page.answer("double", 0)

            async def call(name: str, number: int) -> None:
                asked.append(number)
                await channel.call(name, number)
                answered.append(number)

            for name in ("note", "double"):
                asked: list[int] = []
                answered.clear()
                async with trio.open_nursery() as nursery:
                    for number in NUMBERS:
                        nursery.start_soon(call, name, number)
                assert [call.args[0] for call in page.calls if call.name == name] == asked
                # Outcomes that come in one frame have no order in Python; those of a page's record do.
                assert sorted(answered) == NUMBERS

    explore_order(program)


def test_channels_are_opened_in_their_order() -> None:
    async def program(_run: Exploration) -> None:
        codes: list[str] = []

        def on_open(channel: PeerChannel, code: str) -> None:
            codes.append(code)

        async with open_server() as server, open_page(server, on_open=on_open) as page:
            async with (
                server.open_channel("first"),
                server.open_channel("second"),
                server.open_channel("third") as last,
            ):
                await page.reload()
                await last.echo()
        assert codes == ["first", "second", "third"] * 2

    explore_order(program)


def test_who_waits_first_gets_the_first_call() -> None:
    async def program(_run: Exploration) -> None:
        got: dict[str, RecordedCall] = {}
        async with open_pair(Notes()) as (channel, page):

            async def wait(who: str, name: str | None = None) -> None:
                got[who] = await page.wait_call(name)

            async with trio.open_nursery() as nursery:
                for who in ("first", "second"):
                    nursery.start_soon(wait, who)
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(wait, "other", "other")
                await channel.call("note", 1)
                await channel.call("note", 2)
                page.answer("other", None)
                await channel.call("other")
        assert (got["first"].args, got["second"].args, got["other"].name) == ((1,), (2,), "other")

    explore_order(program)


async def test_a_call_that_came_for_who_was_cancelled_is_left_to_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(Notes()) as (channel, page):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(page.wait_call)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(page.wait_call)
                await trio.testing.wait_all_tasks_blocked()

                # In one step: both are cancelled, and have not gone on when the call comes.
                scope.cancel()
                page._record.add(RecordedCall("note", (1,), 1))
        assert (await page.wait_call()).args == (1,)
        with pytest.raises(ValueError, match="negative"):
            await page.wait_call(timeout=-1)
        assert await channel.call("note", 2) == 2
        assert (await page.wait_call()).args == (2,)


def test_in_asyncio_too() -> None:
    async def main() -> None:
        handler = Notes()
        async with AsyncioKit() as kit:
            page: LoopPage = await kit.open_page(Notes())
            arguments = [[number] for number in NUMBERS]
            early = [page.call("note", arguments[number]) for number in NUMBERS]
            arguments[0].append(7)  # It was packed already.
            wrong = page.call("note", object())
            waits = [page.wait_call(), page.wait_call("note")]
            channel = await kit.server.open("(channel) => {}", handler=handler)
            for call in early:
                await call
            with pytest.raises(TypeError):
                await wrong
            calls = [channel.call("note", number) for number in NUMBERS]
            for call in calls:
                await call
            assert [(await wait).args for wait in waits] == [(0,), (1,)]
            assert [call.args[0] for call in page.calls] == NUMBERS
        assert handler.come == [[number] for number in NUMBERS]

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(4))
def test_what_a_page_answers_at_once_arrives_in_order_in_asyncio(seed: int) -> None:
    async def main() -> None:
        async with AsyncioKit() as kit:
            channel, page = await kit.open_pair(Notes())
            page.answer("told", 1)
            done: list[int] = []
            for name in ("note", "nothing", "told"):
                done.clear()
                tasks = [channel.call(name, number) for number in NUMBERS]
                for number, task in enumerate(tasks):
                    task.add_done_callback(lambda _, number=number: done.append(number))  # type: ignore[misc]
                await asyncio.gather(*tasks, return_exceptions=True)
                assert done == NUMBERS

    with seeded_order(seed):
        asyncio.run(main())


def test_a_method_that_was_left_to_itself_keeps_no_answer_back() -> None:
    async def main() -> None:
        over = asyncio.Event()

        class Stubborn(Notes):
            async def hold(self) -> None:
                with suppress(asyncio.CancelledError):
                    await over.wait()
                await over.wait()
                self.come.append("held")

        handler = Stubborn()
        async with AsyncioKit() as kit:
            channel, _ = await kit.open_pair(handler)
            call = channel.call("hold", timeout=1)
            await kit.advance(10)  # Limits.cleanup_seconds are over.
            with pytest.raises(TimeoutError):
                await call
            over.set()
            await kit.advance(1)
            assert await channel.call("note", 1) == 1
        assert handler.come == ["held", 1]

    asyncio.run(main())
