"""Chromium at a server whose URL has a path, as through a proxy: streams in parts, and messages below a limit."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from jchannel.errors import FrontendError
from jchannel.trio import Channel, open_server
from tests.browser.chromium import BrowserThread, PageHandle

CODE = """
(channel) => {
    channel.handler = {
        async digest(stream) {
            const bytes = await stream.join();
            const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
            return [bytes.length, Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')];
        },
        async answerEach(stream) {
            let count = 0;
            for await (const chunk of stream) await channel.call('step', count += chunk.length);
            return count;
        },
        async readToError(stream) {
            let size = 0;
            try {
                for await (const chunk of stream) size += chunk.length;
            } catch (error) {
                return [size, error.message];
            }
        },
        async leave(stream) { for await (const chunk of stream) return chunk.length; },
        length: (data) => data.length,
        zeros: (size) => new Uint8Array(size),
    };
}
"""

REQUESTS = """
performance.getEntriesByType('resource').map((entry) => new URL(entry.name))
    .filter((url) => url.pathname.startsWith('/way/streams/')).map((url) => url.search)
"""


class Steps:
    """A handler, and a stream whose every byte waits for the answer to the one before."""

    def __init__(self) -> None:
        self.done = 0
        self.moved = trio.lowlevel.ParkingLot()

    def step(self, count: int) -> None:
        self.done = count
        self.moved.unpark_all()

    async def give(self, count: int) -> AsyncIterator[bytes]:
        for step in range(count):
            yield b"x"
            while self.done <= step:
                await self.moved.park()


@asynccontextmanager
async def open_page(browser: BrowserThread, handler: object = None) -> AsyncIterator[tuple[Channel, PageHandle]]:
    """A channel to a page that has reached its server by a URL with a path."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with open_server(url=f"http://127.0.0.1:{port}/way", listeners=listeners) as server:
        page = await browser.open(server.page_url)
        async with server.open_channel(CODE, handler=handler, timeout=60) as channel:
            yield channel, page
        await browser.close_pages()


async def test_a_stream_arrives_whole_in_parts(browser: BrowserThread) -> None:
    data = hashlib.shake_128(b"parts").digest(20_000_000)
    async with open_page(browser) as (channel, page):
        answer = await channel.call_with_stream("digest", data, timeout=60)
        assert answer == [len(data), hashlib.sha256(data).hexdigest()]
        requests = await page.evaluate(REQUESTS)
        assert requests[0] == "?offset=0"
        assert len(requests) >= 5
        assert page.console == []


async def test_a_stream_that_waits_for_its_reader_goes_on(browser: BrowserThread) -> None:
    steps = Steps()
    async with open_page(browser, steps) as (channel, page):
        assert await channel.call_with_stream("answerEach", steps.give(20), timeout=60) == 20
        assert page.console == []


async def test_what_a_source_gave_before_it_failed_arrives_and_nothing_is_written_to_the_console(
    browser: BrowserThread,
) -> None:
    async def fail() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(200_000)
        await read.wait()
        raise ValueError("the source has failed")

    read = trio.Event()
    async with open_page(browser) as (channel, page):
        outcomes: list[object] = []

        async def call() -> None:
            outcomes.append(await channel.call_with_stream("readToError", fail(), timeout=60))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await page.wait_for(f"{REQUESTS.strip()}.length > 0")
            read.set()
        assert outcomes == [[4_000_000, "ValueError: the source has failed"]]
        assert page.console == []


async def test_a_reader_that_leaves_stops_the_source(browser: BrowserThread) -> None:
    ended = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                await trio.lowlevel.checkpoint()
                yield bytes(100_000)
        finally:
            ended.set()

    async with open_page(browser) as (channel, page):
        assert await channel.call_with_stream("leave", endless(), timeout=60) > 0
        await ended.wait()
        assert page.console == []


async def test_a_message_that_is_larger_than_the_way_carries_is_refused_and_the_connection_lives(
    browser: BrowserThread,
) -> None:
    async with open_page(browser) as (channel, _):
        with pytest.raises(ValueError, match=r"larger than the connection takes at once, 10,000,000 bytes"):
            await channel.call("length", bytes(10_000_000))
        with pytest.raises(FrontendError, match="the connection takes at most 10000000 bytes"):
            await channel.call("zeros", 10_000_000)
        assert await channel.call("length", bytes(9_900_000)) == 9_900_000
