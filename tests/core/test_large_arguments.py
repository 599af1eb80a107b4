"""Arguments and results whose attachments leave apart, in frames of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from jchannel._core.transport import WebSocketLink
from jchannel._protocol.frames import APART_FROM
from jchannel.trio import Channel, PeerChannel, open_peer, open_server
from tests.core.internals import session_of
from tests.core.memory import open_memory_server

LARGE = bytes(range(256)) * (3 * APART_FROM // 256)


class Handler:
    """That of both sides."""

    def turn(self, *args: object) -> list[object]:
        return list(args[::-1])


@asynccontextmanager
async def open_channels(kind: str) -> AsyncIterator[tuple[Channel, PeerChannel]]:
    """The channels of a server and of a peer, over a socket or in memory."""
    if kind == "memory":
        async with open_memory_server() as memory, memory.open_peer(Handler()) as peer:
            async with memory.server.open_channel("code", handler=Handler()) as channel:
                yield channel, await peer.wait_channel()
    else:
        async with open_server("127.0.0.1", 0) as server, open_peer(server.page_url, Handler()) as peer:
            async with server.open_channel("code", handler=Handler()) as channel:
                yield channel, await peer.wait_channel()


@pytest.mark.parametrize("kind", ["memory", "socket"])
@pytest.mark.parametrize("side", [0, 1], ids=["server", "page"])
async def test_they_arrive_as_they_were_sent_alone_and_beside_others(kind: str, side: int) -> None:
    async with open_channels(kind) as channels:
        channel: Channel | PeerChannel = channels[side]
        assert await channel.call("turn", LARGE, b"", LARGE[1:]) == [LARGE[1:], b"", LARGE]
        assert await channel.call("turn", b"", b"", LARGE) == [LARGE, b"", b""]
        results: dict[int, object] = {}

        async def call(number: int) -> None:
            results[number] = await channel.call("turn", number, *[LARGE[number:]] * (number % 3))

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(call, number)
        assert results == {number: [*[LARGE[number:]] * (number % 3), number] for number in range(30)}


async def test_a_link_hears_how_large_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = []
    expect = WebSocketLink.expect

    def note(link: WebSocketLink, size: int) -> None:
        expected.append(size)
        expect(link, size)

    async with open_channels("memory") as (_, far):
        monkeypatch.setattr(WebSocketLink, "expect", note)
        assert await far.call("turn", LARGE, LARGE[1:]) == [LARGE[1:], LARGE]
    there, back = [len(LARGE), len(LARGE) - 1], [len(LARGE) - 1, len(LARGE)]
    assert expected == [*there, *back]


async def test_the_program_s_bytes_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_memory_server() as memory, memory.open_peer(Handler()):
        async with memory.server.open_channel("code") as channel:
            session = session_of(memory.server)
            assert session is not None
            sent: list[str | bytes] = []
            send_nowait = session._link.send_nowait

            def note(frame: str | bytes) -> bool:
                sent.append(frame)
                return send_nowait(frame)

            monkeypatch.setattr(session._link, "send_nowait", note)
            await channel.call("turn", LARGE)
            assert [frame for frame in sent if isinstance(frame, bytes)] == [LARGE]
            assert any(frame is LARGE for frame in sent)
