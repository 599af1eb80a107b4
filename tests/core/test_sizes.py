"""What does not fit into the frames of a page, and numbers that no honest page sends: each ends what it belongs to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from jchannel._core.greeting import greet
from jchannel._core.transport import LinkClosed, NowaitLink
from jchannel._protocol.messages import (
    Call,
    Cancel,
    Echo,
    Error,
    Goodbye,
    Hello,
    Open,
    Pipe,
    Result,
    Stop,
    StreamInfo,
)
from jchannel._protocol.values import Packed, shorten
from jchannel.errors import ProtocolError
from jchannel.trio import Channel, Limits
from tests.core.internals import session_of
from tests.core.memory import MemoryServer, Page, open_memory_server

SMALLEST = 4096
NOTHING = Packed("null")


class Handler:
    """The server's."""

    def add(self, a: int, b: int) -> int:
        return a + b


@asynccontextmanager
async def opened(frame_limit: int | None = None) -> AsyncIterator[tuple[MemoryServer, Channel, Page, int]]:
    """A page that has opened a channel, and the channel's number."""
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code", handler=Handler()) as channel:
            nursery.start_soon(channel.open, None)
            async with memory.open_page(frame_limit=frame_limit) as page:
                number = await open_channel(page)
                yield memory, channel, page, number
                page.connection.frame_limit = 2**30


async def open_channel(page: Page) -> int:
    opening = await page.expect(Open)
    await page.send(Result(opening.id, NOTHING))
    return opening.channel


async def check_next_page(memory: MemoryServer) -> None:
    """The next page works."""
    async with memory.open_page() as page:
        number = await open_channel(page)
        await page.send(Call(1, number, "add", Packed("[1,2]")))
        assert (await page.expect(Result)).value == 3


async def test_a_welcome_that_is_too_large_is_a_refusal_of_its_page(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery, AsyncExitStack() as channels:
        for _ in range(1_200):
            channel = await channels.enter_async_context(memory.server.hold_channel("code"))
            nursery.start_soon(channel.open, None)
        await trio.testing.wait_all_tasks_blocked()
        async with memory.open_page(hello=False) as page:
            await page.send(Hello("page", SMALLEST))
            goodbye = await page.expect(Goodbye)
            assert goodbye.reason == "closed"
            assert "cannot be told which channels are open, 1,200 of them" in goodbye.message
            await page.expect_lost()
        async with memory.open_page() as page:
            assert memory.server.statistics().page_connected
        nursery.cancel_scope.cancel()


async def test_code_that_is_too_large_for_one_page_closes_its_channel_and_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("x" * 5_000) as large, memory.server.hold_channel("code") as small:

            async def open_large() -> None:
                with pytest.raises(ValueError, match="larger than the connection takes at once, 4,096 bytes"):
                    await large.open(None)

            nursery.start_soon(open_large)
            nursery.start_soon(small.open, None)
            await trio.testing.wait_all_tasks_blocked()
            async with memory.open_page(frame_limit=SMALLEST) as page:
                assert (await page.expect(Open)).code == "code"
                nursery.cancel_scope.cancel()


async def test_a_goodbye_that_is_too_large_is_shortened(autojump_clock: trio.testing.MockClock) -> None:
    async with opened(SMALLEST) as (memory, _, page, __):
        await trio.testing.wait_all_tasks_blocked()  # The channel is open.
        session = session_of(memory.server)
        assert session is not None
        session.end("closed", "€" * 5_000)
        assert (await page.expect(Goodbye)).message == "€" * 500
        await page.expect_lost()


async def test_a_value_of_the_far_side_is_shown_in_few_characters() -> None:
    deep = [[["€" * 100] * 6] * 6] * 6
    assert len(shorten(deep)) < 210


async def test_a_pipe_s_answer_that_is_too_large_for_its_message_travels_beside_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(SMALLEST) as (memory, _, page, number):
        page.connection.frame_limit = 2**30
        await page.send(Pipe(1, number, StreamInfo(1, None, bytes(5_000))))
        stream = (await page.expect(Result)).stream
        assert stream is not None
        assert stream.data is None
        assert stream.ticket is not None
        await page.send(Stop(1))
        await page.send(Echo(2, number, Packed('["' + "x" * 5_000 + '"]')))
        assert (await page.expect(Error)).kind == "value"
        await page.send(Call(3, number, "add", Packed("[1,2]")))
        assert (await page.expect(Result)).value == 3
        assert memory.server.statistics().idle


@pytest.mark.parametrize(
    "timeout",
    ["9" * 401, "1" + "0" * 308, "9" * 5_000, "1e400", "-1", "-1e-300", "true", '"1"', '"NaN"', "null", "[1]", "NaN"],
)
async def test_a_timeout_that_is_none_breaks_the_protocol_and_ends_nothing_else(
    autojump_clock: trio.testing.MockClock, timeout: str
) -> None:
    async with opened() as (memory, _, page, number):
        call = '{"type":"call","id":1,"channel":%d,"name":"add","args":[1,2],"timeout":%s}'
        await page.link.send("[" + call % (number, timeout) + "]")
        if timeout == "1" + "0" * 308:  # It is a double.
            page.connection.send(Call(1, number, "add", Packed("[1,2]")))
            assert (await page.expect(Result)).value == 3
            assert str(memory.server.tree())
        else:
            assert (await page.expect(Goodbye)).reason == "protocol"
            await page.expect_lost()
            await check_next_page(memory)


@pytest.mark.parametrize("timeout", [0, 1e-300, 1.7e308, 2**53, 10**300])
async def test_any_other_timeout_is_one(autojump_clock: trio.testing.MockClock, timeout: float) -> None:
    async with opened() as (memory, _, page, number):
        await page.send(Call(1, number, "missing", Packed("[]"), None, timeout))
        assert isinstance(await page.receive(), Error)
        assert str(memory.server.tree())


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"cancel","id":1e400}',
        '{"type":"cancel","id":-1}',
        '{"type":"cancel","id":true}',
        '{"type":"credit","stream":1,"bytes":0}',
        '{"type":"credit","stream":1,"bytes":9007199254740992}',
        '{"type":"ack","bytes":1.5}',
        '{"type":"stop","stream":"1"}',
        '{"type":"hello","client":"page"}',
        '{"type":"hello","client":"page","frame_limit":1}',
        '{"type":"' + "\\ud800" * 100 + '"}',
        '{"type":{"a":' + "[" * 300 + "]" * 300 + "}}",
        "[" * 100_000 + "]" * 100_000,
    ],
)
async def test_what_no_page_sends_ends_its_session_and_nothing_else(
    autojump_clock: trio.testing.MockClock, text: str
) -> None:
    async with opened(SMALLEST) as (memory, _, page, __):
        await page.link.send(f"[{text}]")
        assert (await page.expect(Goodbye)).reason == "protocol"
        await page.expect_lost()
        await check_next_page(memory)


async def test_surrogates_in_names_are_an_error_of_their_call(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as (memory, _, page, number):
        await page.send(Call(1, number, "\ud800", Packed("[]")))
        assert (await page.expect(Error)).kind == "method"
        await page.send(Cancel(1), Call(2, number, "add", Packed("[1,2]")))
        assert (await page.expect(Result)).value == 3
        assert memory.server.statistics().idle


class SaidLink(NowaitLink):
    """A link on which the far side has said one thing."""

    moved = 0

    def __init__(self, said: str) -> None:
        self._said = said

    def send_nowait(self, frame: str | bytes) -> bool:
        assert json.loads(frame)
        return True

    async def flush(self) -> None:
        raise LinkClosed("it was closed")

    async def receive(self) -> str:
        await trio.lowlevel.checkpoint()
        return self._said

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("frame_limit", ["0", "1", "4095", "-1", "1e400", "true", '"4096"'])
async def test_a_welcome_in_whose_frames_nothing_could_be_said_is_no_servers(frame_limit: str) -> None:
    welcome = '{"type":"welcome","beat":1,"frame_limit":%s,"cancel_wait":1,"channels":[]}'
    with pytest.raises(ProtocolError, match="the field 'frame_limit'"):
        await greet(SaidLink("[" + welcome % frame_limit + "]"), "peer")


async def test_limits_that_no_page_is_too_small_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server(limits=Limits(frame_bytes=SMALLEST)) as memory:
        async with memory.open_page(hello=False) as page:
            await page.link.send('[{"type":"hello","client":' + json.dumps([[["x" * 50] * 6] * 6]) + "}]")
            assert (await page.expect(Goodbye)).reason == "protocol"
            await page.expect_lost()
        async with memory.open_page() as page:
            assert page.connection.frame_limit == SMALLEST
