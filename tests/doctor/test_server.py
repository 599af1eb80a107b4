"""Each reason why a server is not reached, or takes no page, is brought about and named."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from jchannel._doctor.findings import Cause, Finding, State
from jchannel._doctor.server import examine_server
from jchannel.trio import open_peer, open_server

TOKEN = "T" * 43


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """Listens, and answers the connections with these, one after the other; gives the URL."""
    left = list(answers)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(left.pop(0))

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def http(status: str, body: object = None) -> bytes:
    text = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text


def only(found: list[Finding]) -> tuple[State, Cause | None, str]:
    (finding,) = found
    return finding.state, finding.cause, finding.text


async def test_a_port_where_nothing_listens_is_refused() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # It does not listen.
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        state, cause, text = only(await examine_server(f"{url}/#jchannel={TOKEN}"))
    assert (state, cause) == (State.PROBLEM, Cause.REFUSED_PORT)
    assert "nothing listens there; the URL of a server changes with each start" in text


class Resolver(trio.abc.HostnameResolver):
    """Knows no name, or fails in another way."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        raise self._error

    async def getnameinfo(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Cause.UNKNOWN_HOST),
        (OSError("no network"), Cause.UNREACHABLE),
    ],
)
async def test_a_host_may_be_unknown_or_unreachable(error: OSError, expected: Cause) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(error))
    state, cause, _ = only(await examine_server("http://nowhere.example:8889"))
    assert (state, cause) == (State.PROBLEM, expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http("502 Bad Gateway"), Cause.PROXY),
        (http("403 Forbidden"), Cause.PROXY),
        (http("200 OK"), Cause.FOREIGN),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Cause.FOREIGN),
        (b"", Cause.FOREIGN),
    ],
)
async def test_what_answers_may_be_a_proxy_or_another_program(answer: bytes, expected: Cause) -> None:
    async with answering(answer) as url:
        state, cause, text = only(await examine_server(url))
    assert (state, cause) == (State.PROBLEM, expected)
    assert url in text


async def test_a_process_that_is_stopped_takes_connections_and_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        state, cause, text = only(await examine_server(url, seconds=0.05))
    assert (state, cause) == (State.PROBLEM, Cause.STOPPED)
    assert "its process is stopped, or code of it never lets another thread run" in text


async def test_a_certificate_may_not_be_trusted() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with open_server(port=0, ssl_context=context) as server:
        state, cause, text = only(await examine_server(server.page_url))
    assert (state, cause) == (State.PROBLEM, Cause.TLS)
    assert "its certificate is not trusted" in text
    assert server.token not in text


async def test_a_server_that_no_page_has_opened_says_what_to_do() -> None:
    async with open_server(port=0) as server:
        reached, status = await examine_server(server.page_url)
        assert (reached.state, reached.cause) == (State.OK, None)
        assert (status.state, status.cause) == (State.NOTE, Cause.NO_PAGE)
        assert status.text == "no page is connected: open server.page_url in a browser"
        assert server.statistics().page_connected is False


async def test_channels_that_wait_for_a_page_are_counted() -> None:
    async with open_server(port=0) as server, trio.open_nursery() as nursery:
        async with server.hold_channel("() => {}") as channel:
            nursery.start_soon(partial(channel.open, timeout=None))
            await trio.testing.wait_all_tasks_blocked()
            _, status = await examine_server(server.page_url)
            nursery.cancel_scope.cancel()
    assert status.text.startswith("no page is connected, and 1 channels wait for one: ")


async def test_another_page_may_hold_the_server() -> None:
    async with open_server(port=0) as server, open_peer(server.page_url) as peer:
        _, status = await examine_server(server.page_url)
        assert (status.state, status.cause) == (State.PROBLEM, Cause.TAKEN)
        assert status.text.startswith("another page is connected to this server, which takes one at a time: ")
        assert peer.connected


async def test_the_token_may_be_of_a_server_that_has_ended() -> None:
    async with open_server(port=0) as server:
        _, status = await examine_server(f"{server.url}/#jchannel={TOKEN}")
    assert (status.state, status.cause) == (State.PROBLEM, Cause.TOKEN)
    assert TOKEN not in status.text


async def test_without_a_token_no_more_can_be_told() -> None:
    async with open_server(port=0) as server:
        reached, note = await examine_server(server.url)
    assert (reached.state, note.state) == (State.OK, State.NOTE)
    assert note.text.startswith("the URL has no token")


async def test_a_server_may_not_say_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jchannel._doctor.server.STATUS_PATH", "/missing?a=b")
    async with open_server(port=0) as server:
        _, note = await examine_server(server.page_url)
    assert (note.state, note.cause) == (State.NOTE, None)
    assert "does not say how it is" in note.text


async def test_a_server_that_takes_any_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server(port=0) as server:
        monkeypatch.setattr("jchannel._doctor.server._NO_TOKEN", server.token)
        state, cause, _ = only(await examine_server(server.page_url))
    assert (state, cause) == (State.PROBLEM, Cause.FOREIGN)


async def test_a_target_must_be_a_url() -> None:
    with pytest.raises(ValueError, match="url must be absolute"):
        await examine_server("localhost:8889")
