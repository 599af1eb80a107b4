"""How a call can end without a result: each way is told apart from the others, in each face."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

import jchannel
import jchannel.sync
from jchannel._core.handlers import MethodCancelledError
from jchannel.errors import ClosedError, FrontendError, PageLostError, RemoteCancelledError, StateError
from jchannel.trio import Channel
from tests.core.memory import MemoryServer, open_memory_server
from tests.peer_thread import TIMEOUT, PeerThread

OUTCOMES = (PageLostError, ClosedError, RemoteCancelledError, FrontendError, TimeoutError, trio.TooSlowError)


def test_the_errors_of_the_outcomes_are_no_kinds_of_each_other() -> None:
    for kind in OUTCOMES:
        assert [other for other in OUTCOMES if issubclass(other, kind)] == [kind]
    assert all(issubclass(kind, StateError) for kind in (PageLostError, ClosedError, RemoteCancelledError))


class _Page:
    """A page whose methods end as they are told."""

    def __init__(self) -> None:
        self.hanging = trio.Event()
        self.ended = trio.Event()

    async def hang(self) -> None:
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()

    def give_up(self) -> None:
        raise MethodCancelledError("its program cancelled it")

    def fail(self) -> None:
        raise LookupError("not there")

    def add(self, a: int, b: int) -> int:
        return a + b


async def _still_works(memory: MemoryServer, channel: Channel) -> None:
    assert await channel.call("add", 2, 3) == 5
    assert memory.server.statistics().pending_requests == 0


class TestInTrio:
    async def test_my_scope_was_cancelled(self, autojump_clock: trio.testing.MockClock) -> None:
        page = _Page()
        async with open_memory_server() as memory, memory.open_peer(page), memory.server.open_channel("") as channel:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(channel.call, "hang")
                    await page.hanging.wait()
                    scope.cancel()
            assert scope.cancelled_caught
            assert page.ended.is_set()
            await _still_works(memory, channel)

    async def test_the_time_ran_out(self, autojump_clock: trio.testing.MockClock) -> None:
        page = _Page()
        async with open_memory_server() as memory, memory.open_peer(page), memory.server.open_channel("") as channel:
            with pytest.raises(trio.TooSlowError, match="'hang' was not answered within 3 s"):
                await channel.call("hang")
            assert page.ended.is_set()
            await _still_works(memory, channel)

    async def test_the_other_side_cancelled_it(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(_Page()), memory.server.open_channel("") as channel:
            with pytest.raises(RemoteCancelledError, match="its program cancelled it"):
                await channel.call("give_up")
            await _still_works(memory, channel)

    async def test_the_page_was_lost(self, autojump_clock: trio.testing.MockClock) -> None:
        page = _Page()
        async with open_memory_server() as memory, trio.open_nursery() as nursery:
            await nursery.start(memory.hold_peer, page)
            async with memory.server.open_channel("") as channel:

                async def lose() -> None:
                    await page.hanging.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(lose)
                with trio.CancelScope(shield=True), pytest.raises(PageLostError, match="It may have run"):
                    await channel.call("hang", timeout=None)

    async def test_the_channel_was_closed(self, autojump_clock: trio.testing.MockClock) -> None:
        page = _Page()
        async with open_memory_server() as memory, memory.open_peer(page), memory.server.open_channel("") as channel:
            async with trio.open_nursery() as nursery:

                async def close() -> None:
                    await page.hanging.wait()
                    await channel.close()

                nursery.start_soon(close)
                with pytest.raises(ClosedError, match="the channel is closed"):
                    await channel.call("hang", timeout=None)

    async def test_the_method_raised(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(_Page()), memory.server.open_channel("") as channel:
            with pytest.raises(FrontendError, match="LookupError: not there"):
                await channel.call("fail")
            await _still_works(memory, channel)

    async def test_a_nursery_of_calls_that_fails_cancels_its_siblings_on_the_far_side(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        pages = [_Page() for _ in range(3)]

        class Pages(_Page):
            async def hang_as(self, number: int) -> None:
                await pages[number].hang()

            async def fail_later(self) -> None:
                for page in pages:
                    await page.hanging.wait()
                raise LookupError("not there")

        async with open_memory_server() as memory, memory.open_peer(Pages()):
            async with memory.server.open_channel("") as channel:
                with pytest.RaisesGroup(FrontendError):
                    async with trio.open_nursery() as nursery:
                        for number in range(3):
                            nursery.start_soon(channel.call, "hang_as", number)
                        nursery.start_soon(channel.call, "fail_later")
                assert all(page.ended.is_set() for page in pages)
                await _still_works(memory, channel)


class TestInAsyncio:
    def test_my_task_was_cancelled(self) -> None:
        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    call = channel.call("hang", timeout=None)
                    await asyncio.to_thread(peer.page.hanging.wait)
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                    assert peer.page.ended.is_set()
                    assert await channel.call("add", 2, 3) == 5

        asyncio.run(main())

    def test_the_time_ran_out(self) -> None:
        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    with pytest.raises(TimeoutError, match=r"'hang' was not answered within 0\.05 s"):
                        await channel.call("hang", timeout=0.05)
                    assert peer.page.ended.is_set()
                    assert await channel.call("add", 2, 3) == 5

        asyncio.run(main())

    def test_the_other_side_cancelled_it(self) -> None:
        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url):
                    channel = await server.open("")
                    with pytest.raises(RemoteCancelledError, match="its program cancelled it"):
                        await channel.call("give_up")
                    assert await channel.call("add", 2, 3) == 5

        asyncio.run(main())

    def test_the_page_was_lost(self) -> None:
        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    call = channel.call("hang", timeout=None)
                    await asyncio.to_thread(peer.page.hanging.wait)
                    await asyncio.to_thread(peer.leave)
                    with pytest.raises(PageLostError, match="It may have run"):
                        await call

        asyncio.run(main())

    def test_the_channel_was_closed(self) -> None:
        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    call = channel.call("hang", timeout=None)
                    await asyncio.to_thread(peer.page.hanging.wait)
                    await channel.close()
                    with pytest.raises(ClosedError, match="the channel is closed"):
                        await call

        asyncio.run(main())

    def test_a_python_method_whose_task_its_program_cancelled_is_one_that_the_other_side_cancelled(self) -> None:
        class Handler:
            async def give_up(self) -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.Event().wait()

        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    channel.handler = Handler()
                    with pytest.raises(RemoteCancelledError, match="'give_up' was cancelled in Python"):
                        await asyncio.to_thread(peer.call, "give_up")

        asyncio.run(main())


@pytest.fixture
def connected() -> Iterator[tuple[jchannel.sync.Channel, PeerThread]]:
    with jchannel.sync.Server(port=0) as server, PeerThread(server.page_url) as peer:
        yield server.open(""), peer


def _when_hanging(peer: PeerThread, act: Callable[[], object]) -> threading.Thread:
    def wait() -> None:
        peer.page.hanging.wait()
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


class TestInBlockingCode:
    def test_i_was_interrupted(self, connected: tuple[jchannel.sync.Channel, PeerThread]) -> None:
        channel, peer = connected
        main = threading.main_thread().ident
        assert main is not None
        thread = _when_hanging(peer, lambda: signal.pthread_kill(main, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            channel.call("hang", timeout=None)
        thread.join()
        assert peer.page.ended.is_set()
        assert channel.call("add", 2, 3) == 5

    def test_the_time_ran_out(self, connected: tuple[jchannel.sync.Channel, PeerThread]) -> None:
        channel, peer = connected
        with pytest.raises(TimeoutError, match=r"'hang' was not answered within 0\.05 s"):
            channel.call("hang", timeout=0.05)
        assert peer.page.ended.is_set()
        assert channel.call("add", 2, 3) == 5

    def test_the_other_side_cancelled_it(self, connected: tuple[jchannel.sync.Channel, PeerThread]) -> None:
        channel, _ = connected
        with pytest.raises(RemoteCancelledError, match="its program cancelled it"):
            channel.call("give_up")
        assert channel.call("add", 2, 3) == 5

    def test_the_page_was_lost(self, connected: tuple[jchannel.sync.Channel, PeerThread]) -> None:
        channel, peer = connected
        thread = _when_hanging(peer, peer.leave)
        with pytest.raises(PageLostError, match="It may have run"):
            channel.call("hang", timeout=None)
        thread.join()

    def test_the_channel_was_closed(self, connected: tuple[jchannel.sync.Channel, PeerThread]) -> None:
        channel, peer = connected
        thread = _when_hanging(peer, channel.close)
        with pytest.raises(ClosedError, match="the channel is closed"):
            channel.call("hang", timeout=None)
        thread.join()


class Timed:
    """A handler that tells of the time it has, in each face."""

    def __init__(self, left: Callable[[], float]) -> None:
        self._left = left

    async def left_async(self) -> float:
        await asyncio.sleep(0)
        return await asyncio.to_thread(self._left)

    def left(self) -> float:
        return self._left()

    @jchannel.background
    def left_in_background(self) -> float:
        return self._left()

    @jchannel.background
    async def left_in_trio(self) -> float:
        await trio.lowlevel.checkpoint()
        return self._left()


class TestTimeLeftInTheFacades:
    @pytest.mark.parametrize("name", ["left", "left_async", "left_in_background", "left_in_trio"])
    def test_a_method_on_a_loop_sees_the_time_left(self, name: str) -> None:
        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    channel.handler = Timed(jchannel.time_left)
                    left = await asyncio.to_thread(peer.call, name)
                    assert 0 < left <= TIMEOUT

        asyncio.run(main())

    @pytest.mark.parametrize("name", ["left", "left_in_background", "left_in_trio"])
    def test_a_method_in_a_thread_sees_the_time_left(
        self, connected: tuple[jchannel.sync.Channel, PeerThread], name: str
    ) -> None:
        channel, peer = connected
        channel.handler = Timed(jchannel.time_left)
        assert 0 < peer.call(name) <= TIMEOUT

    def test_a_call_that_a_method_makes_has_no_more_time_than_the_method(self) -> None:
        class Relay:
            def __init__(self, channel: jchannel.Channel) -> None:
                self.channel = channel

            async def ask_back(self) -> float:
                left: float = await self.channel.call("left", timeout=None)
                return left

        async def main() -> None:
            async with jchannel.Server(port=0) as server:
                with PeerThread(server.page_url) as peer:
                    channel = await server.open("")
                    channel.handler = Relay(channel)
                    assert 0 < await asyncio.to_thread(peer.call, "ask_back") <= TIMEOUT

        asyncio.run(main())
