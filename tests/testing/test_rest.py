"""Waits in the kits that nothing will end: each is an error that names it, and one interrupt is enough."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import trio

import jchannel
import jchannel.testing.rest
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel.testing import AsyncioKit, AtRestError, SyncKit
from jchannel.testing.rest import loop_rests


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


class Frontend:
    """Plays the JavaScript, on the loop."""

    def __init__(self) -> None:
        self.kit: AsyncioKit | None = None

    def add(self, left: float, right: float) -> float:
        return left + right

    async def sleep(self, seconds: float) -> None:
        assert self.kit is not None
        await self.kit.sleep(seconds)


def test_a_wait_for_what_only_time_would_bring_is_an_error_that_says_how_much() -> None:
    async def main() -> None:
        async with AsyncioKit(patience=0.02) as kit:
            channel, page = await kit.open_pair(Frontend())
            page.to_python.drop("result")
            call = channel.call("add", 1, 2)
            await kit.advance(3)
            with pytest.raises(
                AtRestError, match=re.escape("What is awaited: channel.call('add') (cancelling)")
            ) as error:
                await call
            assert "stands still at 3 s" in str(error.value)
            assert "due in 0.5 s; `await kit.advance(0.5)` lets it happen" in str(error.value)
            # It is over: nothing of it is left, and the channel goes on.
            assert kit.server.statistics().pending_requests == 0
            assert await channel.call("add", 1, 2) == 3

    run(main)


def test_all_that_is_awaited_is_named() -> None:
    async def main() -> None:
        handler = Frontend()
        async with AsyncioKit(patience=0.02) as kit:
            handler.kit = kit
            channel, page = await kit.open_pair(handler)
            page.hang("add")
            waits = [
                page.wait_call("wrong name"),
                channel.call("sleep", 10, timeout=None),
                channel.call("add", timeout=None),
                page.wait_lost(),
            ]
            call = await page.wait_call("sleep")
            waits += [page.wait_call("other", timeout=60), page.wait_ended(call)]
            done = await asyncio.gather(*waits, return_exceptions=True)
            assert {type(error) for error in done} == {AtRestError}
            assert str(done[0]).partition("What is awaited: ")[2].split("; ") == [
                "channel.call('add') (sent)",
                "channel.call('sleep') (sent)",
                "kit.sleep(10)",
                "page.wait_call('other'), and the calls that have come: 'sleep', 'add'",
                "page.wait_call('wrong name'), and the calls that have come: 'sleep', 'add'",
                "page.wait_ended, of the call of 'sleep'",
                "page.wait_lost()",
            ]

    run(main)


def test_a_stream_and_the_coming_back_of_a_page_are_named_too() -> None:
    class Endless:
        async def tick(self) -> AsyncIterator[bytes]:
            yield b"tick"
            await asyncio.Event().wait()

    async def main() -> None:
        async with AsyncioKit(patience=0.02) as kit:
            channel, page = await kit.open_pair(Endless())
            call = channel.call("tick", timeout=None)
            await kit.advance(1)  # It is seen not to be short.
            stream = await call
            assert await anext(stream) == b"tick"
            with pytest.raises(AtRestError, match=r"What is awaited: the next bytes of a stream$"):
                await anext(stream)
            page.lose()
            await page.wait_lost()
            page.hold()
            with pytest.raises(AtRestError, match=r"What is awaited: page.reconnect\(\)$"):
                await page.reconnect()

    run(main)


def test_a_loop_with_a_timer_is_not_at_rest() -> None:
    async def main() -> None:
        async with AsyncioKit(patience=0.01) as kit:
            channel, page = await kit.open_pair(Frontend())
            page.hold()
            call = channel.call("add", 1, 2, timeout=None)
            loop = asyncio.get_running_loop()
            timer = loop.call_later(30, page.release)
            looked = asyncio.Event()

            def look(loop: asyncio.AbstractEventLoop) -> bool:
                rests = loop_rests(loop)
                assert not rests
                looked.set()
                return rests

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("jchannel.testing.asyncio_kit.loop_rests", look)
                await looked.wait()
            timer.cancel()
            page.release()
            assert await call == 3

    run(main)


def test_what_a_loop_does_is_seen() -> None:
    # The attributes of asyncio's loops are not documented. Where they are others, the kit takes a busy loop for an
    # idle one.
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop_rests(loop)
        loop.call_soon(int)
        assert not loop_rests(loop)
        await asyncio.sleep(0)
        assert loop_rests(loop)
        timer = loop.call_later(60, print)
        assert not loop_rests(loop)
        timer.cancel()
        late = loop.call_later(86_400, print)
        assert loop_rests(loop)
        late.cancel()
        over = threading.Event()
        working = asyncio.create_task(asyncio.to_thread(over.wait))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not loop_rests(loop)
        over.set()
        await working
        while not loop_rests(loop):  # noqa: ASYNC110 (a thread says a little later that it is idle, and to nobody)
            await asyncio.sleep(0)

    run(main)


def test_what_is_posted_meanwhile_counts() -> None:
    async def main() -> None:
        async with AsyncioKit(patience=0.01) as kit:
            channel, page = await kit.open_pair(Frontend())
            page.hang("add")
            call = channel.call("add", timeout=None)
            echoes: list[asyncio.Task[Any]] = []

            def look(loop: asyncio.AbstractEventLoop) -> bool:
                if not echoes:  # Just before the loop answers that it rests.
                    echoes.append(channel.echo(1))
                    return True
                return loop_rests(loop)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("jchannel.testing.asyncio_kit.loop_rests", look)
                with pytest.raises(AtRestError):
                    await call
            assert await echoes[0] == [1]

    run(main)


def test_cancelling_what_waits_for_a_time_that_stands_still_ends_it() -> None:
    async def main() -> None:
        async with AsyncioKit(patience=None) as kit:
            channel, page = await kit.open_pair(Frontend())
            page.to_python.drop("result")
            call = channel.call("add", 1, 2)
            await page.wait_ended(await page.wait_call())
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run(main)


def test_an_interrupt_ends_a_test_whose_loop_has_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jchannel.testing.rest, "PATIENCE", 0.02)

    async def main() -> None:
        async with AsyncioKit(patience=0.01) as kit:
            channel, page = await kit.open_pair(Frontend())
            loop = asyncio.get_running_loop()
            timer = loop.call_later(60, print)
            page.to_python.drop("result")
            call = channel.call("add", 1, 2)
            await kit.advance(3)
            loop.call_soon(signal.raise_signal, signal.SIGINT)
            try:
                await call
            finally:
                timer.cancel()

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_a_patience_is_a_number_of_seconds() -> None:
    with pytest.raises(ValueError, match="patience must be finite and not negative"):
        AsyncioKit(patience=-1)
    with pytest.raises(TypeError, match="patience"):
        SyncKit(patience="5")  # type: ignore[arg-type]


def test_under_trio_no_thread_is_left() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="no asyncio loop is running here, but trio"):
            async with AsyncioKit():
                pytest.fail("it was entered")  # pragma: no cover

    trio.run(main)
    assert [thread.name for thread in threading.enumerate() if thread.name == "jchannel testing"] == []


class ThreadFrontend:
    """Plays the JavaScript, in threads."""

    def __init__(self) -> None:
        self.main = threading.get_ident()
        self.at_work = threading.Event()
        self.go_on = threading.Event()

    def interrupt(self) -> None:
        signal.pthread_kill(self.main, signal.SIGINT)

    def work(self) -> int:
        self.at_work.set()
        self.go_on.wait()
        return 1


def test_a_thread_that_waits_is_told_too() -> None:
    with SyncKit(patience=0.02) as kit:
        channel, page = kit.open_pair(ThreadFrontend())
        page.hang("add")
        with pytest.raises(AtRestError, match=r"What is awaited: the call of 'add' \(sent\)"):
            channel.call("add")
        assert page.wait_call("add").state == "cancelled"
        with pytest.raises(AtRestError, match=r"`kit.advance\(.*\)`.*page.wait_call\('add'\).*: 'add'"):
            page.wait_call("add")
        page.lose()
        page.wait_lost()
        here = r", in test_rest.py:\d+: `kit.server.wait_page\(\)`$"
        with pytest.raises(AtRestError, match=rf"What is awaited: something of jchannel's{here}"):
            kit.server.wait_page()


def test_one_interrupt_ends_a_thread_that_waits() -> None:
    with SyncKit(patience=None) as kit:
        channel, page = kit.open_pair(ThreadFrontend())
        page.to_python.drop("result")
        with pytest.raises(KeyboardInterrupt):
            channel.call("interrupt")


def test_a_method_that_works_in_its_thread_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = ThreadFrontend()
    found: list[bool] = []
    with SyncKit(patience=0.01) as kit:
        channel, _ = kit.open_pair(handler)
        rests = jchannel.testing.rest.RestWatch._all_rests

        async def look(watch: jchannel.testing.rest.RestWatch, waiting: set[int | None]) -> bool:
            if handler.at_work.is_set() and not found:  # On its way to its thread and back it may take its time.
                found.append(await rests(watch, waiting))
                handler.go_on.set()
            return False

        monkeypatch.setattr(jchannel.testing.rest.RestWatch, "_all_rests", look)
        assert channel.call("work") == 1
    assert found == [False]


def test_a_thread_beside_the_test_s_own_does_not_end_its_waits() -> None:
    with SyncKit(patience=0.01) as kit:
        channel, page = kit.open_pair()
        page.hang("add")
        looked = threading.Event()
        lost: list[jchannel.PageLostError] = []

        def call() -> None:
            try:
                channel.call("add", timeout=None)
            except jchannel.PageLostError as error:
                lost.append(error)

        rests = jchannel.testing.rest.RestWatch._all_rests

        async def look(watch: jchannel.testing.rest.RestWatch, waiting: set[int | None]) -> bool:
            assert not await rests(watch, waiting)
            looked.set()
            return False

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jchannel.testing.rest.RestWatch, "_all_rests", look)
            thread = threading.Thread(target=call)
            thread.start()
            looked.wait()
            page.lose()
            thread.join()
        assert len(lost) == 1


def test_a_source_at_work_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()
    look = jchannel.testing.rest.RestWatch._look

    async def look_at_work(watch: jchannel.testing.rest.RestWatch, quiet: float) -> None:
        if watch._portal.hold.working and not looked.is_set():
            await look(watch, quiet)
            looked.set()  # Seen at work, it may go on.

    def source() -> Iterator[bytes]:
        looked.wait()
        yield b"data"

    monkeypatch.setattr(jchannel.testing.rest.RestWatch, "_look", look_at_work)
    with SyncKit(patience=0.01) as kit:
        channel, page = kit.open_pair()
        page.answer("save", 1)
        assert channel.call_with_stream("save", source()) == 1


def test_nobody_looks_when_the_kit_is_being_left(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    run_watch = jchannel.testing.rest.RestWatch.run

    async def run_to_the_end(watch: jchannel.testing.rest.RestWatch) -> None:
        await run_watch(watch)
        over.set()

    monkeypatch.setattr(jchannel.testing.rest.RestWatch, "run", run_to_the_end)
    with SyncKit(patience=0.01) as kit:
        portal = kit._entered
        wait_blocking(TaskJob(portal, portal.let_time_pass))
        assert over.wait(60)
