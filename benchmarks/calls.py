"""Calls between Python and a page in Chromium: one after another, and 2,000 at once.

In the same run a bare WebSocket echo is the floor: the same page, trio-websocket and nothing else. The asyncio facade
is measured in a plain asyncio loop, where trio runs in its own thread.

    python -m benchmarks.calls [--runs N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
import trio_websocket

import jchannel
import jchannel.trio
from benchmarks.harness import Figures, browser_command, open_page

ONE_BY_ONE = 300
AT_ONCE = 2_000

CODE = f"""
(channel) => {{
    channel.handler = {{
        add: (a, b) => a + b,
        async timeOneByOne() {{
            const began = performance.now();
            for (let i = 0; i < {ONE_BY_ONE}; i += 1) await channel.call('add', i, 1);
            return (performance.now() - began) / {ONE_BY_ONE};
        }},
        async timeAtOnce() {{
            const began = performance.now();
            await Promise.all(Array.from({{length: {AT_ONCE}}}, (_, i) => channel.call('add', i, 1)));
            return {AT_ONCE} / (performance.now() - began) * 1000;
        }},
    }};
}}
"""

ECHO_PAGE = """
(channel) => new Promise((resolve) => {
    const socket = new WebSocket(%s);
    socket.onmessage = (event) => socket.send(event.data);
    socket.onopen = () => resolve();
})
"""


class Adder:
    """The Python handler."""

    def add(self, a: int, b: int) -> int:
        """A method that costs nothing."""
        return a + b


async def time_floor(figures: Figures, websocket: trio_websocket.WebSocketConnection) -> None:
    """A bare WebSocket echo of a message as large as a call."""
    message = json.dumps([{"type": "call", "id": 1, "channel": 1, "name": "add", "args": [1, 2]}])
    began = time.perf_counter()
    for _ in range(ONE_BY_ONE):
        await websocket.send_message(message)
        await websocket.get_message()
    figures.add("bare WebSocket echo, one by one", "ms", (time.perf_counter() - began) / ONE_BY_ONE * 1e3)

    async def send_all() -> None:
        for _ in range(AT_ONCE):
            await websocket.send_message(message)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all)
        for _ in range(AT_ONCE):
            await websocket.get_message()
    figures.add("bare WebSocket echo, 2,000 at once", "/s", AT_ONCE / (time.perf_counter() - began))


async def time_page(figures: Figures, face: str, call: Callable[..., Awaitable[Any]]) -> None:
    """The page's own calls of Python."""
    figures.add(f"{face}: JavaScript calls Python, one by one", "ms", await call("timeOneByOne", timeout=60))
    figures.add(f"{face}: JavaScript calls Python, 2,000 at once", "/s", await call("timeAtOnce", timeout=60))


async def time_trio(figures: Figures, channel: jchannel.trio.Channel) -> None:
    """The trio API."""
    began = time.perf_counter()
    for number in range(ONE_BY_ONE):
        await channel.call("add", number, 1)
    figures.add("trio: Python calls JavaScript, one by one", "ms", (time.perf_counter() - began) / ONE_BY_ONE * 1e3)
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE):
            nursery.start_soon(channel.call, "add", number, 1)
    figures.add("trio: Python calls JavaScript, 2,000 at once", "/s", AT_ONCE / (time.perf_counter() - began))
    await time_page(figures, "trio", channel.call)


async def run_trio(figures: Figures, runs: int) -> None:
    """Measures the floor and the trio API in one page, in turn."""
    sockets, echoes = trio.open_memory_channel[trio_websocket.WebSocketConnection](1)

    async def keep(request: trio_websocket.WebSocketRequest) -> None:
        await sockets.send(await request.accept())
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, keep, "127.0.0.1", 0, None)
        floor: trio_websocket.WebSocketServer = await nursery.start(serve)
        async with jchannel.trio.open_server(port=0) as server, open_page(server.page_url):
            await server.wait_page(30)
            url = json.dumps(f"ws://127.0.0.1:{floor.port}/")
            async with server.open_channel(ECHO_PAGE % url), server.open_channel(CODE, handler=Adder()) as channel:
                websocket = await echoes.receive()
                for run in range(runs + 1):
                    # The first run warms both sides up and is not counted.
                    counted = figures if run else Figures()
                    await time_floor(counted, websocket)
                    await time_trio(counted, channel)
        nursery.cancel_scope.cancel()


async def run_asyncio(figures: Figures, runs: int) -> None:
    """Measures the asyncio facade."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with await jchannel.start(port=0) as server:
            await run_asyncio_in(figures, runs, server, profile)


async def run_asyncio_in(figures: Figures, runs: int, server: jchannel.Server, profile: str) -> None:
    """Measures the asyncio facade with a server and a browser's profile."""
    command = browser_command(server.page_url, profile)
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        channel = await server.open(CODE, timeout=30)
        channel.handler = Adder()
        for run in range(runs + 1):
            await time_asyncio(figures if run else Figures(), channel)
    finally:
        process.terminate()
        await process.wait()


async def time_asyncio(figures: Figures, channel: jchannel.Channel) -> None:
    """The asyncio facade, in a plain loop."""
    began = time.perf_counter()
    for number in range(ONE_BY_ONE):
        await channel.call("add", number, 1)
    figures.add("asyncio: Python calls JavaScript, one by one", "ms", (time.perf_counter() - began) / ONE_BY_ONE * 1e3)
    began = time.perf_counter()
    await asyncio.gather(*[channel.call("add", number, 1) for number in range(AT_ONCE)])
    figures.add("asyncio: Python calls JavaScript, 2,000 at once", "/s", AT_ONCE / (time.perf_counter() - began))
    await time_page(figures, "asyncio", channel.call)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs; medians are shown (default: 5)")
    runs = parser.parse_args().runs
    figures = Figures()
    trio.run(run_trio, figures, runs)
    asyncio.run(run_asyncio(figures, runs))
    print(f"medians of {runs} runs; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    figures.show()


if __name__ == "__main__":
    main()
