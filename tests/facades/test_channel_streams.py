"""Streams in the asyncio facade."""

import asyncio
import contextvars
import gc
import hashlib
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import jchannel
from jchannel import Channel, MetaGenerator, Server
from jchannel.errors import ClosedError, FrontendError, KernelError, PageLostError, StateError
from tests.peer_thread import TIMEOUT
from tests.stream_page import StreamPeer, make_bytes

CODE = "(channel) => {}"
LIMIT = 20.0

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")

Check = Callable[[Channel, StreamPeer], Awaitable[None]]


class Source:
    """An async generator of the user's, with what it saw."""

    def __init__(self, count: float = float("inf"), size: int = 1_000, *, end: str = "") -> None:
        self.given = 0
        self.ended = asyncio.Event()
        self.places: set[tuple[int, str]] = set()
        self.pieces = self._make(count, size, end)

    async def _make(self, count: float, size: int, end: str) -> AsyncIterator[bytes]:
        try:
            while self.given < count:
                self.given += 1
                self.places.add((threading.get_ident(), place.get()))
                yield bytes(size)
                await asyncio.sleep(0)
            if end == "fail":
                raise ValueError("the source has failed")
            if end == "hang":
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended.set()


class Handler:
    """The Python handler that the page calls."""

    def __init__(self) -> None:
        self.source = Source(10)
        self.path = Path()
        self.kept: list[MetaGenerator] = []

    async def digest(self, stream: MetaGenerator, *rest: object) -> list[object]:
        assert isinstance(stream, MetaGenerator)
        data = await stream.join()
        return [len(data), hashlib.sha256(data).hexdigest(), *rest]

    async def back(self, stream: MetaGenerator) -> MetaGenerator:
        return stream

    def ignore(self, stream: MetaGenerator) -> None:
        self.kept.append(stream)

    def give(self) -> AsyncIterator[bytes]:
        return self.source.pieces

    async def give_own(self) -> AsyncIterator[bytes]:
        yield place.get().encode()

    def give_path(self) -> Path:
        return self.path


def run(check: Check, **options: Any) -> None:
    """Runs a check with an open channel and its page, and then sees that no task is left on the loop."""

    async def program() -> None:
        async with await jchannel.start(port=0, **options) as server:
            with StreamPeer(server.page_url) as peer:
                async with await server.open(CODE) as channel:
                    await check(channel, peer)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(program())


async def in_thread(function: Callable[..., Any], *args: object) -> Any:
    return await asyncio.to_thread(function, *args)


async def happens(event: asyncio.Event | threading.Event) -> None:
    if isinstance(event, asyncio.Event):
        await asyncio.wait_for(event.wait(), TIMEOUT)
    else:
        assert await asyncio.to_thread(event.wait, TIMEOUT)


SIZES = [0, 1, 32_768, 32_769, 2**20 + 1, 5 * 2**20]


class TestBytesArriveWhole:
    @pytest.mark.parametrize("size", SIZES)
    def test_as_an_argument(self, size: int) -> None:
        data = make_bytes(size)

        async def check(channel: Channel, _: StreamPeer) -> None:
            async def chunks() -> AsyncIterator[object]:
                for start in range(0, size, 40_000):
                    yield memoryview(data)[start : start + 40_000]
                    yield b""

            task = channel.call_with_stream("digest", chunks(), "rest", timeout=LIMIT)
            assert isinstance(task, asyncio.Task)
            assert await task == [size, hashlib.sha256(data).hexdigest(), "rest"]

        run(check)

    @pytest.mark.parametrize("size", SIZES)
    def test_through_a_pipe(self, size: int) -> None:
        data = make_bytes(size)

        async def check(channel: Channel, _: StreamPeer) -> None:
            async with await channel.pipe(data, LIMIT) as stream:
                assert isinstance(stream, MetaGenerator)
                assert await stream.join() == data
                assert stream.bytes_received == size

        run(check)

    @pytest.mark.parametrize("count", [0, 1, 3_000])
    def test_as_a_result(self, count: int) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            stream = await channel.call("give", count, timeout=LIMIT)
            assert sum([len(chunk) async for chunk in stream]) == count * 1_000
            await happens(peer.streams.ended)

        run(check)

    @pytest.mark.parametrize(
        "make",
        [
            lambda path: path,
            lambda path: io.BytesIO(path.read_bytes()),
            lambda path: iter([path.read_bytes()]),
            lambda path: bytearray(path.read_bytes()),
        ],
    )
    def test_from_every_kind_of_source(self, tmp_path: Path, make: Callable[[Path], object]) -> None:
        data = make_bytes(100_000)
        path = tmp_path / "data"
        path.write_bytes(data)

        async def check(channel: Channel, _: StreamPeer) -> None:
            size, _ = await channel.call_with_stream("digest", make(path), timeout=LIMIT)
            assert size == len(data)

        run(check)

    @pytest.mark.parametrize("count", [0, 1, 3_000])
    def test_to_and_from_a_handler_method(self, count: int) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            channel.handler = handler = Handler()
            handler.source = Source(count)
            data = make_bytes(count * 1_000)
            expected = [len(data), hashlib.sha256(data).hexdigest(), "rest"]
            assert await in_thread(peer.call_with_stream, "digest", data, "rest") == expected
            assert await in_thread(peer.call_with_stream, "back", data) == data
            assert await in_thread(peer.read, "give") == bytes(count * 1_000)

        run(check)

    def test_from_a_path_that_a_method_returns(self, tmp_path: Path) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            channel.handler = handler = Handler()
            handler.path = tmp_path / "data"
            handler.path.write_bytes(b"from a file")
            assert await in_thread(peer.read, "give_path") == b"from a file"

        run(check)

    def test_into_a_file(self, tmp_path: Path) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            stream = await channel.pipe(bytes(3_000_000), LIMIT)
            assert await stream.write_to(tmp_path / "data") == 3_000_000
            assert (tmp_path / "data").stat().st_size == 3_000_000

        run(check)

    def test_many_streams_at_once(self) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            calls = [channel.call_with_stream("digest", Source(100 + n).pieces, n, timeout=LIMIT) for n in range(30)]
            answers = await asyncio.gather(*calls)
            assert [(answer[0], answer[2]) for answer in answers] == [((100 + n) * 1_000, n) for n in range(30)]

        run(check)


class TestWhereCodeRuns:
    def test_a_source_runs_on_its_loop_and_in_its_context(self) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            place.set("the cell")
            source = Source(3_000)
            task = channel.call_with_stream("digest", source.pieces, timeout=LIMIT)
            place.set("another cell")
            await task
            assert source.places == {(threading.get_ident(), "the cell")}

        run(check)

    def test_what_a_method_gives_runs_in_the_context_of_the_opening(self) -> None:
        async def program() -> None:
            place.set("the opening")
            async with await jchannel.start(port=0) as server:
                with StreamPeer(server.page_url) as peer:
                    async with await server.open(CODE) as channel:
                        place.set("another cell")
                        channel.handler = Handler()
                        assert await in_thread(peer.read, "give_own") == b"the opening"

        asyncio.run(program())

    def test_progress_is_told_on_the_loop(self) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            told: list[tuple[int, int | None, int]] = []
            closed = asyncio.Event()

            class Progress:
                def __call__(self, done: int, total: int | None) -> None:
                    told.append((done, total, threading.get_ident()))

                def close(self) -> None:
                    closed.set()

            await channel.call_with_stream("digest", bytes(100), timeout=LIMIT, progress=Progress())
            await happens(closed)
            assert told[-1] == (100, 100, threading.get_ident())

        run(check)


class TestWhatCannotBeSent:
    @pytest.mark.parametrize("stream", ["text", 5, None, io.StringIO("text"), object()])
    def test_is_refused_by_the_method_itself(self, stream: object) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            with pytest.raises(TypeError):
                channel.call_with_stream("digest", stream)
            with pytest.raises(TypeError):
                channel.pipe(stream)

        run(check)

    def test_other_arguments_are_checked_too(self) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            with pytest.raises(TypeError, match=r"args\[0\]"):
                channel.call_with_stream("digest", b"", object())
            with pytest.raises(TypeError, match="name"):
                channel.call_with_stream(5, b"")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="timeout"):
                channel.pipe(b"", -1)
            with pytest.raises(TypeError, match="progress"):
                channel.pipe(b"", progress=5)  # type: ignore[arg-type]

        run(check)

    def test_a_path_that_does_not_exist_is_an_error_of_the_task(self, tmp_path: Path) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            with pytest.raises(FileNotFoundError):
                await channel.call_with_stream("digest", tmp_path / "missing")

        run(check)

    def test_without_a_loop_the_error_points_to_the_blocking_facade(self) -> None:
        channel = Channel(Server(), CODE)
        with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
            channel.call_with_stream("digest", b"")
        with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
            channel.pipe(b"")

    def test_a_channel_that_was_never_opened_says_so(self) -> None:
        async def program() -> None:
            async with await jchannel.start(port=0) as server:
                with pytest.raises(ClosedError, match="has not been opened"):
                    await Channel(server, CODE).pipe(Source().pieces)

        asyncio.run(program())


class TestErrors:
    @pytest.mark.parametrize("count", [0, 3_000])
    def test_a_source_that_raises_gives_its_reader_the_error(self, count: int) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            channel.handler = handler = Handler()
            handler.source = Source(count, end="fail")
            with pytest.raises(KernelError, match="ValueError: the source has failed"):
                await in_thread(peer.read, "give")
            with pytest.raises(FrontendError, match="the source has failed"):
                await channel.call_with_stream("digest", Source(count, end="fail").pieces, timeout=LIMIT)
            assert await channel.echo(1) == [1]

        run(check)

    @pytest.mark.parametrize("count", [0, 3_000])
    def test_a_source_of_the_page_that_raises_breaks_the_stream(self, count: int) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            stream = await channel.call("give", count, 1_000, "fail", timeout=LIMIT)
            for _ in range(2):
                with pytest.raises(FrontendError, match="ValueError: the page's source has failed"):
                    await stream.join()

        run(check)

    def test_nothing_for_too_long_is_a_timeout_error(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            stream = await channel.call("give", 100, 1_000, "pause", timeout=0.2)
            with pytest.raises(TimeoutError, match=r"no part of the stream arrived within 0\.2 s"):
                await stream.join()
            await stream.aclose()
            await happens(peer.streams.ended)
            source = Source(0, end="hang")
            with pytest.raises(TimeoutError, match=r"not answered within 0\.2 s without progress"):
                await channel.call_with_stream("digest", source.pieces, timeout=0.2)
            await happens(source.ended)

        run(check)

    def test_a_progress_that_raises_ends_the_stream(self) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            def stop(done: int, total: int | None) -> None:
                raise LookupError("enough")

            source = Source()
            with pytest.raises(FrontendError, match="LookupError: enough"):
                await channel.call_with_stream("digest", source.pieces, timeout=LIMIT, progress=stop)
            await happens(source.ended)

        run(check)


class TestEndsBeforeTheEnd:
    def test_a_reader_that_breaks_off_stops_the_source(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            channel.handler = handler = Handler()
            source, handler.source = Source(), Source()
            assert await channel.call_with_stream("break_off", source.pieces, timeout=LIMIT) == "broken off"
            await happens(source.ended)
            assert await in_thread(peer.read_first, "give")
            await happens(handler.source.ended)

        run(check)

    def test_a_stream_that_nobody_reads_stops_its_source(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            source = Source()
            assert await channel.call_with_stream("ignore", source.pieces, timeout=LIMIT) == "ignored"
            await happens(source.ended)
            channel.handler = handler = Handler()
            await in_thread(peer.call_with_stream, "ignore", bytes(100_000))
            with pytest.raises(StateError, match="its call has ended"):
                await handler.kept[0].join()

        run(check)

    def test_closing_a_result_stops_its_source_and_its_reader(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            stream = await channel.call("give", 1, 1_000_000, "pause", timeout=None)
            await anext(stream)
            reading = asyncio.ensure_future(stream.join())
            await asyncio.sleep(0)
            await stream.aclose()
            await stream.aclose()
            with pytest.raises(ClosedError):
                await reading
            await happens(peer.streams.ended)

        run(check)

    def test_forgetting_a_result_stops_its_source(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            await channel.call("give", float(10**6), timeout=LIMIT)
            gc.collect()
            await happens(peer.streams.ended)

        run(check)

    def test_a_result_that_is_forgotten_needs_no_garbage_collector(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            gc.disable()
            try:
                await channel.call("give", float(10**6), timeout=LIMIT)
                await happens(peer.streams.ended)
            finally:
                gc.enable()

        run(check)

    def test_a_cancelled_call_stops_its_source(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            source = Source()
            task = channel.call_with_stream("hold", source.pieces, timeout=None)
            await happens(peer.streams.reading)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await happens(source.ended)

        run(check)

    def test_a_cancelled_read_loses_nothing(self) -> None:
        async def check(channel: Channel, _: StreamPeer) -> None:
            async def chunks() -> AsyncIterator[bytes]:
                yield bytes(50_000)
                await let_go.wait()
                yield bytes(50_000)

            let_go = asyncio.Event()
            async with await channel.pipe(chunks(), LIMIT) as stream:
                reading = asyncio.ensure_future(stream.join())
                await asyncio.sleep(0)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                let_go.set()
                assert len(await stream.join()) == 100_000

        run(check)

    def test_closing_the_channel_ends_every_stream(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            source = Source()
            task = channel.call_with_stream("hold", source.pieces, timeout=None)
            stream = await channel.call("give", 100, 1_000, "pause", timeout=None)
            await happens(peer.streams.reading)
            await channel.close()
            assert source.ended.is_set()
            with pytest.raises(ClosedError, match=r"close\(\) was called"):
                await stream.join()
            with pytest.raises(ClosedError, match=r"close\(\) was called"):
                await task
            await happens(peer.streams.ended)

        run(check)

    def test_losing_the_page_ends_every_stream(self) -> None:
        async def check(channel: Channel, peer: StreamPeer) -> None:
            source = Source()
            task = channel.call_with_stream("hold", source.pieces, timeout=None)
            stream = await channel.call("give", 100, 1_000, "pause", timeout=None)
            await happens(peer.streams.reading)
            reading = asyncio.ensure_future(stream.join())
            await in_thread(peer.leave)
            for ended in (task, reading):
                with pytest.raises(PageLostError):
                    await ended
            await happens(source.ended)

        run(check)

    def test_stopping_the_server_ends_every_stream(self) -> None:
        async def program() -> None:
            server = await jchannel.start(port=0)
            with StreamPeer(server.page_url) as peer:
                channel = await server.open(CODE)
                source = Source()
                task = channel.call_with_stream("hold", source.pieces, timeout=None)
                stream = await channel.call("give", 100, 1_000, "pause", timeout=None)
                await happens(peer.streams.reading)
                await server.stop()
                assert source.ended.is_set()
                for ended in (task, asyncio.ensure_future(stream.join())):
                    with pytest.raises(StateError):
                        await ended
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(program())

    def test_a_loop_that_ends_breaks_the_streams_of_its_sources(self) -> None:
        async def open_all() -> tuple[Server, StreamPeer, Source, asyncio.Task[Any]]:
            server = await jchannel.start(port=0)
            peer = StreamPeer(server.page_url)
            await asyncio.to_thread(peer.__enter__)
            channel = await server.open(CODE)
            source = Source()
            task = channel.call_with_stream("hold", source.pieces, timeout=None)
            await happens(peer.streams.reading)
            return server, peer, source, task

        async def stop(server: Server) -> None:
            await server.stop()

        # The first loop's end cancels the call's Task, and the source's.
        server, peer, source, task = asyncio.run(open_all())
        assert task.cancelled()
        assert source.ended.is_set()
        assert peer.streams.failed.wait(TIMEOUT)
        asyncio.run(stop(server))
        peer.leave()

    def test_a_stream_can_be_read_in_another_loop(self) -> None:
        async def begin() -> tuple[Server, StreamPeer, MetaGenerator]:
            server = await jchannel.start(port=0)
            peer = StreamPeer(server.page_url)
            await asyncio.to_thread(peer.__enter__)
            channel = await server.open(CODE)
            stream = await channel.call("give", 3_000, timeout=LIMIT)
            assert await anext(stream)
            return server, peer, stream

        async def end(server: Server, stream: MetaGenerator) -> int:
            await stream.join()
            await server.stop()
            return stream.bytes_received

        server, peer, stream = asyncio.run(begin())
        assert asyncio.run(end(server, stream)) == 3_000_000
        peer.leave()


def test_closing_waits_for_the_sources_of_the_channels_streams() -> None:
    async def program() -> None:
        in_finally, go_on = asyncio.Event(), asyncio.Event()
        ended: list[str] = []

        async def source() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(100_000)
            finally:
                in_finally.set()
                await go_on.wait()
                ended.append("source")

        async with await jchannel.start(port=0) as server:
            with StreamPeer(server.page_url) as peer:
                other, channel = await server.open(CODE), await server.open(CODE)
                call = channel.call_with_stream("hold", source(), timeout=None)
                await happens(peer.streams.reading)
                closing = channel.close()
                await happens(in_finally)
                await other.echo()  # The page has answered the closing before it answers this.
                assert not closing.done()
                go_on.set()
                await closing
                assert ended == ["source"]
                assert channel.statistics().outgoing_streams == 0
                with pytest.raises(ClosedError):
                    await call

    asyncio.run(program())
