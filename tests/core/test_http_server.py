"""HTTP over a stream in memory, by hypercorn."""

import importlib.metadata
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio
import trio.testing
from hypercorn.trio.tcp_server import TCPServer
from trio.testing import MockClock

from jchannel._core.asgi import AsgiApp, Receive, Scope, Send, respond
from jchannel._core.http_server import HttpServer
from jchannel._core.replay import ReplayStream
from jchannel.trio import Limits
from tests.core.helpers import HttpClient, read_all

StreamPair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]


@asynccontextmanager
async def serving(
    app: AsgiApp, head: bytes = b"", pair: StreamPair = trio.testing.memory_stream_pair
) -> AsyncIterator[HttpClient]:
    """A client of a server that serves one stream. At the end the server is cancelled and must end."""
    near, far = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(app, Limits()).serve, ReplayStream(near, head))
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


async def test_a_request_that_was_read_before_is_answered() -> None:
    async with serving(greet, head=b"GET /head HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") as client:
        assert (await read_all(client.stream)).endswith(b"Hello /head")


async def test_serving_ends_when_the_client_has_gone(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    await HttpServer(greet, Limits()).serve(ReplayStream(near, b""))
    assert autojump_clock.current_time() == 0
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_serving_ends_when_the_client_goes_between_two_requests(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(greet, Limits()).serve, ReplayStream(near, b""))
        await HttpClient(far).ask("/")
        await far.aclose()
    assert autojump_clock.current_time() == 0


async def test_a_client_that_asks_nothing_is_let_go(autojump_clock: MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await HttpServer(greet, Limits()).serve(ReplayStream(near, b""))
    assert await read_all(far) == b""
    assert autojump_clock.current_time() == 5  # hypercorn's own limit for a connection without a request


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


def test_hypercorn_s_server_of_one_stream_has_the_shape_that_is_relied_on() -> None:
    """``jchannel/trio/http.py`` uses it, and nobody documents it. When this fails, read what has become of it."""
    assert importlib.metadata.version("hypercorn").startswith("0.18.")
    parameters = list(inspect.signature(TCPServer).parameters)
    assert parameters == ["app", "config", "context", "state", "stream"]
    assert hasattr(TCPServer, "__await__")
    source: Any = inspect.getsource(TCPServer)
    for relied_on in (
        "_read_data()",
        "idle_task.stop()",
        "socket.family",
        "socket.getpeername()",
        "socket.getsockname()",
        "shield = True",
    ):
        assert relied_on in source
