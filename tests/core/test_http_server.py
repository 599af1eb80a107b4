"""HTTP over a stream in memory."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h11
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from jchannel._core.asgi import AsgiApp, Receive, Scope, Send, respond
from jchannel.trio import Limits
from tests.core.helpers import HttpClient, read_all, serve_http
from tests.core.memory import open_memory_server

StreamPair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]


@asynccontextmanager
async def serving(app: AsgiApp, pair: StreamPair = trio.testing.memory_stream_pair) -> AsyncIterator[HttpClient]:
    """A client of a server that serves one stream. At the end the server is cancelled and must end."""
    near, far = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, app, near)
        yield HttpClient(far)
        nursery.cancel_scope.cancel()


async def greet(scope: Scope, _: Receive, send: Send) -> None:
    await respond(send, 200, f"Hello {scope['path']}".encode(), {"x-greeting": "yes"})


async def start_response(send: Send, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers or []})


async def send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def test_a_whole_response_arrives() -> None:
    async with serving(greet) as client:
        response = await client.ask("/anna?x=1")
    assert (response.status, response.body) == (200, b"Hello /anna")
    assert response.headers["x-greeting"] == "yes"
    assert response.headers["content-length"] == "11"


async def test_the_server_does_not_say_what_it_is() -> None:
    async with serving(greet) as client:
        assert "server" not in (await client.ask("/")).headers


async def test_a_connection_serves_several_requests() -> None:
    async with serving(greet) as client:
        assert [(await client.ask(f"/{number}")).body for number in range(3)] == [b"Hello /0", b"Hello /1", b"Hello /2"]


async def test_serving_ends_when_the_client_has_gone(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    await serve_http(greet, near)
    assert autojump_clock.current_time() == 0
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_serving_ends_when_the_client_goes_between_two_requests(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, greet, near)
        await HttpClient(far).ask("/")
        await far.aclose()
    assert autojump_clock.current_time() == 0


async def test_a_client_that_asks_nothing_is_let_go(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await serve_http(greet, near)
    assert await read_all(far) == b""
    assert autojump_clock.current_time() == Limits().handshake_seconds


async def test_a_head_larger_than_the_limit_is_refused() -> None:
    async with serving(greet) as client:
        await client.stream.send_all(b"GET / HTTP/1.1\r\nx-long: " + b"x" * Limits().head_bytes)
        assert (await read_all(client.stream)).startswith(b"HTTP/1.1 431 ")


async def test_a_response_of_5000_seconds_arrives_in_no_time(autojump_clock: MockClock) -> None:
    async def tick(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start_response(send)
        for _ in range(5000):
            await trio.sleep(1)
            await send_part(send, b".")
        await send({"type": "http.response.body"})

    async with serving(tick) as client:
        assert (await client.ask("/")).body == b"." * 5000
    assert autojump_clock.current_time() == 5000


async def test_an_app_that_fails_before_its_response_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    async with serving(fail) as client:
        assert (await client.ask("/")).status == 500
    assert [record.name for record in caplog.records] == ["jchannel.http"]


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"100")]])
async def test_an_app_that_fails_in_the_middle_breaks_its_response(
    headers: list[tuple[bytes, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start_response(send, headers)
        await send_part(send, b"part")
        raise ZeroDivisionError

    async with serving(fail) as client:
        with pytest.raises(h11.RemoteProtocolError):
            await client.ask("/")
    assert [record.name for record in caplog.records] == ["jchannel.http"]


async def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with serving(greet) as client:
        await client.ask("/streams/ticket")
    assert not any("ticket" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("stop_reading_after", [0, 1])
async def test_a_client_that_stops_reading_does_not_hold_up_cancellation(stop_reading_after: int) -> None:
    blocked = trio.Event()

    async def pour(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start_response(send)
        blocked.set()
        while True:
            await send_part(send, bytes(2**16))

    # A stream in lockstep has no room of its own: sending waits until the far side has taken all.
    async with serving(pour, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        for _ in range(stop_reading_after):
            await client.stream.receive_some(10)
        await trio.testing.wait_all_tasks_blocked()


async def test_cancelling_it_closes_the_stream() -> None:
    async with serving(greet) as client:
        await client.ask("/")
        stream = client.stream
    assert await read_all(stream) == b""


# Other versions


REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
H2C = REQUEST + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
PRIOR_KNOWLEDGE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("before", [b"", REQUEST + b"\r\n"], ids=["first", "second"])
async def test_a_request_to_go_over_to_http_2_is_answered_in_http_1(before: bytes) -> None:
    async with serving(greet) as client:
        await client.stream.send_all(before + H2C + PRIOR_KNOWLEDGE)
        answers = (await read_all(client.stream)).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200"] * (2 if before else 1) + [b"505"]


@pytest.mark.parametrize("before", [b"", REQUEST + b"\r\n"], ids=["first", "second"])
async def test_who_speaks_http_2_unasked_is_told_that_it_is_not_spoken(before: bytes) -> None:
    async with serving(greet) as client:
        await client.stream.send_all(before + PRIOR_KNOWLEDGE)
        answers = (await read_all(client.stream)).split(b"HTTP/1.1 ")[1:]
    assert answers[-1].startswith(b"505 ")


async def test_a_hundred_and_thirty_clients_that_want_http_2_and_go_leave_nothing(autojump_clock: MockClock) -> None:
    async with open_memory_server() as memory:
        for request in [H2C, PRIOR_KNOWLEDGE] * 65:
            stream = memory.listener.connect()
            await stream.send_all(request)
            await stream.receive_some()
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert memory.server.statistics().connections == 0
        async with memory.open_page():
            pass


# Clients that go, and that hold what they have


async def wait(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_an_app_that_waits_hears_that_its_client_has_gone_also_behind_another_request() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, wait, near)
        await far.send_all(REQUEST + b"\r\n" + REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        await far.aclose()


async def test_an_app_that_waits_hears_that_its_connection_has_broken() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, wait, near)
        await far.send_all(REQUEST + b"\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await near.aclose()  # Whoever waits in it hears so, as if the network had broken.


async def test_more_than_a_head_behind_a_request_that_is_being_answered_ends_it() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(REQUEST + b"\r\n" + b"x" * (Limits().head_bytes + 1))
    await serve_http(wait, near)


async def test_an_app_is_cancelled_when_what_it_sends_can_reach_nobody() -> None:
    near, far = trio.testing.memory_stream_pair()
    done = trio.Event()

    async def pour(_scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            await start_response(send)
            while True:
                await send_part(send, b"x")
        finally:
            done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, pour, near)
        await far.send_all(REQUEST + b"\r\n")
        await far.receive_some()
        await far.aclose()
    assert done.is_set()


@pytest.mark.parametrize("requests", [1, 30])
async def test_a_stranger_that_does_not_take_its_response_is_let_go_in_time(
    autojump_clock: MockClock, requests: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    near, far = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, greet, near, Limits(handshake_seconds=7))
        await far.send_all((REQUEST + b"\r\n") * requests)
    assert autojump_clock.current_time() == 7
    assert [record.getMessage() for record in caplog.records] == [
        "a connection without the token did not take its response in time"
    ]


async def test_a_slow_stranger_has_the_time_for_each_64_kib(autojump_clock: MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()

    async def give(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 200, bytes(3 * 2**16), {})

    size = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, give, near, Limits(handshake_seconds=7))
        await far.send_all(REQUEST + b"\r\n")
        while size < 3 * 2**16:
            await trio.sleep(6)
            size += len(await far.receive_some(2**16))
        nursery.cancel_scope.cancel()


POST = b"POST / HTTP/1.1\r\nhost: localhost\r\n"


@pytest.mark.parametrize("body", [b"content-length: 2\r\n\r\na", b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"])
async def test_a_stranger_that_does_not_send_its_body_is_let_go_in_time(
    autojump_clock: MockClock, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, wait, near, Limits(handshake_seconds=7))
        await far.send_all(POST + body)
        await trio.sleep(6)
        await far.send_all(b"" if b"length" in body else b"1\r\na\r\n")
    assert autojump_clock.current_time() == 7
    assert [record.getMessage() for record in caplog.records] == [
        "a request without the token did not send its body in time"
    ]


@pytest.mark.parametrize(("size", "complete"), [(2**16, True), (2**16 + 1, False)])
async def test_of_a_strangers_body_no_more_is_read_than_its_limit(
    size: int,
    complete: bool,  # noqa: FBT001 (a parameter of a test)
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    read = 0

    async def take(_scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal read
        while (message := await receive())["type"] != "http.disconnect":
            read += len(message["body"])
            if not message["more_body"]:
                await respond(send, 200, b"", {})
                return

    near, far = trio.testing.memory_stream_pair()
    await far.send_all(POST + b"content-length: %d\r\n\r\n" % (2 * size if not complete else size) + bytes(size))
    await far.send_eof()
    await serve_http(take, near)
    assert (await read_all(far)).startswith(b"HTTP/1.1 200 " if complete else b"")
    assert read == size
    assert ("had too large a body (Limits.stranger_bytes)" in caplog.text) is not complete


@pytest.mark.parametrize(
    "body",
    [b"xyz\r\n", b"f" * 25 + b"\r\n", b"1;" + b"a" * 100_000, b"0\r\n" + b"a: b\r\n" * 20_000],
    ids=["size", "size of 25 digits", "extension without an end", "trailers without an end"],
)
async def test_a_body_in_chunks_that_are_none_is_one_line_in_the_log(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(POST + b"transfer-encoding: chunked\r\n\r\n" + body)
    await serve_http(greet, near)
    assert (await read_all(far)).startswith(b"HTTP/1.1 200 ")
    assert [record.getMessage() for record in caplog.records] == ["the body of an HTTP request was none"]


async def test_who_waits_to_be_asked_for_its_body_is_asked_when_the_app_wants_it() -> None:
    async def take(_scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, (await receive())["body"], {})

    async with serving(take) as client:
        await client.stream.send_all(POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.stream.send_all(b"hello")
        assert (await client.stream.receive_some()).endswith(b"hello")


async def test_who_waits_to_be_asked_for_a_body_that_nobody_wants_is_let_go() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    await serve_http(greet, near)
    assert (await read_all(far)).startswith(b"HTTP/1.1 200 ")


async def test_who_has_closed_its_own_direction_is_answered() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(REQUEST + b"\r\n")
    await far.send_eof()
    await serve_http(greet, near)
    assert (await read_all(far)).endswith(b"Hello /")


async def test_a_connection_is_kept_for_its_time_between_two_requests(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, greet, near, Limits(idle_seconds=3))
        client = HttpClient(far)
        for _ in range(4):
            assert (await client.ask("/")).status == 200
            await trio.sleep(2)
        assert await read_all(far) == b""
    assert autojump_clock.current_time() == 9


async def test_a_head_that_comes_slowly_has_its_time_from_its_first_byte_on(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, greet, near, Limits(handshake_seconds=7))
        for _ in range(3):
            await trio.sleep(3)
            await far.send_all(b"GET / HTTP/1.1\r\n"[:1])
        assert await read_all(far) == b""
    assert autojump_clock.current_time() == 3 + 7


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_that_has_no_body_is_sent_without_the_apps(status: int) -> None:
    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"body"})

    async with serving(answer) as client:
        assert (await client.ask("/")).body == b""
        assert (await client.ask("/")).status == status


async def test_an_app_that_answers_nothing_breaks_the_connection() -> None:
    async def leave(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await trio.lowlevel.checkpoint()

    async with serving(leave) as client:
        with pytest.raises(h11.RemoteProtocolError):
            await client.ask("/")
