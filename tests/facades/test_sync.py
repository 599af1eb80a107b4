"""The blocking facade."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import jchannel.sync
from jchannel.errors import ClosedError, FrontendError, KernelError, StateError
from jchannel.sync import Channel, Server
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"


class Handler:
    """The Python handler that the page calls."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def double(self, value: int) -> int:
        return value * 2

    def add_in_page(self, left: int, right: int) -> int:
        result: int = self.channel.call("add", left, right)
        return result

    async def double_later(self, value: int) -> int:
        return value * 2


@contextmanager
def connected() -> Iterator[tuple[Server, PeerThread]]:
    """A server with a page."""
    with jchannel.sync.start(port=0) as server, PeerThread(server.page_url, lambda *_: "opened") as peer:
        yield server, peer


def test_methods_wait_and_return_the_value() -> None:
    with connected() as (server, _):
        server.wait_page()
        assert server.statistics().page_connected
        channel = Channel(server, CODE)
        assert channel.open() == "opened"
        assert channel.call("add", 2, 3) == 5
        assert channel.echo(1, b"two") == [1, b"two"]
        assert channel.statistics().calls_made.answered == server.statistics().calls_made.answered == 2
        assert str(channel.tree()) == "channel 1, open"
        assert str(channel.tree()) in str(server.tree())
        channel.close()
        with pytest.raises(ClosedError, match=r"close\(\) was called"):
            channel.call("add", 2, 3)


def test_contexts_open_what_is_not_open() -> None:
    with Server(port=0) as server, PeerThread(server.page_url):
        with Channel(server, CODE) as channel:
            assert channel.call("add", 2, 3) == 5
        with server.open(CODE) as channel:
            assert channel.call("add", 2, 3) == 5
    assert repr(server) == f"<jchannel.sync.Server at {server.url}, stopped>"
    assert repr(channel) == f"<jchannel.sync.Channel closed, server at {server.url}, stopped>"


def test_errors_are_those_of_the_asyncio_facade() -> None:
    with connected() as (server, _), server.open(CODE) as channel:
        with pytest.raises(FrontendError, match="LookupError: not in the page"):
            channel.call("fail")
        with pytest.raises(TimeoutError, match=r"not answered within 0\.05 s"):
            channel.call("hang", timeout=0.05)
        with pytest.raises(StateError, match="open already"):
            channel.open()
        with pytest.raises(StateError, match="started already"):
            server.start()
        with pytest.raises(ValueError, match="timeout"):
            channel.call("add", timeout=-1)


def test_an_interrupt_cancels_the_call_in_the_page_and_leaves_all_working() -> None:
    with connected() as (server, peer), server.open(CODE) as channel:

        def interrupt() -> None:
            assert peer.page.hanging.wait(TIMEOUT)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            channel.call("hang", timeout=None)
        thread.join()
        assert peer.page.ended.is_set()
        assert channel.call("add", 2, 3) == 5


def test_the_page_calls_the_handler_while_the_program_waits() -> None:
    with connected() as (server, peer), server.open(CODE) as channel:
        channel.handler = handler = Handler(channel)
        assert channel.handler is handler
        assert peer.call("double", 4) == 8


def test_a_method_may_call_the_page() -> None:
    with connected() as (server, peer), server.open(CODE) as channel:
        channel.handler = Handler(channel)
        assert peer.call("add_in_page", 2, 3) == 5


def test_a_call_of_another_thread_is_no_part_of_what_a_method_in_trio_answers() -> None:
    class Closing:
        def __init__(self) -> None:
            self.stream: jchannel.sync.ByteStream
            self.holding = threading.Event()

        @jchannel.background
        async def close_stream(self) -> None:
            # The other thread's call has come, and trio has not got to it before this thread closes a stream.
            self.holding.set()
            while not channel._handle.portal._waiting:
                time.sleep(0.001)  # noqa: ASYNC251 (it keeps the thread on purpose)
            self.stream.close()

    def hang() -> None:
        with pytest.raises(ClosedError, match=r"close\(\) was called"):
            channel.call("hang", timeout=None)

    with connected() as (server, peer):
        channel = server.open(CODE)
        channel.handler = handler = Closing()
        handler.stream = channel.pipe(endless())
        closing = threading.Thread(target=peer.call, args=("close_stream",))
        closing.start()
        assert handler.holding.wait(TIMEOUT)
        hanging = threading.Thread(target=hang)
        hanging.start()
        assert peer.page.hanging.wait(TIMEOUT)
        (call,) = channel.tree().calls_made
        channel.close()
        closing.join()
        hanging.join()
        # It has none of the time that the page has given to its own call.
        assert (call.what, call.parent, call.time_left) == ("call of 'hang'", None, float("inf"))


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1_000)


def test_an_async_method_is_an_error_for_the_page() -> None:
    with connected() as (server, peer), server.open(CODE) as channel:
        channel.handler = Handler(channel)
        with pytest.raises(KernelError, match="TypeError: 'double_later' is an async method"):
            peer.call("double_later", 4)


def test_a_channel_needs_a_server_and_code() -> None:
    with pytest.raises(TypeError, match="server of a channel"):
        Channel("http://localhost", CODE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="code"):
        Channel(Server(), 3)  # type: ignore[arg-type]


def test_a_context_timeout_is_checked_when_it_is_set() -> None:
    channel = Channel(Server(), CODE)
    channel.context_timeout = None
    with pytest.raises(ValueError, match="timeout"):
        channel.context_timeout = -1
    assert channel.context_timeout is None
