"""Links that something else has accepted: a page is served over them as over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._protocol.messages import Beat, Credit, Echo, Goodbye, Hello, Open, Piece, Result, Welcome
from jchannel._protocol.values import pack
from jchannel.errors import ClosedError
from jchannel.trio import Limits, Link, LinkClosed, Server
from tests.core.internals import session_of
from tests.core.memory import Page, open_memory_server

NOTHING = pack(None, field_name="value", shown_as="result")
NO_ARGS = pack([], field_name="args", shown_as="args")


class MemoryLink(Link):
    """One end of a link in memory, with no more than every link must have."""

    def __init__(
        self, send: trio.MemorySendChannel[str | bytes], receive: trio.MemoryReceiveChannel[str | bytes]
    ) -> None:
        self._send, self._receive = send, receive

    async def send(self, frame: str | bytes) -> None:
        try:
            await self._send.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkClosed("the memory is gone") from None

    async def receive(self) -> str | bytes:
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("the memory is gone") from None

    async def aclose(self) -> None:
        await self._send.aclose()
        await self._receive.aclose()


def memory_link_pair() -> tuple[MemoryLink, MemoryLink]:
    """A link's two ends. Sending waits until it is received."""
    to_page, from_server = trio.open_memory_channel[str | bytes](0)
    to_server, from_page = trio.open_memory_channel[str | bytes](0)
    return MemoryLink(to_page, from_page), MemoryLink(to_server, from_server)


@asynccontextmanager
async def open_linked_page(server: Server, *, hello: bool = True) -> AsyncIterator[Page]:
    """A page over such a link."""
    mine, its = memory_link_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_link, its)
        page = Page(mine, None)  # type: ignore[arg-type]  # It has no stream.
        nursery.start_soon(page.read)
        if hello:
            await page.send(Hello("page"))
            await page.expect(Welcome)
        yield page
        await mine.aclose()
        nursery.cancel_scope.cancel()


async def test_a_page_is_served_over_a_link_that_can_only_send_receive_and_close() -> None:
    async with open_memory_server() as memory, open_linked_page(memory.server) as page:
        assert memory.server.statistics().page_connected

        async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            nursery.start_soon(channel.open)
            opened = await page.expect(Open)
            await page.send(Result(opened.id, NOTHING))
            await page.send(Echo(1, opened.channel, NO_ARGS))
            assert (await page.expect(Result)).id == 1


async def test_it_returns_when_the_page_has_gone() -> None:
    async with open_memory_server() as memory:
        mine, its = memory_link_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.server.serve_link, its)
            page = Page(mine, None)  # type: ignore[arg-type]
            nursery.start_soon(page.read)
            await page.send(Hello("page"))
            await page.expect(Welcome)
            await mine.aclose()

        assert not memory.server.statistics().page_connected


async def test_it_returns_when_the_server_is_closed_and_the_page_has_heard_goodbye() -> None:
    mine, its = memory_link_pair()
    async with trio.open_nursery() as nursery:
        async with open_memory_server() as memory:
            nursery.start_soon(memory.server.serve_link, its)
            page = Page(mine, None)  # type: ignore[arg-type]
            nursery.start_soon(page.read)
            await page.send(Hello("page"))
            await page.expect(Welcome)
            server = memory.server
        assert (await page.expect(Goodbye)).reason == "closed"

        with pytest.raises(ClosedError):
            await server.serve_link(its)


async def test_who_says_no_hello_in_time_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server(limits=Limits(handshake_seconds=1)) as memory:
        mine, its = memory_link_pair()
        await memory.server.serve_link(its)

        assert trio.current_time() == pytest.approx(1)
        with pytest.raises(LinkClosed):
            await mine.receive()


async def test_a_second_page_is_refused_however_it_comes() -> None:
    async with open_memory_server() as memory, memory.open_page("first"):
        async with open_linked_page(memory.server, hello=False) as second:
            await second.send(Hello("second"))

            assert (await second.expect(Goodbye)).reason == "taken"


async def test_cancelling_it_ends_the_connection() -> None:
    async with open_memory_server() as memory:
        mine, its = memory_link_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.server.serve_link, its)
            page = Page(mine, None)  # type: ignore[arg-type]
            await mine.send('[{"type":"hello","client":"page"}]')
            assert "welcome" in str(await page.link.receive())
            nursery.cancel_scope.cancel()

        with pytest.raises(LinkClosed):
            await mine.receive()
        assert not memory.server.statistics().page_connected


async def test_a_stream_needs_nothing_but_the_link() -> None:
    data = bytes(range(256)) * 2000
    async with open_memory_server() as memory, open_linked_page(memory.server) as page:
        async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            nursery.start_soon(channel.open)
            opened = await page.expect(Open)
            await page.send(Result(opened.id, NOTHING))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(channel.call_with_stream, "f", data)
            call: Any = await page.receive()
            await page.send(Credit(call.stream.id, len(data)))
            received = b""
            while len(received) < 200_000:
                received += (await page.expect(Piece)).data
            assert data.startswith(received)
            nursery.cancel_scope.cancel()


async def test_what_is_no_link_is_refused() -> None:
    async with open_memory_server() as memory:
        with pytest.raises(TypeError, match=r"jchannel\.trio\.Link"):
            await memory.server.serve_link(object())  # type: ignore[arg-type]


async def test_by_default_a_link_leaves_what_it_is_given_to_flush() -> None:
    link, far = memory_link_pair()
    assert not link.send_nowait("frame")
    assert link.moved == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.flush)
        assert await far.receive() == "frame"
    await link.flush()  # Nothing is left.


async def test_what_is_left_of_a_frame_is_kept_until_the_writer_has_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in steps that another thread makes one after the other, before trio's own thread has woken."""
    async with open_memory_server() as memory, open_linked_page(memory.server) as page:
        await trio.testing.wait_all_tasks_blocked()
        session = session_of(memory.server)
        assert session is not None
        with monkeypatch.context() as patch:
            patch.setattr(session, "rouse_writer", lambda: None)
            for _ in range(2):
                session._connection.send(Beat())
                session._send(at_once=True)
        session.rouse_writer()
        await trio.testing.wait_all_tasks_blocked()
        assert page._frames.statistics().current_buffer_used == 2
