"""A page that is stopped (by a debugger, by SIGSTOP, by its system) delays nothing here beyond the named bounds.

The times are those of the clock that jumps, and exact.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, PageLostError
from jchannel.trio import Channel, Limits, Server, open_peer, open_server
from tests.core.http_streams import carry_over_http
from tests.core.memory import MemoryListener
from tests.core.stopped import StoppableStream, Switch
from tests.core.world import Handler, Side, endless

#: Different from all defaults and from each other, so that a time says which of them it is.
LIMITS = Limits(cancel_seconds=0.25, close_seconds=4, send_buffer_bytes=50_000)


class Stopping:
    """A server, a channel, and a page that can be stopped. The page lives in another nursery than the server."""

    def __init__(self, server: Server, channel: Channel, far: Side, switch: Switch) -> None:
        self.server = server
        self.channel = channel
        self.far = far
        self.switch = switch

    async def stop(self, nursery: trio.Nursery) -> None:
        """Stops the page when its buffers, and those here, are full."""
        self.switch.stop()
        nursery.start_soon(fill, self.channel)
        await trio.testing.wait_all_tasks_blocked()


async def fill(channel: Channel) -> None:
    """Fills everything between here and the page."""
    with suppress(PageLostError, ClosedError):
        await channel.call("length", bytes(100_000), timeout=None)


@asynccontextmanager
async def open_page_to_stop(nursery: trio.Nursery, *, over_http: bool = False) -> AsyncIterator[Stopping]:
    """Opens them. The block is the server's and its channel's; the page is cancelled with the nursery.

    The streams of the page travel over HTTP, or in pieces.
    """
    listener = MemoryListener()
    switch = Switch()
    pages: list[Side] = []

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return StoppableStream(listener.connect_in_lockstep(), switch)

    async def hold_page(server: Server) -> None:
        async with open_peer(server.page_url, SlowReader(), connect=connect, limits=LIMITS) as peer:
            if over_http:
                carry_over_http(peer, server.url, connect)
            pages.append(await peer.wait_channel())
            await trio.sleep_forever()

    async with open_server(listeners=[listener], limits=LIMITS, heartbeat=1_000) as server:
        nursery.start_soon(hold_page, server)
        async with server.open_channel("code", handler=Handler()) as channel:
            await trio.testing.wait_all_tasks_blocked()
            yield Stopping(server, channel, pages[0], switch)


async def test_a_cancelled_call_waits_for_a_stopped_page_as_long_as_the_limit_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_page_to_stop(nursery) as stopping:
            stopping.switch.stop()
            began = trio.current_time()
            with trio.move_on_after(1):
                await stopping.channel.call("hang", timeout=None)
            assert trio.current_time() - began == pytest.approx(1 + LIMITS.cancel_seconds)
            stopping.switch.go_on()
        nursery.cancel_scope.cancel()


async def test_a_call_whose_time_is_over_waits_for_a_stopped_page_as_long_as_the_limit_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_page_to_stop(nursery) as stopping:
            stopping.switch.stop()
            began = trio.current_time()
            with pytest.raises(trio.TooSlowError):
                await stopping.channel.call("hang", timeout=1)
            assert trio.current_time() - began == pytest.approx(1 + LIMITS.cancel_seconds)
            stopping.switch.go_on()
        nursery.cancel_scope.cancel()


async def test_a_call_in_line_behind_a_stopped_page_is_cancelled_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_page_to_stop(nursery) as stopping:
            await stopping.stop(nursery)
            nursery.start_soon(fill, stopping.channel)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            with trio.move_on_after(1):
                await stopping.channel.call("hang", timeout=None)
            assert trio.current_time() - began == pytest.approx(1)
            stopping.switch.go_on()
        nursery.cancel_scope.cancel()


async def test_cancelling_reading_a_stream_of_a_stopped_page_takes_no_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_page_to_stop(nursery) as stopping:
            stream = await stopping.channel.call("give_endless")
            assert await anext(stream)
            stopping.switch.stop()
            began = trio.current_time()
            with trio.move_on_after(1):
                async with stream:
                    async for _ in stream:
                        pass
            assert trio.current_time() - began == pytest.approx(1)
            stopping.switch.go_on()
        nursery.cancel_scope.cancel()


async def test_closing_a_channel_of_a_stopped_page_takes_as_long_as_its_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_page_to_stop(nursery) as stopping:
            stopping.switch.stop()
            began = trio.current_time()
            with pytest.raises(trio.TooSlowError, match="on this side it is closed all the same"):
                await stopping.channel.close(2)
            assert trio.current_time() - began == pytest.approx(2 + LIMITS.cancel_seconds)
            stopping.switch.go_on()
        nursery.cancel_scope.cancel()


class SlowReader(Handler):
    """A page that reads slowly."""

    async def read(self, stream: MetaGenerator) -> None:
        """Reads a stream that has no end."""
        async for _ in stream:
            await trio.sleep(0.1)


async def send_until_it_ends(channel: Channel) -> None:
    """Sends a stream without an end."""
    with suppress(PageLostError, ClosedError):
        await channel.call_with_stream("read", endless(), timeout=None)


async def read_until_it_ends(channel: Channel) -> None:
    """Reads a stream without an end."""
    with suppress(PageLostError, ClosedError):
        async with await channel.call("give_endless") as stream:
            async for _ in stream:
                await trio.sleep(0.1)


async def exit_seconds(busy: str, *, cancelled: bool) -> float:
    """How long leaving the blocks of a channel and of a server takes when the page is stopped."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope, suppress(ZeroDivisionError):
            async with open_page_to_stop(nursery, over_http=busy == "over HTTP") as stopping:
                if busy:
                    # A stream to the page and one from it are under way, and what is sent no more fits in between.
                    nursery.start_soon(send_until_it_ends, stopping.channel)
                    nursery.start_soon(read_until_it_ends, stopping.channel)
                    await trio.sleep(1)
                    assert stopping.server.statistics().connections == (3 if busy == "over HTTP" else 1)
                    await stopping.stop(nursery)
                else:
                    stopping.switch.stop()
                await trio.sleep(1)
                began = trio.current_time()
                if not cancelled:
                    raise ZeroDivisionError
                scope.cancel()
                await trio.lowlevel.checkpoint()
        took = trio.current_time() - began
        statistics = stopping.server.statistics()
        assert (statistics.page_connected, statistics.connections, statistics.channels) == (False, 0, 0)
        nursery.cancel_scope.cancel()
    return took


@pytest.mark.parametrize("busy", ["", "in pieces", "over HTTP"])
async def test_an_exit_waits_for_a_stopped_page_as_long_as_the_limits_say(
    autojump_clock: trio.testing.MockClock, busy: str
) -> None:
    # The channel's farewell, whose request is cancelled at its end, and the server's.
    limit = LIMITS.close_seconds + LIMITS.cancel_seconds + LIMITS.close_seconds
    assert await exit_seconds(busy, cancelled=False) == pytest.approx(limit)


@pytest.mark.parametrize("busy", ["", "in pieces", "over HTTP"])
async def test_an_exit_that_is_cancelled_does_not_wait_for_a_stopped_page(
    autojump_clock: trio.testing.MockClock, busy: str
) -> None:
    assert await exit_seconds(busy, cancelled=True) == 0
