"""Load: many calls, handlers and streams at once, and strangers who hold what they can while one page works.

The far side is a Python peer in the same process, over loopback, so the memory is that of both sides.

    python -m benchmarks.load [--calls 10000] [--handlers 1000] [--streams 200] [--strangers 500]
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import trio
import trio.testing

from benchmarks.harness import Conditions, describe_shortly
from benchmarks.surroundings import Footprint, look
from jchannel.errors import StateError
from jchannel.trio import Channel, PeerChannel, Server, open_peer, open_server
from jchannel.types import MetaGenerator

SIZE = 256 * 2**10
DATA = bytes(range(256)) * (SIZE // 256)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the result.

    Attributes:
        what: What was under way at once.
        seconds: How long it took, from the first to the last.
        before: The process before it.
        during: The process while all was under way.
        after: The process behind it.
        note: What else is to be said.
    """

    what: str
    seconds: float
    before: Footprint
    during: Footprint
    after: Footprint
    note: str = ""

    def show(self) -> None:
        """Prints it."""
        print(f"{self.what}: {self.seconds:.2f} s{', ' if self.note else ''}{self.note}")
        print(f"    before  {self.before}\n    during  {self.during}\n    after   {self.after}")


class Handler:
    """Methods that wait until they are told to go on."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.waiting = 0
        self.all_waiting = trio.Event()
        self.expected = 0
        self.channel: Channel | PeerChannel

    def expect(self, count: int) -> None:
        """From now on so many calls are to wait at once."""
        self.go, self.all_waiting, self.waiting, self.expected = trio.Event(), trio.Event(), 0, count

    async def hold(self, value: int) -> int:
        """Waits, and returns what it was given."""
        self.waiting += 1
        if self.waiting == self.expected:
            self.all_waiting.set()
        await self.go.wait()
        return value

    async def hold_and_ask(self, value: int) -> int:
        """Waits, asks the caller's side, and returns what that says."""
        await self.hold(value)
        answer: int = await self.channel.call("same", value, timeout=None)
        return answer

    def same(self, value: int) -> int:
        """Returns what it was given."""
        return value

    async def digest(self, stream: MetaGenerator) -> str:
        """Reads a stream."""
        return hashlib.sha256(await stream.join()).hexdigest()

    async def give(self) -> AsyncIterator[bytes]:
        """Gives a stream."""
        for begin in range(0, SIZE, 2**15):
            await trio.lowlevel.checkpoint()
            yield DATA[begin : begin + 2**15]


@asynccontextmanager
async def open_both() -> AsyncIterator[tuple[Server, Channel, PeerChannel, Handler, Handler]]:
    """A server, both ends of a channel, and the handlers of both."""
    near_handler, far_handler = Handler(), Handler()
    async with (
        open_server(port=0) as server,
        open_peer(server.page_url, far_handler) as peer,
        server.open_channel("code", handler=near_handler) as channel,
    ):
        far = await peer.wait_channel()
        near_handler.channel, far_handler.channel = channel, far
        yield server, channel, far, near_handler, far_handler


async def hold_calls(what: str, side: Channel | PeerChannel, handler: Handler, method: str, count: int) -> Row:
    """Has many calls under way at once, and lets them all end."""
    before, began = look(), time.perf_counter()
    handler.expect(count)
    right = 0

    async def call(value: int) -> None:
        nonlocal right
        answer = await side.call(method, value, timeout=None)
        right += answer == value

    async with trio.open_nursery() as nursery:
        for value in range(count):
            nursery.start_soon(call, value)
        await handler.all_waiting.wait()
        seconds, during = time.perf_counter() - began, look()
        began = time.perf_counter()
        handler.go.set()
    seconds += time.perf_counter() - began
    assert right == count, f"{count - right} answers are wrong"
    return Row(f"{count:,} {what}", seconds, before, during, look())


async def settle(server: Server, most: int) -> None:
    """Waits until no more connections are there than some: those of streams are kept for a moment."""
    with trio.move_on_after(30):
        while server.statistics().connections > most:  # noqa: ASYNC110 (there is no event)
            await trio.sleep(0.02)
    await trio.sleep(0.02)


async def stream_at_once(server: Server, what: str, count: int, act: Callable[[], Awaitable[None]]) -> Row:
    """Has many streams under way at once."""
    before, began = look(), time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(act)
        await trio.sleep(0.05)
        during = look()
    seconds = time.perf_counter() - began
    await settle(server, 1)
    note = f"{count * SIZE / 2**20 / seconds:,.0f} MiB/s, each whole by its SHA-256"
    return Row(f"{count:,} {what} of {SIZE // 2**10} KiB", seconds, before, during, look(), note)


_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
_SOCKET = b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
_KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"

#: What strangers say, and then nothing more.
HELD = (
    b"",
    _GET,
    b"POST /jchannel/notebook/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
    b"GET /jchannel/client.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
    _GET + _H2C,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    _SOCKET + _KEY + b"Sec-WebSocket-Protocol: jchannel.v1, jchannel.token.x\r\n\r\n",
)


async def hold_out(count: int) -> Row:
    """Lets strangers hold connections in every way, and then a page comes, works, and leaves."""
    async with open_server(port=0) as server, AsyncExitStack() as stack:
        port = int(server.url.rpartition(":")[2].strip("/"))
        await trio.testing.wait_all_tasks_blocked()  # The server listens.
        before = look()
        for number in range(count):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            stack.push_async_callback(trio.aclose_forcefully, stream)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(HELD[number % len(HELD)])
        held = server.statistics().connections
        during, began = look(), time.perf_counter()
        try:
            async with (
                open_peer(server.page_url, Handler()) as peer,
                server.open_channel("code", handler=Handler()) as channel,
            ):
                far = await peer.wait_channel()
                came = time.perf_counter() - began
                took = []
                for value in range(300):
                    started = time.perf_counter()
                    assert await (channel, far)[value % 2].call("same", value) == value
                    took.append((time.perf_counter() - started) * 1e3)
            note = f"a page came in {came * 1e3:,.0f} ms, and its calls took {statistics.median(took):.2f} ms"
        except (StateError, OSError) as error:
            note = f"NO PAGE CAME IN: {type(error).__name__}: {error}"
        seconds = time.perf_counter() - began
        await stack.aclose()
        await settle(server, 0)
        left = server.statistics().connections
        return Row(
            f"{count:,} strangers who hold connections",
            seconds,
            before,
            during,
            look(),
            f"{note}; {held} were held, {left} are left",
        )


async def run(calls: int = 10_000, handlers: int = 1_000, streams: int = 200, strangers: int = 500) -> list[Row]:
    """Does all of it, and returns the lines of the result."""
    rows = []
    digest = hashlib.sha256(DATA).hexdigest()
    async with open_both() as (server, channel, far, near_handler, far_handler):
        await hold_calls("calls", channel, far_handler, "hold", 10)  # What is made once is there now.
        rows.append(await hold_calls("calls to the page in flight", channel, far_handler, "hold", calls))
        rows.append(await hold_calls("calls from the page in flight", far, near_handler, "hold", calls))
        what = "handler methods that wait, then call the page"
        rows.append(await hold_calls(what, far, near_handler, "hold_and_ask", handlers))

        async def send() -> None:
            assert await channel.call_with_stream("digest", DATA, timeout=None) == digest

        async def receive() -> None:
            async with await channel.call("give", timeout=None) as stream:
                assert hashlib.sha256(await stream.join()).hexdigest() == digest

        rows.append(await stream_at_once(server, "streams to the page at once", streams, send))
        rows.append(await stream_at_once(server, "streams from the page at once", streams, receive))
    rows.append(await hold_out(strangers))
    return rows


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in {"calls": 10_000, "handlers": 1_000, "streams": 200, "strangers": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=count, help=f"how many (default: {count:,})")
    given = parser.parse_args()
    conditions = Conditions()
    rows = trio.run(run, given.calls, given.handlers, given.streams, given.strangers)
    print(describe_shortly(conditions.describe()))
    for row in rows:
        row.show()


if __name__ == "__main__":
    main()
