"""The order in which the facades' requests begin: that of the calls, whether they are awaited or not."""

import asyncio
import threading
from typing import Any

import pytest

import jchannel
from jchannel import Channel, Server
from jchannel._core.dispatcher import Dispatcher
from jchannel._core.invocation import Invocation
from jchannel._protocol.messages import Call
from jchannel.errors import ClosedError
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The first arguments of the calls that reach the page, in the order of the wire."""
    arrived: list[Any] = []
    dispatch = Dispatcher.dispatch

    def record(dispatcher: Dispatcher, invocation: Invocation) -> None:
        if isinstance(invocation.request, Call):
            arrived.append(invocation.request.args[0])
        dispatch(dispatcher, invocation)

    monkeypatch.setattr(Dispatcher, "dispatch", record)
    return arrived


def test_calls_leave_in_their_order(arrived: list[Any]) -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url):
                channel = await server.open(CODE)
                for first in range(0, 100, 10):
                    # Some wait for nothing, others for the ones before: batches of all sizes.
                    await asyncio.gather(*[channel.call("record", number) for number in range(first, first + 10)])

    asyncio.run(program())
    assert arrived == list(range(100))


def test_calls_that_wait_for_a_page_leave_in_their_order_when_it_comes(arrived: list[Any]) -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            channel = Channel(server, CODE)
            opening = channel.open(timeout=TIMEOUT)
            calls = [channel.call("record", number, timeout=TIMEOUT) for number in range(100)]
            with PeerThread(server.page_url):
                await opening
                await asyncio.gather(*calls)

    asyncio.run(program())
    assert arrived == list(range(100))


def test_a_call_may_follow_an_opening_and_a_start_that_nobody_awaits() -> None:
    async def program() -> None:
        server = Server(port=0)
        starting = server.start()
        channel = Channel(server, CODE)
        opening = channel.open(timeout=TIMEOUT)
        calling = channel.call("add", 2, 3, timeout=TIMEOUT)
        await starting
        with PeerThread(server.page_url):
            assert await calling == 5
        await opening
        await server.stop()

    asyncio.run(program())


def test_a_call_may_follow_an_opening_that_nobody_awaits() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url):
                channel = Channel(server, CODE)
                opening, calling = channel.open(), channel.call("add", 2, 3)
                assert await calling == 5
                await opening

    asyncio.run(program())


def test_an_opening_may_follow_a_closing_that_nobody_awaits() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url):
                channel = await server.open(CODE)
                closing, opening, calling = channel.close(), channel.open(), channel.call("add", 2, 3)
                await asyncio.gather(closing, opening)
                assert await calling == 5
                assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_an_opening_that_was_closed_does_not_end_the_next() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            channel = Channel(server, CODE)
            first, closing, second = channel.open(), channel.close(), channel.open(timeout=TIMEOUT)
            with pytest.raises(ClosedError, match=r"close\(\) was called"):
                await first
            await closing
            with PeerThread(server.page_url):
                await second
                assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_a_closing_that_follows_an_opening_ends_it() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            channel = Channel(server, CODE)
            opening, closing = channel.open(), channel.close()
            with pytest.raises(ClosedError, match=r"close\(\) was called"):
                await opening
            await closing

    asyncio.run(program())


def test_a_channel_that_is_being_opened_is_entered_without_opening_it_again() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url):
                channel = Channel(server, CODE)
                opening = channel.open()
                async with channel:
                    assert await channel.call("add", 2, 3) == 5
                await opening

    asyncio.run(program())


def test_a_channel_that_was_opened_again_at_once_has_what_runs_in_it() -> None:
    class Handler:
        def double(self, value: int) -> int:
            return value * 2

    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url) as peer:
                await server.wait_page()
                for _ in range(20):  # trio starts tasks in any order.
                    channel = Channel(server, CODE)
                    channel.handler = Handler()
                    held = threading.Event()
                    server._handle.portal.post(lambda held=held: held.wait(TIMEOUT))  # type: ignore[misc]
                    first, closing, second = channel.open(), channel.close(), channel.open()
                    held.set()
                    await asyncio.gather(first, closing, return_exceptions=True)
                    await second
                    assert await asyncio.to_thread(peer.call, "double", 4) == 8
                    await channel.close()

    asyncio.run(program())
