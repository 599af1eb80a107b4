"""The link over a WebSocket, both its ends in memory."""

import gc
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing
import trio_websocket
from websockets.frames import Frame
from websockets.protocol import Protocol

from jchannel._core.transport import Link, LinkClosed, Side, WebSocketLink, _SocketReader
from jchannel._core.upgrade import accept_websocket


@asynccontextmanager
async def open_link(
    *, frame_bytes: int = 1000
) -> AsyncIterator[tuple[WebSocketLink, trio_websocket.WebSocketConnection, trio.abc.Stream]]:
    """A server's link, the WebSocket at the far end, and the stream of the far end."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        accepted: list[Link] = []

        async def accept() -> None:
            accepted.append(await accept_websocket(near, b"", lambda _: None, frame_bytes))

        async with trio.open_nursery() as handshake:
            handshake.start_soon(accept)
            # It takes any stream, whatever its types say.
            client = await trio_websocket.wrap_client_stream(nursery, cast("Any", far), "localhost", "/socket")
        link = accepted[0]
        assert isinstance(link, WebSocketLink)
        yield link, client, far
        nursery.cancel_scope.cancel()


async def test_frames_are_carried_in_both_directions_as_text_and_as_bytes() -> None:
    async with open_link() as (link, client, _):
        await link.send("text")
        await link.send(b"\x00bytes")
        assert [await client.get_message(), await client.get_message()] == ["text", b"\x00bytes"]
        await client.send_message(b"back")
        await client.send_message("ä")
        assert [await link.receive(), await link.receive()] == [b"back", "ä"]


async def test_a_frame_that_was_received_is_kept_by_nobody() -> None:
    size = 12_345
    async with open_link(frame_bytes=size) as (link, client, _), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_message, bytes(size))
        assert len(await link.receive()) == size
        kept = [thing for thing in gc.get_objects() if isinstance(thing, Frame) and len(thing.data) == size]
        assert not kept


async def test_a_link_tells_that_a_part_of_a_frame_has_come_in() -> None:
    async with open_link() as (link, client, far), trio.open_nursery() as nursery:
        assert link.moved == 0
        nursery.start_soon(link.receive)
        await far.send_all(b"\x81\x84" + bytes(4) + b"so")
        await trio.testing.wait_all_tasks_blocked()
        assert link.moved == 8
        await far.send_all(b"me")
        await trio.testing.wait_all_tasks_blocked()
        assert link.moved == 10
        await client.send_message("more")
        assert await link.receive() == "more"
        assert link.moved == 20


async def test_a_link_tells_that_a_part_of_a_large_frame_has_left_and_not_that_a_small_one_has() -> None:
    near, far = trio.testing.lockstep_stream_pair()
    link = WebSocketLink(near, Side.SERVER, 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send, bytes(1_000_000))
        moved = [link.moved]
        for _ in range(5):
            await far.receive_some(2**20)
            await trio.testing.wait_all_tasks_blocked()
            moved.append(link.moved)
        # The first 64 KiB leave with the head, as a small message would.
        assert moved == [0, 0, 2**18, 2**19, 3 * 2**18, 1_000_000 - 2**16]
        nursery.start_soon(link.send, b"small")
        await far.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        assert link.moved == 1_000_000 - 2**16


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with open_link() as (link, client, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.receive()
        await client.send_message("kept")
        assert await link.receive() == "kept"


async def close_far_side(link: WebSocketLink, aclose: Callable[..., Awaitable[None]], *args: object) -> None:
    """The far side closes, while this one receives."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(aclose, *args)
        with pytest.raises(LinkClosed):
            await link.receive()


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
        await close_far_side(link, client.aclose)
        assert await explain(link) == {"the WebSocket was closed with code 1000 (NORMAL_CLOSURE)"}


async def test_a_link_that_the_far_side_has_closed_says_what_it_said() -> None:
    async with open_link() as (link, client, _):
        await close_far_side(link, client.aclose, 1001, "the tab was closed")
        assert await explain(link) == {"the WebSocket was closed with code 1001 (GOING_AWAY): the tab was closed"}


async def test_a_page_that_goes_away_without_a_word_was_left() -> None:
    async with open_link() as (link, client, _):
        await close_far_side(link, client.aclose, 1001)
        assert await explain(link) == {
            "the WebSocket was closed with code 1001 (GOING_AWAY): the page was left or closed"
        }


async def test_a_frame_that_is_too_large_closes_the_link() -> None:
    async with open_link(frame_bytes=10) as (link, client, _):
        await client.send_message("x" * 11)
        with pytest.raises(LinkClosed, match=r"code 1009 .*: frame with 11 bytes exceeds limit of 10 bytes"):
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


async def test_two_sides_that_close_at_once_do_not_wait_for_each_other_to_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(WebSocketLink(near, Side.SERVER, 1000).aclose)
        nursery.start_soon(WebSocketLink(far, Side.CLIENT, 1000).aclose)
    assert trio.current_time() == 0


async def test_a_closing_ends_when_the_stream_breaks_before_the_far_side_has_closed_too() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(WebSocketLink(near, Side.SERVER, 1000).aclose)
        await trio.testing.wait_all_tasks_blocked()
        near.receive_stream.close()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    await far.aclose()


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


class TestWithoutWaiting:
    """What a socket takes at once needs no task that waits for it."""

    async def open(self) -> tuple[WebSocketLink, trio.SocketStream]:
        near, far = trio.socket.socketpair()
        return WebSocketLink(trio.SocketStream(near), Side.SERVER, 1000), trio.SocketStream(far)

    async def receive(self, stream: trio.SocketStream, size: int) -> Protocol:
        """Receives so many bytes as a client does."""
        client = Protocol(Side.CLIENT, max_size=None)
        while size > 0:
            data = await stream.receive_some(size)
            assert data
            client.receive_data(data)
            size -= len(data)
        return client

    async def test_a_frame_that_the_socket_takes_is_sent_in_the_same_step(self) -> None:
        link, far = await self.open()
        async with far:
            assert link.send_nowait("now")
            [frame] = (await self.receive(far, 5)).events_received()
            assert isinstance(frame, Frame)
            assert frame.data == b"now"
        await trio.aclose_forcefully(link._stream)

    async def test_what_the_socket_does_not_take_is_left_to_flush(self) -> None:
        link, far = await self.open()
        sizes = [2**20, 2**20 + 1, 3]
        async with far, trio.open_nursery() as nursery:
            assert not link.send_nowait(bytes(sizes[0]))
            assert not link.send_nowait(bytes(sizes[1]))
            assert not link.send_nowait(bytes(sizes[2]))
            nursery.start_soon(link.flush)
            client = await self.receive(far, sum(sizes) + 10 + 10 + 2)
            assert [len(frame.data) for frame in client.events_received() if isinstance(frame, Frame)] == sizes
        await trio.aclose_forcefully(link._stream)

    async def test_what_cannot_be_sent_any_more_is_left_to_flush_to_say(self) -> None:
        link, far = await self.open()
        await far.aclose()
        assert not link.send_nowait("lost")
        with pytest.raises(LinkClosed, match=r"^it broke off without a word$"):
            await link.flush()
        assert not link.send_nowait("lost, too")
        with pytest.raises(LinkClosed):
            await link.flush()
        await trio.aclose_forcefully(link._stream)

    async def test_nothing_is_written_to_the_number_of_a_socket_that_is_closed(self) -> None:
        link, far = await self.open()
        await trio.aclose_forcefully(link._stream)
        assert not link.send_nowait("nowhere")
        with pytest.raises(LinkClosed):
            await link.flush()
        await far.aclose()


async def test_what_arrived_behind_the_handshake_is_received_first() -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.CLIENT, 1000, early=b"\x81\x05early\x81\x01")
    await far.send_all(b"x")
    assert [await link.receive(), await link.receive()] == ["early", "x"]


async def test_more_is_read_at_once_while_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = trio.testing.memory_stream_pair()
    reads = []
    receive_some = near.receive_some

    async def note(max_bytes: int) -> bytes | bytearray:
        reads.append(max_bytes)
        return await receive_some(max_bytes)

    monkeypatch.setattr(near, "receive_some", note)
    link = WebSocketLink(near, Side.CLIENT, 2**20)
    await far.send_all(b"\x82\x7f" + struct.pack("!Q", 300_000) + bytes(300_000) + b"\x82\x01x\x82\x01y")
    assert [len(await link.receive()) for _ in range(3)] == [300_000, 1, 1]
    for last in (b"1", b"2"):
        await far.send_all(b"\x82\x01" + last)
        assert await link.receive() == last
    assert reads == [65_536, 262_144, 262_144, 65_536]


@pytest.mark.parametrize("size", [65_534, 65_535, 65_536, 65_537, 300_000])
@pytest.mark.parametrize("side", [Side.SERVER, Side.CLIENT])
async def test_a_message_of_any_size_is_sent_in_the_order_of_the_messages(side: Side, size: int) -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, side, 2**20)
    other = WebSocketLink(far, Side.CLIENT if side is Side.SERVER else Side.SERVER, 2**20)
    sent: list[str | bytes] = [
        "first",
        "ü" * (size // 2),
        bytes(range(256)) * (size // 256) + bytes(size % 256),
        b"last",
    ]
    for frame in sent:
        await link.send(frame)
    assert [await other.receive() for _ in sent] == sent


async def test_messages_in_front_of_a_close_are_received_also_if_its_answer_cannot_be_sent() -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.CLIENT, 1000)
    await far.send_all(b"\x81\x04last\x88\x02\x03\xe8")
    await far.aclose()
    assert await link.receive() == "last"
    assert await explain(link) == {"the WebSocket was closed with code 1000 (NORMAL_CLOSURE)"}


async def test_what_has_arrived_is_received_also_when_nothing_can_be_sent_any_more() -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.CLIENT, 1000)
    await far.send_all(b"\x81\x04last")
    await trio.aclose_forcefully(far.receive_stream)
    with pytest.raises(LinkClosed, match=r"^it broke off without a word$"):
        await link.send("lost")
    assert await link.receive() == "last"
    await far.send_all(b"\x81\x04more")
    assert await link.receive() == "more"
    await far.send_stream.aclose()
    assert await explain(link) == {"it broke off without a word"}


async def test_a_close_with_a_code_of_an_application_is_named_by_its_number() -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.CLIENT, 1000)
    await far.send_all(b"\x88\x07\x0f\xa0later")
    with pytest.raises(LinkClosed, match=r"^the WebSocket was closed with code 4000: later$"):
        await link.receive()


PING = b"\x89\x00"


class TestReceivingWhileTheFarSideTakesNothing:
    async def open(self) -> tuple[WebSocketLink, trio.abc.Stream]:
        near, far = trio.testing.lockstep_stream_pair()
        return WebSocketLink(near, Side.CLIENT, 1000), far

    async def test_goes_on_beside_a_sender_that_waits(self) -> None:
        link, far = await self.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, "waits")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(far.send_all, PING + b"\x81\x04text")
            assert await link.receive() == "text"
            nursery.cancel_scope.cancel()

    async def test_waits_when_too_many_pings_are_unanswered(self) -> None:
        link, far = await self.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, "waits")
            await trio.testing.wait_all_tasks_blocked()

            async def flood() -> None:
                for _ in range(1000):
                    await far.send_all(PING * 10)
                await far.send_all(b"\x81\x04text")

            nursery.start_soon(flood)
            with trio.move_on_after(0.01) as waited:
                await link.receive()
            assert waited.cancelled_caught
            assert len(link._unsent) < 200
            answered = 0
            async with trio.open_nursery() as others:

                async def listen() -> None:
                    nonlocal answered
                    while True:
                        answered += len(await far.receive_some())

                others.start_soon(listen)
                assert await link.receive() == "text"
                others.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        assert answered > 10_000 * len(PING)

    async def test_waits_for_its_own_answer_to_a_ping(self) -> None:
        link, far = await self.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.send_all, PING + b"\x81\x04text")
            received: list[str | bytes] = []

            async def receive() -> None:
                received.append(await link.receive())

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            assert not received
            nursery.start_soon(link.send, "behind the pong")
            await trio.testing.wait_all_tasks_blocked()
            assert len(await far.receive_some()) == 6
            await trio.testing.wait_all_tasks_blocked()
            assert received == ["text"]
            assert len(await far.receive_some()) == 6 + len("behind the pong")


SIZE = 1000


def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    near, far = trio.socket.socketpair()
    return trio.SocketStream(near), trio.SocketStream(far)


@pytest.mark.skipif(sys.platform == "win32", reason="there trio's own way is used")
class TestSocketReader:
    """What reads a socket. ``size`` bytes at once are all that may be there, or a part of more."""

    async def test_what_has_come_is_received_at_once(self) -> None:
        near, far = socket_pair()
        async with near, far:
            reader = _SocketReader(near.socket)
            await far.send_all(bytes(2 * SIZE + 1))
            assert [len(await reader.receive_some(SIZE)) for _ in range(3)] == [SIZE, SIZE, 1]

    @pytest.mark.parametrize("size", [SIZE, 1])
    async def test_it_waits_for_what_comes_next(self, size: int) -> None:
        near, far = socket_pair()
        async with near, far, trio.open_nursery() as nursery:
            reader = _SocketReader(near.socket)
            await far.send_all(bytes(size))
            assert len(await reader.receive_some(SIZE)) == size

            async def send_later() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await far.send_all(b"next")

            nursery.start_soon(send_later)
            assert await reader.receive_some(SIZE) == b"next"

    @pytest.mark.parametrize("size", [SIZE, 1])
    async def test_cancelling_it_loses_nothing(self, size: int) -> None:
        near, far = socket_pair()
        async with near, far:
            reader = _SocketReader(near.socket)
            await far.send_all(bytes(size))
            assert len(await reader.receive_some(SIZE)) == size
            await far.send_all(b"next")
            with trio.CancelScope() as scope:
                scope.cancel()
                await reader.receive_some(SIZE)
            assert scope.cancelled_caught
            assert await reader.receive_some(SIZE) == b"next"

    async def test_the_end_is_no_bytes(self) -> None:
        near, far = socket_pair()
        async with near:
            await far.aclose()
            assert await _SocketReader(near.socket).receive_some(SIZE) == b""

    async def test_a_connection_that_breaks_is_an_error(self) -> None:
        listener, *_ = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            far = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            async with await listener.accept() as near:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await far.aclose()
                with pytest.raises(trio.BrokenResourceError):
                    await _SocketReader(near.socket).receive_some(SIZE)

    async def test_a_socket_that_is_closed_meanwhile_or_before_is_an_error(self) -> None:
        near, far = socket_pair()
        async with far, trio.open_nursery() as nursery:
            reader = _SocketReader(near.socket)

            async def close_later() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await near.aclose()

            nursery.start_soon(close_later)
            for _ in range(2):
                with pytest.raises(trio.ClosedResourceError):
                    await reader.receive_some(SIZE)
