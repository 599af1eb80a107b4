"""TLS of the user's own: in every face, with calls and streams, and in the notebook's output."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
import trustme

import jchannel
import jchannel.sync
from jchannel.errors import PageLostError
from jchannel.trio import Limits, open_peer, open_server
from tests.core.helpers import HttpClient, read_all
from tests.core.http_streams import carry_over_http
from tests.core.memory import MemoryListener
from tests.notebook.kernel import FakeKernel
from tests.peer_thread import TIMEOUT, PeerThread

CA = trustme.CA()
SOURCE = bytes(range(256)) * 2_000


def serving(*names: str) -> ssl.SSLContext:
    """The context of a server that has a certificate of these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*names).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    """The context of a client that trusts it."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


class Handler:
    """What both sides answer with."""

    async def reverse(self, stream: jchannel.MetaGenerator) -> AsyncIterator[bytes]:
        data = b"".join([chunk async for chunk in stream])
        yield data[::-1]

    def add(self, left: int, right: int) -> int:
        return left + right


async def slow_source() -> AsyncIterator[bytes]:
    for begin in range(0, len(SOURCE), 100_000):
        await trio.lowlevel.checkpoint()
        yield SOURCE[begin : begin + 100_000]


@pytest.mark.parametrize("over_http", [False, True])
async def test_calls_and_streams_travel_over_tls_in_both_directions(*, over_http: bool) -> None:
    async with (
        open_server("127.0.0.1", 0, ssl_context=serving("127.0.0.1")) as server,
        open_peer(server.page_url, Handler(), ssl_context=trusting()) as peer,
        server.open_channel("code", handler=Handler(), timeout=TIMEOUT) as channel,
    ):
        assert server.url.startswith("https://127.0.0.1:")
        assert server.page_url.startswith(f"{server.url}/#jchannel=")
        if over_http:
            port = int(server.url.rpartition(":")[2])
            carry_over_http(
                peer, server.url, partial(trio.open_ssl_over_tcp_stream, "127.0.0.1", port, ssl_context=trusting())
            )
        for side in (channel, await peer.wait_channel()):
            assert await side.call("add", 2, 3, timeout=TIMEOUT) == 5
            assert await side.echo(SOURCE, timeout=TIMEOUT) == [SOURCE]
            answer = await side.call_with_stream("reverse", slow_source(), timeout=TIMEOUT)
            assert b"".join([chunk async for chunk in answer]) == SOURCE[::-1]


async def test_who_speaks_plain_http_on_the_port_of_tls_gets_nothing_and_holds_up_nobody() -> None:
    async with open_server("127.0.0.1", 0, ssl_context=serving("127.0.0.1")) as server:
        plain = await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2]))
        await plain.send_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            assert b"HTTP" not in await read_all(plain)
        await plain.aclose()
        with pytest.raises(PageLostError):
            async with open_peer(server.page_url.replace("https:", "http:")):
                raise AssertionError
        async with open_peer(server.page_url, ssl_context=trusting()) as peer:
            assert peer.connected


async def test_a_handshake_that_never_ends_gives_its_place_back(autojump_clock: trio.testing.MockClock) -> None:
    listener = MemoryListener()
    limits = Limits(handshake_seconds=3)
    async with open_server(listeners=[listener], limits=limits, ssl_context=serving("localhost")) as server:
        silent = listener.connect()
        began = trio.current_time()
        assert await silent.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(3)
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().connections == 0


async def test_listeners_of_the_users_own_speak_tls_too() -> None:
    listener = MemoryListener()
    async with open_server(listeners=[listener], ssl_context=serving("localhost")) as server:
        assert server.url.startswith("https://localhost:")
        stream = trio.SSLStream(listener.connect(), trusting(), server_hostname="localhost")
        assert (await HttpClient(stream).ask("/")).status == 200


@pytest.mark.parametrize("context", ["cert.pem", True])
async def test_a_server_takes_no_other_thing_for_a_context(context: object) -> None:
    with pytest.raises(TypeError, match=r"^ssl_context must be an ssl\.SSLContext, or None for plain HTTP, and not "):
        async with open_server(port=0, ssl_context=context):  # type: ignore[arg-type]
            raise AssertionError


async def test_a_server_takes_no_context_that_is_for_clients() -> None:
    with pytest.raises(ValueError, match=r"^ssl_context is one for clients: make it with .*Purpose\.CLIENT_AUTH"):
        async with open_server(port=0, ssl_context=trusting()):
            raise AssertionError


def test_the_blocking_facade_speaks_tls() -> None:
    with (
        jchannel.sync.start("127.0.0.1", 0, ssl_context=serving("127.0.0.1")) as server,
        PeerThread(server.page_url, ssl_context=trusting()),
        server.open("code", TIMEOUT) as channel,
    ):
        assert server.issue_browser_url().startswith("https://")
        assert channel.call("add", 2, 3, timeout=TIMEOUT) == 5


def test_the_asyncio_facade_speaks_tls() -> None:
    async def program() -> None:
        async with await jchannel.start("127.0.0.1", 0, ssl_context=serving("127.0.0.1")) as server:
            with PeerThread(server.page_url, ssl_context=trusting()):
                channel = await server.open("code", TIMEOUT)
                assert await channel.call("add", 2, 3, timeout=TIMEOUT) == 5
                await channel.close()

    asyncio.run(program())


@pytest.mark.parametrize(
    ("options", "url"), [({}, "https://localhost:"), ({"url": "https://x.example/p"}, "https://x.")]
)
def test_a_notebook_is_told_the_url_of_https(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], url: str
) -> None:
    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    with jchannel.sync.start(port=0, ssl_context=serving("localhost"), **options):  # type: ignore[arg-type]
        (shown,) = kernel.published
        assert f"&quot;url&quot;:&quot;{url}" in str(shown)
