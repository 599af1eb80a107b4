"""A page whose process is stopped, as by a debugger, holds up neither a cancellation nor the server's exit."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from jchannel._core.stream import READ_AHEAD
from jchannel.errors import ClosedError, PageLostError
from jchannel.trio import Channel, Limits, open_server
from tests.browser.chromium import BrowserThread

CODE = """
(channel) => {
    channel.handler = {
        hang() { channel.call('note'); return new Promise(() => {}); },
        async readSlowly(stream) {
            for await (const chunk of stream) await new Promise((resolve) => { setTimeout(resolve, 10); });
        },
    };
}
"""

#: A guard against hanging, and no assertion about a duration: the bounds are those of the limits below.
GUARD = 30

LIMITS = Limits(cancel_seconds=0.2, close_seconds=0.2)


class Handler:
    def __init__(self) -> None:
        self.noted = trio.Event()

    def note(self) -> None:
        self.noted.set()


@asynccontextmanager
async def stopped_later(browser: BrowserThread) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Gives what stops the pages' processes until the block is left. Chromium itself goes on."""
    processes: list[int] = []

    async def stop() -> None:
        processes.extend(await browser.find_renderers())
        for process in processes:
            os.kill(process, signal.SIGSTOP)

    try:
        yield stop
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def endless() -> AsyncIterator[bytes]:
    while True:
        await trio.lowlevel.checkpoint()
        yield bytes(100_000)


@asynccontextmanager
async def open_page(browser: BrowserThread) -> AsyncIterator[tuple[Channel, Handler]]:
    handler = Handler()
    async with open_server(port=0, limits=LIMITS) as server:
        await browser.open(server.page_url)
        async with server.open_channel(CODE, handler=handler, timeout=60) as channel:
            yield channel, handler


async def test_one_that_was_stopped_for_a_while_goes_on(browser: BrowserThread) -> None:
    with trio.fail_after(GUARD):
        async with open_page(browser) as (channel, _):
            async with stopped_later(browser) as stop:
                await stop()
                with pytest.raises(trio.TooSlowError):
                    await channel.call("hang", timeout=0.1)
            assert await channel.echo(1, timeout=60) == [1]


async def test_a_call_to_it_can_be_cancelled(browser: BrowserThread) -> None:
    with trio.fail_after(GUARD):
        async with open_page(browser) as (channel, handler), stopped_later(browser) as stop:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(channel.call, "hang", timeout=None))
                await handler.noted.wait()
                await stop()
                nursery.cancel_scope.cancel()
            assert channel.statistics().pending_requests == 0


async def test_the_server_ends_with_a_stream_to_it_under_way(browser: BrowserThread) -> None:
    under_way = trio.Event()

    def look(sent: int, _total: int | None) -> None:
        if sent > 2 * READ_AHEAD:
            under_way.set()

    async def send(channel: Channel) -> None:
        with pytest.raises((PageLostError, ClosedError)):
            await channel.call_with_stream("readSlowly", endless(), timeout=None, progress=look)

    with trio.fail_after(GUARD):
        async with stopped_later(browser) as stop, trio.open_nursery() as nursery:
            with pytest.raises(LookupError):  # noqa: PT012 (what is tested is how the blocks in it are left)
                async with open_page(browser) as (channel, _):
                    nursery.start_soon(send, channel)
                    await under_way.wait()
                    await stop()
                    raise LookupError
