"""The load of `benchmarks.comm_soak`: what a notebook's kernel and its page do to each other, and what they find wrong.

This runs in the kernel. Each call has a number, in the order in which the calls are made, in both directions: so a side
sees which are lost, doubled or out of order. Values come back as they were, and streams with their SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import random
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

import trio
from ipykernel.ipkernel import IPythonKernel as Kernel

import jchannel
from benchmarks.surroundings import look
from jchannel.errors import PageLostError
from jchannel.trio import PageStatus
from jchannel.types import MetaGenerator

#: Seconds for everything: a page that is loaded again has come back by then.
PATIENCE: Final = 120

#: The bytes of streams are a part of these.
PERIOD: Final = 251
DATA: Final = bytes(range(PERIOD)) * 16_000

#: The most faults that are described. All are counted.
MOST_DESCRIBED: Final = 20

CODE: Final = """
(channel) => {
    const life = crypto.randomUUID();
    const data = new Uint8Array(4016000).map((_, i) => i % 251);
    const gone = ['ConnectionLostError', 'ClosedError', 'StateError'];
    let last = -1;
    let told = 0;
    let hanging = 0;
    const tell = (name, ...args) => {
        channel.call(name, ...args).catch((error) => {
            if (!gone.includes(error.name)) {
                tell('complain', `${name} failed: ${error}`);
            }
        });
    };
    channel.handler = {
        same(number, value) {
            if (number <= last) {
                tell('complain', `the page has got ${number} after ${last}`);
            }
            last = number;
            // Not a part of the call, with which it would be cancelled.
            setTimeout(() => tell('ran', life, told++, number), 0);
            return value;
        },
        async ask(name, count, first) {
            const numbers = Array.from({length: count}, (_, i) => first + i);
            const answers = await Promise.all(numbers.map((number) => channel.call(name, number)));
            return answers.filter((answer, i) => answer === 2 * numbers[i]).length;
        },
        hang() {
            const {signal} = channel;
            hanging++;
            return new Promise((_, reject) => {
                signal.addEventListener('abort', () => {
                    hanging--;
                    reject(signal.reason);
                });
            });
        },
        hanging: () => hanging,
        async abort(name, milliseconds) {
            const controller = new AbortController();
            const call = channel.with({signal: controller.signal}).call(name);
            setTimeout(() => controller.abort(), milliseconds);
            return await call.then(() => 'it was answered', (error) => error.name);
        },
        digest: async (stream) => Array.from(
            new Uint8Array(await crypto.subtle.digest('SHA-256', await stream.join())),
            (byte) => byte.toString(16).padStart(2, '0')).join(''),
        give: async function* (first, size) {
            for (let i = first; i < first + size; i += 50000) {
                yield data.slice(i, Math.min(i + 50000, first + size));
            }
        },
        pass: (name) => channel.call(name),
        send: (name, first, size) => channel.callWithStream(name, data.slice(first, first + size)),
    };
}
"""


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


class Findings:
    """What was done and found.

    Attributes:
        done: How often each thing was done.
        faults: What was wrong, by kind. There should be none.
        described: The first faults, in words.
    """

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.described: list[str] = []

    def complain(self, kind: str, text: str) -> None:
        """Count a fault."""
        self.faults[kind] += 1
        if len(self.described) < MOST_DESCRIBED:
            self.described.append(f"{time.strftime('%H:%M:%S')} {kind}: {text}")

    def check(self, kind: str, found: object, expected: object) -> None:
        """Count a fault if a thing is not what it should be."""
        if found != expected:
            self.complain(kind, f"{found!r:.200} instead of {expected!r:.200}")


class Records(logging.Handler):
    """Takes the log, which would be in the output of a cell. It tells of methods that lose their page, and of faults.

    Args:
        findings: Where they are noted.
    """

    def __init__(self, findings: Findings) -> None:
        super().__init__()
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a record."""
        text = record.getMessage()
        if text.startswith("the handler method") and record.exc_info and record.exc_info[0] is PageLostError:
            self._findings.done["methods lost with a page"] += 1
        else:
            self._findings.complain("log", f"{text} {record.exc_info and record.exc_info[1]!r}")


class Handler:
    """What the kernel does for its page.

    Args:
        findings: Where it notes what it finds.
    """

    def __init__(self, findings: Findings) -> None:
        self.hanging = 0
        self._findings = findings
        self._ran = bytearray()
        self._life = ""
        self._told = 0

    def ran(self, life: str, told: int, number: int) -> None:
        """Take note that the page has run a call. The page says so of each, in order."""
        if life != self._life:
            self._life, self._told = life, 0
        self._findings.check("from the page, in order", told, self._told)
        self._told = told + 1
        self._ran.extend(bytes(max(0, number + 1 - len(self._ran))))
        self._findings.check("runs of a call before this one", self._ran[number], 0)
        self._ran[number] = 1

    def complain(self, text: str) -> None:
        """Take note of what the page has found wrong."""
        self._findings.complain("seen by the page", text)

    def double(self, number: int) -> int:
        """Return twice the number, between cells."""
        return 2 * number

    @jchannel.background
    async def double_at_once(self, number: int) -> int:
        """Return twice the number, also while a cell computes."""
        await trio.lowlevel.checkpoint()
        return 2 * number

    async def hang(self) -> None:
        """Wait on the loop until it is cancelled."""
        self.hanging += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.hanging -= 1

    @jchannel.background
    async def hang_beside(self) -> None:
        """Wait in trio until it is cancelled."""
        self.hanging += 1
        try:
            await trio.sleep_forever()
        finally:
            self.hanging -= 1

    async def digest(self, stream: MetaGenerator) -> str:
        """Read a stream."""
        return digest_of(await stream.join())

    @jchannel.background
    async def look(self) -> dict[str, dict[str, float] | int]:
        """Look at the process, from trio's thread, and count the subshells that its pages have left in the kernel."""
        await trio.lowlevel.checkpoint()
        thread: Any = getattr(Kernel.instance(), "shell_channel_thread", None)
        return {"footprint": asdict(look()), "subshells": 0 if thread is None else len(thread.manager.list_subshell())}


class Load:
    """Does one thing after the other over a channel, in several tasks at once.

    Args:
        server: The server.
        seed: What is done in which order.
    """

    def __init__(self, server: jchannel.Server, seed: int) -> None:
        self.findings = Findings()
        self._server = server
        self._dice = random.Random(seed)  # noqa: S311 (no secret: it can be repeated)
        self._numbers = itertools.count()
        self._handler = Handler(self.findings)
        self._pages: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self._channel: Any = None
        logger = logging.getLogger("jchannel")
        logger.addHandler(Records(self.findings))
        logger.propagate = False
        self._acts: list[Callable[[], Awaitable[None]]] = [
            self.call_ten,
            self.call_ten,
            self.post_ten,
            self.let_ask,
            self.cancel,
            self.let_cancel,
            self.send,
            self.receive,
            self.let_send,
            self.pipe,
            self.call_with_much,
        ]

    async def open(self) -> None:
        """Open the channel."""
        self._server.listen(self._note_page)
        self._channel = await self._server.open(CODE, handler=self._handler, timeout=60)

    def work(self, workers: int) -> None:
        """Begin to do so many things at once."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(workers)]

    def be_busy(self, seconds: float) -> None:
        """Compute in a cell that never awaits, and call meanwhile, both ways."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            step = time.perf_counter() + 0.02
            while time.perf_counter() < step:
                pass
            value = self._make_value()
            try:
                answer = self._channel.sync.call("same", next(self._numbers), value, timeout=PATIENCE)
                self.findings.check("answers in a busy cell", answer, value)
                asked = self._channel.sync.call("ask", "double_at_once", 5, 7, timeout=PATIENCE)
                self.findings.check("what the page is answered by a busy cell", asked, 5)
                self.findings.done["calls in a busy cell"] += 2
            except PageLostError:
                self.findings.done["lost with a page"] += 1

    async def wait_page(self) -> None:
        """Wait until the page answers. What was sent to the page before it, just when that left, is lost with it."""
        while True:
            try:
                self.findings.check("echo", await self._channel.echo(1, timeout=PATIENCE), [1])
            except PageLostError:
                self.findings.done["lost with a page"] += 1
            else:
                return

    async def end(self) -> None:
        """End all of it, and look at what is left."""
        self._ending = True
        await asyncio.gather(*self._tasks)
        try:
            async with asyncio.timeout(30):
                while self._handler.hanging or await self._channel.call("hanging", timeout=PATIENCE):  # noqa: ASYNC110 (there is no event)
                    await asyncio.sleep(0.1)
                while not self._channel.statistics().idle:  # noqa: ASYNC110 (there is no event)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.findings.complain("left", f"{self._handler.hanging} methods, and {self._channel.statistics()}")

    def show(self) -> str:
        """Return everything as JSON."""
        found = self.findings
        return json.dumps(
            {"done": found.done, "faults": found.faults, "described": found.described, "pages": self._pages}
        )

    async def look(self) -> str:
        """Look at the process, and return that as JSON."""
        return json.dumps(await self._channel.call("pass", "look", timeout=PATIENCE))

    def _note_page(self, status: PageStatus) -> None:
        if status.connected:
            self._pages.append(time.strftime("%H:%M:%S"))
        elif status.why:
            self._pages[-1] += f" to {time.strftime('%H:%M:%S')}: {status.why}"

    async def _work(self) -> None:
        while not self._ending:
            act = self._dice.choice(self._acts)
            try:
                await act()
            except PageLostError:
                self.findings.done["lost with a page"] += 1
            except Exception:  # noqa: BLE001 (all else is a fault)
                self.findings.complain(act.__name__, traceback.format_exc(limit=-3))
            else:
                self.findings.done[act.__name__] += 1

    def _make_value(self) -> dict[str, Any]:
        size = self._dice.randrange(2_000)
        return {"text": "ä" * (size % 50), "bytes": DATA[:size], "list": [size, None, 0.5]}

    def _choose_part(self, most: int = 3_000_000) -> tuple[int, int]:
        """Choose a part of the data, and often a short one: where it begins, and its size."""
        return self._dice.randrange(PERIOD), int(most * self._dice.random() ** 3)

    # What is done

    async def call_ten(self) -> None:
        """Call the page, ten times at once."""
        values = [self._make_value() for _ in range(10)]
        calls = [self._channel.call("same", next(self._numbers), value, timeout=PATIENCE) for value in values]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for answer, value in zip(answers, values, strict=True):
            if isinstance(answer, PageLostError):
                self.findings.done["lost with a page"] += 1
            else:
                self.findings.check("answers", answer, value)

    async def post_ten(self) -> None:
        """Post, ten times at once."""
        for _ in range(10):
            self._channel.post("same", next(self._numbers), None, timeout=PATIENCE, on_failure=self._note_failure)
        await asyncio.sleep(0.01)

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, PageLostError):
            self.findings.done["lost with a page"] += 1
        else:
            self.findings.complain("post", repr(error))

    async def let_ask(self) -> None:
        """Let the page call Python, ten times at once."""
        name = self._dice.choice(("double", "double_at_once"))
        asked = await self._channel.call("ask", name, 10, self._dice.randrange(1000), timeout=PATIENCE)
        self.findings.check("what the page is answered", asked, 10)

    async def cancel(self) -> None:
        """Cancel a call of the page."""
        call = self._channel.call("hang", timeout=PATIENCE)
        await asyncio.wait([call], timeout=self._dice.choice((0, 0.005, 0.05)))
        call.cancel()
        await asyncio.wait([call])
        if not call.cancelled():
            self.findings.complain("cancelled calls", repr(await call))

    async def let_cancel(self) -> None:
        """Let the page cancel a call of Python."""
        name = self._dice.choice(("hang", "hang_beside"))
        outcome = await self._channel.call("abort", name, self._dice.choice((0, 5, 50)), timeout=PATIENCE)
        self.findings.check("calls that the page has cancelled", outcome, "AbortError")

    async def send(self) -> None:
        """Send a stream."""
        first, size = self._choose_part()
        data = DATA[first : first + size]
        digest = await self._channel.call_with_stream("digest", data, timeout=PATIENCE)
        self.findings.check("streams to the page", digest, digest_of(data))

    async def receive(self) -> None:
        """Receive a stream, or its beginning."""
        first, size = self._choose_part()
        async with await self._channel.call("give", first, size, timeout=PATIENCE) as stream:
            if size and self._dice.choice((True, False)):
                self.findings.check("beginnings of streams", (await anext(stream))[:1], DATA[first : first + 1])
            else:
                self.findings.check(
                    "streams from the page", digest_of(await stream.join()), digest_of(DATA[first : first + size])
                )

    async def let_send(self) -> None:
        """Let the page send a stream."""
        first, size = self._choose_part()
        digest = await self._channel.call("send", "digest", first, size, timeout=PATIENCE)
        self.findings.check("streams that the page sends", digest, digest_of(DATA[first : first + size]))

    async def pipe(self) -> None:
        """Send a stream that comes back, piece by piece."""
        first, size = self._choose_part(1_000_000)

        async def give() -> AsyncIterator[bytes]:
            for begin in range(first, first + size, 20_000):
                yield DATA[begin : min(begin + 20_000, first + size)]

        async with await self._channel.pipe(give(), timeout=PATIENCE) as stream:
            self.findings.check("pipes", digest_of(await stream.join()), digest_of(DATA[first : first + size]))

    async def call_with_much(self) -> None:
        """Call with a value of several messages."""
        first, size = self._choose_part()
        number = next(self._numbers)
        value = await self._channel.call("same", number, DATA[first : first + size], timeout=PATIENCE)
        self.findings.check("large values", digest_of(value), digest_of(DATA[first : first + size]))


async def open_load(server: jchannel.Server, seed: int) -> Load:
    """Open the channel of a load, which does nothing yet."""
    load = Load(server, seed)
    await load.open()
    return load
