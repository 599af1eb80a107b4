"""The stream that gives again what was already read of it."""

import pytest
import trio
import trio.testing

from jchannel.trio.replay import ReplayStream
from tests.trio.helpers import read_all


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


async def test_a_stream_that_cannot_be_closed_by_halves_stays_open() -> None:
    class Whole(trio.abc.Stream):
        """A memory stream without ``send_eof``."""

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

    near, far = trio.testing.memory_stream_pair()
    stream = ReplayStream(Whole(near), b"")
    with trio.testing.assert_checkpoints():
        await stream.send_eof()
    await stream.send_all(b"data")
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
    socket = ReplayStream(trio.testing.memory_stream_pair()[0], b"").socket
    assert (socket.family, socket.getpeername(), socket.getsockname()) == (None, None, None)
