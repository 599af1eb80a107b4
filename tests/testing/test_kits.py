"""The kits of the facades: real objects of theirs, a page in memory, and a time that only the test moves."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

import jchannel.channel
import jchannel.server
import jchannel.sync
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._streams.blocking import ByteStream
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import (
    ClosedError,
    FrontendError,
    KernelError,
    PageLostError,
    RefusedError,
    StateError,
    UnreachableError,
)
from jchannel.testing import AsyncioKit, JavaScriptError, LoopPage, SyncKit
from jchannel.testing.clock import KitPortal
from jchannel.trio import Limits, PeerChannel
from tests.peer_thread import TIMEOUT


def kit_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "jchannel testing"]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a program, after which no thread of a kit is left."""
    asyncio.run(main())
    gc.collect()
    assert kit_threads() == []


class Frontend:
    """Plays the JavaScript, on the loop."""

    def __init__(self, kit: AsyncioKit) -> None:
        self.kit = kit
        self.cancelled = False

    def add(self, left: float, right: float) -> float:
        return left + right

    async def add_later(self, left: float, right: float) -> float:
        await self.kit.sleep(10)
        return left + right

    async def hang(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True

    async def count(self, stream: MetaGenerator) -> int:
        return len(await stream.join())

    async def give(self, size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield bytes(1000)


class Backend:
    """The Python handler, on the loop."""

    async def mul(self, left: float, right: float) -> float:
        await asyncio.sleep(0)
        return left * right

    async def count(self, stream: MetaGenerator) -> int:
        return len(await stream.join())

    async def give(self, size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield bytes(1000)


async def give(size: int) -> AsyncIterator[bytes]:
    for _ in range(size):
        yield bytes(1000)


class TestAsyncio:
    def test_its_objects_are_the_facade_s(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, page = await kit.open_pair(Frontend(kit), code="code")
                assert isinstance(kit.server, jchannel.server.Server)
                assert type(channel) is jchannel.channel.Channel
                task = channel.call("add", 1, 2)
                assert isinstance(task, asyncio.Task)
                assert await task == 3
                assert page.codes == ["code"]
                assert repr(page) == f"<jchannel.testing.facade.LoopPage {page.client!r}, connected>"

        run(main)

    def test_the_page_s_methods_run_on_the_loop(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                mock = AsyncMock()
                mock.add.return_value = 3
                channel, _ = await kit.open_pair(mock)
                assert await channel.call("add", 1, 2) == 3
                mock.add.assert_awaited_once_with(1, 2)

        run(main)

    def test_an_hour_without_an_answer_takes_no_time(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                frontend = Frontend(kit)
                channel, page = await kit.open_pair(frontend)
                task = channel.call("hang", timeout=3600)
                call = await page.wait_call("hang")
                await kit.advance(3599)
                assert not task.done()
                await kit.advance(1)
                assert isinstance(task.exception(), TimeoutError)
                assert frontend.cancelled
                assert call.state == "cancelled"
                assert kit.time == 3600

        run(main)

    def test_what_is_due_first_happens_first(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, _ = await kit.open_pair(Frontend(kit))
                tasks = [channel.call("add_later", 1, 2, timeout=seconds) for seconds in (9, 11)]
                await kit.advance(3600)
                assert isinstance(tasks[0].exception(), TimeoutError)
                assert tasks[1].result() == 3

        run(main)

    def test_time_stands_still_by_itself(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                await kit.open_pair()
                await asyncio.sleep(0.01)
                assert kit.time == 0

        run(main)

    def test_calls_and_streams_go_both_ways(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, page = await kit.open_pair(Frontend(kit), handler=Backend())
                assert await page.call("mul", 2, 3) == 6
                assert await page.echo(1) == [1]
                assert await channel.call_with_stream("count", give(300)) == 300_000
                assert await page.call_with_stream("count", give(300)) == 300_000
                for stream in (
                    await channel.call("give", 300),
                    await page.call("give", 300),
                    await channel.pipe(give(300)),
                    await page.pipe(bytes(300_000)),
                ):
                    async with stream:
                        assert len(await stream.join()) == 300_000

        run(main)

    def test_a_request_that_a_page_makes_before_there_is_a_channel_waits_for_one(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                page = await kit.open_page()
                task = page.call("mul", 2, 3)
                channel = jchannel.channel.Channel(kit.server, "code")
                channel.handler = Backend()
                await channel.open()
                assert await task == 6

        run(main)

    def test_the_page_can_be_scripted(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, page = await kit.open_pair(Frontend(kit))
                page.answer("add", "five")
                assert await channel.call("add", 1, 2) == "five"
                page.answer("add", give(3))
                async with await channel.call("add") as stream:
                    assert len(await stream.join()) == 3000
                page.fail("add", JavaScriptError("RangeError", "too far", "stack"))
                with pytest.raises(FrontendError) as caught:
                    await channel.call("add", 1, 2)
                assert (caught.value.name, caught.value.stack) == ("RangeError", "stack")
                page.hang("add")
                task = channel.call("add", 1, 2)
                await kit.advance(3)
                assert isinstance(task.exception(), TimeoutError)
                page.restore("add")
                assert await channel.call("add", 1, 2) == 3
                assert [call.state for call in page.calls] == [
                    "answered",
                    "answered",
                    "failed",
                    "cancelled",
                    "answered",
                ]
                call = await page.wait_call()
                assert (call.args, call.time_left) == ((1, 2), 3)
                await page.wait_ended(call)
                with pytest.raises(TypeError, match="must be a str"):
                    page.answer(3, 3)  # type: ignore[arg-type]

        run(main)

    def test_a_call_that_does_not_come_is_waited_for_in_the_kit_s_time(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                _, page = await kit.open_pair()
                task = page.wait_call("add", timeout=60)
                await kit.advance(60)
                with pytest.raises(TimeoutError, match="'add' was not called in the page within 60 s"):
                    await task

        run(main)

    def test_a_page_can_be_lost_and_come_back(self) -> None:
        played: list[str] = []

        def play(_: PeerChannel, code: str) -> None:
            played.append(code)

        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, page = await kit.open_pair(Frontend(kit), on_open=play, code="code")
                task = channel.call("hang", timeout=None)
                await page.wait_call()
                page.lose()
                with pytest.raises(PageLostError):
                    await task
                await page.wait_lost()
                assert (page.connected, bool(page.why_ended)) == (False, True)
                assert repr(page).endswith("not connected>")
                waiting = channel.call("add", 1, 2)
                await page.reconnect()
                assert await waiting == 3
                await page.reload()
                assert await channel.call("add", 1, 2) == 3
                assert played == ["code", "code"]
                await page.close()
                assert not page.connected

        run(main)

    def test_a_network_can_hang(self) -> None:
        async def main() -> None:
            async with AsyncioKit(heartbeat=5) as kit:
                channel, page = await kit.open_pair(Frontend(kit))
                page.hold()
                task = channel.call("add", 1, 2, timeout=None)
                await kit.advance(1)
                assert not task.done()
                page.release()
                assert await task == 3
                page.stop_reading()
                task = channel.call("add", 1, 2, timeout=None)
                await kit.advance(10)
                with pytest.raises(PageLostError, match="beat"):
                    await task
                page.resume_reading()

        run(main)

    def test_what_passes_can_be_delayed(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, page = await kit.open_pair(Frontend(kit))
                page.delay(2)
                task = channel.call("add", 1, 2, timeout=None)
                await kit.advance(3.9)
                assert not task.done()
                await kit.advance(0.1)
                assert task.done()

        run(main)

    def test_each_direction_has_its_faults(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                channel, page = await kit.open_pair(Frontend(kit), handler=Backend())
                fault = page.to_python.drop("result")
                task = channel.call("add", 1, 2)
                await kit.advance(3.5)  # The page has answered, and cannot confirm the cancellation.
                assert isinstance(task.exception(), TimeoutError)
                assert fault.hits == 1
                page.to_python.reorder("result")
                sums = await asyncio.gather(channel.call("add", 1, 0), channel.call("add", 2, 0))
                assert list(sums) == [1, 2]
                page.to_page.hold()
                task = channel.call("add", 1, 2)
                page.to_page.release()
                assert await task == 3
                page.to_page.set_delay(1)
                task = channel.call("add", 1, 2)
                await kit.advance(1)
                assert task.done()
                page.to_python.duplicate("result")
                task = channel.call("add", 1, 2)
                await kit.advance(1)
                assert isinstance(task.exception(), PageLostError)
                with pytest.raises(ValueError, match="name types of messages"):
                    page.to_page.drop("nonsense")

        run(main)

    def test_a_second_page_is_refused(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                await kit.open_page(client="first")
                with pytest.raises(RefusedError, match="another page is connected"):
                    await kit.open_page(client="second")

        run(main)

    def test_leaving_ends_all_and_its_thread_even_when_the_page_is_held(self) -> None:
        kept: list[Any] = []

        async def main() -> None:
            async with AsyncioKit() as kit:
                frontend = Frontend(kit)
                channel, page = await kit.open_pair(frontend)
                kept.extend([kit, channel, page])
                task = channel.call("hang", timeout=None)
                await page.wait_call()
                page.hold()
                assert len(kit_threads()) == 1
            assert kit_threads() == []
            assert frontend.cancelled
            assert isinstance(task.exception(), PageLostError | ClosedError)
            with pytest.raises(StateError, match=r"was left|closed"):
                await channel.call("add", 1, 2)
            with pytest.raises(StateError, match=r"the kit of jchannel\.testing was left"):
                page.lose()
            with pytest.raises(StateError, match="entered already, or was left"):
                await kit.__aenter__()

        run(main)

    def test_a_sleep_ends_with_the_kit(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                task = asyncio.create_task(kit.sleep(10))
                await kit.advance(1)
            with pytest.raises(StateError, match="was left"):
                await task

        run(main)

    def test_a_server_can_be_stopped_and_started_again(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                await kit.server.stop()
                with pytest.raises(UnreachableError):
                    await kit.open_page()
                await kit.server.start()
                async with kit.server as server:
                    assert server is kit.server
                    channel, _ = await kit.open_pair(Frontend(kit))
                    assert await channel.call("add", 1, 2) == 3

        run(main)

    def test_wrong_options_leave_no_thread(self) -> None:
        async def main() -> None:
            with pytest.raises(TypeError, match="limits must be"):
                async with AsyncioKit(limits=3):  # type: ignore[arg-type]
                    raise AssertionError
            assert kit_threads() == []

        run(main)

    def test_cancelling_the_opening_of_a_page_leaves_none(self) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                portal = kit.server._handle.portal
                assert isinstance(portal, KitPortal)
                # trio is held up until the Task waits, so that the page does not come before.
                waits = threading.Event()
                portal.post(lambda: waits.wait(TIMEOUT))
                task = asyncio.create_task(kit.open_page(client="first"))
                await asyncio.sleep(0)
                waits.set()
                # The page is connected, and the Task has not seen it yet.
                wait_blocking(kit.server._handle.wait_page(None))
                wait_blocking(TaskJob(portal, portal.settle))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                page = await kit.open_page(client="second")
                assert page.connected

        run(main)

    def test_cancelling_the_leaving_waits_for_the_thread(self) -> None:
        async def main() -> None:
            kit = AsyncioKit()
            portal = KitPortal()
            task = asyncio.create_task(kit._end(portal))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert kit_threads() == []

        run(main)

    @pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
    def test_time_goes_on_by_finite_steps(self, seconds: float) -> None:
        async def main() -> None:
            async with AsyncioKit() as kit:
                with pytest.raises(ValueError, match="the time to advance by must be finite"):
                    await kit.advance(seconds)
                with pytest.raises(ValueError, match="the time to sleep must be finite"):
                    await kit.sleep(seconds)

        run(main)

    def test_a_kit_that_is_not_entered_says_so(self) -> None:
        async def main() -> None:
            kit = AsyncioKit()
            with pytest.raises(StateError, match="`async with`"):
                await kit.advance(1)
            with pytest.raises(StateError, match="`async with`"):
                assert kit.time

        run(main)

    def test_the_options_reach_the_server(self) -> None:
        class Failing:
            def fail(self) -> None:
                raise ValueError("no luck")

        async def main() -> None:
            async with AsyncioKit(tracebacks=True, limits=Limits(running_requests=1)) as kit:
                _, page = await kit.open_pair(handler=Failing())
                with pytest.raises(KernelError) as caught:
                    await page.call("fail")
                assert caught.value.stack is not None

        run(main)


class TestBlocking:
    class Frontend:
        """Plays the JavaScript, in worker threads."""

        def __init__(self, kit: SyncKit) -> None:
            self.kit = kit

        def add(self, left: float, right: float) -> float:
            return left + right

        def slow(self) -> None:
            self.kit.advance(3600)

        def count(self, stream: ByteStream) -> int:
            return len(stream.join())

        def give(self, size: int) -> Iterator[bytes]:
            for _ in range(size):
                yield bytes(1000)

    def test_its_objects_are_the_facade_s(self) -> None:
        with SyncKit() as kit:
            channel, page = kit.open_pair(self.Frontend(kit), code="code")
            assert isinstance(kit.server, jchannel.sync.Server)
            assert type(channel) is jchannel.sync.Channel
            assert channel.call("add", 1, 2) == 3
            assert page.codes == ["code"]
        assert kit_threads() == []

    def test_a_method_of_the_page_moves_time(self) -> None:
        with SyncKit() as kit:
            channel, page = kit.open_pair(self.Frontend(kit))
            with pytest.raises(TimeoutError):
                channel.call("slow", timeout=3600)
            call = page.wait_call("slow")
            page.wait_ended(call)
            assert call.state == "cancelled"
            assert kit.time == 3600
        assert kit_threads() == []

    def test_calls_and_streams_go_both_ways(self) -> None:
        with SyncKit() as kit:
            frontend = self.Frontend(kit)
            channel, page = kit.open_pair(frontend, handler=frontend)
            assert page.call("add", 1, 2) == 3
            assert page.echo(1) == [1]
            assert channel.call_with_stream("count", bytes(300_000)) == 300_000
            assert page.call_with_stream("count", bytes(300_000)) == 300_000
            for stream in (channel.call("give", 300), page.call("give", 300), page.pipe(bytes(300_000))):
                with stream:
                    assert len(stream.join()) == 300_000

    def test_a_page_can_be_lost_and_come_back(self) -> None:
        with SyncKit() as kit:
            channel, page = kit.open_pair(self.Frontend(kit), on_open=lambda _, code: code)
            page.lose()
            page.wait_lost()
            page.reconnect()
            assert channel.call("add", 1, 2) == 3
            page.reload()
            assert channel.call("add", 1, 2) == 3
            page.close()
            assert not page.connected

    def test_a_server_can_be_stopped_and_started_again(self) -> None:
        with SyncKit() as kit:
            kit.server.stop()
            kit.server.start()
            with kit.server:
                channel, _ = kit.open_pair(self.Frontend(kit))
                assert channel.call("add", 1, 2) == 3

    def test_wrong_options_leave_no_thread(self) -> None:
        with pytest.raises(TypeError, match="limits must be"):
            with SyncKit(limits=3):  # type: ignore[arg-type]
                raise AssertionError
        assert kit_threads() == []

    def test_an_async_source_is_refused(self) -> None:
        with SyncKit() as kit:
            _, page = kit.open_pair()
            with pytest.raises(TypeError, match="no loop to read an async iterable in"):
                page.answer("add", give(3))

    def test_a_kit_that_is_not_entered_says_so(self) -> None:
        with pytest.raises(StateError, match="`with`"):
            SyncKit().advance(1)


def test_a_trio_that_fails_says_so_to_all_who_wait() -> None:
    portal = KitPortal()

    async def fail() -> None:
        raise ValueError("no luck")

    ended = threading.Event()
    portal.post(lambda: portal.start_soon(fail))
    portal.end_soon(ended.set)
    assert ended.wait(20)
    portal.join()
    assert portal.ended


def test_it_needs_nothing_of_the_tests_of_jchannel(fresh_python: Callable[[str], str]) -> None:
    program = """
import sys
sys.modules["pytest"] = sys.modules["pytest_trio"] = sys.modules["pytest_asyncio"] = None
import jchannel.testing
print("trio_asyncio" in sys.modules)
"""
    assert fresh_python(program) == "False\n"


def test_a_page_s_type_is_public() -> None:
    assert LoopPage.__module__ == "jchannel.testing.facade"
