"""The stream that gives again what was already read of it."""

import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import outcome
import pytest
import trio
import trio.testing

from jchannel._core.replay import ReplayStream
from tests.core.helpers import read_all


async def test_what_was_read_comes_before_the_rest() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"rest")
    await far.send_eof()
    assert await read_all(ReplayStream(near, b"head ")) == b"head rest"


async def test_what_was_read_comes_in_the_sizes_that_are_asked_for() -> None:
    near, far = trio.testing.memory_stream_pair()
    stream = ReplayStream(near, b"abcde")
    await far.send_all(b"fg")
    assert [await stream.receive_some(2) for _ in range(4)] == [b"ab", b"cd", b"e", b"fg"]


async def test_giving_what_was_read_is_a_checkpoint() -> None:
    stream = ReplayStream(trio.testing.memory_stream_pair()[0], b"head")
    with trio.testing.assert_checkpoints():
        await stream.receive_some()


async def test_a_cancelled_receive_loses_nothing() -> None:
    stream = ReplayStream(trio.testing.memory_stream_pair()[0], b"head")
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert await stream.receive_some() == b"head"


async def test_sending_goes_through() -> None:
    near, far = trio.testing.memory_stream_pair()
    stream = ReplayStream(near, b"")
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"data")
    await stream.send_eof()
    assert await read_all(far) == b"data"


class Whole(trio.abc.Stream):
    """A stream without ``send_eof``."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_a_stream_that_cannot_be_closed_by_halves_stays_open_and_sends_no_more() -> None:
    near, far = trio.testing.memory_stream_pair()
    stream = ReplayStream(Whole(near), b"")
    await stream.send_all(b"data")
    with trio.testing.assert_checkpoints():
        await stream.send_eof()
    with pytest.raises(trio.ClosedResourceError, match="behind send_eof"):
        await stream.send_all(b"more")
    with pytest.raises(trio.ClosedResourceError, match="behind send_eof"):
        await stream.wait_send_all_might_not_block()
    await far.send_all(b"answer")
    assert await stream.receive_some() == b"answer"
    await stream.aclose()
    assert await read_all(far) == b"data"


async def test_closing_it_closes_the_stream() -> None:
    near, far = trio.testing.memory_stream_pair()
    await ReplayStream(near, b"head").aclose()
    assert await read_all(far) == b""
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


async def test_it_has_the_socket_of_its_stream() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener) as client:
        accepted = await listener.accept()
        assert ReplayStream(accepted, b"").socket is accepted.socket
        await accepted.aclose()
        assert client.socket is not None


async def test_without_a_socket_it_has_one_of_unknown_addresses() -> None:
    stand_in = ReplayStream(trio.testing.memory_stream_pair()[0], b"").socket
    assert (stand_in.family, stand_in.getpeername(), stand_in.getsockname()) == (None, None, None)


class EachReadTwice(trio.abc.HalfCloseableStream):
    """Puts whatever is received back before the stream, so that every byte comes out of a replay's head."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.replay = ReplayStream(stream, b"")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.replay.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.replay.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.replay.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        # Behind its head a replay is the stream itself; here it has another head each time.
        self.replay.__dict__.pop("receive_some", None)
        if not self.replay._head:
            data = await self.replay.receive_some(max_bytes)
            if not data:
                return data
            self.replay._head = bytes(data)
        return await self.replay.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.replay.aclose()


Pair = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


def open_sockets() -> tuple[socket.socket, socket.socket]:
    """Real sockets: those of memory do not notice when two tasks send at once."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003 (the standard library's)
    far.setblocking(False)  # noqa: FBT003 (the same)
    return near, far


def clog(sockets: tuple[socket.socket, socket.socket]) -> tuple[socket.socket, socket.socket]:
    """Fills the buffers of both."""
    for end in sockets:
        with suppress(BlockingIOError):
            while True:
                end.send(bytes(2**16))
    return sockets


def to_streams(sockets: tuple[socket.socket, socket.socket]) -> tuple[trio.SocketStream, trio.SocketStream]:
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in sockets)
    return near, far


Wrap = Callable[[trio.SocketStream], trio.abc.HalfCloseableStream]


def makers(wrap: Wrap) -> tuple[Callable[[], Awaitable[Pair]], Callable[[], Awaitable[Pair]]]:
    """What makes two streams that are connected, and two that cannot take more."""

    async def make() -> Pair:
        near, far = to_streams(open_sockets())
        return wrap(near), wrap(far)

    async def make_clogged() -> Pair:
        near, far = to_streams(clog(open_sockets()))
        return wrap(near), wrap(far)

    return make, make_clogged


@pytest.mark.parametrize("wrap", [lambda stream: ReplayStream(stream, b""), EachReadTwice], ids=["plain", "head"])
async def test_it_passes_trios_own_checks_of_a_stream_that_is_closed_by_halves(wrap: Wrap) -> None:
    await trio.testing.check_half_closeable_stream(*makers(wrap))


async def test_behind_a_stream_that_is_closed_as_a_whole_it_passes_trios_own_checks_of_a_stream() -> None:
    await trio.testing.check_two_way_stream(*makers(lambda stream: ReplayStream(Whole(stream), b"")))


async def test_what_was_read_is_not_given_after_closing() -> None:
    stream = ReplayStream(trio.testing.memory_stream_pair()[0], b"head")
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


async def test_closing_it_ends_a_receive_of_what_was_read() -> None:
    stream = ReplayStream(trio.testing.memory_stream_pair()[0], b"head")
    receiving: Coroutine[Any, Any, object] = stream.receive_some()
    receiving.send(None)  # It is at its checkpoint. By hand: trio runs tasks in any order.
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        receiving.send(outcome.Value(None))


async def test_two_tasks_cannot_receive_what_was_read() -> None:
    stream = ReplayStream(trio.testing.memory_stream_pair()[0], b"head")
    with pytest.RaisesGroup(trio.BusyResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            nursery.start_soon(stream.receive_some)


async def test_a_size_that_is_none_is_refused() -> None:
    stream = ReplayStream(trio.testing.memory_stream_pair()[0], b"head")
    with pytest.raises(ValueError, match="max_bytes"):
        await stream.receive_some(0)
