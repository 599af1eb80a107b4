"""The Python peer: what it says of itself, and what it does without options."""

import pytest
import trio
import trio.testing

from jchannel._core.peer import PeerOptions, open_peer
from jchannel.errors import PageLostError
from tests.core.internals import lose_peer
from tests.core.memory import open_memory_server


async def test_the_tree_of_a_channel_says_why_the_peer_s_connection_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory, memory.open_peer() as peer, memory.server.open_channel("code"):
        channel = await peer.wait_channel()
        lose_peer(peer)
        await peer.wait_ended()
        tree = channel.tree()
        assert (tree.number, tree.state) == (None, f"closed: the request cannot be sent: {peer.why_ended}")


async def test_without_on_open_a_channel_is_opened_with_none(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory:
        async with (
            open_peer(memory.server.page_url, PeerOptions(), connect=memory.connect) as peer,
            memory.server.hold_channel("code") as channel,
        ):
            assert await channel.open() is None
            assert [far.code for far in peer.channels.values()] == ["code"]


async def test_a_peer_knows_why_its_connection_has_ended_once_it_has(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.open_peer() as peer:
        assert peer.why_ended == ""
        lose_peer(peer)
        await peer.wait_ended()
        assert peer.why_ended


async def test_what_answers_and_is_no_server_is_a_lost_page(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"220 mail.example ESMTP\r\n\r\n")

    async def connect() -> trio.abc.Stream:
        return near

    with pytest.raises(
        PageLostError, match=r"^http://localhost:25 did not open a WebSocket: what it answered is no HTTP"
    ):
        async with open_peer("http://localhost:25", PeerOptions(), token="x", connect=connect):
            raise AssertionError
