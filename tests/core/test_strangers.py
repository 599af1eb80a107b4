"""Strangers at the port: what they can hold, and that a page with the token does not notice."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
import trio
import trio.testing

from jchannel._core import acceptor
from jchannel._core.auth import subprotocols
from jchannel._core.server_carrier import STOP_SECONDS
from jchannel._core.transport import Link, Side, WebSocketLink
from jchannel._core.upgrade import RejectedError, accept_websocket
from jchannel._protocol.messages import Call, Goodbye, Open, Result
from jchannel._protocol.values import pack
from jchannel.errors import PageLostError
from jchannel.trio import Channel, Limits
from tests.core.helpers import HttpClient
from tests.core.memory import MemoryServer, Page, open_memory_server
from tests.core.world import Handler

HOST = b"host: localhost\r\n"
UPGRADE = b"GET /socket HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: websocket\r\n"
KEY = b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

CROWD = 150

#: What strangers do to hold their places.
HOLDING = {
    "say nothing": b"",
    "send half a head": b"GET / HTTP/1.1\r\nhost: lo",
    "ask, and read nothing": b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "pipeline, and read nothing": (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 100,
    "claim without the body": b"POST DESKclaim HTTP/1.1\r\n" + HOST + b"content-length: 50\r\n\r\n",
    "post in chunks without an end": b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n",
    "post to a stream that is none": b"POST /streams/x HTTP/1.1\r\n" + HOST + b"content-length: 50\r\n\r\n",
    "ask for HTTP/2": b"GET / HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "speak HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "open a WebSocket": UPGRADE + KEY + b"\r\n",
    "open half a WebSocket": UPGRADE,
}


async def hold(memory: MemoryServer, data: bytes) -> None:
    """Opens a connection, sends something, and reads nothing."""
    stream = memory.listener.connect_in_lockstep()
    try:
        await stream.send_all(data.replace(b"DESK", memory.server._assembly.desk.path.encode()))
        await trio.sleep_forever()
    except trio.BrokenResourceError:
        await trio.sleep_forever()


@pytest.mark.parametrize("data", list(HOLDING.values()), ids=list(HOLDING))
async def test_a_page_gets_in_while_hundreds_of_strangers_hold_what_they_can(
    autojump_clock: trio.testing.MockClock, data: bytes
) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        for _ in range(CROWD):
            nursery.start_soon(hold, memory, data)
        await trio.testing.wait_all_tasks_blocked()
        assert memory.server.statistics().connections <= Limits().strangers
        assert (await HttpClient(memory.listener.connect()).ask("/")).status == 200
        async with (
            memory.open_peer(Handler()) as peer,
            memory.server.open_channel("code", handler=Handler()) as channel,
        ):
            far = await peer.wait_channel()
            for _ in range(CROWD):
                nursery.start_soon(hold, memory, data)
            assert await channel.call("add", 2, 3) == 5
            body = bytes(100_000)
            assert await far.call_with_stream("digest", body) == hashlib.sha256(body).hexdigest()
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(60)
        assert memory.server.statistics().connections == 0
        nursery.cancel_scope.cancel()


async def test_the_page_itself_loads_while_strangers_come_without_a_pause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def come_again_and_again(memory: MemoryServer) -> None:
        while True:
            assert await memory.listener.connect().receive_some() == b""

    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        for _ in range(CROWD):
            nursery.start_soon(come_again_and_again, memory)
        while memory.server.statistics().connections < Limits().strangers:
            await trio.lowlevel.checkpoint()
        for target in ("/", "/jchannel/inject.js", "/jchannel/jchannel.js"):
            assert (await HttpClient(memory.listener.connect()).ask(target)).status == 200
        async with memory.open_page():
            pass
        nursery.cancel_scope.cancel()


async def test_a_silent_stranger_that_makes_room_is_a_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    async with open_memory_server(limits=Limits(strangers=1)) as memory:
        silent = memory.listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert (await HttpClient(memory.listener.connect()).ask("/")).status == 200
        assert await silent.receive_some() == b""
    assert "a silent connection without the token was closed for a new one" in caplog.text


# With the token


async def test_a_page_beyond_the_limit_is_refused_in_words_of_http(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_memory_server(limits=Limits(connections=1)) as memory, memory.open_page():
        with pytest.raises(RejectedError) as caught:
            async with memory.open_page("other"):
                pass
        assert caught.value.status == 503
    assert "1 connections with it are open (Limits.connections)" in caplog.text


async def open_stream(memory: MemoryServer, page: Page, nursery: trio.Nursery) -> str:
    """Sends a stream to a page. Gives its path."""
    channel: Channel = await nursery.start(_hold_channel, memory)
    nursery.start_soon(channel.open)
    request = await page.expect(Open)
    await page.send(Result(request.id, pack(None, field_name="value", shown_as="result")))
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(_send_stream, channel)
    call = await page.expect(Call)
    assert call.stream is not None
    return f"/streams/{call.stream.ticket}"


async def _send_stream(channel: Channel) -> None:
    with suppress(PageLostError):
        await channel.call_with_stream("f", bytes(2**20), timeout=None)


async def _hold_channel(memory: MemoryServer, task_status: trio.TaskStatus[Channel]) -> None:
    async with memory.server.hold_channel("code") as channel:
        task_status.started(channel)
        await trio.sleep_forever()


async def test_a_stream_beyond_the_limit_is_refused_in_words_of_http(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server(limits=Limits(connections=1)) as memory, memory.open_page() as page:
        async with trio.open_nursery() as nursery:
            target = await open_stream(memory, page, nursery)
            assert (await HttpClient(memory.listener.connect()).ask(target)).status == 503
            nursery.cancel_scope.cancel()


async def test_a_stream_that_nobody_reads_is_not_cut_off_while_its_page_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        open_memory_server(heartbeat=10_000) as memory,
        memory.open_page() as page,
        trio.open_nursery() as nursery,
    ):
        target = await open_stream(memory, page, nursery)
        stream = memory.listener.connect_in_lockstep()
        await stream.send_all(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        await trio.sleep(3600)
        assert memory.server.statistics().connections == 2
        nursery.cancel_scope.cancel()


async def test_a_stream_that_nobody_reads_ends_soon_after_its_page_has_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.open_page() as page:
            target = await open_stream(memory, page, nursery)
            stream = memory.listener.connect_in_lockstep()
            await stream.send_all(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(3 * STOP_SECONDS)
        assert memory.server.statistics().connections == 0
        nursery.cancel_scope.cancel()


# WebSockets that are refused


async def test_the_messages_of_a_page_that_is_refused_are_no_larger_than_a_strangers(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    async def note(
        stream: trio.abc.Stream, read: bytes, select: Callable[[Sequence[str]], str | None], frame_bytes: int
    ) -> Link:
        sizes.append(frame_bytes)
        return await accept_websocket(stream, read, select, frame_bytes)

    monkeypatch.setattr(acceptor, "accept_websocket", note)
    async with open_memory_server() as memory:
        async with memory.open_page(offers=subprotocols("wrong"), hello=False) as page:
            await page.expect(Goodbye)
        async with memory.open_page():
            pass
    assert sizes == [Limits().stranger_bytes, Limits().frame_bytes]


async def test_what_a_page_that_is_refused_sends_is_not_kept() -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.SERVER, 2**16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.aclose)
        for _ in range(50):
            await far.send_all(b"\x82\xff" + (2**16).to_bytes(8) + bytes(4) + bytes(2**16))
            await trio.testing.wait_all_tasks_blocked()
            assert len(link._messages) <= 1
        await far.aclose()


# A path with escapes


@pytest.mark.parametrize("path", ["/user/a%40b", "/user/a@b", "/%C3%BCser/x%20y", "/a%2Fb"])
async def test_streams_flow_and_pages_load_below_a_path_with_escapes(
    autojump_clock: trio.testing.MockClock, path: str
) -> None:
    url = f"http://localhost{path}"
    async with open_memory_server(url=url) as memory, memory.open_peer(Handler()) as peer:
        async with memory.server.open_channel("code", handler=Handler()) as channel:
            far = await peer.wait_channel()
            body = bytes(100_000)
            digest = hashlib.sha256(body).hexdigest()
            assert await channel.call_with_stream("digest", body) == digest
            assert await far.call_with_stream("digest", body) == digest
            assert (await HttpClient(memory.listener.connect()).ask(f"{path}/")).status == 200


async def test_a_proxy_may_write_the_escapes_of_its_path_in_another_way(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server(url="http://localhost/user/a%40b") as memory:
        for path in ("/user/a%40b", "/user/a@b", "/us%65r/a%40b", ""):
            assert (await HttpClient(memory.listener.connect()).ask(f"{path}/streams/x")).status == 410
