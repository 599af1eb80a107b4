"""Streams between the trio API and a page in real Chromium."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, PageLostError
from jchannel.trio import Channel, Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle
from tests.core.internals import close_server, tickets
from tests.peer_thread import TIMEOUT

CODE = """
(channel) => {
    // The same bytes as `make_data` in Python.
    const block = Uint8Array.from({length: 65521}, (_, i) => (i * 7 + (i >> 8)) & 255);
    const makeData = (size) => {
        const data = new Uint8Array(size);
        for (let at = 0; at < size; at += block.length) data.set(block.subarray(0, size - at), at);
        return data;
    };
    const digest = async (bytes) => {
        const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
        return [bytes.length, Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')];
    };
    async function* generate(data, piece = 65536) {
        for (let at = 0; at < data.length; at += piece) yield data.subarray(at, at + piece);
    }
    const makeReadable = (data, type) => {
        const pieces = generate(data);
        return new ReadableStream({type, async pull(controller) {
            const {done, value} = await pieces.next();
            if (done) controller.close(); else controller.enqueue(value.slice());
        }});
    };
    const kinds = {
        generator: (data) => generate(data),
        readable: (data) => makeReadable(data),
        byteReadable: (data) => makeReadable(data, 'bytes'),
        blob: (data) => new Blob([data]),
        file: (data) => new File([data], 'data.bin'),
        response: (data) => new Response(data),
        uint8: (data) => data,
        float32: (data) => new Float32Array(data.buffer),
        buffer: (data) => data.buffer,
        array: (data) => [data.subarray(0, 1), data.subarray(1)],
    };
    const make = (kind, size) => kinds[kind](makeData(size));
    const classes = {KernelError: jchannel.KernelError, StateError: jchannel.StateError, TypeError};
    const describe = (error) => {
        const found = Object.keys(classes).find((name) => error instanceof classes[name]);
        return [found ?? error.constructor.name, error.name, error.message];
    };

    // A source without an end, or with an error as its end, that tells what becomes of it.
    const makeWatched = (count, text) => {
        const watched = {given: 0, ended: false};
        window.watched = watched;
        return (async function* () {
            try {
                while (watched.given < count) {
                    watched.given += 1;
                    yield makeData(65536);
                    await new Promise((resolve) => setTimeout(resolve));
                }
                throw new RangeError(text);
            } finally {
                watched.ended = true;
            }
        })();
    };

    const handler = {
        add: (a, b) => a + b,
        async digest(stream) { return digest(await stream.join()); },
        give: (kind, size) => make(kind, size),
        async send(kind, size) { return channel.callWithStream('digest', make(kind, size)); },
        async sendArguments() { return channel.callWithStream('describe', makeData(3), 1, {a: [null]}, 'Grüße'); },
        describeArguments: async (stream, ...rest) => [(await stream.join()).length, ...rest],
        async pipeBack(kind, size) { return digest(await (await channel.pipe(make(kind, size))).join()); },
        async fetchFrom(kind, size) { return digest(await (await channel.call('give', kind, size)).join()); },
        async digestOwn(size) { return digest(makeData(size)); },

        // Errors of sources
        giveFailing: (count) => makeWatched(count, 'the source has failed'),
        giveEndless: () => makeWatched(Infinity),
        sendFailing: (name, count) => channel.callWithStream(name, makeWatched(count, 'the source has failed')),
        async readToError(stream) {
            let size = 0;
            try {
                for await (const chunk of stream) size += chunk.length;
            } catch (error) {
                return [size, ...describe(error)];
            }
            return [size];
        },
        async callToError(name, ...args) { return handler.readToError(await channel.call(name, ...args)); },
        async pipeBroken() {
            return handler.readToError(await channel.pipe(makeWatched(40, 'the source has failed')));
        },
        async refuse(text) {
            try {
                await channel.callWithStream('digest', Function(`return ${text}`)());
            } catch (error) {
                return describe(error);
            }
        },

        // Readers that stop
        async leaveLoop(stream) { for await (const chunk of stream) return chunk.length > 0; },
        async returnEarly(stream) {
            const pieces = stream.byLimit(1000);
            await pieces.next();
            await pieces.return();
            return (await pieces.next()).done;
        },
        async closeEarly(stream) {
            await stream[Symbol.asyncIterator]().next();
            await stream.aclose();
            return true;
        },
        async cancelPlain(stream) {
            const reader = stream.stream.getReader();
            await reader.read();
            await reader.cancel();
            return true;
        },
        async abortRead(stream) {
            const {signal} = channel;
            window.aborted = null;
            for await (const chunk of stream) {
                window.reading = true;
                if (signal.aborted) break;
            }
        },
        async readWhenTold(stream) {
            let read = 0;
            const pieces = stream.byLimit(65536);
            await new Promise((resolve) => {
                handler.readOne = async () => { await pieces.next(); return read += 1; };
                handler.readNoMore = resolve;
                window.isReady?.();
            });
            await pieces.return();
        },
        readOne: () => new Promise((resolve) => { window.isReady = () => resolve(handler.readOne()); }),
        ignore: () => 'ignored',
        async readForever(stream) {
            window.outcome = null;
            let size = 0;
            try {
                for await (const chunk of stream) {
                    size += chunk.length;
                    window.reading = true;
                }
            } catch (error) {
                window.outcome = describe(error);
                throw error;
            }
            window.outcome = ['ended', size];
        },
        async pipeForever() {
            window.outcome = null;
            const stream = await channel.pipe(makeWatched(Infinity));
            handler.readForever(stream).catch(() => undefined);
        },
        // For what the page begins by itself and has an outcome of.
        start(name, ...args) {
            window.started = null;
            channel[name](...args).then((value) => { window.started = ['value', value]; },
                (error) => { window.started = describe(error); });
        },
        sendEndless: (name) => handler.start('callWithStream', name, makeWatched(Infinity)),

        // MetaGenerator
        async collect(stream, name, ...args) {
            const items = [];
            for await (const item of stream[name](...args)) items.push(item);
            return items;
        },
        async readPlain(stream) { return digest(new Uint8Array(await new Response(stream.stream).arrayBuffer())); },
        async readCounts(stream) {
            const before = [stream.received, stream.total ?? null];
            await stream.join();
            return [...before, stream.received];
        },
        async readByTurns(stream) {
            const decoder = new TextDecoder();
            const {value: line} = await stream.lines().next();
            const {value: record} = await stream.bySeparator(';').next();
            return [line, decoder.decode(record), decoder.decode(await stream.join())];
        },
    };
    window.channel = channel;
    channel.handler = handler;
}
"""

BREAKS = ("the server responded with a status of 410 ()", "net::ERR_INCOMPLETE_CHUNKED_ENCODING")
"""How the lines end that Chromium writes when a response breaks off, or there is none any more."""

MIB = 2**20
EDGES = (32 * 2**10, 256 * 2**10, MIB, 4 * MIB)
"""What the streams turn on: the longest one inside a message, a piece, what is read ahead, and a post."""

SIZES = (0, 1, *(edge + step for edge in EDGES for step in (-1, 0, 1)))
JAVASCRIPT_KINDS = (
    "generator",
    "readable",
    "byteReadable",
    "blob",
    "file",
    "response",
    "uint8",
    "float32",
    "buffer",
    "array",
)
RESULT_KINDS = ("generator", "readable", "byteReadable", "blob", "file", "response")
"""Those that are streams as results, too: typed arrays are values there."""

PYTHON_KINDS = ("generator", "bytes", "iterable", "file", "path", "channel")
RESULT_PYTHON_KINDS = ("generator", "file", "path", "channel")


def make_data(size: int) -> bytes:
    """Bytes whose parts are all different: what is lost, doubled or moved shows."""
    block = bytes((i * 7 + (i >> 8)) & 255 for i in range(65_521))
    return (block * (size // len(block) + 1))[:size]


def digest(data: bytes) -> list[Any]:
    return [len(data), hashlib.sha256(data).hexdigest()]


async def generate(data: bytes, piece: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece):
        await trio.lowlevel.checkpoint()
        yield data[at : at + piece]


def iterate(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 65_536):
        yield data[at : at + 65_536]


class Sources:
    """Makes sources of every kind that Python has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def make(self, kind: str, size: int) -> Any:
        data = make_data(size)
        if kind == "path":
            path = self._folder / f"{size}.bin"
            path.write_bytes(data)
            return path
        if kind == "channel":
            send, receive = trio.open_memory_channel[bytes](size // 65_536 + 1)
            async with send:
                for piece in iterate(data):
                    await send.send(piece)
            return receive
        makers: dict[str, Callable[[bytes], Any]] = {
            "generator": generate,
            "bytes": lambda data: data,
            "iterable": iterate,
            "file": io.BytesIO,
        }
        return makers[kind](data)


class Watched:
    """A source without an end, or with an error as its end, that tells what becomes of it."""

    def __init__(self, count: float = float("inf")) -> None:
        self.given = 0
        self.begun = trio.Event()
        self.ended = trio.Event()
        self._count = count

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while self.given < self._count:
                await trio.lowlevel.checkpoint()
                self.given += 1
                self.begun.set()
                yield bytes(65_536)
            raise LookupError("the source has failed")
        finally:
            self.ended.set()


class Handler:
    def __init__(self, folder: Path) -> None:
        self.sources = Sources(folder)
        self.watched = Watched()
        self.reading = trio.Event()
        self.done = trio.Event()
        self.error: Exception | None = None

    async def digest(self, stream: MetaGenerator) -> list[Any]:
        return digest(await stream.join())

    async def describe(self, stream: MetaGenerator, *rest: Any) -> list[Any]:
        return [len(await stream.join()), *rest]

    async def give(self, kind: str, size: int) -> Any:
        return await self.sources.make(kind, size)

    def give_watched(self) -> AsyncIterator[bytes]:
        return self.watched.pieces()

    async def read_to_error(self, stream: MetaGenerator) -> list[Any]:
        return await read_to_error(stream)

    async def leave_loop(self, stream: MetaGenerator) -> str:
        async with stream:
            async for _ in stream:
                break
        return "left"

    def ignore(self, stream: MetaGenerator) -> str:
        return "ignored"

    async def read_forever(self, stream: MetaGenerator) -> None:
        try:
            async for _ in stream:
                self.reading.set()
        except Exception as error:
            self.error = error
            raise
        finally:
            self.done.set()


async def read_to_error(stream: MetaGenerator) -> list[Any]:
    """Reads a stream until its error, and gives how much came before it, and the error."""
    size = 0
    try:
        async for chunk in stream:
            size += len(chunk)
    except Exception as error:  # noqa: BLE001 (whatever it is, the test compares it)
        return [size, type(error).__name__, str(error)]
    return [size]


@asynccontextmanager
async def open_streams(
    browser: BrowserThread, folder: Path, *, breaks: bool = False
) -> AsyncIterator[tuple[Server, Channel, PageHandle]]:
    """A channel that is open in a page. When it is left, no stream and no ticket is, and the console is clean.

    ``breaks``: A source in Python fails, which breaks its response off. Chromium says so in the console.
    """
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        await server.wait_page(60)
        async with server.open_channel(CODE, handler=Handler(folder)) as channel:
            yield server, channel, page
            await wait_nothing_left(server)
            assert [line for line in page.console if not (breaks and line.endswith(BREAKS))] == []


async def wait_nothing_left(server: Server) -> None:
    """Lets the last sources be closed, for which no reader waits: a file is closed in a thread."""
    with trio.fail_after(TIMEOUT):
        while server.statistics().streams or tickets(server):
            await trio.lowlevel.checkpoint()


def handler_of(channel: Channel) -> Handler:
    assert isinstance(channel.handler, Handler)
    return channel.handler


class TestContent:
    async def test_both_sides_make_the_same_bytes(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                assert await channel.call("digestOwn", size) == digest(make_data(size))

    @pytest.mark.engines
    async def test_a_stream_of_any_size_comes_to_the_page_whole(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                data = make_data(size)
                assert await channel.call_with_stream("digest", generate(data), timeout=60) == digest(data)

    @pytest.mark.engines
    async def test_a_stream_of_any_size_comes_to_python_whole(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                assert await channel.call("send", "generator", size, timeout=60) == digest(make_data(size))

    async def test_a_result_of_the_page_of_any_size_comes_whole(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                stream = await channel.call("give", "generator", size, timeout=60)
                assert isinstance(stream, MetaGenerator)
                assert await stream.join() == make_data(size)

    async def test_a_result_of_python_of_any_size_comes_whole(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                assert await channel.call("fetchFrom", "generator", size, timeout=60) == digest(make_data(size))

    @pytest.mark.engines
    async def test_a_pipe_of_any_size_comes_back_to_python(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                data = make_data(size)
                assert await (await channel.pipe(generate(data), timeout=60)).join() == data

    @pytest.mark.engines
    async def test_a_pipe_of_any_size_comes_back_to_the_page(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in SIZES:
                assert await channel.call("pipeBack", "generator", size, timeout=60) == digest(make_data(size))

    @pytest.mark.parametrize("kind", JAVASCRIPT_KINDS)
    async def test_every_kind_of_source_in_javascript_can_be_sent(
        self, browser: BrowserThread, tmp_path: Path, kind: str
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in (0, 8, 5 * MIB):
                assert await channel.call("send", kind, size, timeout=60) == digest(make_data(size))

    @pytest.mark.parametrize("kind", RESULT_KINDS)
    async def test_every_kind_of_stream_in_javascript_can_be_a_result(
        self, browser: BrowserThread, tmp_path: Path, kind: str
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in (0, 8, 5 * MIB):
                assert await (await channel.call("give", kind, size, timeout=60)).join() == make_data(size)

    @pytest.mark.parametrize("kind", PYTHON_KINDS)
    async def test_every_kind_of_source_in_python_can_be_sent(
        self, browser: BrowserThread, tmp_path: Path, kind: str
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in (0, 8, 5 * MIB):
                source = await handler_of(channel).sources.make(kind, size)
                assert await channel.call_with_stream("digest", source, timeout=60) == digest(make_data(size))

    @pytest.mark.parametrize("kind", RESULT_PYTHON_KINDS)
    async def test_every_kind_of_stream_in_python_can_be_a_result(
        self, browser: BrowserThread, tmp_path: Path, kind: str
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for size in (0, 8, 5 * MIB):
                assert await channel.call("fetchFrom", kind, size, timeout=60) == digest(make_data(size))

    async def test_the_arguments_beside_a_stream_come_with_it_in_both_directions(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        rest = [1, {"a": [None]}, "Grüße"]
        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call_with_stream("describeArguments", b"abc", *rest) == [3, *rest]
            assert await channel.call("sendArguments") == [3, *rest]

    async def test_what_is_no_stream_is_refused_in_the_page_before_anything_is_sent(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            for text in ("1", "'text'", "null", "({})", "[1]"):
                name, *_ = await channel.call("refuse", text)
                assert name == "TypeError"

    async def test_sixty_four_mebibytes_come_to_the_page_whole(self, browser: BrowserThread, tmp_path: Path) -> None:
        data = make_data(64 * MIB)
        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call_with_stream("digest", generate(data), timeout=60) == digest(data)

    async def test_sixty_four_mebibytes_come_from_the_page_whole(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call("send", "generator", 64 * MIB, timeout=60) == digest(make_data(64 * MIB))


class TestTogether:
    async def test_a_hundred_streams_at_once_come_whole_in_both_directions(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        sizes = [40_000 + number for number in range(100)]
        back: dict[int, bytes] = {}
        async with open_streams(browser, tmp_path) as (_, channel, _):

            async def pipe(size: int) -> None:
                back[size] = await (await channel.pipe(generate(make_data(size)), timeout=60)).join()

            async with trio.open_nursery() as nursery:
                for size in sizes:
                    nursery.start_soon(pipe, size)
        assert back == {size: make_data(size) for size in sizes}

    @pytest.mark.engines
    async def test_calls_are_answered_while_streams_run_in_both_directions(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, page):
            source = handler_of(channel).watched
            async with await channel.pipe(source.pieces()) as down, await channel.call("giveEndless") as up:
                for number in range(20):
                    assert await anext(down)
                    assert await anext(up)
                    assert await channel.call("add", number, 1) == number + 1
            await source.ended.wait()
            await page.wait_for("window.watched.ended")


class TestBrokenSources:
    @pytest.mark.parametrize("count", [0, 1, 100], ids=["at once", "after 64 KiB", "after megabytes"])
    async def test_a_source_that_raises_in_python_is_an_error_of_its_reader_in_the_page(
        self, browser: BrowserThread, tmp_path: Path, count: int
    ) -> None:
        async with open_streams(browser, tmp_path, breaks=True) as (_, channel, _):
            outcome = await channel.call_with_stream("readToError", Watched(count).pieces())
            assert outcome[1:] == ["KernelError", "KernelError", "LookupError: the source has failed"]
            handler_of(channel).watched = Watched(count)
            outcome = await channel.call("callToError", "give_watched")
            assert outcome[1:] == ["KernelError", "KernelError", "LookupError: the source has failed"]

    @pytest.mark.parametrize("count", [0, 1, 100], ids=["at once", "after 64 KiB", "after megabytes"])
    async def test_a_source_that_throws_in_the_page_is_an_error_of_its_reader_in_python(
        self, browser: BrowserThread, tmp_path: Path, count: int
    ) -> None:
        expected = ["FrontendError", "RangeError: the source has failed"]
        async with open_streams(browser, tmp_path) as (_, channel, _):
            size, *outcome = await read_to_error(await channel.call("giveFailing", count))
            assert (size, outcome) == (count * 65_536, expected)
            size, *outcome = await channel.call("sendFailing", "read_to_error", count)
            assert (size, outcome) == (count * 65_536, expected)

    async def test_an_error_passes_through_a_pipe_of_python(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path, breaks=True) as (_, channel, _):
            _, name, message = await read_to_error(await channel.pipe(Watched(40).pieces()))
            assert name == "FrontendError"
            assert "the source has failed" in message

    @pytest.mark.engines
    async def test_an_error_passes_through_a_pipe_of_the_page(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path, breaks=True) as (_, channel, _):
            _, class_name, _, message = await channel.call("pipeBroken")
            assert class_name == "KernelError"
            assert "the source has failed" in message


class TestReadersThatWait:
    @pytest.mark.engines
    async def test_a_source_in_python_is_not_far_ahead_of_its_reader_in_the_page(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _), trio.open_nursery() as nursery:
            source = Watched()
            nursery.start_soon(channel.call_with_stream, "readWhenTold", source.pieces())
            for read in range(1, 51):
                assert await channel.call("readOne") == read
                # What was read, 4 MiB ahead, and what the browser and the sockets hold.
                assert source.given < read + 256
            await channel.call("readNoMore")
            await source.ended.wait()


class TestReadersThatStop:
    @pytest.mark.parametrize("method", ["leaveLoop", "returnEarly", "closeEarly", "cancelPlain"])
    async def test_a_reader_in_the_page_that_stops_ends_the_source_in_python(
        self, browser: BrowserThread, tmp_path: Path, method: str
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            source = Watched()
            assert await channel.call_with_stream(method, source.pieces()) is True
            await source.ended.wait()

    async def test_a_stream_that_no_method_of_the_page_reads_ends_its_source(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            source = Watched()
            assert await channel.call_with_stream("ignore", source.pieces()) == "ignored"
            await source.ended.wait()

    @pytest.mark.engines
    async def test_a_reader_in_python_that_breaks_ends_the_source_in_the_page(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, page):
            async with await channel.call("giveEndless") as stream:
                async for _ in stream:
                    break
            await page.wait_for("window.watched.ended")

    async def test_a_reader_in_python_that_closes_ends_the_source_in_the_page(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, page):
            stream = await channel.call("giveEndless")
            await anext(stream)
            await stream.aclose()
            await page.wait_for("window.watched.ended")

    async def test_a_stream_that_python_never_reads_ends_when_it_is_closed(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, page):
            await (await channel.call("giveEndless")).aclose()
            await page.wait_for("window.watched.ended")

    @pytest.mark.parametrize("method", ["leave_loop", "ignore"])
    async def test_a_python_method_that_stops_reading_ends_the_source_in_the_page(
        self, browser: BrowserThread, tmp_path: Path, method: str
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, page):
            await channel.call("sendEndless", method)
            assert (await page.wait_for("window.started"))[0] == "value"
            await page.wait_for("window.watched.ended")

    @pytest.mark.engines
    async def test_a_call_that_is_cancelled_ends_its_source(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, page), trio.open_nursery() as nursery:
            source = Watched()
            nursery.start_soon(channel.call_with_stream, "abortRead", source.pieces())
            await page.wait_for("window.reading")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await source.ended.wait()

    async def test_a_pipe_that_is_left_ends_its_source(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            source = Watched()
            async with await channel.pipe(source.pieces()) as stream:
                await anext(stream)
            await source.ended.wait()


class TestEnds:
    async def test_closing_the_channel_ends_streams_of_both_directions_and_says_so(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_server(port=0) as server:
            page = await browser.open(server.page_url)
            source = Watched()
            async with server.open_channel(CODE, handler=Handler(tmp_path), timeout=60) as channel:
                handler = handler_of(channel)
                await channel.call("sendEndless", "read_forever")
                await handler.reading.wait()
                own = await channel.call("give", "generator", 5 * MIB)
                # Once the page sends, closing meets its request: a later one would be refused, as its console says.
                assert await anext(own)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(expect, ClosedError, "closed", channel, source)
                    await page.wait_for("window.reading")
                    await channel.close()
            with pytest.raises(ClosedError, match=r"the channel is closed: close\(\) was called"):
                await own.join()
            await handler.done.wait()
            await source.ended.wait()
            assert "channel" in (await page.wait_for("window.outcome"))[2]
            await page.wait_for("window.watched.ended")
            await wait_nothing_left(server)
            assert page.console == []

    async def test_a_reload_ends_streams_of_both_directions_and_says_so(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_server(port=0) as server:
            page = await browser.open(server.page_url)
            source = Watched()
            async with server.open_channel(CODE, handler=Handler(tmp_path), timeout=60) as channel:
                handler = handler_of(channel)
                await channel.call("sendEndless", "read_forever")
                await handler.reading.wait()
                own = await channel.call("give", "generator", 5 * MIB)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(expect, PageLostError, "was lost|has closed", channel, source)
                    await page.wait_for("window.reading")
                    await page.reload()
                with pytest.raises(PageLostError, match="the stream is not whole"):
                    await own.join()
                await handler.done.wait()
                await source.ended.wait()
                assert await channel.call("add", 1, 2, timeout=60) == 3
                await wait_nothing_left(server)
                assert page.console == []

    async def test_stopping_the_server_ends_streams_of_both_directions_and_says_so(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        source = Watched()
        handler = Handler(tmp_path)
        async with trio.open_nursery() as nursery:
            async with open_server(port=0) as server:
                page = await browser.open(server.page_url)
                async with server.hold_channel(CODE, handler=handler) as channel:
                    await channel.open(20)
                    await channel.call("sendEndless", "read_forever")
                    await handler.reading.wait()
                    own = await channel.call("give", "generator", 5 * MIB)
                    nursery.start_soon(expect, ClosedError, "its server was closed", channel, source)
                    await page.wait_for("window.reading")
                    await close_server(server)
                    with pytest.raises(ClosedError, match="its server was closed"):
                        await own.join()
                    await source.ended.wait()
                    await handler.done.wait()
        assert "server was closed" in (await page.wait_for("window.outcome"))[2]
        await page.wait_for("window.watched.ended")
        await wait_nothing_left(server)
        # The console is not looked at: the page's requests may find the port closed before the goodbye.


async def expect(kind: type[Exception], words: str, channel: Channel, source: Watched) -> None:
    """Calls a method of the page that reads without end, and expects the error that ends it."""
    with pytest.raises(kind, match=words):
        await channel.call_with_stream("readForever", source.pieces())


class TestMetaGenerator:
    async def test_join_gives_the_whole_stream(self, browser: BrowserThread, tmp_path: Path) -> None:
        data = make_data(300_000)
        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call_with_stream("digest", generate(data, 1_000)) == digest(data)

    async def test_by_limit_gives_pieces_of_one_size(self, browser: BrowserThread, tmp_path: Path) -> None:
        data = make_data(100_000)
        async with open_streams(browser, tmp_path) as (_, channel, _):
            pieces = await channel.call_with_stream("collect", generate(data, 999), "byLimit", 4_096)
            assert [bytes(piece) for piece in pieces] == [data[at : at + 4_096] for at in range(0, len(data), 4_096)]

    async def test_by_separator_gives_records_also_when_the_separator_is_split(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        data = b"one\r\ntwo\r\n\r\nthree" * 3_000
        async with open_streams(browser, tmp_path) as (_, channel, _):
            records = await channel.call_with_stream("collect", generate(data, 7), "bySeparator", "\r\n")
            assert [bytes(record) for record in records] == data.replace(b"\r\n", b"\r\n\0").split(b"\0")

    async def test_lines_gives_text_without_line_ends(self, browser: BrowserThread, tmp_path: Path) -> None:
        data = "Grüße\r\n\n\U0001f600 😀\nlast".encode()
        async with open_streams(browser, tmp_path) as (_, channel, _):
            lines = await channel.call_with_stream("collect", generate(data, 1), "lines")
            assert lines == ["Grüße", "", "\U0001f600 😀", "last"]

    async def test_the_plain_readable_stream_gives_the_whole_stream(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        data = make_data(5 * MIB)
        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call_with_stream("readPlain", generate(data)) == digest(data)

    async def test_it_counts_what_it_received_and_knows_the_total_where_the_source_does(
        self, browser: BrowserThread, tmp_path: Path
    ) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call_with_stream("readCounts", make_data(MIB)) == [0, MIB, MIB]
            assert await channel.call_with_stream("readCounts", generate(make_data(MIB))) == [0, None, MIB]

    @pytest.mark.parametrize("size", [MIB + 1_000, MIB - 1_000])
    async def test_a_file_that_is_written_to_while_it_is_sent_is_whole_at_its_end(
        self, browser: BrowserThread, tmp_path: Path, size: int
    ) -> None:
        log = tmp_path / "log"
        log.write_bytes(make_data(MIB))

        def write(done: int, _total: int | None) -> None:
            if not done:
                log.write_bytes(make_data(size))

        async with open_streams(browser, tmp_path) as (_, channel, _):
            assert await channel.call_with_stream("readCounts", log, progress=write) == [0, MIB, size]

    async def test_one_way_to_read_goes_on_where_another_stopped(self, browser: BrowserThread, tmp_path: Path) -> None:
        async with open_streams(browser, tmp_path) as (_, channel, _):
            parts = await channel.call_with_stream("readByTurns", generate(b"line\na;b;c", 3))
            assert parts == ["line", "a;", "b;c"]
