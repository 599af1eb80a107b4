"""The newest value wins: one call under way, never a backlog, in trio."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

import jchannel.testing
from jchannel import ClosedError, FrontendError, Limits, PageLostError
from jchannel._core.arguments import pack_call
from jchannel._core.failures import FAILURES, Listener
from jchannel._core.latest import LatestValue
from jchannel.trio import LatestStatistics
from tests.core.internals import channel_core, lose_peer
from tests.core.memory import open_memory_server


class Page:
    """A page whose drawing takes some time."""

    def __init__(self, seconds: float = 1) -> None:
        self.seconds = seconds
        self.got: list[Any] = []
        self.at_once = self.most_at_once = self.cancelled = 0

    async def draw(self, value: Any) -> None:
        self.got.append(value)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1

    def fail(self, value: Any) -> None:
        self.got.append(value)
        raise LookupError("no such element")

    async def give(self, value: Any) -> AsyncIterator[bytes]:
        self.got.append(value)
        while True:
            yield bytes(10_000)
            await trio.sleep(1)


@pytest.fixture
def page() -> Page:
    return Page()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.module == "failures"]


async def test_a_page_slower_than_the_values_gets_the_newest_one_after_the_other(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("draw") as latest:
            for number in range(100):
                latest.set(number)
                await trio.sleep(0.1)
            assert latest.statistics().values == 100
        statistics = latest.statistics()
        assert page.got[0] == 0
        assert page.got[-1] == 99
        assert page.got == sorted(set(page.got))
        assert page.most_at_once == 1
        assert statistics == LatestStatistics(values=100, sent=len(page.got), skipped=100 - len(page.got), failed=0)
        assert 10 <= len(page.got) <= 12


async def test_a_network_that_is_slow_gets_no_backlog(page: Page, autojump_clock: trio.testing.MockClock) -> None:
    page.seconds = 0
    async with jchannel.testing.open_pair(page) as (channel, connection):
        connection.delay(2)
        async with channel.open_latest("draw", timeout=10) as latest:
            for number in range(1_000):
                latest.set(number)
                await trio.sleep(0.01)
        assert page.got[-1] == 999
        assert len(page.got) == 4
        assert latest.statistics().skipped == 996


async def test_a_value_that_is_set_before_another_is_sent_is_skipped(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    page.seconds = 0
    async with jchannel.testing.open_pair(page) as (channel, connection):
        connection.lose()
        await connection.wait_lost()
        async with channel.open_latest("draw") as latest:
            for number in range(3):
                latest.set(number)
            assert latest.statistics() == LatestStatistics(values=3, sent=0, skipped=2, failed=0)
            await trio.sleep(3600)  # It waits for a page as long as its block lasts.
            await connection.reload()
        assert page.got == [2]


async def test_a_page_that_comes_gets_the_newest_value_again(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    page.seconds = 0
    async with jchannel.testing.open_pair(page) as (channel, connection):
        async with channel.open_latest("draw") as latest:
            await connection.reload()
            latest.set("newest")
            await trio.sleep(1)
            await connection.reload()
            await trio.sleep(1)
            await connection.reload()
            await trio.sleep(1)
        assert page.got == ["newest"] * 3
        assert latest.statistics() == LatestStatistics(values=1, sent=1, skipped=0, failed=0)


async def test_a_call_that_is_lost_with_its_page_is_made_again_in_the_next_with_the_newest_value(
    page: Page, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with jchannel.testing.open_pair(page) as (channel, connection):
        async with channel.open_latest("draw") as latest:
            latest.set(1)
            await connection.wait_call("draw")
            connection.lose()
            await connection.wait_lost()
            latest.set(2)
            await connection.reload()
        assert page.got == [1, 2]
        assert latest.statistics() == LatestStatistics(values=2, sent=2, skipped=0, failed=0)
    assert messages(caplog) == []


async def test_a_block_that_ends_while_the_page_is_lost_waits_for_the_next(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    async with jchannel.testing.open_pair(page) as (channel, connection):
        async with trio.open_nursery() as nursery, channel.open_latest("draw") as latest:
            latest.set(1)
            await connection.wait_call("draw")
            connection.lose()
            await connection.wait_lost()
            nursery.start_soon(connection.reload)
        assert page.got == [1, 1]


async def test_a_method_that_raises_ends_nothing_and_is_told(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[Exception] = []
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("fail", on_failure=heard.append) as latest:
            latest.set(1)
            await trio.sleep(1)
            latest.set(2)
        assert page.got == [1, 2]
        await trio.testing.wait_all_tasks_blocked()  # A task of the channel's tells it.
        assert [type(error) for error in heard] == [FrontendError] * 2
        assert latest.statistics() == LatestStatistics(values=2, sent=2, skipped=0, failed=2)


async def test_failures_are_logged_together_with_the_line_of_the_block(
    page: Page, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("fail") as latest:
            for number in range(30):
                latest.set(number)
                await trio.sleep(1)
    FAILURES.flush()
    first, rest = messages(caplog)
    assert first.startswith("channel.open_latest('fail') has failed, and nobody waits for it: FrontendError: Lookup")
    assert first.endswith('(async with channel.open_latest("fail") as latest:)')
    assert "has failed 29 times more" in rest


async def test_a_method_that_is_too_slow_is_cancelled_and_the_next_value_is_sent(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[Exception] = []
    page.seconds = 100
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("draw", timeout=2, on_failure=heard.append) as latest:
            latest.set(1)
            await trio.sleep(1)
            latest.set(2)
            await trio.sleep(2)
            page.seconds = 0
        assert page.got == [1, 2]
    assert "was not answered within 2 s" in str(heard[0])


async def test_what_a_method_gives_is_dropped_and_a_stream_is_stopped(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("give") as latest:
            latest.set(1)
        await trio.sleep(1)
        assert channel.statistics().streams == 0


async def test_a_block_that_raises_or_is_cancelled_cancels_the_call_and_waits_for_its_end(
    page: Page, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    page.seconds = 100
    async with jchannel.testing.open_pair(page) as (channel, connection):

        async def fail() -> None:
            async with channel.open_latest("draw") as latest:
                latest.set(1)
                await connection.wait_call("draw")
                latest.set(2)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert page.cancelled == 1
        with trio.move_on_after(1):
            async with channel.open_latest("draw") as latest:
                latest.set(3)
                await trio.sleep_forever()
        assert page.cancelled == 2
        assert page.got == [1, 3]
        assert channel_core(channel).outbox.latest == {}
        with pytest.raises(ClosedError, match="its block was left"):
            latest.set(4)
    assert messages(caplog) == []


async def test_a_last_value_that_nobody_takes_is_told_and_not_raised(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[Exception] = []
    async with jchannel.testing.open_pair(page) as (channel, connection):
        connection.lose()
        await connection.wait_lost()
        async with channel.open_latest("draw", on_failure=heard.append) as latest:
            latest.set(1)
        page.seconds = 100
        await connection.reload()
        async with channel.open_latest("draw", timeout=2, on_failure=heard.append) as latest:
            latest.set(2)
            await connection.wait_call("draw")
            connection.to_python.drop("error")
            await trio.sleep(1.5)
    no_page, no_answer = map(str, heard)
    assert "the last value of 'draw' was given up after 3 s: no page is connected" in no_page
    assert "was not answered within 2 s" in no_answer


async def test_a_channel_that_closes_ends_it_and_what_was_not_taken_is_told(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[Exception] = []
    async with jchannel.testing.open_pair(page) as (channel, connection):
        async with channel.open_latest("draw", on_failure=heard.append) as latest:
            latest.set(1)
            await connection.wait_call("draw")
            latest.set(2)
            await channel.close()
            with pytest.raises(ClosedError, match=r"the channel is closed: close\(\) was called"):
                latest.set(3)
            await channel.open()  # It is another one for those who have the former.
            with pytest.raises(ClosedError, match=r"the channel is closed: close\(\) was called"):
                latest.set(3)
        await channel.close()
        with pytest.raises(ClosedError, match=r"the channel is closed: close\(\) was called"):
            async with channel.open_latest("draw"):
                raise AssertionError
    assert [str(error) for error in heard] == ["the channel is closed: close() was called, and open() opens it again"]
    assert page.got == [1]


async def test_in_a_forked_process_nothing_is_set(page: Page, autojump_clock: trio.testing.MockClock) -> None:
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("draw") as latest:
            channel_core(channel).outbox.disown(ClosedError("the server belongs to another process"))
            with pytest.raises(ClosedError, match="belongs to another process"):
                latest.set(1)


async def test_a_value_that_cannot_be_sent_leaves_the_one_before(
    page: Page, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[Exception] = []
    page.seconds = 0
    async with jchannel.testing.open_pair(page, limits=Limits(frame_bytes=5_000)) as (channel, _):
        async with channel.open_latest("draw", on_failure=heard.append) as latest:
            latest.set(1)
            with pytest.raises(TypeError, match=r"args\[0\]"):
                latest.set(object())
            latest.set(bytes(10_000))
            await trio.sleep(1)
            latest.set(2)
        assert page.got == [1, 2]
    assert "larger than the connection takes" in str(heard[0])


async def test_arguments_are_checked(page: Page, autojump_clock: trio.testing.MockClock) -> None:
    async with jchannel.testing.open_pair(page) as (channel, _):
        for name, options, match in (
            (3, {}, "the name of a method must be a str"),
            ("draw", {"timeout": -1}, "timeout must not be negative"),
            ("draw", {"on_failure": 3}, "on_failure must be a function"),
        ):
            with pytest.raises((TypeError, ValueError), match=match):
                async with channel.open_latest(name, **options):  # type: ignore[arg-type]
                    raise AssertionError


async def test_without_a_limit_it_has_none(page: Page, autojump_clock: trio.testing.MockClock) -> None:
    page.seconds = 1_000
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("draw", timeout=None) as latest:
            latest.set(1)
            assert repr(latest) == "<jchannel.Latest 'draw', open>"
        assert repr(latest) == "<jchannel.Latest 'draw', closed>"
        assert latest.statistics().failed == 0


async def test_values_are_set_from_other_threads(page: Page) -> None:
    page.seconds = 0
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("draw") as latest:

            def set_many() -> None:
                for number in range(1_000):
                    latest.set(number)

            await trio.to_thread.run_sync(set_many)
        assert page.got[-1] == 999
        assert latest.statistics().values == 1_000
        with pytest.raises(ClosedError):
            await trio.to_thread.run_sync(latest.set, 1)


async def test_an_interrupt_while_a_value_is_set_leaves_the_next_one_to_be_sent(page: Page) -> None:
    page.seconds = 0
    async with jchannel.testing.open_pair(page) as (channel, _):
        async with channel.open_latest("draw") as latest:
            core = latest._core
            run = core._run

            def interrupt(_: object) -> None:
                raise KeyboardInterrupt

            core._run = SimpleNamespace(thread=None, run_soon=interrupt)  # type: ignore[assignment]
            with pytest.raises(KeyboardInterrupt):
                latest.set(1)
            core._run = SimpleNamespace(thread=None, run_soon=run.run_soon)  # type: ignore[assignment]
            latest.set(2)
        assert page.got == [2]


def test_a_value_that_another_thread_sets_when_trio_has_ended_is_refused() -> None:
    async def main() -> LatestValue:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            return LatestValue(channel_core(channel).outbox, "draw", math.inf, Listener("a test"))

    value = trio.run(main)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ClosedError, match="its trio has ended"):
        pool.submit(value.set, pack_call("draw", ())).result()


async def test_a_peer_keeps_its_server_up_to_date_until_its_connection_ends(page: Page) -> None:
    heard: list[Exception] = []
    page.seconds = 0
    async with open_memory_server() as memory, memory.open_peer() as peer:
        async with memory.server.open_channel("code", handler=page) as channel:
            far = await peer.wait_channel()
            async with far.open_latest("draw") as latest:
                latest.set(1)
            assert page.got == [1]
            page.seconds = math.inf
            async with far.open_latest("draw", on_failure=heard.append) as latest:
                latest.set(2)
                await trio.testing.wait_all_tasks_blocked()
                lose_peer(peer)
                await peer.wait_ended()
                with pytest.raises(PageLostError):
                    latest.set(3)
            with pytest.raises(PageLostError):
                async with far.open_latest("draw"):
                    raise AssertionError
            assert channel.is_open


async def test_a_peer_whose_connection_ends_while_nothing_is_under_way_hears_it_at_the_next_value(page: Page) -> None:
    page.seconds = 0
    async with open_memory_server() as memory, memory.open_peer() as peer:
        async with memory.server.open_channel("code", handler=page):
            far = await peer.wait_channel()
            async with far.open_latest("draw") as latest:
                lose_peer(peer)
                await peer.wait_ended()
                with pytest.raises(PageLostError):
                    latest.set(1)
