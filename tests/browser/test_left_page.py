"""A page that nobody sees is not connected, and is again when it is shown. One that is busy stays connected."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from jchannel.errors import PageLostError
from jchannel.trio import Server, open_server
from tests.browser.chromium import BrowserThread
from tests.core.internals import session_of

ELSEWHERE = "data:text/html,<title>Elsewhere</title>"
CODE = """
(channel) => {
    globalThis.opened = (globalThis.opened ?? 0) + 1;
    channel.handler = {
        opened: () => opened,
        hang: () => new Promise(() => {}),
        compute(seconds) { const end = Date.now() + 1000 * seconds; while (Date.now() < end); return seconds; },
    };
}
"""

#: A guard against hanging, and no assertion about a duration.
GUARD = 40


async def wait_left(server: Server) -> None:
    """Waits until the page that is connected is no more."""
    session = session_of(server)
    assert session is not None
    await session.wait_ended()
    assert not server.statistics().page_connected


@pytest.mark.engines
async def test_a_page_that_is_left_is_not_connected_and_comes_back_with_its_channels(
    usual_browser: BrowserThread, engine: str
) -> None:
    with trio.fail_after(GUARD):
        # A heartbeat that would not notice within the time of the test.
        async with open_server(port=0, heartbeat=1_000) as server:
            page = await usual_browser.open(server.page_url)
            async with server.open_channel(CODE, timeout=60) as channel:
                await page.evaluate("globalThis.mark = 1")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait_left, server)
                    await page.go_to(ELSEWHERE)
                with pytest.raises(trio.TooSlowError, match="no page is connected"):
                    await channel.call("opened", timeout=0.1)
                await page.go_back()
                assert await channel.call("opened", timeout=60) == 1
                # It came out of the browser's cache, where Firefox keeps no page that has a WebSocket.
                assert await page.evaluate("globalThis.mark") == (None if engine == "firefox" else 1)


@pytest.mark.engines
async def test_a_call_to_a_page_that_is_left_fails_at_once(usual_browser: BrowserThread) -> None:
    with trio.fail_after(GUARD):
        async with open_server(port=0, heartbeat=1_000) as server:
            page = await usual_browser.open(server.page_url)
            async with server.open_channel(CODE, timeout=60) as channel, trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    with pytest.raises(PageLostError, match=r"[Tt]he page was left"):
                        await channel.call("hang", timeout=None)

                await page.go_to(ELSEWHERE)


@pytest.mark.engines
async def test_another_page_can_connect_when_one_is_left(usual_browser: BrowserThread) -> None:
    with trio.fail_after(GUARD):
        async with open_server(port=0, heartbeat=1_000) as server:
            first = await usual_browser.open(server.page_url)
            await server.wait_page(60)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_left, server)
                await first.go_to(ELSEWHERE)
            second = await usual_browser.open(server.page_url)
            await server.wait_page(60)
            await first.go_back()
            assert await first.wait_for("globalThis.jchannel?.client.stopReason?.reason") == "taken"
            assert await second.evaluate("jchannel.client.state") == "connected"


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    """Stops processes until the block is left."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_page_whose_process_is_stopped_is_lost_within_two_heartbeats(browser: BrowserThread) -> None:
    with trio.fail_after(GUARD):
        async with open_server(port=0, heartbeat=1) as server:
            await browser.open(server.page_url)
            async with server.open_channel(CODE, timeout=60) as channel:
                with stopped(await browser.find_renderers()):
                    with pytest.raises(PageLostError, match="did not answer a beat within 1 s"):
                        await channel.call("hang", timeout=None)
                    assert not server.statistics().page_connected
                assert await channel.call("opened", timeout=60) == 1


async def test_a_page_that_computes_for_less_than_a_heartbeat_is_not_lost(browser: BrowserThread) -> None:
    with trio.fail_after(GUARD):
        async with open_server(port=0, heartbeat=4) as server:
            await browser.open(server.page_url)
            async with server.open_channel(CODE, timeout=60) as channel:
                began = time.monotonic()
                assert await channel.call("compute", 3, timeout=60) == 3
                assert time.monotonic() - began >= 3
                assert await channel.call("opened", timeout=60) == 1
