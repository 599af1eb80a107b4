"""More slow streams in Chromium than it has connections to a host: all of them flow, and the page can still fetch."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from jchannel._streams.reader import MetaGenerator
from jchannel.trio import Channel, open_server
from tests.browser.chromium import BrowserThread, PageHandle

COUNT = 50
"""Chromium has six connections to a host."""

CODE = """
(channel) => {
    const digest = async (chunks) => {
        const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await new Blob(chunks).arrayBuffer()));
        return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    const makeData = (seed, size) => Uint8Array.from({length: size}, (_, i) => (i * seed) & 255);
    // Reads a stream, and says when its beginning has come.
    const read = async (stream, goOn) => {
        const chunks = [];
        for await (const chunk of stream) {
            chunks.push(chunk);
            if (chunks.length === 1) {
                void channel.call('come');
                await goOn();
            }
        }
        return digest(chunks);
    };
    async function* giveSlowly(seed, size) {
        const data = makeData(seed, size);
        yield data.subarray(0, 100000);
        await channel.call('wait');
        yield data.subarray(100000);
    }
    channel.handler = {
        read: (stream) => read(stream, () => null),
        readSlowly: (stream) => read(stream, () => channel.call('wait')),
        give: (seed, size) => new Blob([makeData(seed, size)]),
        giveSlowly,
        pipe: async (seed, size) => read(await channel.pipe(giveSlowly(seed, size)), () => null),
        async fetchPage() { return (await fetch(location.pathname)).status; },
    };
}
"""


class Gate:
    """A handler that counts the streams whose beginning has come, and holds up who waits for the gate to open."""

    def __init__(self) -> None:
        self.count = 0
        self.all_here = trio.Event()
        self.opened = trio.Event()

    def come(self) -> None:
        """Counts one."""
        self.count += 1
        if self.count == COUNT:
            self.all_here.set()

    async def wait(self) -> None:
        """Waits at the gate."""
        await self.opened.wait()


@asynccontextmanager
async def open_page(browser: BrowserThread, *, proxied: bool) -> AsyncIterator[tuple[Channel, PageHandle, Gate]]:
    """A channel to a page, with a gate as the handler in Python. On a server that stands still it gives up."""
    gate = Gate()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    url = f"http://127.0.0.1:{port}" + ("/way" if proxied else "")
    with trio.fail_after(100):
        async with open_server(url=url, listeners=listeners) as server:
            page = await browser.open(server.page_url)
            async with server.open_channel(CODE, handler=gate, timeout=60) as channel:
                yield channel, page, gate
            await browser.close_pages()


@pytest.fixture(params=[False, True], ids=["direct", "proxied"])
def proxied(request: pytest.FixtureRequest) -> bool:
    """Whether the server's URL has a path, as a proxy's has: streams of the server go in parts then."""
    return bool(request.param)


def make_data(seed: int, size: int) -> bytes:
    """The same bytes as in the page."""
    block = bytes((i * seed) & 255 for i in range(256))
    return (block * (size // 256 + 1))[:size]


def sha256(data: bytes) -> str:
    """What is compared."""
    return hashlib.sha256(data).hexdigest()


async def run_all(
    work: Callable[[int], Awaitable[str]], size: int, channel: Channel, page: PageHandle, gate: Gate
) -> None:
    """Do something with each of `COUNT` streams at once, whose beginnings come. The page can fetch before they go on.

    Args:
        work: Does it with the stream of a number, and returns the digest of what has come.
        size: The size of each stream.
        channel: As that of `open_page`.
        page: As that of `open_page`.
        gate: As that of `open_page`.
    """
    digests: dict[int, str] = {}

    async def do(number: int) -> None:
        digests[number] = await work(number)

    async with trio.open_nursery() as nursery:
        for number in range(COUNT):
            nursery.start_soon(do, number)
        await gate.all_here.wait()
        assert await channel.call("fetchPage") == 200
        assert digests == {}
        gate.opened.set()
    assert digests == {number: sha256(make_data(number, size)) for number in range(COUNT)}
    assert page.console == []


async def give_slowly(gate: Gate, number: int, size: int) -> AsyncIterator[bytes]:
    """The same as that of the page."""
    data = make_data(number, size)
    yield data[:100_000]
    await gate.wait()
    yield data[100_000:]


async def read(stream: MetaGenerator, gate: Gate, *, slowly: bool) -> str:
    """The same as those of the page."""
    async with stream:
        chunks = [await anext(stream)]
        gate.come()
        if slowly:
            await gate.wait()
        return sha256(b"".join([*chunks, await stream.join()]))


async def test_to_the_page_from_slow_sources(browser: BrowserThread, *, proxied: bool) -> None:
    async with open_page(browser, proxied=proxied) as (channel, page, gate):

        async def send(number: int) -> str:
            source = give_slowly(gate, number, 300_000)
            return str(await channel.call_with_stream("read", source, timeout=None))

        await run_all(send, 300_000, channel, page, gate)


async def test_to_slow_readers_in_the_page(browser: BrowserThread, *, proxied: bool) -> None:
    async with open_page(browser, proxied=proxied) as (channel, page, gate):

        async def send(number: int) -> str:
            return str(await channel.call_with_stream("readSlowly", make_data(number, 3_000_000), timeout=None))

        await run_all(send, 3_000_000, channel, page, gate)


async def test_from_slow_sources_in_the_page(browser: BrowserThread, *, proxied: bool) -> None:
    async with open_page(browser, proxied=proxied) as (channel, page, gate):

        async def receive(number: int) -> str:
            return await read(await channel.call("giveSlowly", number, 300_000, timeout=None), gate, slowly=False)

        await run_all(receive, 300_000, channel, page, gate)


async def test_from_the_page_to_slow_readers(browser: BrowserThread, *, proxied: bool) -> None:
    async with open_page(browser, proxied=proxied) as (channel, page, gate):

        async def receive(number: int) -> str:
            return await read(await channel.call("give", number, 1_200_000, timeout=None), gate, slowly=True)

        await run_all(receive, 1_200_000, channel, page, gate)


async def test_pipes_of_python(browser: BrowserThread, *, proxied: bool) -> None:
    async with open_page(browser, proxied=proxied) as (channel, page, gate):

        async def pipe(number: int) -> str:
            source = give_slowly(gate, number, 300_000)
            return await read(await channel.pipe(source, timeout=None), gate, slowly=False)

        await run_all(pipe, 300_000, channel, page, gate)


@pytest.mark.engines
async def test_pipes_of_the_page(browser: BrowserThread, *, proxied: bool) -> None:
    async with open_page(browser, proxied=proxied) as (channel, page, gate):

        async def ask(number: int) -> str:
            return str(await channel.call("pipe", number, 300_000, timeout=None))

        await run_all(ask, 300_000, channel, page, gate)
