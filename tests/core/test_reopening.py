"""Channels that are closed and opened again at once, before those who wait have seen the closing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._core.arguments import pack_echo
from jchannel._core.channel import ServerChannel
from jchannel._protocol.messages import Call, Open, Result
from jchannel._protocol.values import pack
from jchannel.errors import ClosedError, FrontendError
from jchannel.trio import Channel, Limits, PeerChannel
from tests.core.internals import (
    after_opening,
    begin_close,
    begin_echo,
    begin_open,
    block_writing,
    hold_in_server,
    peer_session,
    session_of,
)
from tests.core.memory import open_memory_server


class Waiting:
    """Something that a task of its own waits for."""

    def __init__(self, nursery: trio.Nursery, wait: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.error: BaseException | None = None
        self.ended = trio.Event()
        nursery.start_soon(self._run, wait)

    async def _run(self, wait: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await wait()
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            self.error = error
        self.ended.set()


class Cleaning:
    """A handler, with a method whose clean-up ends when the test says so."""

    def __init__(self) -> None:
        self.cleaning = trio.Event()
        self.clean = trio.Event()

    async def clean_up(self) -> None:
        try:
            await self.hang()
        finally:
            with trio.CancelScope(shield=True):
                self.cleaning.set()
                await self.clean.wait()

    async def hang(self) -> None:
        await trio.sleep_forever()


async def reopen(channel: Channel, nursery: trio.Nursery) -> None:
    """Closes a channel and opens it again in one step, and lets everybody see it."""

    async def wait(*outcomes: Any) -> None:
        for outcome in outcomes:
            await outcome

    nursery.start_soon(wait, begin_close(channel, None), begin_open(channel, None))
    await trio.testing.wait_all_tasks_blocked()


def says_closed(waiting: Waiting) -> bool:
    return isinstance(waiting.error, ClosedError) and str(waiting.error) == "the channel is closed: it was closed"


async def test_an_opening_ends_with_its_own_closing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as nursery:
            first = Waiting(nursery, lambda: channel.open(None))
            await trio.testing.wait_all_tasks_blocked()
            await reopen(channel, nursery)
            assert says_closed(first)
            assert channel.is_open
            async with memory.open_peer():
                assert await channel.echo(1) == [1]


async def test_the_limit_of_an_opening_that_was_closed_does_not_close_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as nursery:
            Waiting(nursery, lambda: channel.open(3))
            await trio.testing.wait_all_tasks_blocked()
            await reopen(channel, nursery)
            await trio.sleep(10)
            assert channel.is_open
            nursery.cancel_scope.cancel()


async def test_an_opening_that_is_cancelled_when_it_was_closed_leaves_the_next_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as first:
            first.start_soon(channel.open, None)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
            closing, opening = begin_close(channel, None), begin_open(channel, None)
            with trio.CancelScope(shield=True):
                await closing
                await trio.testing.wait_all_tasks_blocked()
                assert channel.is_open
                async with memory.open_peer():
                    await opening
                    assert await channel.echo(1) == [1]


async def test_an_opening_that_failed_says_so_though_the_channel_is_opened_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def on_open(channel: PeerChannel, code: str) -> None:
        raise LookupError(code)

    async with open_memory_server() as memory, memory.open_peer(on_open=on_open):
        async with memory.server.hold_channel("the code") as channel, trio.open_nursery() as nursery:
            openings: list[Waiting] = []

            def open_again() -> None:
                if len(openings) < 2:
                    opening = begin_open(channel, None)

                    async def wait() -> object:
                        return await opening

                    openings.append(Waiting(nursery, wait))

            after_opening(channel, open_again)
            openings.append(Waiting(nursery, lambda: channel.open(None)))
            await trio.testing.wait_all_tasks_blocked()
            assert len(openings) == 2
            for opening in openings:
                assert isinstance(opening.error, FrontendError)


async def test_a_call_that_waits_for_a_page_is_not_made_of_the_next_opening(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        async with trio.open_nursery() as nursery:
            Waiting(nursery, lambda: channel.open(None))
            await trio.testing.wait_all_tasks_blocked()
            waiting = Waiting(nursery, lambda: channel.call("old", timeout=None))
            await trio.testing.wait_all_tasks_blocked()
            await reopen(channel, nursery)
            assert says_closed(waiting)
            async with memory.open_page() as page:
                request = await page.expect(Open)
                nursery.start_soon(lambda: channel.call("new", timeout=None))
                await page.send(Result(request.id, pack(None, field_name="value", shown_as="result")))
                assert (await page.expect(Call)).name == "new"
                nursery.cancel_scope.cancel()


async def test_a_call_of_a_closed_channel_is_not_made_of_the_next_opening(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.open_peer():
        async with memory.server.hold_channel("code") as channel:
            call = begin_echo(channel, 1, timeout=None)
            await channel.open()
            assert await channel.echo(2) == [2]
            await channel.close()
            with pytest.raises(ClosedError, match="it has not been opened"):
                await call


async def test_closing_ends_a_call_that_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server(limits=Limits(send_buffer_bytes=10)) as memory, memory.open_peer() as peer:
        async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            await channel.open()
            block_writing(session_of(memory.server))
            calls = []
            for _ in range(4):
                calls.append(Waiting(nursery, lambda: channel.echo("x" * 100, timeout=None)))
                await trio.testing.wait_all_tasks_blocked()
            assert channel.statistics().waiting_requests == 2
            closing = begin_close(channel, 1)
            await trio.testing.wait_all_tasks_blocked()
            assert all(says_closed(call) for call in calls)
            assert channel.statistics().waiting_requests == 0
            with pytest.raises(trio.TooSlowError):
                await closing
            assert peer.connected


async def test_closing_ends_calls_of_the_page_that_wait_for_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server(limits=Limits(send_buffer_bytes=10)) as memory, memory.open_peer() as peer:
        async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            await channel.open()
            far = await peer.wait_channel()
            block_writing(peer_session(peer))
            calls = []
            for _ in range(3):
                calls.append(Waiting(nursery, lambda: far.echo("x" * 3_000_000, timeout=None)))
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.TooSlowError):
                await channel.close(1)
            await trio.testing.wait_all_tasks_blocked()
            for call in calls:
                assert isinstance(call.error, ClosedError)


async def test_a_call_whose_stream_was_being_opened_is_not_made_of_the_next_opening(
    autojump_clock: trio.testing.MockClock,
) -> None:
    read = trio.Event()

    async def source() -> AsyncIterator[bytes]:
        read.set()
        await trio.Event().wait()
        yield b""

    async with open_memory_server() as memory, memory.open_peer():
        async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            await channel.open()
            waiting = Waiting(nursery, lambda: channel.call_with_stream("old", source(), timeout=None))
            await read.wait()
            await reopen(channel, nursery)
            await waiting.ended.wait()
            assert isinstance(waiting.error, ClosedError)
            assert await channel.echo(1) == [1]
            assert channel.statistics().waiting_requests == 0


async def test_a_closing_waits_for_the_methods_of_its_own_opening(autojump_clock: trio.testing.MockClock) -> None:
    handler = Cleaning()
    async with open_memory_server() as memory, memory.open_peer() as peer:
        async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
            await channel.open()
            far = await peer.wait_channel()
            Waiting(nursery, lambda: far.call("clean_up", timeout=None))
            await trio.testing.wait_all_tasks_blocked()
            closing = Waiting(nursery, lambda: channel.close(None))
            await handler.cleaning.wait()
            await channel.open()
            far = await peer.wait_channel()
            nursery.start_soon(lambda: far.call("hang", timeout=None))
            await trio.testing.wait_all_tasks_blocked()
            assert not closing.ended.is_set()
            handler.clean.set()
            await closing.ended.wait()
            assert channel.statistics().running_requests == 1
            nursery.cancel_scope.cancel()


async def test_each_of_two_closings_waits_for_the_methods(autojump_clock: trio.testing.MockClock) -> None:
    handler = Cleaning()
    async with open_memory_server() as memory, memory.open_peer() as peer:
        async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
            await channel.open()
            far = await peer.wait_channel()
            Waiting(nursery, lambda: far.call("clean_up", timeout=None))
            await trio.testing.wait_all_tasks_blocked()
            closings = [Waiting(nursery, lambda: channel.close(None))]
            await handler.cleaning.wait()
            await channel.open()
            closings.append(Waiting(nursery, lambda: channel.close(None)))
            await trio.testing.wait_all_tasks_blocked()
            assert [closing.ended.is_set() for closing in closings] == [False, False]
            handler.clean.set()
            await trio.testing.wait_all_tasks_blocked()
            assert [closing.ended.is_set() for closing in closings] == [True, True]


async def test_an_error_of_the_library_ends_a_channel_that_no_block_owns_and_its_calls_say_so(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("broken on purpose")

    async with open_memory_server() as memory, memory.open_peer(), memory.server.open_channel("code") as channel:
        other, opening = hold_in_server(channel, "other")
        await other.wait_open(opening, 5)
        other.start_soon(break_down)
        await opening.released.wait()
        for _ in range(2):
            with pytest.raises(ClosedError, match="the channel has ended with an error: LookupError") as caught:
                await other.outbox.start(pack_echo((1,)), 5, parent=None).wait()
            assert isinstance(caught.value.__cause__, LookupError)
        assert await channel.echo(1) == [1]
    assert "a channel has ended with an error of jchannel" in caplog.text


async def test_an_error_in_what_is_left_of_an_opening_leaves_the_next_one_open(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    fail = trio.Event()

    async def break_down_late() -> None:
        await fail.wait()
        raise LookupError("broken on purpose")

    async with open_memory_server() as memory, memory.open_peer(), memory.server.open_channel("code") as channel:
        other, opening = hold_in_server(channel, "other")
        await other.wait_open(opening, 5)
        other.start_soon(break_down_late)
        other.shut("it was closed")
        following = other.begin_open()
        other.server.start_soon(other.hold, following)
        await other.wait_open(following, 5)
        fail.set()
        await opening.released.wait()
        assert await other.outbox.start(pack_echo((1,)), 5, parent=None).wait() == [1]
    assert "a channel has ended with an error of jchannel" in caplog.text


async def test_new_tasks_of_a_channel_belong_to_the_block_that_was_entered_last(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def own(leave: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        async with other.own_tasks() as nursery:
            task_status.started(nursery)
            await leave.wait()

    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        other = ServerChannel(memory.server._core, "code")
        leave_first, leave_second = trio.Event(), trio.Event()
        await nursery.start(own, leave_first)
        second = await nursery.start(own, leave_second)
        leave_first.set()
        await trio.testing.wait_all_tasks_blocked()
        assert other.nursery is second
        leave_second.set()
        await trio.testing.wait_all_tasks_blocked()
        assert other.nursery is None


async def test_a_channel_whose_block_was_left_is_not_opened_again() -> None:
    async with open_memory_server() as memory, memory.open_peer():
        async with memory.server.open_channel("code") as channel:
            pass
        with pytest.raises(ClosedError, match="its block was left; open another one"):
            await channel.open()
