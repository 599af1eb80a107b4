"""The Python peer: what it says of itself, and what it does without options."""

import trio
import trio.testing

from jchannel._core.peer import PeerOptions, open_peer
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
