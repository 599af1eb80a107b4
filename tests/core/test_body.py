"""Requests whose body the application does not read: no connection stays behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from jchannel._core.asgi import Message, Receive, Scope, Send, respond
from jchannel._core.http_server import HttpServer, _TakeBody
from jchannel._core.limits import Limits
from jchannel._core.replay import ReplayStream
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

    http = HttpServer(refuse_when_gone, Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(http.serve, ReplayStream(server, b""))
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n"
        with trio.move_on_after(1):
            await client.send_all(head.encode() + bytes(BODY))
        await trio.aclose_forcefully(client)


async def test_the_app_reads_the_whole_body_and_then_that_its_client_has_gone() -> None:
    received: list[Message] = []

    async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive(), await receive(), await receive()])

    first: Message = {"type": "http.request", "body": b"a", "more_body": True}
    last: Message = {"type": "http.request", "body": b"b", "more_body": False}
    gone: Message = {"type": "http.disconnect"}
    await run(_TakeBody(read_all, 1), [first, last, gone])
    assert received == [first, last, gone, gone]


async def test_a_body_that_does_not_end_is_dropped_for_a_while_only(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    more: Message = {"type": "http.request", "body": b"a", "more_body": True}
    assert await run(_TakeBody(refuse, 7), [more]) == 410
    assert trio.current_time() - began == pytest.approx(7)


async def test_what_is_no_http_request_is_passed_on() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, receive, send])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope = {"type": "websocket"}
    await _TakeBody(app, 1)(scope, receive, send)
    assert seen == [scope, receive, send]


async def test_a_request_without_a_body_is_the_apps_alone() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, receive, send])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope = {"type": "http", "headers": [(b"host", b"localhost")]}
    await _TakeBody(app, 1)(scope, receive, send)
    assert seen == [scope, receive, send]


async def run(app: _TakeBody, messages: list[Message]) -> int | None:
    """Runs an app with what hypercorn would give it; gives the status of its answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        if not messages:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return messages.pop(0)

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await app({"type": "http", "headers": [(b"content-length", b"2")]}, receive, send)
    return sent[0]["status"] if sent else None
