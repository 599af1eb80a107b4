"""What becomes of a stream that somebody has opened to the server's port."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing
import trio_websocket
from trio.testing import MockClock

from jchannel._core.acceptor import Acceptor
from jchannel._core.auth import Gate, make_token, subprotocols
from jchannel._core.greeting import refuse
from jchannel._core.http_server import HttpConnection
from jchannel._core.transport import Link, LinkClosed, NowaitLink
from jchannel._page.app import PageApp
from jchannel._protocol.connection import Connection, Role, State
from jchannel._protocol.frames import decode_frame, encode_frame
from jchannel._protocol.messages import Beat, Goodbye, Hello, Message, Welcome, encode
from jchannel.errors import RefusedError
from jchannel.trio import Limits
from tests.core.helpers import HttpClient, read_all

TOKEN = make_token()
GATE = Gate(TOKEN, frozenset(), frozenset())
FOREIGN = "https://evil.example.org"
HELLO = '[{"type":"hello","client":"x"}]'
SOCKET_REQUEST = (
    b"GET /socket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\n"
)
SOCKET_KEY = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

Serve = Callable[[Link, Connection, Hello], Awaitable[None]]


class Desk:
    """An acceptor, and streams to it.

    Args:
        nursery: Where its tasks run.
        serve: Serves a page's link.
        prefix: The path of the server's URL.

    Attributes:
        greeted: The hellos of the pages that were served.
        received: The number of streams whose reception has ended.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        serve: Serve | None = None,
        prefix: str = "",
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self.greeted: list[Hello] = []
        self.received = 0
        self._nursery = nursery
        self._acceptor = Acceptor(GATE, PageApp(None, prefix, GATE), prefix, limits, serve or self._welcome)

    async def _welcome(self, link: Link, connection: Connection, hello: Hello) -> None:
        assert connection.state is State.HELLO
        self.greeted.append(hello)
        connection.send(Welcome(15, connection.frame_limit, 0.5, ()))
        frame = connection.next_frame()
        assert frame is not None
        await link.send(frame)
        await link.aclose()

    async def receive(self, stream: trio.abc.Stream) -> None:
        await self._acceptor.serve(stream)
        self.received += 1

    def connect(self) -> trio.abc.Stream:
        """The far end of a new stream."""
        near, far = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.receive, near)
        return far

    async def connect_page(
        self,
        offered: Sequence[str] = tuple(subprotocols(TOKEN)),
        *,
        path: str = "/socket",
        origin: str | None = None,
        stream: trio.abc.Stream | None = None,
    ) -> trio_websocket.WebSocketConnection:
        """The far end of a new WebSocket, its handshake done."""
        headers = [(b"origin", origin.encode())] if origin else []
        return await trio_websocket.wrap_client_stream(
            self._nursery,
            cast("Any", stream or self.connect()),  # It takes any stream, whatever its types say.
            "localhost",
            path,
            subprotocols=offered,
            extra_headers=headers,
        )


@asynccontextmanager
async def open_desk(**options: Any) -> AsyncIterator[Desk]:
    """A desk. At the end it must have done with every stream by itself."""
    async with trio.open_nursery() as nursery:
        yield Desk(nursery, **options)


def frame(*batch: Message) -> str | bytes:
    return encode_frame([encode(message) for message in batch])


async def hear(page: trio_websocket.WebSocketConnection) -> list[Message]:
    """Everything that the server says until it closes the WebSocket."""
    heard = []
    try:
        while True:
            heard += decode_frame(await page.get_message())
    except trio_websocket.ConnectionClosed:
        return heard


async def hear_goodbye(page: trio_websocket.WebSocketConnection) -> tuple[str, str]:
    """The reason and the message of a goodbye, when nothing else was said."""
    (goodbye,) = await hear(page)
    assert isinstance(goodbye, Goodbye)
    return goodbye.reason, goodbye.message


# HTTP


async def test_a_plain_http_request_is_answered() -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        response = await HttpClient(stream).ask("/missing", headers={"connection": "close"})
        assert (response.status, response.body) == (404, b"There is nothing here.")
        assert await read_all(stream) == b""
    assert desk.received == 1


async def test_a_head_that_comes_byte_by_byte_is_read() -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        for byte in b"GET /missing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n":
            await stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert (await read_all(stream)).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"\x00" * 100, b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nx-endless: " + b"x" * 20_000, b"431"),
    ],
)
async def test_what_is_no_request_is_answered_with_an_error_and_closed(data: bytes, status: bytes) -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        await stream.send_all(data)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 " + status)


async def test_an_endless_head_is_answered_when_it_exceeds_the_limit() -> None:
    async with open_desk(limits=Limits(head_bytes=100)) as desk:
        stream = desk.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        for _ in range(20):
            await stream.send_all(b"x: yz\r\n")
            await trio.testing.wait_all_tasks_blocked()
            if desk.received:
                break
        assert (await read_all(stream)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_does_not_come_in_time_is_closed_without_a_word(autojump_clock: MockClock) -> None:
    async with open_desk(limits=Limits(handshake_seconds=7)) as desk:
        stream = desk.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        assert await read_all(stream) == b""
    assert autojump_clock.current_time() == 7


@pytest.mark.parametrize("data", [b"", b"GET / HT"])
async def test_a_stream_that_ends_before_its_head_is_closed(data: bytes) -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        await stream.send_all(data)
        await stream.aclose()


async def test_a_stream_that_breaks_is_closed_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    near, _ = trio.testing.memory_stream_pair()

    async def break_off() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("reset by peer")

    near.receive_stream.receive_some_hook = break_off
    async with open_desk() as desk:
        await desk.receive(near)
    assert "a connection broke off: BrokenResourceError('reset by peer')" in caplog.text
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_an_error_of_the_library_is_logged_and_ends_only_its_stream(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    monkeypatch.setattr(HttpConnection, "serve", fail)
    async with open_desk() as desk:
        stream = desk.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert await read_all(stream) == b""
    assert "an error of jchannel has ended a connection" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_cancelling_it_closes_the_stream() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with open_desk() as desk:
        with trio.CancelScope() as scope:
            scope.cancel()
            await desk.receive(near)
    assert await read_all(far) == b""


async def test_a_page_may_come_on_a_connection_that_has_served_http() -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        await HttpClient(stream).ask("/missing")
        page = await desk.connect_page(stream=stream)
        await page.send_message(HELLO)
        assert [message.type for message in await hear(page)] == ["welcome"]
    assert desk.greeted == [Hello("x")]


async def test_a_websocket_at_another_path_is_not_for_pages() -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        await stream.send_all(SOCKET_REQUEST.replace(b"/socket", b"/other") + SOCKET_KEY + b"\r\n")
        assert (await stream.receive_some(12)) == b"HTTP/1.1 404"
        await stream.aclose()


async def test_a_plain_request_at_the_socket_s_path_is_http() -> None:
    async with open_desk() as desk:
        assert (await HttpClient(desk.connect()).ask("/socket", headers={"connection": "close"})).status == 404


# Pages


@pytest.mark.parametrize(("prefix", "path"), [("", "/socket"), ("", "/socket?x=1"), ("/proxy/1", "/proxy/1/socket")])
async def test_a_page_with_the_token_is_served_with_its_hello(prefix: str, path: str) -> None:
    async with open_desk(prefix=prefix) as desk:
        page = await desk.connect_page(path=path)
        assert page.subprotocol == "jchannel.v1"
        await page.send_message(HELLO)
        assert [message.type for message in await hear(page)] == ["welcome"]
    assert desk.greeted == [Hello("x")]


async def test_behind_a_proxy_that_takes_the_prefix_away_a_page_is_served_too() -> None:
    async with open_desk(prefix="/proxy/1") as desk:
        page = await desk.connect_page(path="/socket")
        await page.send_message(HELLO)
        await hear(page)
    assert desk.greeted == [Hello("x")]


@pytest.mark.parametrize("name", [b"Upgrade", b"UPGRADE"])
@pytest.mark.parametrize("value", [b"websocket", b"WebSocket"])
async def test_the_upgrade_may_be_written_in_any_case(name: bytes, value: bytes) -> None:
    request = SOCKET_REQUEST.replace(b"upgrade: websocket", name + b": " + value) + SOCKET_KEY
    async with open_desk() as desk:
        stream = desk.connect()
        await stream.send_all(request + b"sec-websocket-protocol: jchannel.v1, jchannel.token.x\r\n\r\n")
        assert (await stream.receive_some(12)) == b"HTTP/1.1 101"
        await stream.aclose()


@pytest.mark.parametrize(
    ("offered", "origin", "reason", "words"),
    [
        (["jchannel.v1", "jchannel.token.wrong"], None, "token", "the token is wrong"),
        (["jchannel.v1"], "http://localhost:1", "token", "the token is wrong"),
        (subprotocols(TOKEN), FOREIGN, "origin", f"pages of {FOREIGN} may not connect"),
        (["jchannel.v7", f"jchannel.token.{TOKEN}"], None, "version", "the page speaks jchannel.v7"),
        ([f"jchannel.token.{TOKEN}"], None, "version", "the page speaks no version of it"),
    ],
)
async def test_a_page_that_is_refused_hears_why(
    offered: list[str], origin: str | None, reason: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_desk() as desk:
        page = await desk.connect_page(offered, origin=origin)
        heard = await hear_goodbye(page)
    assert heard[0] == reason
    assert words in heard[1]
    assert page.subprotocol == offered[0]
    assert words in caplog.text
    assert TOKEN not in caplog.text
    assert desk.greeted == []


async def test_a_foreign_page_without_the_token_gets_no_words() -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        offer = b"origin: https://evil.example.org\r\nsec-websocket-protocol: jchannel.v1, jchannel.token.wrong\r\n\r\n"
        await stream.send_all(SOCKET_REQUEST + SOCKET_KEY + offer)
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert body == b""
    assert desk.greeted == []


async def test_a_websocket_without_subprotocols_is_refused() -> None:
    async with open_desk() as desk:
        page = await desk.connect_page([])
        assert (await hear_goodbye(page))[0] == "token"


async def test_a_page_that_does_not_read_the_answer_to_its_handshake_is_closed_in_time(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    async with open_desk(limits=Limits(handshake_seconds=7)) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(desk.receive, near)
        await far.send_all(SOCKET_REQUEST + SOCKET_KEY + b"sec-websocket-protocol: jchannel.v1\r\n\r\n")
    assert desk.received == 1
    assert autojump_clock.current_time() == 7
    assert "ended with an error" not in caplog.text


async def test_a_page_that_goes_before_its_handshake_is_answered_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    async with open_desk() as desk:
        stream = desk.connect()
        offer = f"sec-websocket-protocol: jchannel.v1, jchannel.token.{TOKEN}\r\n\r\n".encode()
        await stream.send_all(SOCKET_REQUEST + SOCKET_KEY + offer)
        await stream.aclose()
    assert [record.getMessage() for record in caplog.records] == [
        "a page went during its handshake: it ended during the handshake"
    ]


async def test_a_page_that_says_no_hello_is_closed_in_time(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_desk(limits=Limits(handshake_seconds=7)) as desk:
        assert await hear(await desk.connect_page()) == []
    assert desk.greeted == []
    assert autojump_clock.current_time() == 7
    assert caplog.text == ""


async def test_a_page_that_goes_before_its_hello_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    async with open_desk() as desk:
        page = await desk.connect_page()
        await page.aclose()
    assert desk.greeted == []
    assert "a page went before its hello: the WebSocket was closed with code 1000" in caplog.text


@pytest.mark.parametrize(
    "said",
    ["", "[]", b"", '[{"type":"beat"}]', '[{"type":"cancel","id":1}]', HELLO[:-1] + ',{"type":"cancel","id":1}]'],
)
async def test_a_page_that_breaks_the_protocol_hears_how(said: str | bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with open_desk() as desk:
        page = await desk.connect_page()
        await page.send_message(said)
        reason, message = await hear_goodbye(page)
    assert reason == "protocol"
    assert message.startswith("the page broke the protocol: ")
    assert desk.greeted == []
    assert message.removeprefix("the page") in caplog.text


async def test_a_frame_beyond_the_limit_is_not_taken() -> None:
    async with open_desk(limits=Limits(frame_bytes=5_000)) as desk:
        page = await desk.connect_page()
        await page.send_message("x" * 5_001)
        assert await hear(page) == []
        assert page.closed is not None
        assert page.closed.code == 1009
    assert desk.greeted == []


@pytest.mark.parametrize(
    "batch",
    [
        [Goodbye("closed", "")],
        [Hello("x"), Goodbye("closed", "")],
        [Goodbye("closed", ""), Beat()],
    ],
)
async def test_a_page_that_says_goodbye_at_once_is_let_go(batch: list[Message]) -> None:
    async with open_desk() as desk:
        page = await desk.connect_page()
        await page.send_message(frame(*batch))
        assert await hear(page) == []
    assert desk.greeted == []


async def test_a_websocket_request_without_a_key_is_rejected(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        stream = desk.connect()
        await stream.send_all(SOCKET_REQUEST + b"\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400 ")
    assert autojump_clock.current_time() <= Limits().handshake_seconds


async def test_the_stream_is_closed_when_a_page_has_been_served() -> None:
    async def serve(_link: Link, _connection: Connection, _hello: Hello) -> None:
        await trio.lowlevel.checkpoint()

    async with open_desk(serve=serve) as desk:
        page = await desk.connect_page()
        await page.send_message(HELLO)
        assert await hear(page) == []


async def test_a_failure_of_the_library_s_own_is_logged_and_ends_only_its_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve(_link: Link, _connection: Connection, _hello: Hello) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("ours")

    async with open_desk(serve=serve) as desk:
        page = await desk.connect_page()
        await page.send_message(HELLO)
        assert await hear(page) == []
    assert desk.received == 1
    assert "an error of jchannel has ended the session of a page" in caplog.text
    assert "ZeroDivisionError: ours" in caplog.text


async def test_cancelling_it_ends_the_serving_of_a_page() -> None:
    serving = trio.Event()

    async def serve(_link: Link, _connection: Connection, _hello: Hello) -> None:
        serving.set()
        await trio.sleep_forever()

    near, far = trio.testing.memory_stream_pair()
    async with open_desk(serve=serve) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.receive, near)
            page = await desk.connect_page(stream=far)
            await page.send_message(HELLO)
            await serving.wait()
            nursery.cancel_scope.cancel()
        assert await hear(page) == []


# Refusing


class RecordingLink(NowaitLink):
    """A link that keeps what it is given.

    Attributes:
        sent: The frames.
        closed: Whether it was closed.
    """

    def __init__(self, *, lost: bool = False) -> None:
        self.sent: list[str | bytes] = []
        self.closed = False
        self._lost = lost

    moved = 0

    def send_nowait(self, frame: str | bytes) -> bool:
        self.sent.append(frame)
        return False

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._lost:
            raise LinkClosed("it broke off without a word")

    async def receive(self) -> str | bytes:
        raise NotImplementedError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.closed = True


REFUSAL = RefusedError("taken", "another page is connected")


async def test_refusing_says_goodbye_and_closes_the_link() -> None:
    link = RecordingLink()
    await refuse(link, Connection(Role.SERVER), REFUSAL, seconds=1)
    assert link.sent == [frame(Goodbye("taken", "another page is connected"))]
    assert link.closed


async def test_refusing_a_page_that_has_gone_closes_the_link(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    link = RecordingLink(lost=True)
    await refuse(link, Connection(Role.SERVER), REFUSAL, seconds=1)
    assert link.closed
    assert "a refused page went before it could hear why: it broke off without a word" in caplog.text


async def test_refusing_a_page_that_has_said_goodbye_says_nothing() -> None:
    link = RecordingLink()
    connection = Connection(Role.SERVER)
    connection.receive(frame(Goodbye("closed", "")))
    await refuse(link, connection, REFUSAL, seconds=1)
    assert link.sent == []
    assert link.closed


async def test_refusing_a_page_that_does_not_answer_closes_the_link_in_time(autojump_clock: MockClock) -> None:
    class SilentLink(RecordingLink):
        async def aclose(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.closed = True

    link = SilentLink()
    await refuse(link, Connection(Role.SERVER), REFUSAL, seconds=3)
    assert link.closed
    assert autojump_clock.current_time() == 3
