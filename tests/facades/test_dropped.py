"""A server that is dropped while it runs is stopped when it is collected, and a warning names it."""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from collections.abc import Iterator

import pytest

import jchannel
import jchannel.sync
from jchannel._bridge.call import wait_blocking
from tests.conftest import FreshPython
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"
WORDS = "a jchannel server was dropped without being stopped, and is stopped now: at"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing but the counts of references tells that something is dropped."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def wait_ended(peer: PeerThread) -> None:
    """Wait until the peer has heard that its server has ended."""
    peer._thread.join(TIMEOUT)
    assert not peer._thread.is_alive()
    assert peer._peer.why_ended.endswith("the server was closed")


@pytest.mark.usefixtures("no_collector")
def test_a_blocking_server_is_stopped_when_neither_it_nor_a_channel_of_it_is_left() -> None:
    server = jchannel.sync.start(port=0)
    url = server.url
    with PeerThread(server.page_url) as peer:
        channel = server.open(CODE, TIMEOUT, handler=peer.page)
        del server
        assert channel.echo(1) == [1]
        with pytest.warns(ResourceWarning) as caught:  # noqa: PT031 (what warns comes later)
            del channel
            wait_ended(peer)
    assert [str(warning.message) for warning in caught] == [f"{WORDS} {url}, page connected"]


@pytest.mark.usefixtures("no_collector")
def test_so_is_one_of_a_loop() -> None:
    async def program() -> None:
        server = await jchannel.start(port=0)
        url = server.url
        with PeerThread(server.page_url) as peer:
            channel = await server.open(CODE, TIMEOUT)
            del server
            call = channel.call("add", 1, 2)
            del channel  # What is under way needs it, and is the last that does.
            with pytest.warns(ResourceWarning, match=f"{WORDS} {url}, page connected"):  # noqa: PT031 (the same)
                assert await call == 3
                del call
                wait_ended(peer)  # It may be collected in trio's thread, a moment later.

    asyncio.run(program())


def test_one_whose_handler_knows_its_channel_goes_on_as_the_page_can_call_it() -> None:
    class Handler:
        channel: jchannel.sync.Channel

        def ask(self) -> int:
            return 5

    handler = Handler()
    server = jchannel.sync.start(port=0)
    with PeerThread(server.page_url) as peer:
        handler.channel = server.open(CODE, TIMEOUT, handler=handler)
        handle = weakref.ref(server._handle)
        del server, handler
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gc.collect()
        assert peer.call("ask") == 5
        kept = handle()
        assert kept is not None
        wait_blocking(kept.stop())


def test_one_that_was_stopped_or_never_started_is_dropped_without_a_word() -> None:
    server = jchannel.sync.start(port=0)
    server.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del server
        jchannel.sync.Server(port=0)
        gc.collect()


def test_a_program_that_ends_with_a_server_ends_without_a_word(fresh_python: FreshPython) -> None:
    assert fresh_python("import jchannel.sync\nserver = jchannel.sync.start(port=0)\nprint('end')") == "end\n"
