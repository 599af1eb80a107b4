"""The asyncio facade and a page in real Chromium: in a plain loop, and inside a trio-asyncio loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import jchannel
from tests.browser.chromium import BrowserThread, PageHandle
from tests.conftest import FreshPython

CODE = """
(channel) => {
    window.channel = channel;
    channel.handler = {
        add: (a, b) => a + b,
        fail() { throw new RangeError('too far'); },
        hang() {
            const {signal} = channel;
            window.aborted = false;
            return new Promise((resolve) => signal.addEventListener('abort', () => {
                window.aborted = true;
                resolve();
            }));
        },
        ask: (name, ...args) => channel.call(name, ...args),
    };
    return 'opened';
}
"""


class Handler:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def add(self, a: int, b: int) -> int:
        assert asyncio.get_running_loop() is self.loop
        return a + b

    async def add_later(self, a: int, b: int) -> int:
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is self.loop
        return a + b


def run(
    browser: BrowserThread, test: Callable[[jchannel.Server, jchannel.Channel, PageHandle], Awaitable[None]]
) -> None:
    """Runs a test in a plain asyncio loop, with a channel that is open in a page."""

    async def main() -> None:
        async with await jchannel.start(port=0) as server:
            page = await asyncio.to_thread(browser.sync.open, server.page_url)
            channel = await server.open(CODE, timeout=60)
            async with channel:
                channel.handler = Handler()
                await test(server, channel, page)
            assert page.console == []

    asyncio.run(main())


def test_calls_answer_in_both_directions(browser: BrowserThread) -> None:
    async def test(server: jchannel.Server, channel: jchannel.Channel, page: PageHandle) -> None:
        assert await channel.call("add", 2, 3) == 5
        assert await channel.call("ask", "add", 2, 3) == 5
        assert await channel.call("ask", "add_later", 2, 3) == 5
        assert await channel.echo(1, b"two", [3.5]) == [1, b"two", [3.5]]

    run(browser, test)


def test_two_thousand_calls_at_once_answer_correctly(browser: BrowserThread) -> None:
    async def test(server: jchannel.Server, channel: jchannel.Channel, page: PageHandle) -> None:
        answers = await asyncio.gather(*[channel.call("add", number, 1, timeout=60) for number in range(2_000)])
        assert answers == [number + 1 for number in range(2_000)]

    run(browser, test)


def test_a_javascript_exception_is_a_frontend_error(browser: BrowserThread) -> None:
    async def test(server: jchannel.Server, channel: jchannel.Channel, page: PageHandle) -> None:
        with pytest.raises(jchannel.FrontendError, match="RangeError: too far"):
            await channel.call("fail")

    run(browser, test)


def test_cancelling_a_task_aborts_the_signal_in_the_page(browser: BrowserThread) -> None:
    async def test(server: jchannel.Server, channel: jchannel.Channel, page: PageHandle) -> None:
        task = channel.call("hang", timeout=None)
        await asyncio.to_thread(page.sync.wait_for, "window.aborted === false")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(page.sync.evaluate, "window.aborted") is True
        assert await channel.call("add", 1, 1) == 2

    run(browser, test)


def test_a_call_that_times_out_is_a_timeout_error(browser: BrowserThread) -> None:
    async def test(server: jchannel.Server, channel: jchannel.Channel, page: PageHandle) -> None:
        with pytest.raises(TimeoutError, match="the call of 'hang' was not answered"):
            await channel.call("hang", timeout=0.05)

    run(browser, test)


def test_after_a_reload_the_channel_is_open_again(browser: BrowserThread) -> None:
    async def test(server: jchannel.Server, channel: jchannel.Channel, page: PageHandle) -> None:
        await asyncio.to_thread(page.sync.reload)
        assert await channel.call("add", 1, 1, timeout=60) == 2

    run(browser, test)


def test_a_page_is_answered_by_the_facade_inside_a_trio_asyncio_loop(
    browser: BrowserThread, fresh_python: FreshPython
) -> None:
    # In a process of its own, because importing trio-asyncio changes asyncio for the whole process.
    answers: dict[str, Any] = json.loads(
        fresh_python(
            """
import asyncio, json, subprocess, sys, tempfile
import trio, trio_asyncio
import jchannel
sys.path.insert(0, ".")
from benchmarks.harness import browser_command

class Handler:
    async def add(self, a, b):
        await asyncio.sleep(0)
        return a + b

CODE = "(channel) => { channel.handler = {add: (a, b) => a + b, ask: (...args) => channel.call(...args)}; }"

async def use(profile):
    answers = {}
    async with await jchannel.start(port=0) as server:
        process = subprocess.Popen(
            browser_command(server.page_url, profile), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            channel = await server.open(CODE, timeout=60)
            channel.handler = Handler()
            task = channel.call("add", 2, 3)
            answers["loop"] = type(task.get_loop()).__name__
            answers["call"] = await task
            answers["ask"] = await channel.call("ask", "add", 2, 3)
            answers["many"] = sum(await asyncio.gather(*[channel.call("add", n, 1) for n in range(500)]))
        finally:
            process.terminate()
            process.wait()
    return answers

async def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with trio_asyncio.open_loop():
            print(json.dumps(await trio_asyncio.aio_as_trio(use)(profile)))

trio.run(main)
"""
        )
    )
    assert answers == {"loop": "TrioEventLoop", "call": 5, "ask": 5, "many": sum(range(1, 501))}
