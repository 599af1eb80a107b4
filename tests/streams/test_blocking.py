"""`ByteStream`, over a stream that the test makes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from jchannel._streams.blocking import ByteStream, give_away
from jchannel._streams.reader import MetaGenerator


def make(
    *pieces: bytes,
    receive: Callable[[], Awaitable[bytes]] | None = None,
    on_sending: Callable[[], None] = lambda: None,
) -> ByteStream:
    waiting = list(pieces)

    async def receive_waiting() -> bytes:
        return waiting.pop(0) if waiting else b""

    async def aclose() -> None:
        pass

    return ByteStream(MetaGenerator(receive or receive_waiting, aclose, asyncio.to_thread, None), on_sending=on_sending)


def test_it_is_an_iterator_of_its_chunks() -> None:
    stream = make(b"a", b"bc")
    assert stream.total is None
    assert repr(stream) == "<ByteStream: 0 bytes received, open>"
    assert iter(stream) is stream
    assert list(stream) == [b"a", b"bc"]
    assert stream.bytes_received == 3


def test_given_away_it_has_what_was_not_read() -> None:
    sent: list[bool] = []
    stream = make(b"a", b"b", b"c", on_sending=lambda: sent.append(True))
    assert next(stream) == b"a"
    assert sent == []
    rest = give_away(stream)
    assert sent == [True]
    assert asyncio.run(rest.join()) == b"bc"


def test_what_would_have_to_be_awaited_is_an_error() -> None:
    class Turn:
        def __await__(self) -> Iterator[None]:
            yield

    async def receive() -> bytes:
        await Turn()  # type: ignore[misc]
        return b""

    with pytest.raises(RuntimeError, match="would have to be awaited"):
        make(receive=receive).join()
