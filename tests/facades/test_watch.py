"""Watching the page and a channel from outside of trio: by iteration, and by a function that is called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

import jchannel.sync
from jchannel import ClosedError, Limits
from jchannel.testing import AsyncioKit, SyncKit
from jchannel.trio import ChannelStatus, PageStatus

TIMEOUT = 20.0


def run(program: Callable[[AsyncioKit], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncioKit() as kit:
            await program(kit)

    asyncio.run(main())


class TestAsyncio:
    def test_it_iterates_over_the_states_of_the_page_and_of_a_channel(self) -> None:
        pages: list[PageStatus] = []
        channels: list[ChannelStatus] = []

        async def watch_page(server: jchannel.Server) -> None:
            pages.extend([status async for status in server.watch()])

        async def watch_channel(channel: jchannel.Channel) -> None:
            channels.extend([status async for status in channel.watch()])

        async def program(kit: AsyncioKit) -> None:
            channel, page = await kit.open_pair()
            tasks = asyncio.create_task(watch_page(kit.server)), asyncio.create_task(watch_channel(channel))
            await kit.advance(1)
            page.lose()
            await kit.advance(1)
            await page.reload()
            await kit.advance(1)
            await channel.close()
            await kit.server.stop()
            await asyncio.gather(*tasks)

        run(program)
        assert [status.connected for status in pages] == [True, False, True, False]
        assert [status.state for status in channels] == ["open", "opening", "open", "closed"]
        assert channels[2].openings == 2

    def test_a_function_is_called_on_the_loop_until_it_is_closed(self, caplog: pytest.LogCaptureFixture) -> None:
        seen: list[str] = []

        def listen(status: ChannelStatus) -> None:
            asyncio.get_running_loop()
            seen.append(status.state)
            raise ZeroDivisionError

        async def program(kit: AsyncioKit) -> None:
            channel, page = await kit.open_pair()
            with channel.listen(listen) as listening:
                await kit.advance(1)
                page.lose()
                await kit.advance(1)
                assert seen == ["open", "opening"]
            await page.reload()
            await kit.advance(1)
            listening.close()
            assert seen == ["open", "opening"]

        run(program)
        assert [record.getMessage() for record in caplog.records] == ["a function that listens to states raised"] * 2

    def test_a_busy_loop_gets_the_newest_state_and_it_ends_with_the_server(self) -> None:
        seen: list[tuple[bool, int]] = []

        async def program(kit: AsyncioKit) -> None:
            channel, page = await kit.open_pair()
            listening = kit.server.listen(lambda status: seen.append((status.connected, status.pages)))
            channel.sync.echo()  # The first state waits for the loop.
            page.lose()
            coming = page.reload()
            channel.sync.echo()  # The loop is blocked until the page is back.
            assert seen == []
            await coming
            await kit.advance(1)
            assert seen == [(True, 1), (True, 2)]
            await kit.server.stop()
            await kit.advance(1)
            listening.close()
            assert seen[2:] == [(False, 2)]

        run(program)

    def test_one_that_is_closed_before_it_is_called_is_not_called(self) -> None:
        seen: list[object] = []

        async def program(kit: AsyncioKit) -> None:
            channel, _ = await kit.open_pair()
            kit.server.listen(seen.append).close()
            late = kit.server.listen(seen.append)
            channel.sync.echo()  # The state waits for the loop.
            late.close()
            await kit.advance(1)

        run(program)
        assert seen == []

    def test_a_loop_that_is_closed_before_the_function_was_called_ends_it(self) -> None:
        async def listen_elsewhere(server: jchannel.Server) -> jchannel.Listening:
            return server.listen(print)

        async def program(kit: AsyncioKit) -> None:
            _, page = await kit.open_pair()
            loop = asyncio.new_event_loop()
            listening = await asyncio.to_thread(loop.run_until_complete, listen_elsewhere(kit.server))
            page.lose()
            await kit.advance(0)  # A state waits in the loop now, which does not run.
            loop.close()
            await kit.advance(1)
            assert listening._closed

        run(program)

    def test_a_loop_that_is_closed_ends_it(self) -> None:
        async def listen_elsewhere(server: jchannel.Server) -> jchannel.Listening:
            heard = asyncio.Event()
            listening = server.listen(lambda _: heard.set())
            await heard.wait()
            return listening

        async def program(kit: AsyncioKit) -> None:
            _, page = await kit.open_pair()
            listening = await asyncio.to_thread(lambda: asyncio.run(listen_elsewhere(kit.server)))
            page.lose()
            await kit.advance(1)
            assert listening._closed

        run(program)

    def test_what_is_not_there_is_not_watched(self) -> None:
        async def program(kit: AsyncioKit) -> None:
            server = jchannel.Server()
            channel = jchannel.Channel(kit.server, "(channel) => {}")
            for thing in (server, channel):
                with pytest.raises(ClosedError):
                    thing.watch()
                with pytest.raises(ClosedError):
                    thing.listen(print)
            with pytest.raises(TypeError, match="must be a function, and no async one, and not 3"):
                kit.server.listen(3)  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match="no asyncio loop"):
                await asyncio.to_thread(kit.server.listen, print)

        run(program)

    def test_when_trio_has_ended_nothing_is_called(self) -> None:
        kept: list[jchannel.Server] = []

        async def program(kit: AsyncioKit) -> None:
            kept.append(kit.server)

        async def listen_late() -> None:
            kept[0].listen(print).close()

        run(program)
        asyncio.run(listen_late())


class TestBlocking:
    def test_a_function_is_called_in_a_worker_thread(self) -> None:
        states: list[tuple[str, bool]] = []
        changed = threading.Semaphore(0)

        def listen(status: ChannelStatus) -> None:
            states.append((status.state, threading.current_thread() is threading.main_thread()))
            changed.release()
            raise SystemExit

        def listen_to_page(status: PageStatus) -> None:
            changed.release()

        with SyncKit() as kit:
            channel, page = kit.open_pair()
            with channel.listen(listen), kit.server.listen(listen_to_page):
                for _ in range(2):
                    assert changed.acquire(timeout=TIMEOUT)
                page.lose()
                for _ in range(2):
                    assert changed.acquire(timeout=TIMEOUT)
        assert states == [("open", False), ("opening", False)]

    def test_where_no_thread_is_left_that_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        waiting, go = threading.Event(), threading.Event()

        def wait(_: object) -> None:
            waiting.set()
            go.wait(TIMEOUT)

        with SyncKit(limits=Limits(waiting_threads=1)) as kit:
            channel, _ = kit.open_pair()
            with channel.listen(wait):
                assert waiting.wait(TIMEOUT)
                with channel.listen(print):
                    kit.advance(1)
                go.set()
        (record,) = caplog.records
        assert record.getMessage() == "a function that listens to states could not be called"
