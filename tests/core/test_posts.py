"""Posts: calls that nobody waits for, in trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

import jchannel.testing
from jchannel import BufferFullError, ClosedError, FrontendError, Limits, PageLostError
from jchannel._bridge.watch import check_callback
from jchannel._core.arguments import pack_call
from jchannel._core.failures import FAILURES
from jchannel._core.posts import size_of
from jchannel._protocol.values import Conversion
from tests.core.internals import count_entries, lose_peer, start_call
from tests.core.memory import open_memory_server


class Page:
    """What a page does."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def draw(self, value: Any) -> None:
        self.got.append(value)

    def fail(self) -> None:
        raise LookupError("no such element")

    async def hang(self) -> None:
        await trio.sleep_forever()

    async def give(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)
            await trio.sleep(1)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.module == "failures"]


async def test_posts_and_calls_arrive_in_the_order_in_which_they_are_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    page = Page()
    async with jchannel.testing.open_pair(page) as (channel, _):
        calls = []
        for number in range(0, 40, 2):
            channel.post("draw", number)
            calls.append(start_call(channel, "draw", number + 1))
        await calls[-1].wait()
        assert page.got == list(range(40))
        assert channel.statistics().calls_made.answered == 40


async def test_what_is_posted_may_be_changed_afterwards(autojump_clock: trio.testing.MockClock) -> None:
    page = Page()
    async with jchannel.testing.open_pair(page) as (channel, _):
        value = [1]
        channel.post("draw", value)
        value.append(2)
        await trio.sleep(1)
        assert page.got == [[1]]


async def test_a_failure_is_told_once_to_who_has_asked(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Exception] = []
    async with jchannel.testing.open_pair(Page()) as (channel, _):
        channel.post("fail", on_failure=heard.append)
        channel.post("hang", timeout=5, on_failure=heard.append)
        await trio.sleep(10)
        assert [type(error) for error in heard] == [FrontendError, trio.TooSlowError]
        channel.post("hang", on_failure=heard.append)
        await trio.sleep(1)
    assert isinstance(heard[2], ClosedError)
    assert len(heard) == 3
    assert messages(caplog) == []


async def test_failures_that_nobody_has_asked_for_are_logged_with_the_line_that_has_posted_them(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with jchannel.testing.open_pair(Page()) as (channel, _):
        for _ in range(50):
            channel.post("fail")
        await trio.sleep(1)
    FAILURES.flush()
    first, rest = messages(caplog)
    text = "channel.post('fail') has failed, and nobody waits for it: FrontendError: LookupError: no such element; made"
    assert first.startswith(text)
    assert first.endswith('(channel.post("fail"))')
    assert "has failed 49 times more since " in rest


async def test_an_on_failure_that_raises_is_logged_and_ends_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def on_failure(_: Exception) -> None:
        raise ZeroDivisionError

    async with jchannel.testing.open_pair(Page()) as (channel, _):
        channel.post("fail", on_failure=on_failure)
        await trio.sleep(1)
        assert await channel.echo(1) == [1]
    assert messages(caplog) == ["on_failure raised"]


async def test_what_a_posted_method_gives_is_dropped_and_a_stream_is_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with jchannel.testing.open_pair(Page()) as (channel, page):
        channel.post("give")
        call = await page.wait_call("give")
        await page.wait_ended(call)
        assert channel.statistics().streams == 0


async def test_without_a_page_a_post_waits_for_one_until_its_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    page, heard = Page(), list[Exception]()
    async with jchannel.testing.open_pair(page) as (channel, connection):
        connection.lose()
        await connection.wait_lost()
        channel.post("draw", "early", timeout=10)
        channel.post("draw", "too early", timeout=1, on_failure=heard.append)
        await trio.sleep(2)
        await connection.reload()
        await trio.sleep(1)
        assert page.got == ["early"]
    assert "no page is connected" in str(heard[0])


async def test_what_was_sent_when_a_page_is_lost_is_not_sent_again(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[Exception] = []
    async with jchannel.testing.open_pair(Page()) as (channel, page):
        channel.post("hang", on_failure=heard.append)
        await page.wait_call("hang")
        page.lose()
        await page.wait_lost()
        await page.reload()
        await trio.sleep(1)
        assert len(page.calls) == 1
    assert isinstance(heard[0], PageLostError)


async def test_more_than_the_room_is_refused_at_once_and_nothing_else_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    page = Page()
    async with jchannel.testing.open_pair(page, limits=Limits(send_buffer_bytes=1_000)) as (channel, _):
        for number in range(3):
            channel.post("draw", number)
        with pytest.raises(BufferFullError, match=r"'draw' was not posted: 3 posts with 777 bytes are under way"):
            channel.post("draw", 3)
        await trio.sleep(1)
        assert page.got == [0, 1, 2]
        channel.post("draw", bytes(5_000))  # It is alone.
        await trio.sleep(1)
        assert page.got[-1] == bytes(5_000)
        assert count_entries(channel) == (0, 0, 0, 0)


def test_the_size_of_a_post_is_that_of_its_arguments() -> None:
    assert size_of(pack_call("draw", ())) == 258
    assert size_of(pack_call("draw", (bytes(1_000),))) > 1_256


async def test_a_closed_channel_refuses_a_post_at_once(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[Exception] = []
    async with jchannel.testing.open_pair(Page()) as (channel, _):
        await channel.close()
        for _ in range(2):
            with pytest.raises(ClosedError, match=r"the channel is closed: close\(\) was called"):
                channel.post("draw", 1, on_failure=heard.append)
    assert heard == []


async def test_what_cannot_be_sent_is_refused_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with jchannel.testing.open_pair(Page(), limits=Limits(frame_bytes=5_000)) as (channel, _):
        with pytest.raises(TypeError, match=r"args\[0\]"):
            channel.post("draw", object())
        with pytest.raises(ValueError, match="timeout"):
            channel.post("draw", timeout=-1)
        with pytest.raises(
            TypeError, match="on_failure must be a function of the error, and no async one, or None for the log"
        ):
            channel.post("draw", on_failure=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="larger than the connection takes"):
            channel.post("draw", bytes(10_000))
        await trio.sleep(1)
        assert count_entries(channel) == (0, 0, 0, 0)


async def test_a_post_is_no_part_of_the_call_that_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    class Handler:
        def method(self) -> None:
            channel.post("draw", "later", timeout=10)

    page = Page()
    async with jchannel.testing.open_pair(page, handler=Handler()) as (channel, connection):
        connection.delay(2)
        await connection.call("method", timeout=5)
        await trio.sleep(5)
        assert page.got == ["later"]


async def test_a_peer_posts_to_its_server_and_is_refused_when_its_connection_has_ended() -> None:
    page = Page()
    async with open_memory_server() as memory, memory.open_peer() as peer:
        async with memory.server.open_channel("code", handler=page):
            far = await peer.wait_channel()
            far.post("draw", 1)
            await far.call("draw", 0)
            assert page.got == [1, 0]
            lose_peer(peer)
            await peer.wait_ended()
            with pytest.raises(PageLostError):
                far.post("draw", 2)


async def test_a_post_in_another_thread_is_refused_and_says_how_it_is_made_there() -> None:
    async with jchannel.testing.open_pair() as (channel, _):
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync\(channel\.post, …\)"):
            await trio.to_thread.run_sync(channel.post, "log", 1)
        assert await channel.echo(1) == [1]


async def test_an_async_function_is_refused_where_nobody_would_await_it() -> None:
    async def listen(_: object) -> None: ...

    class Listens:
        async def __call__(self, _: object) -> None: ...

    async with jchannel.testing.open_pair() as (channel, _):
        for function in (listen, Listens()):
            with pytest.raises(TypeError, match="no async one"):
                channel.post("log", 1, on_failure=function)
            with pytest.raises(TypeError, match="no async one"):
                check_callback(function)
            with pytest.raises(TypeError, match="no async one"):
                Conversion(default=function)
