"""Programs that use the asyncio facade in a trio-asyncio loop. Importing this module changes asyncio for the process.

`test_trio_asyncio.py` runs each in a process of its own.
"""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import trio_asyncio

import jchannel
from jchannel import Channel, Server
from jchannel.errors import ClosedError, StateError, UnreachableError
from jchannel.trio import Peer, open_peer
from tests.peer_thread import TIMEOUT, PagePeer
from tests.stream_page import StreamPage, StreamPeer

CODE = "(channel) => {}"


class TrioPage(PagePeer):
    """A page's handler in the same trio."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging_here = trio.Event()

    async def hang(self) -> None:
        self.hanging_here.set()
        await super().hang()


class Handler:
    """The Python handler that the page calls."""

    def __init__(self) -> None:
        self.hanging = trio.Event()
        self.ended = False

    def loop(self) -> bool:
        return isinstance(asyncio.get_running_loop(), trio_asyncio.TrioEventLoop)

    async def task(self) -> str:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    @jchannel.background
    def thread(self) -> str:
        return threading.current_thread().name

    @jchannel.background
    async def trio_task(self) -> str:
        await trio.lowlevel.checkpoint()
        return threading.current_thread().name

    async def hang(self) -> None:
        self.hanging.set()
        try:
            await asyncio.sleep(TIMEOUT)
        finally:
            self.ended = True


@asynccontextmanager
async def page(server: Server) -> AsyncIterator[tuple[Peer, TrioPage]]:
    """A page, in trio."""
    handler = TrioPage()
    async with open_peer(server.page_url, handler) as peer:
        yield peer, handler


def in_aio(function: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
    """Runs an asyncio function in the trio-asyncio loop."""
    awaited: Awaitable[Any] = trio_asyncio.aio_as_trio(function)()
    return awaited


def run(program: Callable[[], Awaitable[None]]) -> None:
    """Runs a program in trio, with a trio-asyncio loop."""

    async def main() -> None:
        async with trio_asyncio.open_loop():
            await program()

    trio.run(main)


def calls_stay_in_the_thread() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server):
            channel: Channel = await in_aio(lambda: server.open(CODE))

            async def call() -> None:
                task = channel.call("add", 2, 3, timeout=TIMEOUT)
                assert isinstance(task, asyncio.Task)
                assert task.get_loop() is asyncio.get_running_loop()
                others = [channel.call("add", number, 1, timeout=TIMEOUT) for number in range(2_000)]
                assert await asyncio.gather(task, *others) == [5, *range(1, 2_001)]

            await in_aio(call)
            with pytest.raises(TimeoutError, match="not answered"):
                await in_aio(lambda: channel.call("hang", timeout=0.05))
            await in_aio(channel.close)
        await in_aio(server.stop)
        assert "jchannel trio" not in {thread.name for thread in threading.enumerate()}

    run(program)


def contexts_work() -> None:
    async def program() -> None:
        async def use() -> None:
            async with jchannel.Server(port=0) as server:
                leave = asyncio.get_running_loop().trio_as_future(hold_page, server)  # type: ignore[attr-defined]
                async with await server.open(CODE) as channel:
                    assert await channel.call("add", 2, 3) == 5
                leave.cancel()

        # One after the other, in the same loop.
        await in_aio(use)
        await in_aio(use)

    async def hold_page(server: Server) -> None:
        async with page(server):
            await trio.sleep_forever()

    run(program)


def handler_methods_run_in_asyncio() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server) as (peer, _):
            channel: Channel = await in_aio(lambda: server.open(CODE))
            channel.handler = handler = Handler()
            far = await peer.wait_channel()
            assert await far.call("loop") is True
            assert await far.call("task") == "handler method 'task'"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.call, "hang")
                await handler.hanging.wait()
                nursery.cancel_scope.cancel()
            assert handler.ended
        await in_aio(server.stop)

    run(program)


def cancelling_the_task_cancels_the_call() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server) as (_, handler):
            channel: Channel = await in_aio(lambda: server.open(CODE))
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(in_aio, lambda: channel.call("hang", timeout=None))
                    await handler.hanging_here.wait()
                    scope.cancel()
            assert handler.ended.is_set()
            assert await in_aio(lambda: channel.call("add", 2, 3)) == 5
        await in_aio(server.stop)

    run(program)


def cancelling_trio_cancels_the_task() -> None:
    tasks: list[asyncio.Task[Any]] = []
    handler = TrioPage()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with trio_asyncio.open_loop():
                    server: Server = await in_aio(lambda: jchannel.start(port=0))
                    # Outside of what is cancelled, so that the page does not go before.
                    nursery.start_soon(hold_page, server)
                    channel: Channel = await in_aio(lambda: server.open(CODE))

                    async def call() -> None:
                        tasks.append(channel.call("hang", timeout=None))

                    await in_aio(call)
                    await handler.hanging_here.wait()
                    scope.cancel()
                    await trio.sleep_forever()

    async def hold_page(server: Server) -> None:
        async with open_peer(server.page_url, handler) as peer:
            await peer.wait_ended()

    trio.run(main)
    assert tasks[0].cancelled()
    assert handler.ended.is_set()


def the_server_ends_with_its_loop() -> None:
    servers: list[Server] = []

    async def program() -> None:
        servers.append(await in_aio(lambda: jchannel.start(port=0)))

    run(program)
    assert "stopped" in repr(servers[0])
    with pytest.raises(UnreachableError, match="nothing listens there"):
        trio.run(_connect, servers[0].page_url)

    async def ask() -> None:
        with pytest.raises(StateError, match="trio-asyncio loop that the server lived in has ended"):
            await servers[0].wait_page()
        # In a new loop it can be started again.
        await servers[0].start()
        await servers[0].stop()

    asyncio.run(ask())


async def _connect(url: str) -> None:
    async with open_peer(url):
        pass


def other_threads_can_call() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server):
            channel: Channel = await in_aio(lambda: server.open(CODE))
            values: list[int] = []

            async def call() -> None:
                values.append(await channel.call("add", 2, 3))

            await trio.to_thread.run_sync(asyncio.run, call())
            assert values == [5]
        await in_aio(server.stop)

    run(program)


def a_call_of_another_thread_hears_that_the_loop_has_ended() -> None:
    errors: list[str] = []
    threads: list[threading.Thread] = []
    waiting = threading.Event()

    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))

        async def wait() -> None:
            task = server.wait_page()
            waiting.set()
            try:
                await task
            except (ClosedError, StateError) as error:
                errors.append(str(error))

        threads.append(threading.Thread(target=lambda: asyncio.run(wait())))
        threads[0].start()
        await trio.to_thread.run_sync(waiting.wait, TIMEOUT)

    run(program)
    threads[0].join(TIMEOUT)
    assert errors in (["the trio-asyncio loop that the server lived in has ended"], ["the server is closed"])


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(2_000):
        assert isinstance(asyncio.get_running_loop(), trio_asyncio.TrioEventLoop)
        yield bytes(1_000)


def streams_stay_in_the_thread() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with open_peer(server.page_url, StreamPage()):
            channel: Channel = await in_aio(lambda: server.open(CODE))

            async def exchange() -> None:
                size, _ = await channel.call_with_stream("digest", _chunks(), timeout=TIMEOUT)
                assert size == 2_000_000
                async with await channel.pipe(_chunks(), TIMEOUT) as stream:
                    assert len(await stream.join()) == 2_000_000

            await in_aio(exchange)
        await in_aio(server.stop)
        assert "jchannel trio" not in {thread.name for thread in threading.enumerate()}

    run(program)


def a_task_that_nobody_keeps_is_kept() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server) as (_, handler):
            channel: Channel = await in_aio(lambda: server.open(CODE))

            async def begin() -> None:
                channel.call("hang", timeout=None)  # It is not kept on purpose.

            await in_aio(begin)
            await handler.hanging_here.wait()
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            await trio.testing.wait_all_tasks_blocked()
            assert not handler.ended.is_set()
        await in_aio(server.stop)

    run(program)


def a_failed_task_that_nobody_awaits_is_logged_and_does_not_end_the_loop() -> None:
    logged: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(record.getMessage())

    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server):
            channel: Channel = await in_aio(lambda: server.open(CODE))

            async def begin() -> None:
                channel.call("fail")
                assert await channel.call("add", 2, 3) == 5

            await in_aio(begin)
            await trio.testing.wait_all_tasks_blocked()
            assert await in_aio(lambda: channel.call("add", 2, 3)) == 5
        await in_aio(server.stop)

    logging.getLogger("jchannel").addHandler(Recorder())
    run(program)
    gc.collect()  # From Python 3.12 on the Task of such a loop is part of a cycle.
    (unheard,) = (message for message in logged if "awaited" in message)
    assert unheard.startswith("channel.call('fail') has failed, and nobody has awaited it: ")


def methods_in_the_background_run_in_a_thread_or_in_trio() -> None:
    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        async with page(server) as (peer, _):
            channel: Channel = await in_aio(lambda: server.open(CODE))
            channel.handler = Handler()
            far = await peer.wait_channel()
            here = threading.current_thread().name
            assert await far.call("thread") != here
            assert await far.call("trio_task") == here
        await in_aio(server.stop)

    run(program)


def a_source_ends_with_its_loop() -> None:
    peers: list[StreamPeer] = []
    ended: list[str] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1_000)
                await asyncio.sleep(0)
        finally:
            ended.append("the source")

    async def program() -> None:
        server: Server = await in_aio(lambda: jchannel.start(port=0))
        peers.append(StreamPeer(server.page_url))
        await trio.to_thread.run_sync(peers[0].__enter__)
        channel: Channel = await in_aio(lambda: server.open(CODE))

        async def begin() -> asyncio.Task[Any]:
            return channel.call_with_stream("hold", endless(), timeout=None)

        task = await in_aio(begin)
        await trio.to_thread.run_sync(peers[0].streams.reading.wait, TIMEOUT)
        assert not task.done()

    run(program)
    assert peers[0].streams.failed.wait(TIMEOUT)
    assert ended == ["the source"]
    peers[0].leave()


def plain_asyncio_goes_through_the_thread() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0):
            assert "jchannel trio" in {thread.name for thread in threading.enumerate()}

    asyncio.run(program())
