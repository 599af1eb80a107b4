"""Posts and newest values of the facades: what leaves without being waited for, and who hears of its failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import jchannel.sync
import jchannel.testing
from jchannel import BufferFullError, ClosedError, FrontendError, Limits
from jchannel._bridge import posts
from jchannel._core.failures import FAILURES
from jchannel.testing import AsyncioKit, SyncKit
from jchannel.trio import LatestStatistics

TIMEOUT = 20.0


class Page:
    """What a page does. Its methods run where the kit runs them."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def draw(self, value: Any) -> None:
        self.got.append(value)

    def fail(self, value: Any = None) -> None:
        self.got.append(value)
        raise LookupError("no such element")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.module == "failures"]


def run(program: Callable[[AsyncioKit], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with AsyncioKit(**options) as kit:
            await program(kit)

    asyncio.run(main())


class TestAsyncio:
    def test_posts_and_calls_leave_in_their_order_also_before_the_channel_is_open(self) -> None:
        page = Page()

        async def program(kit: AsyncioKit) -> None:
            await kit.open_page(page)
            channel = jchannel.Channel(kit.server, "(channel) => {}")
            opening = channel.open()
            calls = []
            for number in range(0, 20, 2):
                channel.post("draw", number)
                calls.append(channel.call("draw", number + 1))
            await asyncio.gather(*calls)
            await opening

        run(program)
        assert page.got == list(range(20))

    def test_a_failure_is_told_once_on_the_loop(self, caplog: pytest.LogCaptureFixture) -> None:
        heard: list[tuple[Exception, threading.Thread]] = []

        def on_failure(error: Exception) -> None:
            asyncio.get_running_loop()
            heard.append((error, threading.current_thread()))

        async def program(kit: AsyncioKit) -> None:
            channel, page = await kit.open_pair(Page())
            page.hang("hang")
            channel.post("fail", on_failure=on_failure)
            channel.post("hang", timeout=5, on_failure=on_failure)
            await kit.advance(10)
            await channel.close()
            channel.post("fail", on_failure=on_failure)
            await kit.advance(1)

        run(program)
        assert [type(error) for error, _ in heard] == [FrontendError, TimeoutError, ClosedError]
        assert {thread for _, thread in heard} == {threading.main_thread()}
        assert messages(caplog) == []

    def test_failures_that_nobody_has_asked_for_are_logged_with_their_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def program(kit: AsyncioKit) -> None:
            channel, _ = await kit.open_pair(Page())
            for _ in range(20):
                channel.post("fail")
            await kit.advance(1)

        run(program)
        FAILURES.flush()
        first, rest = messages(caplog)
        assert first.startswith("channel.post('fail') has failed, and nobody waits for it: FrontendError: LookupError")
        assert first.endswith('(channel.post("fail"))')
        assert "has failed 19 times more" in rest

    def test_a_failure_that_comes_when_the_loop_is_closed_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        listener: posts.FacadeListener

        async def program(kit: AsyncioKit) -> None:
            nonlocal listener
            channel, _ = await kit.open_pair()
            made = channel._requests._listen("channel.post('draw')", Exception)
            assert isinstance(made, posts.FacadeListener)
            listener = made

        run(program)
        listener.hear(trio.TooSlowError("too slow"))
        assert "has failed, and nobody waits for it: TimeoutError: too slow" in messages(caplog)[0]

    def test_more_than_the_room_is_refused_at_once(self) -> None:
        page = Page()

        async def program(kit: AsyncioKit) -> None:
            channel, connection = await kit.open_pair(page)
            connection.hold()
            for number in range(3):
                channel.post("draw", number, timeout=60)
            with pytest.raises(BufferFullError):
                channel.post("draw", 3)
            with pytest.raises(BufferFullError):
                channel.sync.post("draw", 3)
            connection.release()
            await kit.advance(1)
            channel.post("draw", 4)
            await kit.advance(1)

        run(program, limits=Limits(send_buffer_bytes=1_000))
        assert page.got == [0, 1, 2, 4]

    def test_what_cannot_be_posted_is_refused_at_once(self) -> None:
        async def program(kit: AsyncioKit) -> None:
            channel, _ = await kit.open_pair()
            with pytest.raises(TypeError, match=r"args\[0\]"):
                channel.post("draw", object())
            with pytest.raises(TypeError, match="on_failure"):
                channel.post("draw", on_failure=3)  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match=r"use channel\.sync"):
                await asyncio.to_thread(channel.post, "draw")

        run(program)

    def test_a_post_shows_a_notebook_the_way(self) -> None:
        wanted: list[str] = []

        async def program(kit: AsyncioKit) -> None:
            channel, _ = await kit.open_pair(Page())
            kit.server._handle.on_page_wanted = lambda: wanted.append("page")
            channel.post("draw", 1)
            async with channel.open_latest("draw") as latest:
                latest.set(2)

        run(program)
        assert wanted == ["page"] * 2

    def test_the_newest_value_wins_from_a_busy_cell_and_from_a_thread(self) -> None:
        page = Page()

        async def program(kit: AsyncioKit) -> None:
            channel, connection = await kit.open_pair(page)
            connection.hold()
            async with channel.open_latest("draw", timeout=60) as latest:
                for number in range(100):
                    latest.set(number)
                await asyncio.to_thread(latest.set, 100)
                connection.release()
            assert page.got[-1] == 100
            assert len(page.got) <= 3
            statistics = latest.statistics()
            assert statistics == LatestStatistics(values=101, sent=len(page.got), skipped=101 - len(page.got), failed=0)
            with pytest.raises(ClosedError, match="its block was left"):
                latest.set(1)

        run(program)

    def test_a_block_that_is_cancelled_cancels_the_call(self) -> None:
        async def program(kit: AsyncioKit) -> None:
            channel, page = await kit.open_pair()
            page.hang("draw")

            async def keep() -> None:
                async with channel.open_latest("draw") as latest:
                    latest.set(1)
                    await asyncio.Event().wait()

            task = asyncio.create_task(keep())
            call = await page.wait_call("draw")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await page.wait_ended(call)
            assert call.state == "cancelled"

        run(program)

    def test_a_block_of_a_channel_that_is_not_open_is_not_entered(self) -> None:
        async def program(kit: AsyncioKit) -> None:
            await kit.open_page()
            channel = jchannel.Channel(kit.server, "(channel) => {}")
            for match in ("has not been opened", r"is closed: close\(\) was called"):
                with pytest.raises(ClosedError, match=match):
                    async with channel.open_latest("draw"):
                        raise AssertionError
                await channel.open()
                await channel.close()

        run(program)

    def test_a_failed_call_is_told_as_the_facade_calls_it(self) -> None:
        heard: list[Exception] = []

        async def program(kit: AsyncioKit) -> None:
            channel, page = await kit.open_pair()
            page.hang("draw")
            async with channel.open_latest("draw", timeout=2, on_failure=heard.append) as latest:
                latest.set(1)
                await page.wait_call("draw")
                await kit.advance(3)
            await kit.advance(1)

        run(program)
        assert [type(error) for error in heard] == [TimeoutError]


class TestBlocking:
    def test_posts_and_calls_leave_in_their_order(self) -> None:
        page = Page()
        with SyncKit() as kit:
            channel, connection = kit.open_pair(page)
            for number in range(0, 20, 2):
                channel.post("draw", number)
                channel.call("draw", number + 1)
            assert [call.args[0] for call in connection.calls] == list(range(20))

    def test_a_failure_is_told_once_in_a_worker_thread(self, caplog: pytest.LogCaptureFixture) -> None:
        heard: list[tuple[Exception, threading.Thread]] = []
        told = threading.Event()

        def on_failure(error: Exception) -> None:
            heard.append((error, threading.current_thread()))
            told.set()
            raise SystemExit

        with SyncKit() as kit:
            channel, _ = kit.open_pair(Page())
            channel.post("fail", on_failure=on_failure)
            assert told.wait(TIMEOUT)
            assert channel.echo(1) == [1]
        ((error, thread),) = heard
        assert isinstance(error, FrontendError)
        assert thread is not threading.main_thread()
        assert messages(caplog) == []

    def test_a_failure_that_nobody_can_be_told_of_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with SyncKit() as kit:
            channel = jchannel.sync.Channel(kit.server, "(channel) => {}")
            channel.post("draw", on_failure=Exception)  # It was never opened.
            kit.advance(0)
            listener = channel._requests._listen("channel.post('late')", Exception)
        listener.hear(ClosedError("late"))  # Its trio has ended.
        first, second = messages(caplog)
        assert "call open() first" in first
        assert "ClosedError: late" in second

    def test_the_newest_value_wins(self) -> None:
        page = Page()
        with SyncKit() as kit:
            channel, connection = kit.open_pair(page)
            connection.hold()
            with channel.open_latest("draw", timeout=60) as latest:
                for number in range(100):
                    latest.set(number)
                connection.release()
        assert page.got[-1] == 99
        assert len(page.got) <= 3
        assert latest.statistics().values == 100

    def test_a_block_that_raises_cancels_the_call(self) -> None:
        with SyncKit() as kit:
            channel, page = kit.open_pair()
            page.hang("draw")

            def fail() -> None:
                with channel.open_latest("draw") as latest:
                    latest.set(1)
                    page.wait_call("draw")
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                fail()
            page.wait_ended(page.calls[0])
            assert page.calls[0].state == "cancelled"
