"""What the Python peer makes of its WebSocket's own failures, over the network in memory."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import jchannel.trio
from jchannel._core.heartbeat import FIRST_BEAT_SECONDS
from jchannel.testing.network import MemoryListener, MemoryStream, Transit


class FailingReceiver(trio.abc.ReceiveStream):
    """Fails in a way that no transport does, when it is told to."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.fails = False
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self.fails:
            raise ZeroDivisionError
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_ping_that_comes_in_while_the_peer_closes_does_no_harm(autojump_clock: trio.testing.MockClock) -> None:
    listener = MemoryListener()
    to_peer = Transit()

    async def connect() -> MemoryStream:
        await trio.lowlevel.checkpoint()
        return listener.connect(None, to_peer).client

    async with jchannel.trio.open_server(listeners=[listener]) as server:
        async with jchannel.trio.open_peer(server.page_url, connect=connect) as peer:
            to_peer.delay = 0.1
            await trio.sleep(FIRST_BEAT_SECONDS + 0.05)
            assert peer.connected
        assert not peer.connected


async def test_a_failure_while_the_peer_is_connected_ends_its_session_and_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = MemoryListener()
    receivers: list[FailingReceiver] = []

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client = listener.connect().client
        receivers.append(FailingReceiver(client.receive_stream))
        return trio.StapledStream(client.send_stream, receivers[0])

    async with jchannel.trio.open_server(listeners=[listener]) as server:
        async with jchannel.trio.open_peer(server.page_url, connect=connect) as peer:
            receivers[0].fails = True
            await trio.sleep(1)  # A beat comes meanwhile.
            assert not peer.connected
    assert "an error of jchannel has ended the session with the server" in caplog.text
    assert "ZeroDivisionError" in caplog.text
