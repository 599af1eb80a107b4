"""Byte streams between a server and the Python peer, in memory: both directions, and everything that ends one."""

from __future__ import annotations

import gc
import hashlib
import io
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._core import stream_registry
from jchannel._core.incoming import IncomingStream
from jchannel._core.invocation import Invocation
from jchannel._core.outgoing import INLINE_BYTES, PART_BYTES
from jchannel._core.server_carrier import POLL_SECONDS, STOP_SECONDS, serve_ticket
from jchannel._core.stream import READ_AHEAD
from jchannel._core.threads import TrioThreads
from jchannel._protocol.messages import (
    Broken,
    Call,
    Cancel,
    Error,
    Goodbye,
    Message,
    Open,
    Pipe,
    Result,
    Stop,
    StreamInfo,
    Ticket,
)
from jchannel._protocol.parts import Part, PartMark, decode_part
from jchannel._protocol.values import pack
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import open_source
from jchannel.errors import ClosedError, PageLostError, RemoteError, StateError
from jchannel.trio import Channel, Limits, Peer, PeerChannel
from tests.core.helpers import HttpClient
from tests.core.http_streams import carry_over_http
from tests.core.internals import (
    close_behind_each_response,
    close_server,
    count_entries,
    drop_stream,
    lose_page,
    make_incoming,
    make_outgoing,
    revoke_tickets,
    server_core,
    session_of,
    tickets,
)
from tests.core.memory import MemoryServer, Page, open_memory_server

Side = Channel | PeerChannel


class Source:
    """An async generator that says how far it is and whether its end has run."""

    def __init__(self, count: float = float("inf"), size: int = 1_000, *, fails: bool = False) -> None:
        self.given = 0
        self.ended = trio.Event()
        self.pieces = self._make(count, size, fails=fails)

    async def _make(self, count: float, size: int, *, fails: bool) -> AsyncIterator[bytes]:
        try:
            while self.given < count:
                await trio.lowlevel.checkpoint()
                self.given += 1
                yield bytes(size)
            if fails:
                raise ValueError("the source has failed")
        finally:
            self.ended.set()


class Ready:
    """A source that gives one piece, which may be empty, and then nothing until it is closed."""

    def __init__(self, piece: bytes) -> None:
        self.ended = trio.Event()
        self._piece = piece

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            yield self._piece
            await trio.sleep_forever()
        finally:
            self.ended.set()


class Handler:
    def __init__(self) -> None:
        self.source = Source()
        self.begun = trio.Event()
        self.kept: list[MetaGenerator] = []
        self.errors: list[Exception] = []

    async def digest(self, stream: MetaGenerator, *rest: object) -> list[object]:
        data = await stream.join()
        return [len(data), hashlib.sha256(data).hexdigest(), *rest]

    def give(self) -> AsyncIterator[bytes]:
        return self.source.pieces

    def give_path(self, path: str) -> Path:
        return Path(path)

    def ignore(self, stream: MetaGenerator) -> str:
        return "ignored"

    def keep(self, stream: MetaGenerator) -> None:
        self.kept.append(stream)

    async def read_slowly(self, stream: MetaGenerator) -> int:
        self.begun.set()
        try:
            async for _ in stream:
                await trio.sleep(1)
        except Exception as error:
            self.errors.append(error)
            raise
        return stream.bytes_received

    async def break_off(self, stream: MetaGenerator) -> int:
        async with stream:
            async for chunk in stream:
                return len(chunk)
        return 0


class Ends:
    """Both ends of a channel, with their handlers."""

    def __init__(self, memory: MemoryServer, near: Side, far: Side, handler: Handler) -> None:
        self.memory = memory
        self.near = near
        self.far = far
        #: The handler of the far side.
        self.handler = handler

    async def check_nothing_left(self) -> None:
        """Nothing of any stream is left: no entry, no ticket, no task, no connection."""
        # A connection is kept for 5 s after its last answer (Limits.idle_seconds).
        await trio.sleep(6)
        await trio.testing.wait_all_tasks_blocked()
        statistics = self.memory.server.statistics()
        assert (statistics.streams, statistics.pending_requests, statistics.running_requests) == (0, 0, 0)
        assert statistics.connections == 1
        assert not tickets(self.memory.server)
        for side in (self.near, self.far):
            assert count_entries(side) == (0, 0, 0, 0)


PROXY = "http://localhost:8888/proxy/8889"
"""A URL with a path, as a proxy has it: the server's streams are fetched in parts."""

DIRECT = "direct"
"""In place of a URL: the streams travel over HTTP, and those of the server each as one response."""


@pytest.fixture(params=["to the page", "to Python"])
def direction(request: pytest.FixtureRequest) -> str:
    """Which way a request goes: streams as arguments go the same way, and those as results the other."""
    return str(request.param)


@pytest.fixture(params=[None, DIRECT, PROXY], ids=["in pieces", "direct", "in parts"])
def url(request: pytest.FixtureRequest) -> str | None:
    """How the streams travel: as pieces, which is a peer's own way, or over HTTP, by a direct way or with a proxy."""
    return None if request.param is None else str(request.param)


def url_of(url: str | None) -> str | None:
    """The URL of the server whose streams travel so."""
    return None if url == DIRECT else url


def carry(peer: Peer, memory: MemoryServer, url: str | None) -> None:
    """Lets the streams of a peer travel so."""
    if url is not None:
        carry_over_http(peer, memory.server.url, memory.connect)


@asynccontextmanager
async def open_ends(direction: str, url: str | None = None, **options: Any) -> AsyncIterator[Ends]:
    handler = Handler()
    async with open_memory_server(url=url_of(url), **options) as memory:
        to_page = direction == "to the page"
        async with (
            memory.open_peer(handler if to_page else None) as peer,
            memory.server.open_channel("code", handler=None if to_page else handler) as channel,
        ):
            carry(peer, memory, url)
            far = await peer.wait_channel()
            near: Side = channel if to_page else far
            yield Ends(memory, near, far if to_page else channel, handler)


def make_bytes(size: int) -> bytes:
    """Bytes that are the same every time, and nowhere the same."""
    return random.Random(size).randbytes(size)  # noqa: S311 (no secret)


SIZES = [
    0,
    1,
    INLINE_BYTES - 1,
    INLINE_BYTES,
    INLINE_BYTES + 1,
    READ_AHEAD - 1,
    READ_AHEAD,
    READ_AHEAD + 1,
    2 * READ_AHEAD + 1,
    5 * 2**20,
]


class TestBytesArriveWhole:
    @pytest.mark.parametrize("size", SIZES)
    async def test_as_an_argument(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None, size: int
    ) -> None:
        data = make_bytes(size)
        async with open_ends(direction, url=url) as ends:
            expected = [size, hashlib.sha256(data).hexdigest(), "rest"]
            assert await ends.near.call_with_stream("digest", data, "rest", timeout=60) == expected
            await ends.check_nothing_left()

    @pytest.mark.parametrize("size", SIZES)
    async def test_through_a_pipe(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None, size: int
    ) -> None:
        data = make_bytes(size)
        async with open_ends(direction, url=url) as ends:
            async with await ends.near.pipe(data, timeout=60) as piped:
                assert await piped.join() == data
            await ends.check_nothing_left()

    @pytest.mark.parametrize("count", [0, 1, 20, 3_000])
    async def test_as_a_result(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None, count: int
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            ends.handler.source = Source(count)
            async with await ends.near.call("give") as stream:
                assert len(await stream.join()) == count * 1_000
            assert ends.handler.source.ended.is_set()
            await ends.check_nothing_left()

    @pytest.mark.parametrize(
        "make",
        [
            lambda path: path,
            lambda path: io.BytesIO(path.read_bytes()),
            lambda path: [path.read_bytes()] * 1,
            lambda path: iter([path.read_bytes()]),
            lambda path: bytearray(path.read_bytes()),
            lambda path: memoryview(path.read_bytes()),
        ],
    )
    async def test_from_every_kind_of_source(
        self, direction: str, url: str | None, tmp_path: Path, make: Callable[[Path], object]
    ) -> None:
        data = make_bytes(100_000)
        path = tmp_path / "data"
        path.write_bytes(data)
        async with open_ends(direction, url=url) as ends:
            size, _ = await ends.near.call_with_stream("digest", make(path))
            assert size == len(data)
            async with await ends.near.call("give_path", str(path)) as stream:
                assert stream.total == len(data)
                assert await stream.join() == data

    async def test_from_a_trio_receive_stream(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        send, receive = trio.testing.memory_stream_one_way_pair()
        async with open_ends(direction, url=url) as ends, trio.open_nursery() as nursery:

            async def feed() -> None:
                async with send:
                    for _ in range(10):
                        await send.send_all(bytes(100))

            nursery.start_soon(feed)
            size, _ = await ends.near.call_with_stream("digest", receive)
            assert size == 1_000

    async def test_a_hundred_streams_at_once(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url, limits=Limits(connections=300)) as ends:
            answers: dict[int, object] = {}

            async def call(number: int) -> None:
                size, _, rest = await ends.near.call_with_stream("digest", bytes(50_000 + number), number, timeout=60)
                answers[rest] = size

            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(call, number)
            assert answers == {number: 50_000 + number for number in range(100)}
            await ends.check_nothing_left()


class TestWhatCannotBeSent:
    @pytest.mark.parametrize("stream", ["text", 5, None, io.StringIO("text"), object()])
    async def test_is_refused_before_anything_is_sent(
        self, autojump_clock: trio.testing.MockClock, direction: str, stream: object
    ) -> None:
        async with open_ends(direction) as ends:
            with pytest.raises(TypeError):
                await ends.near.call_with_stream("digest", stream)
            with pytest.raises(TypeError):
                await ends.near.pipe(stream)
            await ends.check_nothing_left()

    @pytest.mark.parametrize("later", [b"x" * 60_000, b"x" * 40_000])
    async def test_a_file_that_is_written_to_while_it_is_sent_is_whole_at_its_end(
        self, direction: str, tmp_path: Path, later: bytes
    ) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"x" * 50_000)

        def write(done: int, total: int | None) -> None:
            # It has been measured, and not been read yet.
            totals.append(total)
            if not done:
                path.write_bytes(later)

        totals: list[int | None] = []
        async with open_ends(direction) as ends:
            length, *_ = await ends.near.call_with_stream("digest", path, progress=write)
        assert length == len(later)
        assert set(totals) == {50_000}

    async def test_a_path_that_does_not_exist_is_an_error_of_the_call(self, direction: str, tmp_path: Path) -> None:
        async with open_ends(direction) as ends:
            with pytest.raises(FileNotFoundError):
                await ends.near.call_with_stream("digest", tmp_path / "missing")
            assert ends.memory.server.statistics().streams == 0

    async def test_when_its_channel_has_ended_is_an_error_that_says_so_and_leaves_nothing(
        self, autojump_clock: trio.testing.MockClock, direction: str
    ) -> None:
        async with open_memory_server() as memory:
            async with memory.open_peer() as peer, memory.server.open_channel("code") as channel:
                far = await peer.wait_channel()
            side: Side = channel if direction == "to the page" else far
            with pytest.raises(ClosedError, match="the channel is closed"):
                await side.call("digest", timeout=None)
            with trio.fail_after(100):
                with pytest.raises(ClosedError, match="the channel is closed"):
                    await side.call_with_stream("digest", b"x", timeout=None)
                with pytest.raises(ClosedError, match="the channel is closed"):
                    await side.pipe(Source().pieces, timeout=None)
            assert count_entries(side) == (0, 0, 0, 0)
            assert side.statistics().waiting_requests == 0

    async def test_progress_must_be_callable(self, autojump_clock: trio.testing.MockClock, direction: str) -> None:
        async with open_ends(direction) as ends:
            with pytest.raises(TypeError, match="progress"):
                await ends.near.call_with_stream("digest", b"x", progress=5)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="progress"):
                await ends.near.pipe(b"x", progress=5)  # type: ignore[arg-type]


def bound_of(url: str | None) -> int:
    """More than is under way of a stream that nobody reads: what waits at both ends, and what travels."""
    return 2 * READ_AHEAD + (2 * PART_BYTES if url == PROXY else 5 * 2**20)


class TestBackpressure:
    async def test_a_slow_reader_slows_the_source(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        source = Source(size=10_000)
        async with open_ends(direction, url=url) as ends, trio.open_nursery() as nursery:
            nursery.start_soon(ignore_errors, ends.near.call_with_stream, "read_slowly", source.pieces)
            await ends.handler.begun.wait()
            await trio.sleep(100)
            assert source.given * 10_000 < bound_of(url)
            # Calls are answered meanwhile.
            assert await ends.near.echo("still here") == ["still here"]
            nursery.cancel_scope.cancel()

    async def test_a_result_that_is_read_slowly_slows_its_source(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            ends.handler.source = Source(size=10_000)
            async with await ends.near.call("give") as stream:
                async for _ in stream:
                    break
                await trio.sleep(100)
                assert ends.handler.source.given * 10_000 < bound_of(url)
            await ends.handler.source.ended.wait()
            await ends.check_nothing_left()


async def ignore_errors(call: Callable[..., Any], *args: Any, **options: Any) -> None:
    with suppress(RemoteError, StateError, trio.TooSlowError):
        await call(*args, **options)


class TestASourceThatRaises:
    @pytest.mark.parametrize("count", [0, 10, 3_000])
    async def test_gives_its_reader_the_error(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None, count: int
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            ends.handler.source = Source(count, fails=True)
            async with await ends.near.call("give") as stream:
                with pytest.raises(RemoteError, match="ValueError: the source has failed"):
                    await stream.join()
                with pytest.raises(RemoteError, match="ValueError: the source has failed"):
                    await stream.join()
            await ends.check_nothing_left()

    async def test_gives_a_reader_who_asks_for_parts_all_that_it_gave_before(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        class Counting:
            async def count(self, stream: MetaGenerator) -> list[object]:
                try:
                    async for _ in stream:
                        pass
                except RemoteError as error:
                    return [stream.bytes_received, str(error)]
                return []

        async with open_ends("to the page", url=PROXY) as ends:
            ends.far.handler = Counting()
            size, error = await ends.near.call_with_stream("count", Source(3_000, fails=True).pieces)
            assert "the source has failed" in error
            assert size == 3_000_000
            await ends.check_nothing_left()

    async def test_is_an_error_of_a_reader_of_parts_also_when_the_connection_does_not_say_so(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        class Collecting:
            async def collect(self, stream: MetaGenerator) -> list[object]:
                size = 0
                try:
                    async for chunk in stream:
                        size += len(chunk)
                except StateError as error:
                    return [size, str(error)]
                return []

        async def source() -> AsyncIterator[bytes]:
            yield bytes(100_000)
            await let_go.wait()
            raise ValueError("no luck")

        async def hold() -> None:
            await answered.wait()
            await flush()

        let_go, answered = trio.Event(), trio.Event()
        async with open_ends("to the page", url=PROXY) as ends, trio.open_nursery() as nursery:
            ends.far.handler = Collecting()

            async def check() -> None:
                outcome = await ends.near.call_with_stream("collect", source())
                assert outcome == [100_000, "the stream broke off: ProtocolError('its source has failed')"]
                answered.set()

            nursery.start_soon(check)
            await trio.testing.wait_all_tasks_blocked()
            session = session_of(ends.memory.server)
            assert session is not None
            flush = session._link.flush
            session._link.flush = hold  # type: ignore[method-assign]
            let_go.set()

    async def test_as_an_argument_reaches_the_method(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            with pytest.raises(RemoteError, match="the source has failed"):
                await ends.near.call_with_stream("digest", Source(3_000, fails=True).pieces)
            assert await ends.near.echo(1) == [1]
            await ends.check_nothing_left()

    async def test_by_what_it_yields_gives_its_reader_the_error(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async def numbers() -> AsyncIterator[int]:
            yield 5

        async with open_ends(direction, url=url) as ends:
            with pytest.raises(RemoteError, match="int"):
                await ends.near.call_with_stream("digest", numbers())
            await ends.check_nothing_left()

    async def test_with_more_words_than_a_frame_takes_gives_its_reader_as_many_as_fit(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async def verbose() -> AsyncIterator[bytes]:
            yield b"x"
            raise ValueError("\x00" * 10_000)

        async with open_ends(direction, url=url, limits=Limits(frame_bytes=4_096)) as ends:
            with pytest.raises(RemoteError) as caught:
                await ends.near.call_with_stream("digest", verbose())
            # The method raises the error that it got, whose words were cut.
            assert caught.value.message == "ValueError: " + "\x00" * 200
            assert await ends.near.echo(1) == [1]
            await ends.check_nothing_left()

    async def test_at_its_end_is_logged_and_ends_nothing(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def careless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1_000)
            finally:
                raise ZeroDivisionError

        async with open_ends(direction, url=url) as ends:
            assert await ends.near.call_with_stream("break_off", careless()) > 0
            await ends.check_nothing_left()
        assert "closing the source of a stream raised" in caplog.text


class TestAReaderThatStopsEarly:
    async def test_stops_the_source_at_once(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        source = Source()
        async with open_ends(direction, url=url) as ends:
            assert await ends.near.call_with_stream("break_off", source.pieces) > 0
            await source.ended.wait()
            await ends.check_nothing_left()

    async def test_by_closing_a_result_stops_its_source(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            stream = await ends.near.call("give")
            await stream.aclose()
            await stream.aclose()
            await ends.handler.source.ended.wait()
            await ends.check_nothing_left()

    async def test_by_being_cancelled_stops_its_source(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            with trio.move_on_after(1):
                async with await ends.near.call("give", timeout=None) as stream:
                    async for _ in stream:
                        await trio.sleep(10)
            await ends.handler.source.ended.wait()
            await ends.check_nothing_left()

    async def test_by_forgetting_a_result_stops_its_source(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            await ends.near.call("give")
            gc.collect()
            await ends.handler.source.ended.wait()
            await ends.check_nothing_left()

    async def test_without_having_begun_stops_the_source(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        source = Source()
        async with open_ends(direction, url=url) as ends:
            assert await ends.near.call_with_stream("ignore", source.pieces) == "ignored"
            await source.ended.wait()
            await ends.check_nothing_left()

    async def test_a_method_that_kept_a_stream_it_has_not_begun_reads_an_error(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async with open_ends(direction, url=url) as ends:
            await ends.near.call_with_stream("keep", Source().pieces)
            with pytest.raises(StateError, match="its call has ended"):
                await ends.handler.kept[0].join()

    async def test_a_call_that_is_cancelled_stops_its_source_and_its_reader(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        source = Source()
        async with open_ends(direction, url=url) as ends:
            with trio.move_on_after(5):
                await ends.near.call_with_stream("read_slowly", source.pieces, timeout=None)
            await source.ended.wait()
            await ends.check_nothing_left()


class TestWhatIsAboveEndsIt:
    async def test_closing_the_channel_ends_every_stream_with_an_error_that_says_so(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        source, handler = Source(), Handler()
        async with open_memory_server(url=url_of(url)) as memory, memory.open_peer(handler) as peer:
            carry(peer, memory, url)
            async with memory.server.hold_channel("code", handler=handler) as channel:
                await channel.open()
                stream = await channel.call("give")
                await channel.call_with_stream("keep", b"")
                async with trio.open_nursery() as nursery:

                    async def call() -> None:
                        with pytest.raises(ClosedError, match=r"close\(\) was called"):
                            await channel.call_with_stream("read_slowly", source.pieces, timeout=None)

                    nursery.start_soon(call)
                    await handler.begun.wait()
                    await channel.close()
                with pytest.raises(ClosedError, match=r"close\(\) was called"):
                    await stream.join()
                await source.ended.wait()
                await handler.source.ended.wait()
                assert memory.server.statistics().streams == 0

    async def test_losing_the_page_ends_every_stream_with_an_error_that_says_so(
        self, autojump_clock: trio.testing.MockClock, url: str | None
    ) -> None:
        source, handler, near = Source(), Handler(), Handler()
        async with (
            open_memory_server(url=url_of(url)) as memory,
            memory.server.hold_channel("code", handler=near) as channel,
        ):
            async with trio.open_nursery() as nursery:
                async with memory.open_peer(handler) as peer:
                    carry(peer, memory, url)
                    await channel.open()
                    stream = await channel.call("give")
                    far_stream = await (await peer.wait_channel()).call("give")

                    async def call() -> None:
                        with pytest.raises(PageLostError):
                            await channel.call_with_stream("read_slowly", source.pieces, timeout=None)

                    nursery.start_soon(call)
                    await handler.begun.wait()
                with pytest.raises(PageLostError, match="the stream is not whole"):
                    await stream.join()
                with pytest.raises(StateError):
                    await far_stream.join()
                await source.ended.wait()
                await near.source.ended.wait()
            assert not tickets(memory.server)

    async def test_stopping_the_server_ends_every_stream(
        self, autojump_clock: trio.testing.MockClock, url: str | None
    ) -> None:
        source, handler = Source(), Handler()
        async with trio.open_nursery() as nursery:
            async with open_memory_server(url=url_of(url)) as memory:
                peer = await nursery.start(memory.hold_peer, handler)
                carry(peer, memory, url)
                async with memory.server.hold_channel("code") as channel:
                    await channel.open()

                    async def call() -> None:
                        with pytest.raises(ClosedError, match="its server was closed"):
                            await channel.call_with_stream("read_slowly", source.pieces, timeout=None)

                    async with trio.open_nursery() as inner:
                        inner.start_soon(call)
                        await handler.begun.wait()
                        await close_server(memory.server)
            await source.ended.wait()
            assert not peer.connected
            nursery.cancel_scope.cancel()


class TestTimeouts:
    async def test_a_stream_that_moves_lives_longer_than_the_timeout(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        async def slow() -> AsyncIterator[bytes]:
            for _ in range(20):
                await trio.sleep(2)
                yield bytes(100)

        async with open_ends(direction, url=url) as ends:
            assert (await ends.near.call_with_stream("digest", slow(), timeout=3))[0] == 2_000
            ends.handler.give = slow  # type: ignore[method-assign]
            async with await ends.near.call("give", timeout=3) as stream:
                assert len(await stream.join()) == 2_000

    async def test_a_stream_that_is_stuck_times_out(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        ended = trio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            try:
                yield bytes(100_000)
                await trio.sleep_forever()
            finally:
                ended.set()

        async with open_ends(direction, url=url) as ends:
            with pytest.raises(trio.TooSlowError, match="not answered within 3 s without progress"):
                await ends.near.call_with_stream("digest", stuck(), timeout=3)
            await ended.wait()
            ended = trio.Event()
            ends.handler.give = stuck  # type: ignore[method-assign]
            async with await ends.near.call("give", timeout=3) as stream:
                with pytest.raises(trio.TooSlowError, match="no part of the stream arrived within 3 s"):
                    await stream.join()
            await ends.check_nothing_left()


async def test_progress_is_told(direction: str, url: str | None) -> None:
    told: list[object] = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))

    async with open_ends(direction, url=url) as ends:
        await ends.near.call_with_stream("digest", bytes(500_000), progress=progress)
        assert told[0] == (0, 500_000)
        assert told[-1] == (500_000, 500_000)
        async with await ends.near.pipe(iter([b"a", b"b"]), progress=progress) as piped:
            assert await piped.join() == b"ab"
        assert (2, None) in told


class TestAMethodThatMakesAStreamOfAStream:
    async def test_reads_while_its_result_is_read(self, direction: str, url: str | None) -> None:
        class Upper:
            async def upper(self, stream: MetaGenerator) -> AsyncIterator[bytes]:
                async for chunk in stream:
                    yield chunk.upper()

        async with open_ends(direction, url=url) as ends:
            ends.far.handler = Upper()
            upper = ends.far.handler.upper

            def call_upper(stream: MetaGenerator) -> AsyncIterator[bytes]:
                return upper(stream)

            ends.far.handler.upper = call_upper  # type: ignore[method-assign]
            async with await ends.near.call_with_stream("upper", b"abc" * 100_000) as stream:
                assert await stream.join() == b"ABC" * 100_000

    async def test_and_never_reads_it_closes_it_in_the_end(
        self, autojump_clock: trio.testing.MockClock, direction: str, url: str | None
    ) -> None:
        class Other:
            def other(self, stream: MetaGenerator) -> AsyncIterator[bytes]:
                return Source(100).pieces

        source = Source()
        async with open_ends(direction, url=url) as ends:
            ends.far.handler = Other()
            async with await ends.near.call_with_stream("other", source.pieces) as stream:
                assert len(await stream.join()) == 100_000
            await source.ended.wait()
            await ends.check_nothing_left()


class TestTheServersHttp:
    async def test_takes_posts_of_a_stream_on_several_connections(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            carry_over_http(peer, memory.server.url, memory.connect)
            close_behind_each_response(memory.server)
            async with memory.server.open_channel("code", handler=Handler()):
                far = await peer.wait_channel()
                data = make_bytes(20 * 2**20)
                answer = await far.call_with_stream("digest", data, timeout=60)
                assert answer == [len(data), hashlib.sha256(data).hexdigest()]

    @pytest.mark.parametrize("url", [None, PROXY], ids=["direct", "in parts"])
    async def test_takes_no_ticket_that_is_not_valid_any_more(
        self, autojump_clock: trio.testing.MockClock, url: str | None
    ) -> None:
        async with open_memory_server(url=url) as memory, memory.open_peer() as peer:
            carry_over_http(peer, memory.server.url, memory.connect)
            async with memory.server.open_channel("code", handler=Handler()):
                stream = await (await peer.wait_channel()).call("give")
                revoke_tickets(memory.server)
                with pytest.raises(StateError, match="the server answers 410"):
                    await stream.join()


class TestIncomingStreams:
    def make(self, total: int | None) -> IncomingStream:
        return make_incoming(StreamInfo(1, total))

    @pytest.mark.parametrize("measured", [2, 5])
    async def test_one_is_whole_at_its_end_whatever_length_was_measured_before(self, measured: int) -> None:
        stream = self.make(measured)
        await stream.feed(b"abc")
        stream.finish()
        assert await stream.receive() == b"abc"
        assert await stream.receive() == b""

    async def test_an_end_of_one_that_has_failed_already_changes_nothing(self) -> None:
        stream = self.make(None)
        stream.fail(StateError("it broke off"))
        stream.finish()
        stream.fail(StateError("it broke off again"))
        with pytest.raises(StateError, match=r"it broke off$"):
            await stream.receive()


class TestThePagesSide:
    """A page that a test plays, message by message."""

    @asynccontextmanager
    async def open(
        self, handler: object = None
    ) -> AsyncIterator[tuple[MemoryServer, Page, Channel, int, trio.Nursery]]:
        async with open_memory_server(heartbeat=1e6) as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                request = await page.expect(Open)
                await page.send(Result(request.id, pack(None, field_name="value", shown_as="result")))
                await trio.testing.wait_all_tasks_blocked()
                yield memory, page, channel, request.channel, nursery
                nursery.cancel_scope.cancel()

    async def test_a_ticket_is_sent_when_the_reader_begins(self, autojump_clock: trio.testing.MockClock) -> None:
        handler = Handler()
        async with self.open(handler) as (memory, page, _, number, _):
            args = pack([], field_name="args", shown_as="args")
            await page.send(Call(1, number, "digest", args, StreamInfo(1)))
            ticket = await page.expect(Ticket)
            assert ticket.stream == 1
            assert len(ticket.ticket) == 22
            post = f"/streams/{ticket.ticket}"
            assert await self.request(memory, "POST", f"{post}?offset=0", b"abc") == 204
            assert await self.request(memory, "POST", f"{post}?offset=3&end=1", b"def") == 204
            answer = await page.expect(Result)
            assert answer.value == [6, hashlib.sha256(b"abcdef").hexdigest()]
            assert await self.request(memory, "POST", f"{post}?offset=6", b"more") == 410

    async def test_a_post_whose_reader_stops_is_answered_at_once_and_not_with_an_error(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with self.open(Handler()) as (memory, page, _, number, _):
            await page.send(Call(1, number, "break_off", pack([], field_name="args", shown_as="args"), StreamInfo(1)))
            ticket = await page.expect(Ticket)
            start = trio.current_time()
            assert (
                await self.request(memory, "POST", f"/streams/{ticket.ticket}?offset=0", bytes(4 * READ_AHEAD)) == 202
            )
            assert trio.current_time() == start

    async def test_a_post_that_was_on_its_way_when_its_reader_stopped_is_answered_as_those_before(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with self.open(Handler()) as (memory, page, _, number, _):
            target = await self.post_to_a_reader_that_stops(memory, page, number, 1)
            start = trio.current_time()
            assert await self.request(memory, "POST", target, bytes(2 * Limits().stranger_bytes)) == 202
            assert trio.current_time() == start
            lose_page(memory.server)
            assert await self.request(memory, "POST", target, b"more") == 410

    async def test_no_more_stopped_streams_are_remembered_than_the_limit(
        self, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream_registry, "STOPPED_TICKETS", 1)
        async with self.open(Handler()) as (memory, page, _, number, _):
            first = await self.post_to_a_reader_that_stops(memory, page, number, 1)
            second = await self.post_to_a_reader_that_stops(memory, page, number, 2)
            assert await self.request(memory, "POST", first, b"more") == 410
            assert await self.request(memory, "POST", second, b"more") == 202

    async def post_to_a_reader_that_stops(self, memory: MemoryServer, page: Page, channel: int, request: int) -> str:
        """Posts to a stream whose reader stops with that; gives where the next post goes."""
        args = pack([], field_name="args", shown_as="args")
        await page.send(Call(request, channel, "break_off", args, StreamInfo(request)))
        ticket = await page.expect(Ticket)
        await self.request(memory, "POST", f"/streams/{ticket.ticket}?offset=0", b"abc")
        await page.expect(Stop)
        await page.expect(Result)
        return f"/streams/{ticket.ticket}?offset=3"

    async def test_a_part_out_of_its_order_breaks_the_stream(self, autojump_clock: trio.testing.MockClock) -> None:
        async with self.open(Handler()) as (memory, page, _, number, _):
            args = pack([], field_name="args", shown_as="args")
            await page.send(Call(1, number, "read_slowly", args, StreamInfo(1)))
            ticket = await page.expect(Ticket)
            assert await self.request(memory, "POST", f"/streams/{ticket.ticket}?offset=5", b"abc") == 409
            assert await self.request(memory, "POST", f"/streams/{ticket.ticket}?offset=0", b"abc") == 410

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            ("GET", "/streams/" + 22 * "x"),
            ("POST", "/streams/" + 22 * "x"),
            ("PUT", "/streams/" + 22 * "x"),
            ("GET", "/streams/"),
        ],
    )
    async def test_an_unknown_ticket_leads_nowhere(
        self, autojump_clock: trio.testing.MockClock, method: str, target: str
    ) -> None:
        async with self.open() as (memory, _, _, _, _):
            assert await self.request(memory, method, target, b"") == 410

    async def test_a_connection_that_is_lost_in_the_middle_of_a_part_breaks_the_stream(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Handler()
        async with self.open(handler) as (memory, page, _, number, _):
            args = pack([], field_name="args", shown_as="args")
            await page.send(Call(1, number, "read_slowly", args, StreamInfo(1)))
            ticket = await page.expect(Ticket)
            stream = memory.listener.connect()
            head = f"POST /streams/{ticket.ticket}?offset=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
            await stream.send_all(head.encode() + b"abc")
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(stream)
            error = await page.expect(Error)
            assert "the connection was lost in the middle of a part" in error.message

    async def test_an_answer_with_a_stream_that_crosses_the_cancellation_is_stopped(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with self.open() as (_, page, channel, _, nursery):
            async with trio.open_nursery() as inner:
                inner.start_soon(partial(channel.call, "f", timeout=None))
                request = await page.expect(Call)
                inner.cancel_scope.cancel()
                nursery.start_soon(self.answer_cancelled, page, request.id)
            assert (await page.expect(Stop)).stream == 1

    async def answer_cancelled(self, page: Page, id_: int) -> None:
        await page.expect(Cancel)
        await page.send(Result(id_, pack(None, field_name="value", shown_as="result"), StreamInfo(1)))

    async def test_a_call_that_is_cancelled_while_its_result_is_being_opened_closes_the_source(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        ended = trio.Event()

        class Slow:
            def give(self) -> AsyncIterator[bytes]:
                return self.pieces()

            async def pieces(self) -> AsyncIterator[bytes]:
                try:
                    await page.link.send('[{"type":"cancel","id":1}]')
                    await trio.Event().wait()
                    yield b""
                finally:
                    ended.set()

        async with self.open(Slow()) as (memory, page, _, number, _):
            await page.send(Call(1, number, "give", pack([], field_name="args", shown_as="args")))
            assert (await page.expect(Error)).kind == "cancelled"
            await ended.wait()
            assert memory.server.statistics().streams == 0

    async def test_a_pipe_that_is_cancelled_is_stopped(self, autojump_clock: trio.testing.MockClock) -> None:
        async with self.open() as (memory, page, _, number, _):
            await page.send(Pipe(1, number, StreamInfo(1)), Cancel(1))
            answers = [await page.receive(), await page.receive()]
            assert {type(answer) for answer in answers} == {Error, Stop}
            assert memory.server.statistics().streams == 0

    async def test_a_session_that_has_ended_sends_nothing_of_a_stream(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with self.open() as (memory, page, channel, number, nursery):
            session = session_of(memory.server)
            assert session is not None
            session.end("closed", "enough")
            stream = make_outgoing(await open_source(Source().pieces, TrioThreads(Limits())))
            nursery.start_soon(stream.run)
            Invocation(session, Pipe(1, number, StreamInfo(1)), math.inf).succeed_with_stream(stream, None)
            assert stream.stopped
            drop_stream(channel, session, 7)
            assert (await page.expect(Goodbye)).reason == "closed"
            await page.expect_lost()

    async def test_a_ticket_fetches_once(self, autojump_clock: trio.testing.MockClock) -> None:
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(channel.call_with_stream, "f", bytes(100_000))
            request = await page.expect(Call)
            assert request.stream is not None
            assert request.stream.total == 100_000
            assert await self.request(memory, "GET", f"/streams/{request.stream.ticket}", b"") == 200
            assert await self.request(memory, "GET", f"/streams/{request.stream.ticket}", b"") == 410

    async def test_a_part_of_a_stream_is_what_is_ready_and_says_what_follows(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        data = make_bytes(READ_AHEAD + 5 * 2**20)
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(channel.call_with_stream, "f", data)
            target = await self.expect_target(page)
            parts = [await self.get_part(memory, f"{target}?offset=0")]
            while parts[-1].mark is PartMark.MORE:
                await trio.testing.wait_all_tasks_blocked()
                offset = sum(len(part.data) for part in parts)
                parts.append(await self.get_part(memory, f"{target}?offset={offset}"))
            assert b"".join(part.data for part in parts) == data
            assert [len(part.data) for part in parts] == [READ_AHEAD, PART_BYTES, 2**20]
            assert parts[-1].mark is PartMark.LAST
            assert await self.request(memory, "GET", f"{target}?offset={len(data)}", b"") == 410

    async def test_a_part_waits_for_the_source_and_is_empty_after_a_while(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        go = trio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"a"
            await trio.sleep(5)
            yield b"b"
            await go.wait()

        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(partial(channel.call_with_stream, "f", slow(), timeout=None))
            target = await self.expect_target(page)
            assert await self.get_part(memory, f"{target}?offset=0") == Part(b"a", PartMark.MORE)
            assert await self.get_part(memory, f"{target}?offset=1") == Part(b"b", PartMark.MORE)
            began = trio.current_time()
            assert await self.get_part(memory, f"{target}?offset=2") == Part(b"", PartMark.MORE)
            assert trio.current_time() - began == POLL_SECONDS
            go.set()
            assert await self.get_part(memory, f"{target}?offset=2") == Part(b"", PartMark.LAST)

    async def test_the_part_before_a_failure_says_so(self, autojump_clock: trio.testing.MockClock) -> None:
        source = Source(100, fails=True)
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(channel.call_with_stream, "f", source.pieces)
            target = await self.expect_target(page)
            first = await self.get_part(memory, f"{target}?offset=0")
            assert (await page.expect(Broken)).message == "the source has failed"
            rest = await self.get_part(memory, f"{target}?offset={len(first.data)}")
            assert len(first.data) + len(rest.data) == 100_000
            assert rest.mark is PartMark.FAIL
            assert memory.server.statistics().streams == 0

    async def test_a_failure_ends_the_wait_for_a_part(self, autojump_clock: trio.testing.MockClock) -> None:
        async def slow() -> AsyncIterator[bytes]:
            yield b"a"
            await trio.sleep(5)
            raise ValueError("the source has failed")

        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(partial(channel.call_with_stream, "f", slow(), timeout=None))
            target = await self.expect_target(page)
            assert await self.get_part(memory, f"{target}?offset=0") == Part(b"a", PartMark.MORE)
            assert await self.get_part(memory, f"{target}?offset=1") == Part(b"", PartMark.FAIL)
            assert (await page.expect(Broken)).message == "the source has failed"

    @pytest.mark.parametrize("message", [Stop(1), Goodbye("closed", "")])
    async def test_what_is_left_of_a_stream_whose_source_has_failed_is_dropped_when_nobody_wants_it(
        self, autojump_clock: trio.testing.MockClock, message: Message
    ) -> None:
        source = Source(3_000, fails=True)
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(ignore_errors, channel.call_with_stream, "f", source.pieces)
            target = await self.expect_target(page)
            part = await self.get_part(memory, f"{target}?offset=0")
            await page.expect(Broken)
            assert memory.server.statistics().streams == 1
            await page.send(message)
            await trio.testing.wait_all_tasks_blocked()
            assert memory.server.statistics().streams == 0
            assert await self.request(memory, "GET", f"{target}?offset={len(part.data)}", b"") == 410

    @pytest.mark.parametrize("query", ["?offset=5", "?offset=", "?offset=x", "", "?offset=1&offset=1"])
    async def test_a_part_that_is_asked_for_out_of_its_order_breaks_the_stream(
        self, autojump_clock: trio.testing.MockClock, query: str
    ) -> None:
        source = Ready(b"a")
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(partial(channel.call_with_stream, "f", source.pieces(), timeout=None))
            target = await self.expect_target(page)
            assert await self.get_part(memory, f"{target}?offset=0") == Part(b"a", PartMark.MORE)
            assert await self.request(memory, "GET", target + query, b"") == 409
            assert "out of its order" in (await page.expect(Broken)).message
            await source.ended.wait()
            assert await self.request(memory, "GET", f"{target}?offset=1", b"") == 410
            assert memory.server.statistics().streams == 0

    async def test_a_part_that_is_asked_for_twice_at_once_breaks_the_stream(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        source = Ready(b"")
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(partial(channel.call_with_stream, "f", source.pieces(), timeout=None))
            target = await self.expect_target(page)
            statuses: list[int] = []

            async def ask() -> None:
                statuses.append(await self.request(memory, "GET", f"{target}?offset=0", b""))

            async with trio.open_nursery() as inner:
                inner.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                inner.start_soon(ask)
            assert sorted(statuses) == [409, 410]
            await page.expect(Broken)
            await source.ended.wait()

    async def test_a_page_that_goes_while_it_waits_for_a_part_stops_the_source(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        source = Ready(b"")
        async with self.open() as (memory, page, channel, _, nursery):
            nursery.start_soon(partial(channel.call_with_stream, "f", source.pieces(), timeout=None))
            target = await self.expect_target(page)
            stream = memory.listener.connect()
            await stream.send_all(f"GET {target}?offset=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked()
            assert not source.ended.is_set()
            await trio.aclose_forcefully(stream)
            await source.ended.wait()
            assert memory.server.statistics().streams == 0

    async def test_a_response_that_nobody_takes_is_cut_off_when_its_session_has_ended(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        source = Ready(b"a")
        taking = trio.Event()

        async def take_nothing(event: Any) -> None:
            if event["type"] == "http.response.body":
                taking.set()
                await trio.sleep_forever()

        async with self.open() as (memory, page, channel, _, nursery):

            async def call() -> None:
                with suppress(PageLostError):
                    await channel.call_with_stream("f", source.pieces(), timeout=None)

            nursery.start_soon(call)
            target = await self.expect_target(page)
            async with trio.open_nursery() as inner:
                inner.start_soon(self.get, memory, target, take_nothing)
                await taking.wait()
                start = trio.current_time()
                await page.send(Goodbye("closed", "the page is closing"))
                await source.ended.wait()
            assert trio.current_time() == start + 2 * STOP_SECONDS

    async def test_a_response_whose_source_fails_has_no_end(self, autojump_clock: trio.testing.MockClock) -> None:
        events: list[Any] = []
        taken = trio.Event()

        async def fail() -> AsyncIterator[bytes]:
            yield b"a"
            await taken.wait()
            raise LookupError("the source has failed")

        async def note(event: Any) -> None:
            events.append(event)
            if event.get("body"):
                taken.set()

        async with self.open() as (memory, page, channel, _, nursery):

            async def call() -> None:
                await channel.call_with_stream("f", fail(), timeout=None)

            nursery.start_soon(call)
            await self.get(memory, await self.expect_target(page), note)
            assert [event.get("more_body") for event in events] == [None, True]

    async def get(self, memory: MemoryServer, target: str, send: Callable[[Any], Awaitable[None]]) -> None:
        """Gets a stream, without a connection: what is sent is passed to `send`."""

        async def receive() -> Any:
            await trio.sleep_forever()

        ticket = target.removeprefix("/streams/")
        scope = {
            "method": "GET",
            "query_string": b"",
            "jchannel.visitor": SimpleNamespace(show_token=lambda: True),
        }
        await serve_ticket(server_core(memory.server).streams, ticket, scope, receive, send)

    async def test_a_page_whose_way_carries_less_is_sent_no_larger_message(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page(frame_limit=5_000) as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                request = await page.expect(Open)
                await page.send(Result(request.id, pack(None, field_name="value", shown_as="result")))
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(ValueError, match="larger than the connection takes at once, 5,000 bytes"):
                    await channel.call("f", bytes(5_000))
                nursery.start_soon(channel.call, "f", bytes(4_000))
                assert (await page.expect(Call)).args == [bytes(4_000)]
                nursery.cancel_scope.cancel()

    async def expect_target(self, page: Page) -> str:
        """The path of the stream that the next call carries."""
        request = await page.expect(Call)
        assert request.stream is not None
        return f"/streams/{request.stream.ticket}"

    async def get_part(self, memory: MemoryServer, target: str) -> Part:
        """A part of a stream, fetched on a connection of its own."""
        response = await HttpClient(memory.listener.connect()).ask(target)
        assert response.status == 200
        assert response.headers["cache-control"] == "no-store"
        return decode_part(response.body)

    async def test_the_stream_of_an_answer_that_nobody_waits_for_is_stopped(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with self.open() as (_, page, channel, _, _):
            with pytest.raises(trio.TooSlowError):
                await channel.call("f", timeout=1)
            request = await page.expect(Call)
            await page.expect(Cancel)
            none = pack(None, field_name="value", shown_as="result")
            await page.send(Result(request.id, none, StreamInfo(1)))
            assert (await page.expect(Stop)).stream == 1

    async def test_what_is_said_of_a_stream_that_has_ended_is_ignored(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with self.open(Handler()) as (_, page, channel, number, nursery):
            args = pack([], field_name="args", shown_as="args")
            await page.send(Call(1, number, "digest", args, StreamInfo(1, 3, b"abc")), Broken(1, "Error", "late"))
            assert (await page.expect(Result)).value[0] == 3
            nursery.start_soon(channel.pipe, b"short")
            request = await page.expect(Pipe)
            assert request.stream == StreamInfo(1, 5, b"short")
            await page.send(Stop(1))
            assert await self.still_alive(page, number)

    async def still_alive(self, page: Page, number: int) -> bool:
        await page.send(Call(2, number, "ignored", pack([], field_name="args", shown_as="args")))
        await page.receive()
        return True

    async def request(self, memory: MemoryServer, method: str, target: str, body: bytes) -> int:
        """An HTTP request on a connection of its own; gives the status."""
        stream = memory.listener.connect()
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        await stream.send_all(head.encode() + body)
        answer = b""
        while data := await stream.receive_some():
            answer += data
        return int(answer.split()[1])
