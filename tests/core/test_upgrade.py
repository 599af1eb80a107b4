"""The handshakes of WebSockets, both their ends in memory."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from jchannel._core.transport import Link, LinkClosed
from jchannel._core.upgrade import ForeignError, RejectedError, accept_websocket, open_websocket
from tests.core.helpers import read_all

REQUEST = (
    b"GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: one, two\r\n\r\n"
)
MASKED_HELLO = b"\x81\x85\x00\x00\x00\x00hello"


async def accept(stream: trio.abc.Stream, read: bytes) -> Link:
    """Accepts what asks for a WebSocket on a stream."""

    def select(offered: Sequence[str]) -> str:
        assert list(offered) == ["one", "two"]
        return "two"

    return await accept_websocket(stream, read, select, 1000)


@pytest.mark.parametrize("cut", [1, len(REQUEST) - 3, len(REQUEST) - 1, len(REQUEST), len(REQUEST) + 4])
async def test_what_comes_behind_the_request_is_the_links_wherever_the_bytes_are_cut(cut: int) -> None:
    near, far = trio.testing.memory_stream_pair()
    data = REQUEST + MASKED_HELLO
    await far.send_all(data[cut:])
    link = await accept(near, data[:cut])
    assert await link.receive() == "hello"


async def test_a_request_is_read_in_single_bytes() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for byte in REQUEST + MASKED_HELLO:
                await far.send_all(bytes([byte]))

        nursery.start_soon(send)
        link = await accept(near, b"")
        assert await link.receive() == "hello"


async def test_a_request_that_trio_websocket_refuses_by_itself_is_answered_and_closed() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, near, REQUEST.replace(b"Sec-WebSocket-Key", b"X"))
        assert (await read_all(far)).startswith(b"HTTP/1.1 400 ")
        nursery.cancel_scope.cancel()


async def open_client(answer: bytes) -> Link:
    """Asks for a WebSocket, and is answered so."""
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(answer)
    return await open_websocket(near, host="localhost", path="/socket", subprotocols=["one"], frame_bytes=1000)


@pytest.mark.parametrize("body", [b"", b"no entry"])
async def test_a_rejection_is_raised_with_its_status_whatever_its_body_is(body: bytes) -> None:
    with pytest.raises(RejectedError, match=r"^HTTP 403$") as caught:
        await open_client(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert caught.value.status == 403


async def test_an_answer_that_is_no_http_leads_to_no_link() -> None:
    with pytest.raises(ForeignError, match=r"^what it answered is no HTTP: "):
        await open_client(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("heard", [True, False])
async def test_a_stream_that_ends_during_the_handshake_leads_to_no_link(*, heard: bool) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"HTTP/1.1 101 ")
    if heard:
        await far.send_eof()
    else:
        await far.aclose()
    with pytest.raises(LinkClosed, match=r"^it ended during the handshake$"):
        await open_websocket(near, host="localhost", path="/socket", subprotocols=["one"], frame_bytes=1000)
