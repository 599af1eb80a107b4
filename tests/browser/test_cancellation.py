"""Cancellation and time, exact on both sides, between the trio API and a page in real Chromium."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from jchannel import MetaGenerator
from jchannel.errors import FrontendError, RemoteCancelledError
from jchannel.trio import Channel, Limits, open_server, time_left
from tests.browser.chromium import BrowserThread, PageHandle

CODE = """
(channel) => {
    window.channel = channel;
    window.hanging = 0;
    window.ends = [];
    channel.handler = {
        hang() {
            const { signal } = channel;
            window.hanging += 1;
            return new Promise((resolve) => {
                signal.addEventListener('abort', () => {
                    window.ends.push(signal.reason.name);
                    resolve();
                });
            });
        },
        left: () => channel.timeLeft === Infinity ? null : channel.timeLeft,
        relay: (...args) => channel.call(...args),
        async relayLater(...args) {
            const { signal } = channel;
            await new Promise((resolve) => { setTimeout(resolve); });
            return channel.with({ signal }).call(...args);
        },
        stop() { throw new DOMException('I have stopped.', 'AbortError'); },
        fail() { throw new RangeError('no'); },
    };
    // How a call ends, as a value.
    window.outcome = (promise) => promise.then(
        (value) => ({ value }),
        (error) => ({ name: error.name, isDom: error instanceof DOMException }),
    );
}
"""

#: Enough for a slow machine: these tests want the far side's word, and not the end of the wait for it.
PATIENT = Limits(cancel_seconds=20)


class Handler:
    def __init__(self) -> None:
        self.channel: Channel
        self.hanging = trio.Event()
        self.cleaned_up = False
        self.ended = trio.Event()

    async def hang(self, _stream: object = None) -> None:
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            self.cleaned_up = True
            self.ended.set()

    def left(self) -> float | None:
        return None if math.isinf(time_left()) else time_left()

    async def relay(self, name: str) -> Any:
        return await self.channel.call(name, timeout=None)

    async def drain(self, stream: MetaGenerator) -> None:
        async for _ in stream:
            self.hanging.set()


@asynccontextmanager
async def open_channel(browser: BrowserThread) -> AsyncIterator[tuple[Channel, PageHandle, Handler]]:
    """A channel that is open in a page, and its handler."""
    handler = Handler()
    async with open_server(port=0, limits=PATIENT) as server:
        page = await browser.open(server.page_url)
        async with server.open_channel(CODE, handler=handler, timeout=60) as channel:
            handler.channel = channel
            yield channel, page, handler


class TestFromPython:
    @pytest.mark.engines
    async def test_when_the_cancelled_call_returns_the_javascript_method_has_ended(
        self, browser: BrowserThread
    ) -> None:
        async with open_channel(browser) as (channel, page, _):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: channel.call("hang", timeout=None))
                await page.wait_for("window.hanging === 1")
                nursery.cancel_scope.cancel()
            assert await page.evaluate("window.ends") == ["AbortError"]

    @pytest.mark.engines
    async def test_a_timeout_is_a_timeout_for_the_caller_and_its_end_reaches_the_method(
        self, browser: BrowserThread
    ) -> None:
        async with open_channel(browser) as (channel, page, _):
            with pytest.raises(trio.TooSlowError):
                await channel.call("hang", timeout=0.1)
            (name,) = await page.evaluate("window.ends")
            assert name in ("AbortError", "TimeoutError")  # Whichever clock is first.

    async def test_a_javascript_method_knows_the_time_that_is_left(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _, _):
            assert 0 < await channel.call("left", timeout=60) <= 60
            assert await channel.call("left", timeout=None) is None

    async def test_a_call_that_fails_cancels_its_siblings_in_the_page(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page, _):
            with pytest.RaisesGroup(FrontendError):
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(lambda: channel.call("hang", timeout=None))
                    await page.wait_for("window.hanging === 3")
                    nursery.start_soon(channel.call, "fail")
            assert await page.evaluate("window.ends") == ["AbortError"] * 3

    async def test_a_method_that_stops_by_itself_was_cancelled_by_its_own_program(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _, _):
            with pytest.raises(RemoteCancelledError, match="I have stopped"):
                await channel.call("stop")


class TestChains:
    @pytest.mark.parametrize("relay", ["relay", "relayLater"])
    async def test_a_chain_is_cancelled_to_its_end_and_its_end_is_waited_for(
        self, browser: BrowserThread, relay: str
    ) -> None:
        async with open_channel(browser) as (channel, _, handler):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: channel.call(relay, "hang", timeout=None))
                await handler.hanging.wait()
                nursery.cancel_scope.cancel()
            assert handler.cleaned_up

    @pytest.mark.engines
    async def test_a_longer_chain_is_cancelled_to_its_end(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page, _):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: channel.call("relay", "relay", "hang", timeout=None))
                await page.wait_for("window.hanging === 1")
                nursery.cancel_scope.cancel()
            assert await page.evaluate("window.ends") == ["AbortError"]

    @pytest.mark.parametrize("relay", ["relay", "relayLater"])
    async def test_the_inner_call_has_no_more_time_than_the_outer_one(self, browser: BrowserThread, relay: str) -> None:
        async with open_channel(browser) as (channel, _, _):
            with trio.fail_after(100):
                left = await channel.call(relay, "left", timeout=60)
                assert 0 < left <= 60

    async def test_the_end_of_the_outer_time_ends_the_chain_and_is_a_timeout(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _, handler):
            with pytest.raises(trio.TooSlowError):
                await channel.call("relay", "hang", timeout=0.3)
            await handler.ended.wait()


class TestFromJavaScript:
    @pytest.mark.engines
    async def test_aborting_a_call_cancels_the_python_method_and_waits_for_its_clean_up(
        self, browser: BrowserThread
    ) -> None:
        async with open_channel(browser) as (_, page, handler):
            await page.evaluate("""() => {
                window.controller = new AbortController();
                const { signal } = window.controller;
                window.result = window.outcome(window.channel.with({ signal }).call('hang'));
            }""")
            await handler.hanging.wait()
            await page.evaluate("window.controller.abort()")
            assert (await page.evaluate("window.result"))["name"] == "AbortError"
            assert handler.cleaned_up

    @pytest.mark.engines
    async def test_a_timeout_cancels_the_python_method_and_says_so(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, handler):
            error = await page.evaluate("window.outcome(window.channel.with({ timeout: 0.1 }).call('hang'))")
            assert error == {"name": "TimeoutError", "isDom": True}
            assert handler.cleaned_up

    async def test_a_python_method_knows_the_time_that_is_left(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, _):
            assert 0 < await page.evaluate("window.channel.with({ timeout: 20 }).call('left')") <= 20

    async def test_a_chain_is_cancelled_to_its_end(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, _):
            await page.evaluate("""() => {
                window.controller = new AbortController();
                const { signal } = window.controller;
                window.result = window.outcome(window.channel.with({ signal }).call('relay', 'hang'));
            }""")
            await page.wait_for("window.hanging === 1")
            await page.evaluate("window.controller.abort()")
            assert (await page.evaluate("window.result"))["name"] == "AbortError"
            assert await page.evaluate("window.ends") == ["AbortError"]

    async def test_the_inner_javascript_method_has_no_more_time_than_the_outer_call(
        self, browser: BrowserThread
    ) -> None:
        async with open_channel(browser) as (_, page, _):
            assert 0 < await page.evaluate("window.channel.with({ timeout: 20 }).call('relay', 'left')") <= 20

    async def test_reloading_the_page_cancels_the_python_method(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, handler):
            await page.evaluate("void window.channel.call('hang')")
            await handler.hanging.wait()
            await page.reload()
            await handler.ended.wait()

    async def test_closing_the_client_cancels_the_python_method(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, handler):
            await page.evaluate("void (window.result = window.outcome(window.channel.call('hang')))")
            await handler.hanging.wait()
            await page.evaluate("window.jchannel.client.close()")
            assert (await page.evaluate("window.result"))["name"] == "ClosedError"
            await handler.ended.wait()

    @pytest.mark.engines
    async def test_closing_the_channel_cancels_the_python_method(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page, handler):
            await page.evaluate("void (window.result = window.outcome(window.channel.call('hang')))")
            await handler.hanging.wait()
            await channel.close()
            assert handler.cleaned_up
            assert (await page.evaluate("window.result"))["name"] == "ClosedError"

    @pytest.mark.engines
    async def test_aborting_a_call_closes_its_stream_at_the_source(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, handler):
            await page.evaluate("""() => {
                window.controller = new AbortController();
                const { signal } = window.controller;
                async function* generate() {
                    try {
                        for (;;) {
                            yield new Uint8Array(65536);
                            await new Promise((resolve) => { setTimeout(resolve); });
                        }
                    } finally {
                        window.hasEnded = true;
                    }
                }
                window.result = window.outcome(window.channel.with({ signal }).callWithStream('drain', generate()));
            }""")
            await handler.hanging.wait()
            await page.evaluate("window.controller.abort()")
            assert (await page.evaluate("window.result"))["name"] == "AbortError"
            await page.wait_for("window.hasEnded")

    async def test_two_thousand_calls_are_cancelled_by_one_signal(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (_, page, handler):
            await page.evaluate("""() => {
                window.controller = new AbortController();
                const { signal } = window.controller;
                const calls = Array.from({ length: 2000 }, () => window.channel.with({ signal }).call('hang'));
                window.result = Promise.all(calls.map(window.outcome));
            }""")
            await handler.hanging.wait()
            await page.evaluate("window.controller.abort()")
            outcomes = await page.evaluate("window.result")
            assert {outcome["name"] for outcome in outcomes} == {"AbortError"}
            assert await page.evaluate("window.channel.call('left')") is None
