"""Faults of the network between Chromium and a server. `tests/faults` has many more, through a Python peer.

The page comes back by itself; whatever it was asked meanwhile has a value or an error with a name.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from jchannel._streams.reader import MetaGenerator
from jchannel.errors import RemoteError, StateError
from jchannel.trio import Channel, Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle
from tests.core.internals import count_entries, count_in_server
from tests.core.world import Handler, digest, pieces
from tests.faults.cases import LARGE
from tests.faults.proxy import Fault, Kind, Proxy, Way

CODE = """
(channel) => {
    const hash = async (data) => Array.from(
        new Uint8Array(await crypto.subtle.digest('SHA-256', data)),
        (byte) => byte.toString(16).padStart(2, '0')).join('');
    const ask = async (work) => {
        try {
            return await work();
        } catch (error) {
            return error instanceof Error && error.name !== 'TypeError' ? error.name : `no name: ${error}`;
        }
    };
    const large = new Uint8Array(SIZE).map((_, i) => i % 251);
    channel.handler = {
        add: (a, b) => a + b,
        hang: () => new Promise(() => {}),
        digest: async (stream) => hash(await stream.join()),
        give: async function* () { for (let i = 0; i < large.length; i += 20000) yield large.slice(i, i + 20000); },
        // What the page asks of Python: each gives its value, or the name of its error.
        askAdd: () => ask(() => channel.with({timeout: 2000}).call('add', 1, 2)),
        askDigest: async () => [
            await ask(() => channel.with({timeout: 2000}).callWithStream('digest', new Blob([large]))),
            await hash(large)],
        askPipe: async () => [
            await ask(async () => hash(await (await channel.with({timeout: 2000}).pipe(new Blob([large]))).join())),
            await hash(large)],
    };
    window.opened = (window.opened ?? 0) + 1;
}
""".replace("SIZE", str(len(LARGE)))

NAMED = (StateError, RemoteError, trio.TooSlowError)
#: The seconds of each request: what goes silent costs as much.
LIMIT = 2
#: The names of the errors that a page's calls may end with, beside the values.
PAGE_ERRORS = {"StateError", "ClosedError", "ConnectionLostError", "TimeoutError", "KernelError", "AbortError"}


@asynccontextmanager
async def open_page(browser: BrowserThread) -> AsyncIterator[tuple[Server, Proxy, Channel, PageHandle]]:
    """A server, and a page that reaches it through a proxy."""
    async with open_server(port=0, heartbeat=0.5) as server, trio.open_nursery() as nursery:
        port = int(server.url.rpartition(":")[2].strip("/"))
        proxy = Proxy.to_port(port)
        listeners = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
        handler = Handler()
        async with server.hold_channel(CODE, handler=handler) as channel:
            handler.channel = channel
            page = await browser.open(server.page_url.replace(f":{port}", f":{listeners[0].socket.getsockname()[1]}"))
            await channel.open(timeout=60)
            yield server, proxy, channel, page
        nursery.cancel_scope.cancel()


async def play(dice: random.Random, proxy: Proxy, channel: Channel, ended: Counter[str]) -> None:
    """One case: something happens to all connections while both sides call and stream."""
    kind = dice.choice(list(Kind))
    seconds = dice.choice((0.05, 0.5)) if kind is Kind.DELAY else 0.005
    at = dice.choice((0, 1, 10, 100, 1_000, 10_000, 50_000)) + dice.randrange(50)
    proxy.arm(Fault(kind, dice.choice(list(Way)), at, seconds, dice.choice((1, 3)) if kind is Kind.CORRUPT else 5_000))
    corrupt = kind is Kind.CORRUPT

    async def expect(act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
            ended["value"] += 1
        except NAMED as error:
            ended[type(error).__name__] += 1
        except AssertionError:
            if not corrupt:
                raise
            ended["changed bytes"] += 1

    async with trio.open_nursery() as nursery:
        for act in dice.sample(acts(channel), 4):
            nursery.start_soon(expect, act)
    await wait_works(channel)


async def wait_works(channel: Channel) -> None:
    """Waits until the page has come back by itself, and everything works."""
    with trio.fail_after(100):
        while True:
            try:
                assert await channel.call("add", 1, 2, timeout=5) == 3
            except NAMED:
                await trio.sleep(0.05)
            else:
                return


def acts(channel: Channel) -> list[Callable[[], Awaitable[None]]]:
    """What both sides do."""

    async def add() -> None:
        assert await channel.call("add", 1, 2, timeout=LIMIT) == 3

    async def echo() -> None:
        assert await channel.echo(LARGE, ["text"], timeout=LIMIT) == [LARGE, ["text"]]

    async def give_up() -> None:
        with trio.move_on_after(0.2):
            await channel.call("hang", timeout=LIMIT)

    async def send() -> None:
        assert await channel.call_with_stream("digest", pieces(LARGE), timeout=LIMIT) == digest(LARGE)

    async def receive() -> None:
        stream: MetaGenerator = await channel.call("give", timeout=LIMIT)
        async with stream:
            assert len(await stream.join()) == len(LARGE)

    async def pipe() -> None:
        async with await channel.pipe(pieces(LARGE), timeout=LIMIT) as stream:
            assert digest(await stream.join()) == digest(LARGE)

    async def ask_add() -> None:
        got = await channel.call("askAdd", timeout=2 * LIMIT)
        assert got == 3 or got in PAGE_ERRORS, got

    async def ask_digest() -> None:
        got, whole = await channel.call("askDigest", timeout=2 * LIMIT)
        assert got == whole or got in PAGE_ERRORS, got

    async def ask_pipe() -> None:
        got, whole = await channel.call("askPipe", timeout=2 * LIMIT)
        assert got == whole or got in PAGE_ERRORS, got

    return [add, echo, give_up, send, receive, pipe, ask_add, ask_digest, ask_pipe]


async def check_nothing_left(server: Server, channel: Channel) -> None:
    """Nothing is under way any more but the page's one connection."""
    with trio.move_on_after(20):
        while any(count_entries(channel)) or any(count_in_server(server)):  # noqa: ASYNC110 (there is no event)
            await trio.sleep(0.05)
    assert count_entries(channel) == (0, 0, 0, 0)
    assert count_in_server(server) == (0, 0, 0)
    assert server.statistics().running_requests == 0


async def run_cases(browser: BrowserThread, seed: int, count: int) -> Counter[str]:
    """Runs cases one after the other in one page."""
    ended: Counter[str] = Counter()
    async with open_page(browser) as (server, proxy, channel, _):
        for number in range(count):
            try:
                await play(random.Random(f"{seed} {number}"), proxy, channel, ended)  # noqa: S311 (no secret)
            except BaseException as error:
                error.add_note(f"the case {number} of seed {seed}: {proxy.met[-3:]}")
                raise
            if proxy.met and proxy.met[-1].kind is not Kind.DELAY:
                proxy.close()  # Half of a connection that nobody notices is not the next case's.
                await wait_works(channel)
        await check_nothing_left(server, channel)
    return ended


async def test_a_page_comes_back_and_every_call_ends_with_its_value_or_a_named_error(browser: BrowserThread) -> None:
    # Some seconds long, as a heartbeat and the times of requests have to pass where the network has gone silent.
    ended = await run_cases(browser, 1, 5)
    assert ended["value"]
