"""The facades' servers in a notebook's kernel: when they show an output, and in which cell."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jchannel.sync
from jchannel._bridge import faces
from jchannel._notebook.hosts import Host, Patience
from jchannel.errors import ClosedError, StateError
from jchannel.server import Server, start
from jchannel.trio import PageStatus
from tests.notebook.kernel import FakeKernel
from tests.peer_thread import TIMEOUT, PeerThread


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Makes this process look like a kernel that executes a cell."""
    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    return kernel


@pytest.fixture
def server(kernel: FakeKernel) -> Iterator[jchannel.sync.Server]:
    with jchannel.sync.Server(port=0) as server:
        yield server


def visit(server: jchannel.sync.Server) -> None:
    """Let a page come and go, and wait until the server knows that it has gone."""
    with PeerThread(server.page_url):
        pass
    wait_gone(server)


def wait_gone(server: jchannel.sync.Server) -> None:
    """Wait until a server knows that its page has gone."""
    gone = threading.Event()

    def note(status: PageStatus) -> None:
        if not status.connected:
            gone.set()

    with server.listen(note):
        assert gone.wait(TIMEOUT)


def count_after(kernel: FakeKernel, **options: Any) -> int:
    async def program() -> None:
        server = await start(port=0, **options)
        await server.stop()

    asyncio.run(program())
    return len(kernel.published)


def test_starting_a_server_shows_an_output_before_the_cell_goes_on(kernel: FakeKernel) -> None:
    async def program() -> int:
        async with Server(port=0):
            entered = len(kernel.published)
        kernel.enter("cell 2")
        server = await Server(port=0).start()
        started = len(kernel.published)
        await server.stop()
        return 10 * entered + started

    assert asyncio.run(program()) == 12


def test_the_output_is_shown_in_the_context_of_the_cell_that_has_started_the_server(kernel: FakeKernel) -> None:
    cell = contextvars.ContextVar("cell", default="")
    shown: list[str] = []
    kernel.shell.display_pub.publish = lambda _: shown.append(cell.get())

    async def program() -> None:
        cell.set("first")
        task = start(port=0)
        cell.set("second")
        await (await task).stop()

    asyncio.run(program())
    assert shown == ["first"]


def test_the_blocking_facade_shows_one_too(server: jchannel.sync.Server, kernel: FakeKernel) -> None:
    assert len(kernel.published) == 1
    with jchannel.sync.start(port=0):
        assert len(kernel.published) == 2  # A cell has one for each server.


def test_outside_of_a_notebook_nothing_is_shown(kernel: FakeKernel) -> None:
    kernel.shell.kernel = None
    assert count_after(kernel) == 0


def test_nothing_is_shown_where_it_is_not_wanted(kernel: FakeKernel) -> None:
    assert count_after(kernel, notebook=False) == 0


def test_a_server_with_a_page_of_its_own_leaves_the_notebook_alone(kernel: FakeKernel, tmp_path: Path) -> None:
    assert count_after(kernel, static=tmp_path) == 0


def test_a_server_with_a_page_of_its_own_can_be_told_otherwise(kernel: FakeKernel, tmp_path: Path) -> None:
    assert count_after(kernel, static=tmp_path, notebook=True) == 1


def test_a_server_that_could_not_start_shows_nothing(kernel: FakeKernel) -> None:
    with pytest.raises(OSError, match="host"):
        count_after(kernel, host="host.invalid")
    assert kernel.published == []


def test_a_url_that_was_given_is_told_to_the_page(kernel: FakeKernel) -> None:
    count_after(kernel, url="https://hub.example.com/proxy/8889")

    assert "https://hub.example.com/proxy/8889" in kernel.published[0]["text/html"]


def test_a_call_in_a_later_cell_shows_an_output_when_the_page_is_gone(
    server: jchannel.sync.Server, kernel: FakeKernel
) -> None:
    with PeerThread(server.page_url):
        channel = server.open("code")
        kernel.enter("cell 2")
        channel.echo(1)
        assert len(kernel.published) == 1

    wait_gone(server)
    with pytest.raises(TimeoutError, match="in a notebook, the output"):
        channel.echo(2, timeout=0)
    assert len(kernel.published) == 2


def test_waiting_for_a_page_and_opening_a_channel_show_an_output(
    server: jchannel.sync.Server, kernel: FakeKernel
) -> None:
    visit(server)
    kernel.enter("cell 2")
    with pytest.raises(TimeoutError):
        server.wait_page(0)
    assert len(kernel.published) == 2

    visit(server)
    kernel.enter("cell 3")
    with pytest.raises(TimeoutError):
        server.open("code", 0)
    assert len(kernel.published) == 3


def test_a_stopped_server_asks_for_no_page(server: jchannel.sync.Server, kernel: FakeKernel) -> None:
    server.stop()
    kernel.enter("cell 2")

    with pytest.raises(ClosedError):
        server.wait_page(0)
    assert len(kernel.published) == 1


def test_a_server_that_is_started_again_shows_an_output_of_its_own(
    server: jchannel.sync.Server, kernel: FakeKernel
) -> None:
    server.stop()
    server.start()

    first, second = (bundle["text/html"] for bundle in kernel.published)
    assert first != second


def test_entering_a_started_server_shows_no_second_output(server: jchannel.sync.Server, kernel: FakeKernel) -> None:
    kernel.enter("cell 2")
    with server:
        assert len(kernel.published) == 1


def test_moving_shows_an_output_also_while_a_page_is_connected(
    server: jchannel.sync.Server, kernel: FakeKernel
) -> None:
    with PeerThread(server.page_url):
        kernel.enter("cell 2")
        kernel.shell.display_pub.publish = connect_another = _ConnectsAnother(server)
        server.move_to_newest_page(TIMEOUT)
        connect_another.peer.leave()


def test_moving_gives_a_task_on_a_loop(kernel: FakeKernel) -> None:
    async def program() -> None:
        async with Server(port=0) as server:
            with PeerThread(server.page_url):
                kernel.enter("cell 2")
                task = server.move_to_newest_page(TIMEOUT)
                assert len(kernel.published) == 2
                with PeerThread(server.page_url):
                    await task

    asyncio.run(program())


def test_without_a_notebook_the_next_page_takes_over_all_the_same() -> None:
    async def program() -> None:
        async with Server(port=0) as server:
            with PeerThread(server.page_url):
                task = server.move_to_newest_page(TIMEOUT)
                with PeerThread(server.page_url):
                    await task

    asyncio.run(program())


class _ConnectsAnother:
    """What a page does that shows an output: it connects."""

    def __init__(self, server: jchannel.sync.Server) -> None:
        self.peer = PeerThread(server.page_url)

    def __call__(self, _: object) -> None:
        self.peer.__enter__()


@pytest.fixture
def in_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[Patience], None]:
    """Makes something that is known run the cells."""

    def set_host(patience: Patience) -> None:
        monkeypatch.setattr(faces, "find_host", lambda: Host("it is a test that runs this cell", patience))

    return set_host


def test_where_nobody_can_open_a_page_what_waits_for_one_is_refused_and_no_output_is_shown(
    kernel: FakeKernel, in_host: Callable[[Patience], None]
) -> None:
    in_host(Patience.REFUSE)

    async def program() -> None:
        async with Server(port=0) as server:
            for wait in (lambda: server.open("() => 1"), server.wait_page):
                with pytest.raises(StateError, match=r"^no page is connected to .*; it is a test that runs this cell$"):
                    await wait()

    asyncio.run(program())
    assert kernel.published == []


@pytest.mark.parametrize(
    "take", [lambda server: server.page_url, lambda server: server.token, lambda server: server.issue_browser_url()]
)
def test_whoever_has_been_given_what_connects_a_page_may_open_one_so_the_server_waits(
    kernel: FakeKernel, in_host: Callable[[Patience], None], take: Callable[[jchannel.sync.Server], str]
) -> None:
    in_host(Patience.REFUSE)

    with jchannel.sync.Server(port=0) as server:
        with pytest.raises(StateError):
            server.wait_page(0)
        assert take(server)
        with pytest.raises(TimeoutError, match="it is a test that runs this cell"):
            server.wait_page(0)


def test_where_the_page_is_still_to_come_the_cell_shows_its_output_and_the_advice_is_the_hosts(
    kernel: FakeKernel, in_host: Callable[[Patience], None]
) -> None:
    in_host(Patience.WAIT)

    with jchannel.sync.Server(port=0) as server:
        with pytest.raises(TimeoutError, match="it is a test that runs this cell"):
            server.wait_page(0)
    assert len(kernel.published) == 1


def test_a_server_with_a_page_of_its_own_says_nothing_in_any_host(
    kernel: FakeKernel, in_host: Callable[[Patience], None], tmp_path: Path
) -> None:
    in_host(Patience.REFUSE)

    with jchannel.sync.Server(port=0, static=tmp_path) as server:
        with pytest.raises(TimeoutError, match=r"open server\.page_url in a browser"):
            server.wait_page(0)
    assert kernel.published == []
