"""The link over a WebSocket, both its ends in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing
import trio_websocket

from jchannel._core.transport import LinkClosed, WebSocketLink


@asynccontextmanager
async def open_link(
    *, max_message_size: int = 1000
) -> AsyncIterator[tuple[WebSocketLink, trio_websocket.WebSocketConnection, trio.abc.Stream]]:
    """A server's link, the WebSocket at the far end, and the stream of the far end."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        accepted: list[trio_websocket.WebSocketConnection] = []

        async def accept() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, near, max_message_size=max_message_size)
            accepted.append(await request.accept())

        async with trio.open_nursery() as handshake:
            handshake.start_soon(accept)
            # It takes any stream, whatever its types say.
            client = await trio_websocket.wrap_client_stream(nursery, cast("Any", far), "localhost", "/socket")
        yield WebSocketLink(accepted[0], near), client, far
        nursery.cancel_scope.cancel()


async def test_frames_are_carried_in_both_directions_as_text_and_as_bytes() -> None:
    async with open_link() as (link, client, _):
        await link.send("text")
        await link.send(b"\x00bytes")
        assert [await client.get_message(), await client.get_message()] == ["text", b"\x00bytes"]
        await client.send_message(b"back")
        await client.send_message("ä")
        assert [await link.receive(), await link.receive()] == [b"back", "ä"]


async def test_a_link_tells_that_a_part_of_a_frame_has_come_in() -> None:
    async with open_link() as (link, client, far):
        counts = [link.received]
        await far.send_all(b"\x81\x84" + bytes(4) + b"so")
        await trio.testing.wait_all_tasks_blocked()
        counts.append(link.received)
        await far.send_all(b"me")
        assert await link.receive() == "some"
        counts.append(link.received)
        await client.send_message("more")
        assert await link.receive() == "more"
        counts.append(link.received)
        assert counts == [0, 2, 4, 8]


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with open_link() as (link, client, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.receive()
        await client.send_message("kept")
        assert await link.receive() == "kept"


async def explain(link: WebSocketLink) -> set[str]:
    """What sending and receiving say about a link that is closed."""
    said = set()
    for use in (link.receive, lambda: link.send("x")):
        with pytest.raises(LinkClosed) as caught:
            await use()
        said.add(str(caught.value))
    return said


async def test_a_link_that_the_far_side_has_closed_says_with_which_code() -> None:
    async with open_link() as (link, client, _):
        await client.aclose()
        assert await explain(link) == {"the WebSocket was closed with code 1000 (NORMAL_CLOSURE)"}


async def test_a_link_that_the_far_side_has_closed_says_what_it_said() -> None:
    async with open_link() as (link, client, _):
        await client.aclose(1001, "the tab was closed")
        assert await explain(link) == {"the WebSocket was closed with code 1001 (GOING_AWAY): the tab was closed"}


async def test_a_frame_that_is_too_large_closes_the_link() -> None:
    async with open_link(max_message_size=10) as (link, client, _):
        await client.send_message("x" * 11)
        with pytest.raises(LinkClosed, match=r"code 1009 .*: Exceeded maximum message size: 10 bytes"):
            await link.receive()
        await explain(link)


async def test_a_link_that_was_closed_on_this_side_says_so() -> None:
    async with open_link() as (link, _, _):
        await link.aclose()
        assert await explain(link) == {"the WebSocket was closed with code 1000 (NORMAL_CLOSURE)"}
        await link.aclose()


async def test_a_link_whose_stream_ended_says_so() -> None:
    async with open_link() as (link, _, stream):
        await stream.aclose()
        with pytest.raises(LinkClosed, match=r"^it broke off without a word$"):
            await link.receive()
        assert await explain(link) == {"it broke off without a word"}


async def test_what_is_no_websocket_frame_closes_the_link() -> None:
    async with open_link() as (link, _, stream):
        await stream.send_all(b"\xff" * 20)
        with pytest.raises(LinkClosed):
            await link.receive()
        assert len(await explain(link)) == 1


async def test_a_websocket_without_a_reason_broke_off() -> None:
    class Broken:
        """Stands for a connection whose reader has ended before it knew why."""

        async def get_message(self) -> str:
            await trio.lowlevel.checkpoint()
            raise trio_websocket.ConnectionClosed(None)

    with pytest.raises(LinkClosed, match=r"^it broke off without a word$"):
        await WebSocketLink(Broken(), trio.testing.memory_stream_pair()[0]).receive()  # type: ignore[arg-type]


async def test_cancelling_the_closing_closes_the_stream_at_once() -> None:
    async with open_link() as (link, _, stream):
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.aclose()
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await stream.send_all(b"x")


async def test_behind_half_a_frame_closing_tells_the_far_side_nothing() -> None:
    async with open_link() as (link, client, _):
        sent: list[int] = []

        async def send_half(data: bytes) -> None:
            sent.append(len(data))
            await trio.sleep_forever()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(link._stream, "send_all", send_half)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.send, "frame")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            with trio.testing.assert_checkpoints():
                await link.aclose()
        assert len(sent) == 1
        with pytest.raises(trio_websocket.ConnectionClosed):
            await client.get_message()
