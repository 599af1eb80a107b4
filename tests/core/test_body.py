"""Requests whose body the application does not read: no connection stays behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from jchannel._core.asgi import Message, Receive, Scope, Send, respond
from jchannel.trio import Limits
from tests.core import helpers
from tests.core.helpers import serve_http
from tests.core.memory import open_memory_server

BODY = 4 * 2**20


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers at once."""
    await respond(send, 410, b"", {})


async def test_a_post_that_is_refused_unread_leaves_no_connection_when_its_client_goes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_server() as memory:
        for _ in range(3):
            stream = memory.listener.connect()
            head = f"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 * BODY}\r\n\r\n"
            await stream.send_all(head.encode() + bytes(BODY))
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(stream)
        await trio.sleep(60)
        assert memory.server.statistics().connections == 0


async def test_a_client_that_goes_while_its_unread_post_is_answered_leaves_no_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, server = trio.testing.lockstep_stream_pair()

    async def refuse_when_gone(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(5)
        await refuse(scope, receive, send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, refuse_when_gone, server)
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n"
        with trio.move_on_after(1):
            await client.send_all(head.encode() + bytes(BODY))
        await trio.aclose_forcefully(client)


async def test_the_app_reads_the_whole_body_and_then_that_its_client_has_gone() -> None:
    client, server = trio.testing.memory_stream_pair()
    received: list[Message] = []

    async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive(), await receive(), await receive()])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, read_all, server)
        await client.send_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab")
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
    assert received == [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


async def test_a_body_that_the_app_does_not_want_is_dropped_for_a_while_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na")
    await serve_http(refuse, server, Limits(handshake_seconds=7))
    assert (await helpers.read_all(client)).startswith(b"HTTP/1.1 410 ")
    assert trio.current_time() == pytest.approx(7)


async def test_behind_a_body_that_was_dropped_the_next_request_is_answered() -> None:
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab" * 2)
    await client.send_eof()
    await serve_http(refuse, server)
    assert (await helpers.read_all(client)).count(b"HTTP/1.1 410 ") == 2
