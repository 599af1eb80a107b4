"""`ByteStream`, over a stream that the test makes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from jchannel._streams.blocking import ByteStream
from jchannel._streams.reader import MetaGenerator


def make(*pieces: bytes, receive: Callable[[], Awaitable[bytes]] | None = None) -> ByteStream:
    waiting = list(pieces)

    async def receive_waiting() -> bytes:
        return waiting.pop(0) if waiting else b""

    async def aclose() -> None:
        pass

    return ByteStream(
        MetaGenerator(receive or receive_waiting, aclose, asyncio.to_thread, None), on_sending=lambda: None
    )


def test_it_is_an_iterator_of_its_chunks() -> None:
    stream = make(b"a", b"bc")
    assert stream.total is None
    assert repr(stream) == "<ByteStream: 0 bytes received, open>"
    assert iter(stream) is stream
    assert list(stream) == [b"a", b"bc"]
    assert stream.bytes_received == 3


def test_what_would_have_to_be_awaited_is_an_error() -> None:
    class Turn:
        def __await__(self) -> Iterator[None]:
            yield

    async def receive() -> bytes:
        await Turn()  # type: ignore[misc]
        return b""

    with pytest.raises(RuntimeError, match="would have to be awaited"):
        make(receive=receive).join()
