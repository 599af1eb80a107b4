"""What is asked of a server that starts, fails to start, ends with an error or is started again, in the facades."""

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

import jchannel
import jchannel.sync
from jchannel import Channel, Server
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.portal import open_thread_portal
from jchannel._core import server as core_server
from jchannel._core.addresses import open_listeners
from jchannel.errors import ClosedError
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"


def let_trio_work(server: Server) -> None:
    """Waits until trio has done all it can. The loop is blocked meanwhile, and its Tasks do not hear of it."""
    wait_blocking(TaskJob(server._handle.portal, trio.testing.wait_all_tasks_blocked))


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def break_inside(server: Server | jchannel.sync.Server) -> None:
    """Ends a server with an error of the library's own."""

    async def fail() -> None:
        raise LookupError("broken inside")

    async def start_failing() -> None:
        server._handle.server.start_soon(fail)
        await trio.lowlevel.checkpoint()

    wait_blocking(TaskJob(server._handle.portal, start_failing))


@contextmanager
def trio_held_up() -> Iterator[None]:
    """What the block asks for, trio begins all at once when the block has ended."""
    let_go = threading.Event()
    open_thread_portal().post(lambda: let_go.wait(TIMEOUT))
    try:
        yield
    finally:
        let_go.set()


# While it starts


def test_all_that_is_asked_while_it_starts_is_done_in_order_when_it_has() -> None:
    async def program() -> None:
        server = Server(port=0)
        ended: list[str] = []

        def ask(name: str, task: asyncio.Task[object]) -> asyncio.Task[object]:
            task.add_done_callback(lambda _: ended.append(name))
            return task

        tasks = [ask("start", server.start()), ask("page", server.wait_page(TIMEOUT))]
        channel = Channel(server, CODE)
        tasks += [ask("open", channel.open(TIMEOUT)), ask("call", channel.call("record", 1, timeout=TIMEOUT))]
        await tasks[0]
        with PeerThread(server.page_url) as peer:
            await asyncio.gather(*tasks)
            assert peer.page.received == [1]
        assert ended[:2] == ["start", "page"]
        assert set(ended[2:]) == {"open", "call"}  # Their outcomes may come in one frame.
        await server.stop()

    asyncio.run(program())


def test_what_is_cancelled_while_it_starts_is_not_done() -> None:
    async def program() -> None:
        server = Server(port=0)
        starting = server.start()
        channel = Channel(server, CODE)
        opening, calling = channel.open(TIMEOUT), channel.call("record", 1, timeout=TIMEOUT)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await starting
        with PeerThread(server.page_url) as peer:
            await opening
            await channel.call("record", 2)
            assert peer.page.received == [2]
        await server.stop()

    asyncio.run(program())


def test_what_cannot_be_asked_while_it_starts_is_an_error_where_it_is_awaited() -> None:
    async def program() -> None:
        server = Server(port=0)
        starting = server.start()
        calling = Channel(server, CODE).call("add", 2, 3)
        with pytest.raises(ClosedError, match="has not been opened"):
            await calling
        await starting
        await server.stop()

    asyncio.run(program())


ASKING: list[tuple[str, Callable[[Server], Awaitable[object]]]] = [
    ("wait_page", lambda server: server.wait_page()),
    ("open", lambda server: server.open(CODE)),
    ("move_to_newest_page", lambda server: server.move_to_newest_page()),
]


@pytest.mark.parametrize("ask", [ask for _, ask in ASKING], ids=[name for name, _ in ASKING])
def test_an_error_of_starting_is_raised_by_the_start_and_is_the_cause_for_others(
    ask: Callable[[Server], Awaitable[object]],
) -> None:
    async def program() -> None:
        with taken_port() as port:
            server = Server("127.0.0.1", port)
            with trio_held_up():
                starting, asked = server.start(), ask(server)
            with pytest.raises(OSError, match=str(port)):
                await starting
            with pytest.raises(ClosedError, match=str(port)) as caught:
                await asked
            assert isinstance(caught.value.__cause__, OSError)
            await server.stop()

    asyncio.run(program())


def test_who_enters_a_server_whose_start_fails_gets_an_error_of_their_own() -> None:
    async def program() -> None:
        with taken_port() as port:
            server = Server("127.0.0.1", port)
            with trio_held_up():
                starting, entering = server.start(), asyncio.create_task(server.__aenter__())
                await asyncio.sleep(0)
            errors = await asyncio.gather(starting, entering, return_exceptions=True)
            assert all(str(port) in str(error) for error in errors)
            assert errors[0] is not errors[1]

    asyncio.run(program())


def test_a_start_that_is_cancelled_ends_what_waited_for_it() -> None:
    async def program() -> None:
        server = Server(port=0)
        starting, waiting = server.start(), server.wait_page()
        opening = Channel(server, CODE).open()
        starting.cancel()
        for task in (waiting, opening):
            with pytest.raises(ClosedError):
                await task
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(program())


# Undoing


def test_entering_a_server_that_is_starting_can_be_cancelled_without_ending_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listening = threading.Event()

    async def listen_later(host: str, port: int | None) -> object:
        await trio.to_thread.run_sync(listening.wait, TIMEOUT, abandon_on_cancel=True)
        return await open_listeners(host, port)

    monkeypatch.setattr(core_server, "open_listeners", listen_later)

    async def program() -> None:
        server = Server(port=0)
        starting, entering = server.start(), asyncio.create_task(server.__aenter__())
        await asyncio.sleep(0)
        let_trio_work(server)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        listening.set()
        assert await starting is server
        assert "stopped" not in repr(server)
        await server.stop()

    asyncio.run(program())


def test_entering_a_server_that_runs_leaves_it_running_when_it_is_cancelled() -> None:
    async def program() -> None:
        async with Server(port=0) as server:
            entering = asyncio.create_task(server.__aenter__())
            await asyncio.sleep(0)
            let_trio_work(server)
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            assert "stopped" not in repr(server)

    asyncio.run(program())


def test_a_start_that_is_undone_does_not_end_the_next() -> None:
    async def program() -> None:
        server = Server(port=0)
        first = server.start()
        let_trio_work(server)
        stopping, second = server.stop(), server.start()
        let_trio_work(server)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await stopping
        await second
        assert "stopped" not in repr(server)
        await server.stop()

    asyncio.run(program())


def test_an_opening_that_is_undone_does_not_end_the_next() -> None:
    async def program() -> None:
        async with Server(port=0) as server:
            with PeerThread(server.page_url):
                await server.wait_page()
                channel = Channel(server, CODE)
                first = channel.open(TIMEOUT)
                assert channel.sync.echo(1, timeout=TIMEOUT) == [1]  # It has opened, and the loop does not know yet.
                closing, second = channel.close(), channel.open(TIMEOUT)
                assert channel.sync.echo(2, timeout=TIMEOUT) == [2]
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                await closing
                await second
                assert await channel.echo(3) == [3]

    asyncio.run(program())


# Errors of the library


def test_an_error_inside_reaches_those_who_wait_and_those_who_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    async def program() -> None:
        server = await jchannel.start(port=0)
        waiting = server.wait_page()
        break_inside(server)
        with pytest.raises(ClosedError, match="broken inside") as caught:
            await waiting
        assert isinstance(caught.value.__cause__, LookupError)
        with pytest.raises(ClosedError, match="broken inside"):
            await server.stop()

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(program())


def test_an_error_inside_a_server_reaches_those_who_wait_for_its_channels(caplog: pytest.LogCaptureFixture) -> None:
    async def program() -> None:
        server = await jchannel.start(port=0)
        with PeerThread(server.page_url) as peer:
            channel = await server.open(CODE)
            calling = channel.call("hang", timeout=None)
            await asyncio.to_thread(peer.page.hanging.wait, TIMEOUT)
            break_inside(server)
            with pytest.raises(ClosedError, match="the server has ended with an error"):
                await calling
            assert "closed" in repr(channel)
            with pytest.raises(ClosedError, match="broken inside"):
                await server.stop()  # It has not quite ended yet, and is not to be dropped before.

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(program())


def test_being_stopped_on_purpose_is_no_error_of_the_library() -> None:
    async def program() -> None:
        server = await jchannel.start(port=0)
        waiting, opening = server.wait_page(), server.open(CODE)
        await server.stop()
        for task in (waiting, opening):
            with pytest.raises(ClosedError, match=r"server (is|was) closed") as caught:
                await task
            assert caught.value.__cause__ is None

    asyncio.run(program())


def test_a_server_that_has_ended_with_an_error_can_be_started_again(caplog: pytest.LogCaptureFixture) -> None:
    server = jchannel.sync.start(port=0)

    with caplog.at_level(logging.CRITICAL):
        break_inside(server)
        with pytest.raises(ClosedError, match="broken inside"):
            server.stop()
        server.start()
    with PeerThread(server.page_url):
        server.wait_page(TIMEOUT)
    server.stop()
