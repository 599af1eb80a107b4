"""The scripted page in trio: what it answers and records, what it asks, and what can happen to it."""

from __future__ import annotations

import math
import pickle
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
import trio.testing

import jchannel.trio
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import (
    ClosedError,
    FrontendError,
    KernelError,
    PageLostError,
    RefusedError,
    RemoteCancelledError,
    StateError,
    UnreachableError,
)
from jchannel.testing import JavaScriptError, Page, open_page, open_pair, open_server
from jchannel.testing.network import MemoryListener, connect_streams
from jchannel.trio import Channel, Limits, PeerChannel

STACK = "RangeError: too far\n    at add (app.js:1:2)"


class Frontend:
    """Plays the JavaScript."""

    def add(self, left: float, right: float) -> float:
        return left + right

    async def add_later(self, left: float, right: float) -> float:
        await trio.sleep(10)
        return left + right

    def fail(self) -> None:
        raise JavaScriptError("RangeError", "too far", STACK)

    def fail_in_python(self) -> None:
        raise LookupError("not there")

    def abort(self) -> None:
        raise JavaScriptError("AbortError", "given up")

    async def count(self, stream: MetaGenerator) -> int:
        return len(await stream.join())

    async def give(self, size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield bytes(1000)

    async def tick(self) -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(60)
            yield b"tick"

    async def break_off(self) -> AsyncIterator[bytes]:
        yield b"first"
        await trio.sleep(60)
        raise JavaScriptError("NotReadableError", "gone")


class Backend:
    """The Python handler."""

    def __init__(self) -> None:
        self.cancelled = False

    def mul(self, left: float, right: float) -> float:
        return left * right

    def fail(self) -> None:
        raise ValueError("no luck")

    async def hang(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled = True

    async def count(self, stream: MetaGenerator) -> int:
        return len(await stream.join())


async def call_and_lose(channel: Channel, page: Page) -> None:
    """Loses the page while it runs a call."""
    page.hang("add")
    async with trio.open_nursery() as nursery:

        async def lose() -> None:
            await page.wait_call("add")
            page.lose()

        nursery.start_soon(lose)
        with pytest.raises(PageLostError, match="broke off without a word"):
            await channel.call("add", timeout=None)
    page.restore("add")


class TestAnswers:
    async def test_the_handler_plays_the_javascript(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, _):
            assert await channel.call("add", 1, 2) == 3
            assert await channel.call("add_later", 1, 2, timeout=None) == 3

    async def test_without_a_handler_there_is_nothing_to_call(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (channel, page):
            with pytest.raises(FrontendError) as caught:
                await channel.call("add")
            assert caught.value.kind == "handler"
            assert page.calls[0].state == "failed"

    async def test_an_error_of_javascript_arrives_with_its_name_message_and_stack(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend()) as (channel, _):
            with pytest.raises(FrontendError) as caught:
                await channel.call("fail")
            error = caught.value
            assert (error.kind, error.name, error.message, error.stack) == ("exception", "RangeError", "too far", STACK)

    async def test_any_other_error_arrives_with_its_traceback(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, _):
            with pytest.raises(FrontendError, match="LookupError: not there") as caught:
                await channel.call("fail_in_python")
            assert caught.value.stack is not None
            assert 'raise LookupError("not there")' in caught.value.stack

    async def test_an_abort_error_is_a_method_that_its_own_program_cancelled(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend()) as (channel, page):
            with pytest.raises(RemoteCancelledError, match="given up"):
                await channel.call("abort")
            assert page.calls[0].state == "failed"

    def test_an_error_of_javascript_is_one_of_its_name(self) -> None:
        error = JavaScriptError("RangeError", "too far", STACK)
        assert type(error).__name__ == error.name == "RangeError"
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 (the test's own)
        assert (again.name, str(again), again.stack) == ("RangeError", "too far", STACK)
        with pytest.raises(TypeError, match="must be a str"):
            JavaScriptError(3)  # type: ignore[arg-type]

    async def test_a_method_can_be_told_to_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.answer("add", "five")
            page.answer("new", None)
            assert await channel.call("add", 1, 2) == "five"
            assert await channel.call("new") is None
            page.restore("add")
            assert await channel.call("add", 1, 2) == 3

    async def test_a_method_can_be_told_to_raise(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.fail("add", JavaScriptError("TypeError", "no"))
            with pytest.raises(FrontendError, match="TypeError: no"):
                await channel.call("add", 1, 2)

    async def test_a_method_can_be_told_never_to_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.hang("add")
            with pytest.raises(trio.TooSlowError):
                await channel.call("add", 1, 2, timeout=3600)
            assert await channel.call("add_later", 1, 2, timeout=None) == 3

    async def test_all_methods_can_be_told_never_to_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.hang()
            page.answer("new", 1)
            with pytest.raises(trio.TooSlowError):
                await channel.call("add", 1, 2)
            assert await channel.call("new") == 1
            page.restore()
            assert await channel.call("add", 1, 2) == 3

    async def test_a_script_is_for_names_and_errors(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (_, page):
            with pytest.raises(TypeError, match="must be a str"):
                page.answer(3, 3)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="must be an exception"):
                page.fail("add", "RangeError")  # type: ignore[arg-type]

    async def test_on_open_plays_the_code(self, autojump_clock: trio.testing.MockClock) -> None:
        async def play(channel: PeerChannel, code: str) -> str:
            await trio.sleep(1)
            channel.handler = Frontend() if code == "math" else None
            return f"played {code}"

        async with open_server() as server, open_page(server, on_open=play) as page:
            async with server.hold_channel("math") as channel:
                assert await channel.open() == "played math"
                assert await channel.call("add", 1, 2) == 3
                assert [channel.code for channel in page.channels] == ["math"]

    async def test_code_that_fails_fails_the_opening(self, autojump_clock: trio.testing.MockClock) -> None:
        def play(channel: PeerChannel, code: str) -> None:
            raise JavaScriptError("SyntaxError", code, "the stack")

        async with open_server() as server, open_page(server, on_open=play):
            with pytest.raises(FrontendError, match="SyntaxError: code") as caught:
                async with server.open_channel("code"):
                    raise AssertionError
            assert caught.value.stack == "the stack"


class TestRecord:
    async def test_calls_are_recorded_with_their_arguments_and_time(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend()) as (channel, page):
            await channel.call("add", 1, 2, timeout=30)
            await channel.call("add", 3, 4, timeout=None)
            first, second = page.calls
            assert (first.name, first.args, first.time_left, first.state) == ("add", (1, 2), 30, "answered")
            assert second.time_left == math.inf
            assert first.channel == page.channels[0].number

    async def test_a_call_that_is_cancelled_shows_it(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (channel, page):
            page.hang()
            with trio.move_on_after(5):
                await channel.call("add", timeout=None)
            assert page.calls[0].state == "cancelled"

    async def test_each_call_is_waited_for_once(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.call, "add", 1, 1)
                assert (await page.wait_call("add")).args == (1, 1)
            await channel.call("add", 2, 2)
            assert (await page.wait_call()).args == (2, 2)

    async def test_a_call_that_does_not_come_is_an_error_with_those_that_came(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend()) as (channel, page):
            with pytest.raises(trio.TooSlowError, match=r"the page was not called within 60 s.*: none"):
                await page.wait_call()
            await channel.call("add", 1, 2)
            with pytest.raises(trio.TooSlowError, match=r"'sub' was not called in the page within 5 s.*: 'add'"):
                await page.wait_call("sub", timeout=5)

    async def test_the_end_of_a_call_can_be_waited_for(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.call, "add", 1, 2)
                call = await page.wait_call()
                await page.wait_ended(call)
                assert call.state == "answered"

    async def test_the_waits_of_a_page_end(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (channel, page):
            page.hang()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(channel.call, "add", timeout=None))
                call = await page.wait_call()
                with pytest.raises(trio.TooSlowError, match="the call of 'add' did not end in the page within 60 s"):
                    await page.wait_ended(call)
                nursery.cancel_scope.cancel()
            with pytest.raises(trio.TooSlowError, match="the page was not lost within 5 s: it is connected"):
                await page.wait_lost(5)
            assert (await page.wait_channel()).number == page.channels[0].number


class TestRequests:
    async def test_the_page_calls_python(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(handler=Backend()) as (_, page):
            assert await page.call("mul", 2, 3) == 6
            assert await page.echo(1, "two") == [1, "two"]
            with pytest.raises(KernelError, match="ValueError: no luck"):
                await page.call("fail")

    async def test_the_page_sends_a_stream(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(handler=Backend()) as (_, page):
            assert await page.call_with_stream("count", bytes(300_000)) == 300_000
            async with await page.pipe(bytes(300_000)) as stream:
                assert len(await stream.join()) == 300_000

    async def test_cancelling_the_page_s_call_cancels_python_s_method(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        backend = Backend()
        async with open_pair(handler=backend) as (_, page):
            with pytest.raises(trio.TooSlowError):
                await page.call("hang", timeout=3600)
            assert backend.cancelled


class TestStreams:
    async def test_streams_go_both_ways(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, _):
            assert await channel.call_with_stream("count", bytes(300_000)) == 300_000
            async with await channel.call("give", 300) as stream:
                assert len(await stream.join()) == 300_000

    async def test_a_stream_of_the_page_may_be_slow(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, _):
            async with await channel.call("tick", timeout=None) as stream:
                assert [await anext(stream) for _ in range(3)] == [b"tick"] * 3

    async def test_a_stream_of_the_page_that_fails_has_the_name_of_its_error(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend()) as (channel, _):
            async with await channel.call("break_off", timeout=None) as stream:
                assert await anext(stream) == b"first"
                with pytest.raises(FrontendError, match="NotReadableError: gone"):
                    await anext(stream)

    async def test_losing_the_page_breaks_its_streams(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            async with await channel.call("tick", timeout=None) as stream:
                await anext(stream)
                page.lose()
                with pytest.raises(PageLostError, match="the stream is not whole"):
                    await anext(stream)


class TestLoss:
    async def test_a_lost_page_is_a_page_lost_error(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (channel, page):
            await call_and_lose(channel, page)
            assert not page.connected
            await page.wait_lost()
            assert page.why_ended
            assert repr(page) == f"<jchannel.testing.page.Page {page.client!r}, not connected>"

    async def test_a_page_is_lost_when_python_is_through_with_it(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (_, page):
            other = connect_streams(page.to_python, page.to_page)
            page._connections.append(other)
            page.lose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(page.wait_lost)
                await trio.sleep(1)
                assert len(nursery.child_tasks) == 1
                await other.server.aclose()

    async def test_losing_the_page_cancels_python_s_method(self, autojump_clock: trio.testing.MockClock) -> None:
        backend = Backend()
        async with open_pair(handler=backend) as (_, page):
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with pytest.raises(PageLostError):
                        await page.call("hang", timeout=None)

                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                page.lose()
            assert backend.cancelled

    async def test_a_page_that_reconnects_is_as_it_was(self, autojump_clock: trio.testing.MockClock) -> None:
        played: list[str] = []

        def play(channel: PeerChannel, code: str) -> int:
            played.append(code)
            channel.handler = Frontend()
            return len(played)

        async with open_pair(on_open=play, code="code") as (channel, page):
            await call_and_lose(channel, page)
            await page.reconnect()
            assert page.connected
            assert repr(page).endswith("connected>")
            assert await channel.call("add", 1, 2) == 3
            assert played == ["code"]

    async def test_a_page_that_is_reloaded_knows_nothing(self, autojump_clock: trio.testing.MockClock) -> None:
        played: list[str] = []
        async with open_pair(Frontend(), on_open=lambda _, code: played.append(code), code="code") as (channel, page):
            await page.reload()
            assert await channel.call("add", 1, 2) == 3
            assert played == ["code", "code"]

    async def test_calls_wait_for_a_page_that_comes_back(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.lose()
            await page.wait_lost()
            async with trio.open_nursery() as nursery:

                async def come_back() -> None:
                    await trio.sleep(10)
                    await page.reconnect()

                nursery.start_soon(come_back)
                assert await channel.call("add", 1, 2, timeout=20) == 3
                assert trio.current_time() >= 10

    async def test_a_page_that_is_connected_does_not_reconnect(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (_, page):
            with pytest.raises(StateError, match=r"lose\(\) breaks its connection"):
                await page.reconnect()

    async def test_a_page_says_goodbye_when_it_closes(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.hang()
            async with trio.open_nursery() as nursery:

                async def close() -> None:
                    await page.wait_call()
                    await page.close()

                nursery.start_soon(close)
                with pytest.raises(PageLostError, match="the page has closed the connection"):
                    await channel.call("add", timeout=None)
            page.restore()
            await page.reconnect()
            assert await channel.call("add", 1, 2) == 3

    async def test_a_page_that_is_lost_calls_nobody(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (_, page):
            page.lose()
            await page.wait_lost()
            with pytest.raises(PageLostError):
                await page.call("mul")


class TestNetwork:
    async def test_what_is_held_passes_when_it_is_released(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend(), handler=Backend()) as (channel, page):
            page.hold()
            with pytest.raises(trio.TooSlowError):
                await channel.call("add", 1, 2)
            with pytest.raises(trio.TooSlowError):
                await page.call("mul", 1, 2)
            assert page.calls == []
            page.release()
            assert await channel.call("add", 1, 2) == 3
            assert await page.call("mul", 1, 2) == 2

    async def test_a_page_that_is_held_is_given_up_after_two_heartbeats_at_most(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(heartbeat=5) as (channel, page):
            page.hold()
            with pytest.raises(PageLostError, match="did not answer a beat within 5 s"):
                await channel.call("add", timeout=None)
            assert trio.current_time() <= 10

    async def test_a_page_that_is_held_cannot_come_back(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair() as (_, page):
            page.lose()
            page.hold()
            with pytest.raises((trio.TooSlowError, PageLostError)):
                await page.reconnect()
            page.release()
            await page.reconnect()
            assert page.connected

    async def test_a_delay_is_for_each_direction(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend(), handler=Backend()) as (channel, page):
            page.delay(2)
            start = trio.current_time()
            assert await channel.call("add", 1, 2, timeout=None) == 3
            assert trio.current_time() - start == pytest.approx(4)
        async with open_pair(handler=Backend()) as (_, page):
            page.to_page.set_delay(1)
            start = trio.current_time()
            assert await page.call("mul", 1, 2, timeout=None) == 2
            assert trio.current_time() - start == pytest.approx(1)

    async def test_a_delay_of_more_than_half_a_heartbeat_loses_the_page(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend(), heartbeat=5) as (channel, page):
            page.delay(3)
            page.hang()
            with pytest.raises(PageLostError, match="beat"):
                await channel.call("add", timeout=None)

    async def test_a_page_that_does_not_read_holds_the_program_back(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend(), limits=Limits(send_buffer_bytes=1000)) as (channel, page):
            page.stop_reading()
            with trio.move_on_after(1):
                await channel.echo("x" * 200_000, timeout=None)
            with trio.move_on_after(1):
                await channel.echo("x" * 200_000, timeout=None)
            with pytest.raises(trio.TooSlowError, match="the page does not take what waits to be sent"):
                await channel.call("add", 1, 2, timeout=1)
            page.resume_reading()
            assert await channel.call("add", 1, 2) == 3


class TestFaults:
    async def test_an_answer_that_is_dropped_never_comes(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            fault = page.to_python.drop("result")
            with pytest.raises(trio.TooSlowError):
                await channel.call("add", 1, 2)
            assert (fault.hits, page.calls[0].state) == (1, "answered")
            assert await channel.call("add", 1, 2) == 3

    async def test_a_call_that_is_dropped_is_never_heard_of(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.to_page.drop("call")
            with pytest.raises(trio.TooSlowError):
                await channel.call("add", 1, 2)
            assert page.calls == []
            assert await channel.call("add", 1, 2) == 3

    async def test_a_call_of_the_page_and_its_answer_can_be_dropped(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(handler=Backend()) as (_, page):
            for direction, kind in ((page.to_python, "call"), (page.to_page, "result")):
                direction.drop(kind)
                with pytest.raises(trio.TooSlowError):
                    await page.call("mul", 1, 2)
            assert await page.call("mul", 1, 2) == 2

    async def test_a_cancel_that_is_dropped_leaves_the_page_at_work(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_pair(Frontend()) as (channel, page):
            fault = page.to_page.drop("cancel")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(channel.call, "add_later", 1, 2, timeout=None))
                await page.wait_call()
                nursery.cancel_scope.cancel()
            assert fault.hits == 1
            assert page.calls[0].state == "running"
            assert trio.current_time() < 1
            await page.wait_ended(page.calls[0])
            assert await channel.call("add", 1, 2) == 3

    async def test_a_cancel_may_come_twice(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            fault = page.to_page.duplicate("cancel")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(channel.call, "add_later", 1, 2, timeout=None))
                await page.wait_call()
                nursery.cancel_scope.cancel()
            assert fault.hits == 1
            await page.wait_ended(page.calls[0])
            assert await channel.call("add", 1, 2) == 3

    async def test_answers_may_come_in_another_order(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            fault = page.to_python.reorder("result", count=2)
            sums: list[float] = []

            async def add(number: int) -> None:
                sums.append(await channel.call("add", number, 0))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(add, 1)
                nursery.start_soon(add, 2)
            assert sorted(sums) == [1, 2]
            assert fault.done

    async def test_an_answer_that_comes_twice_breaks_the_protocol(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.to_python.duplicate("result")
            with pytest.raises(PageLostError, match="the page broke the protocol"):
                await channel.call("add", 1, 2)
            await page.wait_lost()
            assert "broke the protocol" in page.why_ended
            await page.reload()
            assert await channel.call("add", 1, 2) == 3

    async def test_a_call_that_comes_twice_breaks_the_protocol(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.to_page.duplicate("call")
            with pytest.raises(PageLostError, match="the server broke the protocol"):
                await channel.call("add", 1, 2)
            await page.wait_lost()


class TestServers:
    async def test_a_page_needs_a_server_in_memory(self, autojump_clock: trio.testing.MockClock) -> None:
        with pytest.raises(TypeError, match=r"jchannel\.testing\.open_server"):
            async with open_page("server"):  # type: ignore[arg-type]
                raise AssertionError
        async with jchannel.trio.open_server(listeners=[MemoryListener()]) as server:
            with pytest.raises(TypeError, match=r"jchannel\.testing\.open_server"):
                async with open_page(server):
                    raise AssertionError

    async def test_a_second_page_is_refused_while_the_first_is_there(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_server() as server:
            async with open_page(server):
                with pytest.raises(RefusedError, match="another page is connected"):
                    async with open_page(server):
                        raise AssertionError
            async with open_page(server, client="second") as page:
                assert (page.client, page.connected) == ("second", True)

    async def test_a_server_that_is_closed_takes_no_page(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_server() as server:
            pass
        with pytest.raises(UnreachableError, match="closed"):
            async with open_page(server):
                raise AssertionError

    async def test_a_server_that_closes_tells_its_page(self, autojump_clock: trio.testing.MockClock) -> None:
        async with trio.open_nursery() as nursery:

            async def stay(server: jchannel.trio.Server, task_status: trio.TaskStatus[Page]) -> None:
                async with open_page(server) as page:
                    task_status.started(page)
                    await page.wait_lost()

            async with open_server() as server:
                page = await nursery.start(stay, server)
            await page.wait_lost()
            assert "the server was closed" in page.why_ended

    async def test_leaving_ends_all_even_when_the_page_is_held(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_pair(Frontend()) as (channel, page):
            page.hold()
            start = trio.current_time()
        assert trio.current_time() == start
        with pytest.raises(ClosedError):
            await channel.call("add", 1, 2)

    async def test_nothing_is_left_of_a_channel_that_was_closed(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_server() as server, open_page(server, Frontend()) as page:
            async with server.open_channel("code") as channel:
                assert await channel.call("add", 1, 2) == 3
                assert server.statistics().page_connected
            assert page.channels == []
            assert server.statistics().channels == 0
