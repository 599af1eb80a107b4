"""What is asked of every host of a notebook: one list of checks, which run in a cell, given a connected channel.

Their cells need nothing but this module, so that a real kernel can import it.
"""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final

import jchannel

__all__ = [
    "BUSY",
    "CALL",
    "CANNOT",
    "CHECKS",
    "CODE",
    "FREE",
    "OPEN",
    "PATIENCE",
    "WORKS",
    "Handler",
    "call_once",
    "make_check",
    "outcome_of",
    "run_checks",
]

#: The outcome of a check that has passed. That of another begins so, and says what has come instead.
WORKS: Final = "works"
CANNOT: Final = "cannot: "

#: How long what must come is waited for, in seconds. It is a guard; only a host that is known to be deaf is given less.
PATIENCE: Final = 30.0

#: The cells of a notebook, behind one that starts ``server``: one opens a channel, and another one calls once.
OPEN: Final = """
from tests.conformance import checks
handler = checks.Handler()
opening = server.open(checks.CODE, timeout=60, handler=handler)
"""
CALL: Final = "print(await checks.call_once(opening))"


def make_check(busy_patience: float = PATIENCE) -> str:
    """Return the cell that runs all checks. See ``run_checks``."""
    return f"print(await checks.run_checks(opening, handler, {busy_patience}))"


DATA: Final = bytes(range(251)) * 4_000

CODE: Final = """(channel) => {
    const hanging = {aborted: null};
    let controller = null;
    channel.handler = {
        add: (a, b) => a + b,
        ask: (...args) => channel.call(...args),
        echo: (data) => data,
        hang: () => {
            const {signal} = channel;
            hanging.aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
            return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
        aborted: async () => { await hanging.aborted; return true; },
        start: () => {
            controller = new AbortController();
            channel.with({signal: controller.signal}).call('hang').catch(() => undefined);
        },
        abort: () => { controller.abort(); },
        post: (...args) => { channel.call(...args).catch(() => undefined); },
        take: async (stream) => {
            const data = await stream.join();
            let crc = -1;
            for (const byte of data) {
                crc ^= byte;
                for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
            }
            return [data.length, ~crc >>> 0];
        },
        async *give(pieces, size) { for (let i = 0; i < pieces; i += 1) yield new Uint8Array(size).fill(i % 256); },
    };
}"""


class Handler:
    """What the page calls."""

    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.heard = threading.Event()

    def double(self, number: int) -> int:
        return 2 * number

    async def hang(self) -> None:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    @jchannel.background
    def hear(self) -> None:
        self.heard.set()


class Checked:
    """What a check is given.

    Args:
        channel: A channel with ``CODE``.
        handler: Its handler.
        busy_patience: How long a busy cell waits for what must come, in seconds.
    """

    def __init__(self, channel: jchannel.Channel, handler: Handler, busy_patience: float) -> None:
        self.channel = channel
        self.handler = handler
        self.busy_patience = busy_patience

    def call(self, name: str, *args: object) -> asyncio.Task[Any]:
        return self.channel.call(name, *args, timeout=PATIENCE)


async def _check_call(given: Checked) -> None:
    _expect(await given.call("add", 2, 3), 5)
    _expect(await given.call("ask", "double", 4), 8)


async def _check_many(given: Checked) -> None:
    answers = await asyncio.gather(*[given.call("add", number, 1) for number in range(2000)])
    _expect(answers, list(range(1, 2001)))


async def _check_bytes(given: Checked) -> None:
    _expect(bytes(await given.call("echo", DATA * 6)) == DATA * 6, expected=True)


async def _check_cancel(given: Checked) -> None:
    task = given.channel.call("hang", timeout=None)
    _expect(await given.call("add", 1, 1), 2)  # It has begun.
    task.cancel()
    await asyncio.wait([task])
    _expect(await given.call("aborted"), expected=True)


async def _check_cancel_by_page(given: Checked) -> None:
    await given.call("start")
    await asyncio.wait_for(given.handler.hanging.wait(), PATIENCE)
    await given.call("abort")
    await asyncio.wait_for(given.handler.cancelled.wait(), PATIENCE)


async def _check_deadline(given: Checked) -> None:
    try:
        await given.channel.call("hang", timeout=0.1)
    except TimeoutError:
        _expect(await given.call("aborted"), expected=True)
    else:
        raise AssertionError("the call has ended by itself")


async def _check_stream_to_page(given: Checked) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(DATA), 100_000):
            yield DATA[begin : begin + 100_000]

    taken = await given.channel.call_with_stream("take", pieces(), timeout=PATIENCE)
    _expect(taken, [len(DATA), zlib.crc32(DATA)])


async def _check_stream_from_page(given: Checked) -> None:
    async with await given.channel.call("give", 40, 50_000, timeout=PATIENCE) as stream:
        data = await stream.join()
    _expect(data == b"".join(bytes([number]) * 50_000 for number in range(40)), expected=True)


async def _check_busy_to_page(given: Checked) -> None:
    _expect(given.channel.sync.call("add", 2, 3, timeout=given.busy_patience), 5)


async def _check_busy_from_page(given: Checked) -> None:
    given.handler.heard.clear()
    calling = given.call("post", "hear")
    if not given.handler.heard.wait(given.busy_patience):  # The cell's own loop stands still meanwhile.
        raise TimeoutError("what the page has called was not called while the cell was busy")
    await calling


#: The checks that run in a cell.
CHECKS: Final[dict[str, Callable[[Checked], Awaitable[None]]]] = {
    "a call each way": _check_call,
    "2,000 calls at once": _check_many,
    "6 MB in a message": _check_bytes,
    "Python cancels": _check_cancel,
    "the page cancels": _check_cancel_by_page,
    "a deadline": _check_deadline,
    "a stream to the page": _check_stream_to_page,
    "a stream from it": _check_stream_from_page,
    "a busy cell calls the page": _check_busy_to_page,
    "the page calls a busy cell": _check_busy_from_page,
}


#: Those of them that are about a cell that is busy. All others can also run in a task that has outlived its cell.
BUSY: Final = ("a busy cell calls the page", "the page calls a busy cell")
FREE: Final = tuple(name for name in CHECKS if name not in BUSY)


def _expect(got: object, expected: object) -> None:
    if got != expected:
        raise AssertionError(f"{got!r:.80} came in the place of {expected!r:.80}")


async def outcome_of(work: Awaitable[object]) -> str:
    """Return what comes of some work: ``works``, or ``cannot: `` and the error."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 (whatever comes is the outcome)
        return f"{CANNOT}{type(error).__name__}: {error}"
    return WORKS


async def run_checks(
    opening: Awaitable[jchannel.Channel],
    handler: Handler,
    busy_patience: float = PATIENCE,
    names: Collection[str] = tuple(CHECKS),
) -> str:
    """Run checks, and return the outcome of each as JSON.

    Args:
        opening: What opens a channel with ``CODE``.
        handler: The channel's handler.
        busy_patience: How long a busy cell waits for what must come, in seconds.
        names: The names of the checks; by default all.
    """
    given = Checked(await opening, handler, busy_patience)
    return json.dumps({name: await outcome_of(check(given)) for name, check in CHECKS.items() if name in names})


async def call_once(opening: Awaitable[jchannel.Channel]) -> str:
    """Call the page, and return the outcome."""

    async def call() -> None:
        _expect(await (await opening).call("add", 2, 3, timeout=PATIENCE), 5)

    return await outcome_of(call())
