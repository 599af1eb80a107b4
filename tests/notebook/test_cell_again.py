"""A cell that is run again is given the server that it has started before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio.testing

import jchannel.sync
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel.server import Server, start
from tests.notebook.kernel import FakeKernel
from tests.peer_thread import PeerThread

SAME = "is given again with its page and its channels"


@pytest.fixture
def run(kernel: FakeKernel) -> Iterator[Callable[..., jchannel.sync.Server]]:
    """Runs a cell that starts a server; each run is another one."""
    runs = iter(range(1000))
    servers: list[jchannel.sync.Server] = []

    def run(text: str = "the cell", *, cell_id: str | None = None, **options: Any) -> jchannel.sync.Server:
        kernel.enter(f"run {next(runs)}", content={"code": text}, metadata={"cellId": cell_id})
        server = jchannel.sync.start(port=0, **options)
        servers.append(server)
        return server

    yield run
    for server in servers:
        server.stop()


def said(kernel: FakeKernel) -> int:
    return sum(SAME in bundle["text/plain"] for bundle in kernel.published)


def test_the_same_cell_with_the_same_arguments_is_given_the_same_server(
    run: Callable[..., jchannel.sync.Server], kernel: FakeKernel
) -> None:
    first = run()
    assert said(kernel) == 0
    for times in range(1, 10):
        assert run() is first
        assert said(kernel) == times
    assert first.url in kernel.published[-2]["text/plain"]
    # The output of the former run is gone, and with it what has kept the page connected.
    assert "data-jchannel" in kernel.published[-1]["text/html"]


def test_its_page_and_its_channels_go_on(run: Callable[..., jchannel.sync.Server]) -> None:
    server = run()
    with PeerThread(server.page_url):
        channel = server.open("code")
        assert run() is server
        assert channel.echo(1) == [1]


@pytest.mark.parametrize("again", [{"text": "another cell"}, {"heartbeat": 5}, {"default": str}])
def test_another_cell_and_other_arguments_have_another_server(
    again: dict[str, Any], run: Callable[..., jchannel.sync.Server]
) -> None:
    first = run(origins=["null"])
    assert run(**{"origins": ["null"], **again}) is not first
    assert run(origins=["null"]) is first


def test_a_cell_is_known_by_its_id_where_the_front_end_tells_it(run: Callable[..., jchannel.sync.Server]) -> None:
    first = run("before it was edited", cell_id="id 1")
    assert run("after it", cell_id="id 1") is first
    assert run("after it", cell_id="id 2") is not first


def test_a_function_that_the_cell_defines_anew_is_the_same_argument(
    run: Callable[..., jchannel.sync.Server],
) -> None:
    def define() -> Callable[[Any], Any]:
        return lambda value: str(value)  # noqa: PLW0108 (the cell's)

    first = run(default=define())
    assert run(default=define()) is first
    assert run(default=lambda value: repr(value)) is not first  # noqa: PLW0108 (the same)


def test_a_cell_that_starts_several_has_each_of_them_again(
    run: Callable[..., jchannel.sync.Server], kernel: FakeKernel
) -> None:
    servers = [run(), jchannel.sync.start(port=0)]
    assert servers[0] is not servers[1]
    assert [run(), jchannel.sync.start(port=0)] == servers
    servers[1].stop()


def test_a_server_that_was_stopped_is_not_given_again(run: Callable[..., jchannel.sync.Server]) -> None:
    first = run()
    first.stop()
    assert run() is not first


def test_one_that_opens_a_browser_is_another_each_time(
    run: Callable[..., jchannel.sync.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    assert run(open_browser=True) is not run(open_browser=True)


def test_where_the_cell_is_not_known_each_start_makes_a_server(kernel: FakeKernel) -> None:
    del kernel.shell.get_parent
    with jchannel.sync.start(port=0) as first:
        kernel.enter("cell 1, run again")
        with jchannel.sync.start(port=0) as second:
            assert first is not second


def test_on_a_loop_it_is_the_result_of_the_task(kernel: FakeKernel) -> None:
    async def program() -> None:
        kernel.enter("run 1", content={"code": "await start()"})
        first = await start(port=0)
        kernel.enter("run 2", content={"code": "await start()"})
        task = start(port=0)
        assert await task is first
        assert said(kernel) == 1
        assert "data-jchannel" in kernel.published[-1]["text/html"]
        kernel.enter("run 3", content={"code": "await start()"})
        async with await start(port=0, notebook=False) as other:
            assert type(other) is Server
            assert other is not first
        await first.stop()

    asyncio.run(program())


def test_a_notebook_s_server_that_is_dropped_is_stopped(kernel: FakeKernel) -> None:
    kernel.enter("run 1", content={"code": "the cell"})
    server = jchannel.sync.start(port=0)
    url = server.url
    # The step of trio's that has started it may still hold it.
    wait_blocking(TaskJob(server._handle.portal, trio.testing.wait_all_tasks_blocked))
    with pytest.warns(ResourceWarning, match=f"dropped without being stopped, and is stopped now: at {url}, no page"):
        del server
