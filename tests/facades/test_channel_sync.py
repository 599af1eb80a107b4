"""The blocking calls of an asyncio channel, from a cell that is busy, and methods that answer meanwhile."""

import asyncio
import hashlib
import io
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import jchannel
from jchannel import Channel
from jchannel._streams.blocking import ByteStream
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, FrontendError, KernelError
from tests.asking_page import AskingPeer
from tests.peer_thread import TIMEOUT, PeerThread
from tests.stream_page import StreamPeer, make_bytes

CODE = "(channel) => {}"


class Handler:
    """The Python handler that the page calls."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.done = 0
        self.channel: Channel

    def on_the_loop(self) -> int:
        return self.done

    @jchannel.background
    def progress(self) -> int:
        return self.done

    @jchannel.background
    async def progress_later(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.done

    @jchannel.background
    def add_in_page(self) -> int:
        result: int = self.channel.sync.call("add", 2, 3)
        return result

    @jchannel.background
    async def add_in_page_later(self) -> int:
        return await trio.to_thread.run_sync(self.channel.sync.call, "add", 2, 3)

    @jchannel.background
    async def add_in_page_without_a_thread(self) -> None:
        self.channel.sync.call("add", 2, 3)

    @jchannel.background
    def digest(self, stream: ByteStream, *rest: object) -> list[object]:
        assert isinstance(stream, ByteStream)
        return [hashlib.sha256(stream.join()).hexdigest(), *rest]

    @jchannel.background
    async def digest_later(self, stream: MetaGenerator, *rest: object) -> list[object]:
        assert isinstance(stream, MetaGenerator)
        return [hashlib.sha256(await stream.join()).hexdigest(), *rest]

    @jchannel.background
    def back(self, stream: ByteStream) -> ByteStream:
        return stream

    @jchannel.background
    async def back_later(self, stream: MetaGenerator) -> MetaGenerator:
        return stream

    @jchannel.background
    def give(self) -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    @jchannel.background
    def give_file(self) -> io.BytesIO:
        return io.BytesIO(b"onetwo")

    @jchannel.background
    async def give_later(self) -> AsyncIterator[bytes]:
        async def stream() -> AsyncIterator[bytes]:
            yield b"one"
            await trio.lowlevel.checkpoint()
            yield b"two"

        return stream()

    @jchannel.background
    def give_without_a_loop(self) -> AsyncIterator[bytes]:
        async def stream() -> AsyncIterator[bytes]:
            yield b""

        return stream()


@asynccontextmanager
async def opened(peer_of: Callable[[str], PeerThread] = PeerThread) -> AsyncIterator[tuple[Channel, Any]]:
    """An open channel, and its page."""
    async with await jchannel.start(port=0) as server:
        with peer_of(server.page_url) as peer:
            async with await server.open(CODE) as channel:
                channel.handler = handler = Handler()
                handler.channel = channel
                yield channel, peer


def test_its_methods_wait_and_return_the_value_in_a_loop_that_is_busy() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            assert channel.sync.call("add", 2, 3) == 5
            assert channel.sync.echo(1, b"two") == [1, b"two"]
            with pytest.raises(FrontendError, match="LookupError: not in the page"):
                channel.sync.call("fail")

    asyncio.run(program())


def test_its_calls_and_those_that_are_awaited_leave_in_their_order() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            tasks = [channel.call("record", number) for number in range(50)]
            channel.sync.call("record", 50)
            assert peer.page.received == list(range(51))
            await asyncio.gather(*tasks)

    asyncio.run(program())


def test_closing_it_closes_the_channel() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            channel.sync.close()
            with pytest.raises(ClosedError):
                await channel.call("add", 2, 3)
            assert repr(channel.sync).startswith("<jchannel.sync.BlockingCalls of a channel closed, server at http")

    asyncio.run(program())


def test_before_the_channel_is_open_it_says_so() -> None:
    async def program() -> None:
        async with jchannel.Server(port=0) as server:
            with pytest.raises(ClosedError, match="has not been opened"):
                Channel(server, CODE).sync.call("add", 2, 3)

    asyncio.run(program())


def test_its_streams_are_ordinary_iterators() -> None:
    data = make_bytes(300_000)

    async def program() -> None:
        async with opened(StreamPeer) as (channel, _):
            with channel.sync.pipe(data) as stream:
                assert isinstance(stream, ByteStream)
                assert b"".join(stream) == data
            assert channel.sync.call("give", 3).join() == bytes(3_000)
            digest = [len(data), hashlib.sha256(data).hexdigest(), "rest"]
            assert channel.sync.call_with_stream("digest", iter([data]), "rest") == digest
            assert isinstance(await channel.call("give", 3), MetaGenerator)
            with pytest.raises(TypeError, match="a call that waits has no loop to read an async iterable in"):
                channel.sync.pipe(await channel.call("give", 3))

    asyncio.run(program())


def test_another_thread_can_use_it_while_the_loop_goes_on() -> None:
    async def program() -> None:
        async with opened(AskingPeer) as (channel, _):
            assert await asyncio.to_thread(channel.sync.call, "ask", "on_the_loop") == [0]

    asyncio.run(program())


def test_an_interrupt_cancels_the_call_in_the_page_and_leaves_all_working() -> None:
    async def check(channel: Channel, peer: PeerThread) -> None:
        def interrupt() -> None:
            assert peer.page.hanging.wait(TIMEOUT)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        # As in a notebook's kernel, and not as in asyncio.run, which cancels its main Task instead.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            channel.sync.call("hang", timeout=None)
        thread.join()
        assert peer.page.ended.is_set()
        assert channel.sync.call("add", 2, 3) == 5
        assert await channel.call("add", 2, 3) == 5

    async def program() -> None:
        async with opened() as (channel, peer):
            await check(channel, peer)

    asyncio.run(program())


def test_a_page_that_needs_the_busy_loop_is_an_error_that_names_the_method() -> None:
    async def program() -> None:
        async with opened(AskingPeer) as (channel, _):
            with pytest.raises(TimeoutError) as caught:
                channel.sync.call("ask", "progress", "on_the_loop", timeout=1)
            assert str(caught.value) == (
                "the call of 'ask' was not answered within 1 s, and has been cancelled; meanwhile the page called the "
                "handler's method 'on_the_loop', which could not begin: the loop that runs it is that of this thread, "
                "which waited for the answer. If the page needs it for its answer, await the call, mark the method "
                "with @jchannel.background, or make the call from another thread"
            )
            assert await channel.call("ask", "on_the_loop") == [0]

    asyncio.run(program())


def test_an_awaited_call_whose_page_needs_the_busy_loop_says_so_too() -> None:
    async def program() -> None:
        async with opened(AskingPeer) as (channel, _):
            call = channel.call("ask", "on_the_loop", timeout=1)
            while not channel.statistics().calls_made.cancelled:  # The busy cell.
                pass
            with pytest.raises(TimeoutError) as caught:
                await call
            assert str(caught.value) == (
                "the call of 'ask' was not answered within 1 s, and has been cancelled; meanwhile the page called the "
                "handler's method 'on_the_loop', which could not begin: the loop that runs it was busy. If the page "
                "needs it for its answer, mark the method with @jchannel.background, or let the loop go on: await in "
                "between, or compute in another thread"
            )
            with pytest.raises(TimeoutError, match=r"has been cancelled$"):
                await channel.call("hang", timeout=0.01)
            assert await channel.call("ask", "on_the_loop") == [0]

    asyncio.run(program())


def test_a_call_from_a_callback_of_the_loop_says_the_same() -> None:
    caught: list[str] = []

    async def program() -> None:
        async with opened(AskingPeer) as (channel, _):
            done = asyncio.Event()

            def callback() -> None:
                try:
                    channel.sync.call("ask", "on_the_loop", timeout=1)
                except TimeoutError as error:
                    caught.append(str(error))
                done.set()

            asyncio.get_running_loop().call_soon(callback)
            await done.wait()

    asyncio.run(program())
    assert "'on_the_loop', which could not begin" in caught[0]


def test_a_page_that_is_merely_slow_is_an_error_without_that() -> None:
    async def program() -> None:
        async with opened(AskingPeer) as (channel, _):
            with pytest.raises(TimeoutError, match=r"has been cancelled$"):
                channel.sync.call("hang", timeout=0.05)
            with pytest.raises(TimeoutError, match=r"has been cancelled$"):
                await channel.call("hang", timeout=0.05)

    asyncio.run(program())


def test_a_channel_of_the_blocking_facade_has_no_loop_to_blame() -> None:
    with jchannel.sync.start(port=0) as server, AskingPeer(server.page_url), server.open(CODE) as channel:
        channel.handler = Handler()
        assert channel.call("ask", "on_the_loop", "progress", "progress_later") == [0, 0, 0]
        with pytest.raises(TimeoutError, match=r"has been cancelled$"):
            channel.call("hang", timeout=0.05)


def test_a_task_of_a_busy_cell_still_delivers() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            task = channel.call("add", 2, 3)
            channel.sync.call("record", 1)  # The answer to the first call is here when this one is.
            assert not task.done()
            assert await task == 5

    asyncio.run(program())


@pytest.mark.parametrize("name", ["progress", "progress_later"])
def test_a_method_in_the_background_answers_while_the_loop_is_busy(name: str) -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            channel.handler.done = 7  # type: ignore[attr-defined]
            assert peer.call(name) == 7  # The loop is blocked until it has the answer.

    asyncio.run(program())


@pytest.mark.parametrize("name", ["add_in_page", "add_in_page_later"])
def test_a_method_in_the_background_may_call_the_page(name: str) -> None:
    async def program() -> None:
        async with opened() as (_, peer):
            assert peer.call(name) == 5

    asyncio.run(program())


def test_a_method_in_trio_that_would_block_it_is_told_what_to_do() -> None:
    async def program() -> None:
        async with opened() as (_, peer):
            with pytest.raises(KernelError, match=r"another thread, with trio\.to_thread\.run_sync"):
                peer.call("add_in_page_without_a_thread")

    asyncio.run(program())


def test_methods_in_the_background_take_and_give_streams() -> None:
    data = make_bytes(300_000)

    async def program() -> None:
        async with opened(StreamPeer) as (_, peer):
            for name in ("digest", "digest_later"):
                assert peer.call_with_stream(name, data, 1) == [hashlib.sha256(data).hexdigest(), 1]
            for name in ("back", "back_later"):
                assert peer.call_with_stream(name, data) == data
            for name in ("give", "give_file", "give_later"):
                assert peer.read(name) == b"onetwo"
            with pytest.raises(KernelError, match="the worker thread it ran in has no loop to read that in"):
                peer.read("give_without_a_loop")

    asyncio.run(program())


def test_a_server_of_the_blocking_facade_runs_marked_methods_too() -> None:
    data = make_bytes(300_000)
    with jchannel.sync.start(port=0) as server, StreamPeer(server.page_url) as peer, server.open(CODE) as channel:
        channel.handler = Handler()
        assert peer.call_with_stream("digest_later", data) == [hashlib.sha256(data).hexdigest()]
        assert peer.call_with_stream("digest", data) == [hashlib.sha256(data).hexdigest()]
        assert peer.read("give_later") == b"onetwo"
