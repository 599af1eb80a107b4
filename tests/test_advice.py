"""What errors advise: each test makes the mistake, reads the advice, follows it, and comes through.

What each type of values is told is in ``test_values.py``, the advice about origins in ``core/test_auth.py``, that of
the client in ``browser/test_advice.py`` and in its own tests, that of the kernel in ``kernel``, that of notebooks in
``jupyter``.
"""

from __future__ import annotations

import asyncio
import io
import math
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

import jchannel
import jchannel.sync
import jchannel.testing
from jchannel.errors import ClosedError, KernelError, StateError
from jchannel.testing import AsyncioKit, SyncKit, open_pair
from jchannel.trio import Limits, open_peer, open_server
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"


class Page:
    """Plays the page."""

    def same(self, value: Any = None) -> Any:
        return value

    async def join(self, stream: jchannel.MetaGenerator) -> bytes:
        return bytes(await stream.join())


# What is sent


@pytest.mark.parametrize(
    ("wrong", "advice", "right", "arrives"),
    [
        (math.nan, "send None or a str instead", None, None),
        (math.inf, "send None or a str instead", "Infinity", "Infinity"),
        (math.inf, "or an array of floats", np.array([math.inf]), [math.inf]),
        (10**20 + 1, "send it as a str", str(10**20 + 1), str(10**20 + 1)),
        ({1: 2}, "JSON would make it a str, so make it one", {"1": 2}, {"1": 2}),
        (
            np.ma.masked_array([1, 2], [False, True]),
            "send value.filled()",
            np.ma.masked_array([1, 2], [False, True]).filled(),
            [1, 999_999],
        ),
        (
            np.array([1, 2], "float16"),
            'send value.astype("float32")',
            np.array([1, 2], "float16").astype("float32"),
            [1, 2],
        ),
    ],
)
async def test_a_value_that_cannot_be_sent_can_be_sent_as_the_error_says(
    wrong: object, advice: str, right: object, arrives: object, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(Page()) as (channel, _):
        with pytest.raises((TypeError, ValueError), match=re.escape(advice)):
            await channel.call("same", wrong)
        value = await channel.call("same", right)
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == arrives


async def test_what_cannot_be_sent_is_converted_or_null_as_the_errors_say(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with jchannel.testing.open_server() as server, jchannel.testing.open_page(server, Page()):
        async with server.open_channel(CODE) as channel:
            with pytest.raises(TypeError, match=r", or convert each one with default=$"):
                await channel.call("same", 1j)
            with pytest.raises(
                ValueError, match=r"; nan='null' makes a null of each, and nan='keep' lets them travel$"
            ):
                await channel.call("same", math.nan)
        async with server.open_channel(CODE, default=str, nan="null") as channel:
            assert await channel.call("same", [1j, math.nan]) == ["1j", None]
        async with server.open_channel(CODE, nan="keep") as channel:
            assert math.isnan(await channel.call("same", math.nan))


async def test_what_is_too_large_at_once_can_be_sent_in_less(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(Page(), limits=Limits(frame_bytes=4096)) as (channel, _):
        with pytest.raises(ValueError, match=r": send less at a time, or bytes as a stream$"):
            await channel.call("same", "x" * 5000)
        assert len(await channel.call("same", "x" * 2500) + await channel.call("same", "x" * 2500)) == 5000


async def pieces() -> AsyncIterator[bytes]:
    yield b"text"


@pytest.mark.parametrize("make", [lambda: io.BytesIO(b"text"), pieces])
async def test_what_is_no_value_and_is_a_stream_can_be_sent_as_one(
    make: Callable[[], Any], autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(Page()) as (channel, _):
        with pytest.raises(TypeError, match="send it as a stream, with call_with_stream"):
            await channel.call("join", make())
        assert await channel.call_with_stream("join", make()) == b"text"


@pytest.mark.parametrize(
    ("wrong", "advice", "right"),
    [
        (lambda _: "text", "encode text", lambda _: b"text"),
        (str, "make a pathlib.Path of the name of a file", lambda path: path),
        (lambda path: path.open(), "open it in binary mode", lambda path: path.open("rb")),
        (lambda _: pieces, "call it, and pass what it returns", lambda _: pieces()),
    ],
)
async def test_what_is_no_stream_can_be_sent_as_the_error_says(
    wrong: Callable[[Path], Any], advice: str, right: Callable[[Path], Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("text")
    async with open_pair(Page()) as (channel, _):
        stream = wrong(tmp_path / "file")
        with pytest.raises(TypeError, match=re.escape(advice)):
            await channel.call_with_stream("join", stream)
        if isinstance(stream, io.IOBase):
            stream.close()
        stream = right(tmp_path / "file")
        assert await channel.call_with_stream("join", stream) == b"text"
        if isinstance(stream, io.IOBase):
            stream.close()


def test_a_call_that_waits_takes_an_iterable_as_its_error_says() -> None:
    class ThreadPage:
        def join(self, stream: jchannel.sync.ByteStream) -> bytes:
            return bytes(stream.join())

    with SyncKit() as kit:
        channel, _ = kit.open_pair(ThreadPage())
        with pytest.raises(TypeError, match=r"give it an iterable, and not "):
            channel.call_with_stream("join", pieces())
        assert channel.call_with_stream("join", iter([b"text"])) == b"text"


# What is read


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.by_separator(b"\n", limit=100),
        lambda stream: stream.by_separator(b"\n", limit=None),
        lambda stream: stream.by_limit(2**16),
    ],
)
async def test_a_record_that_is_too_long_can_be_read_as_the_error_says(
    read: Callable[[jchannel.MetaGenerator], AsyncIterator[bytes]], autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pair(Page()) as (channel, _):
        async with await channel.pipe(b"x" * 50 + b"\n") as stream:
            with pytest.raises(
                ValueError, match=r"a greater limit, or limit=None; by_limit reads without a separator$"
            ):
                await anext(aiter(stream.by_separator(b"\n", limit=10)))
        async with await channel.pipe(b"x" * 50 + b"\n") as stream:
            assert len(await anext(aiter(read(stream)))) == 51


async def test_a_separator_of_nothing_is_by_limit_as_the_error_says(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(Page()) as (channel, _):
        async with await channel.pipe(b"text") as stream:
            with pytest.raises(ValueError, match=r"must not be empty: by_limit returns records without one$"):
                stream.by_separator(b"")
            assert [bytes(record) async for record in stream.by_limit(2)] == [b"te", b"xt"]


async def test_lines_in_another_encoding_are_read_as_the_error_says(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(Page()) as (channel, _):
        async with await channel.pipe("a\nb".encode("utf-16")) as stream:
            with pytest.raises(ValueError, match=r": read the whole stream with join\(\) and decode that$"):
                stream.lines("utf-16")
            assert (await stream.join()).decode("utf-16").splitlines() == ["a", "b"]


# Servers and channels


async def test_a_port_that_is_taken_can_be_left_out_as_the_error_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"stop what uses it, or leave the port out to get a free one$"):
            async with open_server("127.0.0.1", port):
                pass
        async with open_server("127.0.0.1") as server:
            assert server.url != f"http://127.0.0.1:{port}"
    async with open_server("127.0.0.1", port) as server:
        assert server.url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])  # noqa: S104 (the advice)
async def test_an_empty_host_can_be_every_address_as_the_error_says(host: str, address: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{host}'")):
        async with open_server(""):
            pass
    async with open_server(host, 0) as server:
        async with open_peer(server.url.replace("localhost", address), token=server.token):
            pass


@pytest.mark.parametrize(
    "wrong", ["example.com", "https://me@example.com/proxy/8889", "https://example.com/proxy/8889?a=1"]
)
async def test_a_wrong_url_can_be_written_as_the_error_says(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"url must ") as caught:
        async with open_server(url=wrong, port=0):
            pass
    (example,) = re.findall(r"https://[^ ,]+(?=, and)", str(caught.value)) or ["https://example.com/proxy/8889"]
    async with open_server(url=example, port=0) as server:
        assert server.page_url == f"{example}/#jchannel={server.token}"  # It adds the token itself.


async def test_no_listeners_can_be_left_out_as_the_error_says() -> None:
    with pytest.raises(ValueError, match=r"listeners must not be empty: leave it out to listen on host and port$"):
        async with open_server(listeners=[]):
            pass
    async with open_server(port=0) as server, open_peer(server.page_url):
        pass


def test_a_limit_that_pages_cannot_be_told_can_be_left_out_as_the_error_says() -> None:
    with pytest.raises(ValueError, match=r"must be less than 2\*\*53, as pages are told it: leave it out$"):
        Limits(frame_bytes=2**53)
    assert Limits(frame_bytes=2**53 - 1).frame_bytes > Limits().frame_bytes


@pytest.mark.parametrize(("client", "error"), [("", ValueError), ("x" * 65, ValueError), (5, TypeError)])
async def test_a_name_that_no_server_takes_can_be_left_out_as_the_error_says(
    client: Any, error: type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    async with jchannel.testing.open_server() as server:
        with pytest.raises(error, match=r"^client must (have 1 to 64 characters|be a str, or None for a random name)"):
            async with jchannel.testing.open_page(server, client=client):
                pass
        async with jchannel.testing.open_page(server, client="x" * 64):
            pass
        async with jchannel.testing.open_page(server, client=None):
            pass


async def test_a_page_that_is_waited_for_connects_at_the_address_that_the_error_names() -> None:
    async with open_server(port=0) as server:
        with pytest.raises(trio.TooSlowError, match=r"no page is connected to .*; open server.page_url in a browser$"):
            await server.wait_page(0)
        async with open_peer(server.page_url):
            await server.wait_page(TIMEOUT)


def test_a_server_and_a_channel_that_are_not_open_can_be_opened_as_the_errors_say() -> None:
    server = jchannel.sync.Server(port=0)
    channel = jchannel.sync.Channel(server, CODE)
    with pytest.raises(ClosedError, match=r"^the server is not started: start it first$"):
        channel.open()
    server.start()
    with pytest.raises(StateError, match=r"stop it before you start it again$"):
        server.start()
    with PeerThread(server.page_url):
        with pytest.raises(ClosedError, match=r"call open\(\) first$"):
            channel.echo(1)
        channel.open(TIMEOUT)
        with pytest.raises(StateError, match=r"close it before you open it again$"):
            channel.open(TIMEOUT)
        channel.close()
        channel.open(TIMEOUT)
        assert channel.echo(1) == [1]
    server.stop()
    server.start()
    server.stop()


async def test_a_channel_without_a_handler_can_be_given_one_as_the_error_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as (channel, page):
        with pytest.raises(KernelError, match=r"has no handler; set channel\.handler$"):
            await page.call("same", 1)
        channel.handler = Page()
        assert await page.call("same", 1) == 1


def test_a_forked_process_can_start_a_server_of_its_own_as_the_error_says() -> None:
    program = """
import os, jchannel.sync
server = jchannel.sync.start(port=0)
child = os.fork()
if child == 0:
    try:
        server.wait_page(5)
    except jchannel.StateError as error:
        assert "start one of its own here" in str(error), error
    with jchannel.sync.start(port=0) as own:
        print(own.url != server.url, flush=True)
    os._exit(0)
os.waitpid(child, 0)
server.stop()
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")


# Where code runs


def test_without_a_loop_the_three_ways_that_the_error_names_lead_on() -> None:
    with SyncKit() as kit, jchannel.sync.start(port=0) as server, PeerThread(server.page_url):
        channel = jchannel.Channel(server, CODE)
        with pytest.raises(RuntimeError, match=r"^no asyncio loop is running here: ") as caught:
            channel.open()
        assert "call this from async code, or use channel.sync, or jchannel.sync in a script" in str(caught.value)

        async def program() -> None:
            await channel.open(TIMEOUT)

        asyncio.run(program())
        assert channel.sync.echo(1) == [1]
        script, _ = kit.open_pair()
        assert script.echo(1) == [1]


def test_in_jchannel_s_trio_the_way_that_the_errors_name_leads_on() -> None:
    answers: list[Any] = []

    class Handler:
        channel: jchannel.Channel

        @jchannel.background
        async def ask(self) -> None:
            try:
                self.channel.echo(1)
            except RuntimeError as error:
                answers.append(str(error))
            try:
                self.channel.sync.echo(1)
            except RuntimeError as error:
                answers.append(str(error))
            answers.append(await trio.to_thread.run_sync(self.channel.sync.echo, 1))

    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url) as peer:
                handler = Handler()
                handler.channel = await server.open(CODE, TIMEOUT, handler=handler)
                await asyncio.to_thread(peer.call, "ask")

    asyncio.run(program())
    no_loop, waits, echoed = answers
    assert "use channel.sync in another thread, with trio.to_thread.run_sync, or jchannel.trio in a program" in no_loop
    assert waits.endswith("would wait for itself: call this in another thread, with trio.to_thread.run_sync")
    assert echoed == [1]


def test_a_method_that_the_blocked_loop_cannot_run_is_answered_in_each_way_that_the_error_names() -> None:
    class Handler:
        def ask(self) -> int:
            return 1

    class Marked(Handler):
        @jchannel.background
        def ask(self) -> int:
            return 2

    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url, on_open=lambda channel, _: setattr(channel, "handler", Through(channel))):
                channel = await server.open(CODE, TIMEOUT, handler=Handler())
                with pytest.raises(TimeoutError, match=r"could not begin") as caught:
                    channel.sync.call("through", timeout=0.5)
                advice = str(caught.value).partition("for its answer, ")[2]
                ways = "await the call, mark the method with @jchannel.background, or make the call from another thread"
                assert advice == ways
                assert await channel.call("through", timeout=TIMEOUT) == 1
                assert await asyncio.to_thread(channel.sync.call, "through", timeout=TIMEOUT) == 1
                channel.handler = Marked()
                assert channel.sync.call("through", timeout=TIMEOUT) == 2

    asyncio.run(program())


class Through:
    """Plays a page that needs Python for its answer."""

    def __init__(self, channel: jchannel.trio.PeerChannel) -> None:
        self._channel = channel

    async def through(self) -> Any:
        return await self._channel.call("ask", timeout=TIMEOUT)


def test_an_async_generator_can_be_marked_in_the_two_ways_that_the_error_names() -> None:
    async def stream(self: object) -> AsyncIterator[bytes]:
        yield b"text"

    with pytest.raises(TypeError, match=r"mark an async def method that returns one, or a plain generator$"):
        jchannel.background(stream)

    class Handler:
        @jchannel.background
        async def returned(self) -> AsyncIterator[bytes]:
            return stream(self)

        @jchannel.background
        def plain(self) -> Iterator[bytes]:
            yield b"text"

    async def program() -> None:
        async with AsyncioKit() as kit:
            _, page = await kit.open_pair(handler=Handler())
            for name in ("returned", "plain"):
                async with await page.call(name) as received:
                    assert await received.join() == b"text"

    asyncio.run(program())


def test_an_async_method_of_the_blocking_facade_can_be_marked_as_the_error_says() -> None:
    class Handler:
        async def unmarked(self) -> int:
            return 1

        @jchannel.background
        async def marked(self) -> int:
            await trio.lowlevel.checkpoint()
            return 2

    with SyncKit() as kit:
        _, page = kit.open_pair(handler=Handler())
        with pytest.raises(
            KernelError, match=r"write it with async def for trio, and mark it with @jchannel.background$"
        ):
            page.call("unmarked")
        assert page.call("marked") == 2


# The kit


async def test_a_page_of_the_kit_that_is_connected_comes_back_as_the_error_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as (channel, page):
        with pytest.raises(StateError, match=r": lose\(\) breaks its connection, reload\(\) loads it anew$"):
            await page.reconnect()
        page.lose()
        await page.reconnect()
        await page.reload()
        assert await channel.echo(1) == [1]


def test_a_kit_is_used_as_its_errors_say() -> None:
    kit = SyncKit()
    with pytest.raises(StateError, match=r"^the kit is not entered: use it in a block, with `with`$"):
        kit.advance(1)
    with kit:
        kit.advance(1)
    with pytest.raises(StateError, match=r"make one for each test$"), kit:
        pass
    with SyncKit():
        pass


async def test_a_fault_takes_the_types_that_its_error_names(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as (_, page):
        with pytest.raises(ValueError, match=r"^name types of messages that go to page, ") as caught:
            page.to_page.drop("welcom")
        for name in str(caught.value).rpartition(": ")[2].split(", "):
            page.to_page.drop(name)


# What is to be installed


def test_the_extras_that_errors_tell_people_to_install_exist() -> None:
    root = Path(jchannel.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    advised = set(re.findall(r"pip install 'jchannel\[(\w+)\]'", text))
    project = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert advised == {"kernel", "progress", "widget"}
    assert advised <= set(project["optional-dependencies"])
