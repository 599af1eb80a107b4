"""The asyncio facade's server."""

import asyncio
import socket
import threading

import pytest
import trio
import trio.testing

import jchannel
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel.errors import ClosedError, StateError, UnreachableError
from jchannel.trio import open_peer
from tests.peer_thread import PeerThread


def test_starting_gives_the_server_and_stopping_ends_it() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        task = server.start()
        assert task.get_name() == "server.start"
        assert await task is server
        with PeerThread(server.page_url):
            await server.wait_page(timeout=20)
            assert server.statistics().page_connected
        await server.stop()

        def connect() -> None:
            trio.run(_connect, server.page_url)

        with pytest.raises(UnreachableError, match="nothing listens there"):
            await asyncio.to_thread(connect)

    asyncio.run(program())


async def _connect(url: str) -> None:
    async with open_peer(url):
        pass


def test_start_makes_a_server_and_starts_it() -> None:
    async def program() -> None:
        async with await jchannel.start("127.0.0.1", 0, url="https://example.com/proxy") as server:
            assert server.url == "https://example.com/proxy"
            assert server.page_url == f"https://example.com/proxy/#jchannel={server.token}"

    asyncio.run(program())


def test_a_server_of_its_own_starts_with_its_context() -> None:
    async def program() -> None:
        async with jchannel.Server(port=0) as server:
            assert server.statistics().connections == 0
        assert "stopped" in repr(server)

    asyncio.run(program())


def test_the_repr_says_the_state_and_no_secret() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        assert repr(server) == "<jchannel.server.Server not started>"
        await server.start()
        assert repr(server) == f"<jchannel.server.Server at {server.url}, no page connected>"
        with PeerThread(server.page_url):
            await server.wait_page()
            assert repr(server) == f"<jchannel.server.Server at {server.url}, page connected>"
        await server.stop()
        assert repr(server) == f"<jchannel.server.Server at {server.url}, stopped>"

    asyncio.run(program())


def test_a_server_that_is_not_started_says_so() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        for name in ("url", "token", "page_url"):
            with pytest.raises(ClosedError, match="not started"):
                getattr(server, name)
        with pytest.raises(ClosedError, match="not started"):
            server.statistics()
        with pytest.raises(ClosedError, match="not started"):
            server.tree()
        with pytest.raises(ClosedError, match="not started"):
            await server.wait_page()
        with pytest.raises(ClosedError, match="not started"):
            await server.open("() => {}")
        await server.stop()

    asyncio.run(program())


def test_a_server_that_was_stopped_takes_nothing_more() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            pass
        with pytest.raises(ClosedError, match="the server is closed"):
            await server.open("() => {}")
        await server.stop()

    asyncio.run(program())


def test_a_server_cannot_be_started_twice() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with pytest.raises(StateError, match="started already"):
                await server.start()

    asyncio.run(program())


def test_a_server_that_was_stopped_can_be_started_again_with_another_token() -> None:
    async def program() -> None:
        server = await jchannel.start(port=0)
        token = server.token
        # Neither is awaited before the next: each begins when it is called.
        stopping, starting = server.stop(), server.start()
        await starting
        await stopping
        assert server.token != token
        with PeerThread(server.page_url):
            await server.wait_page()
        await server.stop()

    asyncio.run(program())


def test_what_is_asked_of_a_server_that_is_starting_waits_for_it() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        starting, waiting = server.start(), server.wait_page(timeout=20)
        await starting
        with PeerThread(server.page_url):
            await waiting
        await server.stop()

    asyncio.run(program())


def test_a_server_that_is_starting_can_be_entered() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        starting = server.start()
        async with server:
            assert server.url
        await starting

    asyncio.run(program())


def test_a_port_that_is_taken_is_an_os_error_that_names_it() -> None:
    async def program() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = jchannel.Server(port=port)
            with pytest.raises(OSError, match=str(port)):
                await server.start()
        await server.start()
        await server.stop()

    asyncio.run(program())


def test_arguments_of_the_wrong_kind_are_errors_of_the_start() -> None:
    async def program() -> None:
        with pytest.raises(TypeError, match="port"):
            await jchannel.start(port="8889")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="heartbeat"):
            await jchannel.start(port=0, heartbeat=0)

    asyncio.run(program())


def test_a_start_that_is_cancelled_leaves_nothing_started() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        task = server.start()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.start()
        await server.stop()

    asyncio.run(program())


def test_a_start_that_is_cancelled_when_it_has_succeeded_is_undone() -> None:
    async def program() -> None:
        server = jchannel.Server(port=0)
        task = server.start()
        wait_blocking(TaskJob(server._handle.portal, trio.testing.wait_all_tasks_blocked))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "stopped" in repr(server)

    asyncio.run(program())


def test_waiting_for_a_page_ends_with_its_time() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with pytest.raises(TimeoutError, match="no page is connected"):
                await server.wait_page(timeout=0)

    asyncio.run(program())


def test_waiting_for_a_page_ends_with_the_server() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            waiting = server.wait_page()
        with pytest.raises(ClosedError, match="the server is closed"):
            await waiting

    asyncio.run(program())


def test_a_timeout_that_is_none_is_an_error_of_the_call_itself() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with pytest.raises(TypeError, match="timeout"):
                server.wait_page("3")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="timeout"):
                server.open("() => {}", timeout=-1)
            with pytest.raises(TypeError, match="code"):
                server.open(3)  # type: ignore[arg-type]

    asyncio.run(program())


def test_without_a_loop_every_method_points_to_the_blocking_facade() -> None:
    server = jchannel.Server(port=0)
    for method in (jchannel.start, server.start, server.stop, server.wait_page):
        with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
            method()
    with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
        server.open("() => {}")


def test_a_server_outlives_the_loop_that_started_it() -> None:
    async def start() -> jchannel.Server:
        return await jchannel.start(port=0)

    async def use(server: jchannel.Server) -> None:
        with PeerThread(server.page_url):
            await server.wait_page()
        await server.stop()

    asyncio.run(use(asyncio.run(start())))


def test_a_loop_of_another_thread_will_do() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url):
                async with await server.open("() => {}") as channel:
                    values.append(await channel.call("add", 2, 3))

    values: list[int] = []
    thread = threading.Thread(target=lambda: asyncio.run(program()))
    thread.start()
    thread.join()
    assert values == [5]
