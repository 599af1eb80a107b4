"""The asyncio facade's channel."""

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio.testing

import jchannel
from jchannel import Channel, Server
from jchannel._bridge import handles
from jchannel._bridge.call import in_task, wait_blocking, wait_in_loop
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.methods import LoopInvocation
from jchannel._bridge.portal import open_thread_portal
from jchannel._core.channel import ServerChannel
from jchannel.errors import ClosedError, FrontendError, KernelError, PageLostError, StateError
from jchannel.testing import AsyncioKit
from jchannel.trio import PeerChannel
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"


class Handler:
    """The Python handler that the page calls."""

    def __init__(self) -> None:
        self.hanging = threading.Event()
        self.ended = threading.Event()

    def double(self, value: int) -> int:
        return value * 2

    async def double_later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value * 2

    def fail(self) -> None:
        raise LookupError("in Python")

    async def hang(self) -> None:
        self.hanging.set()
        try:
            await asyncio.sleep(TIMEOUT)
        finally:
            self.ended.set()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Server, PeerThread]]:
    """A server with a page."""
    async with await jchannel.start(port=0) as server:
        with PeerThread(server.page_url, on_open=answer_opening) as peer:
            yield server, peer


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Channel, PeerThread]]:
    """An open channel, and its page."""
    async with connected() as (server, peer), await server.open(CODE) as channel:
        yield channel, peer


def answer_opening(_: PeerChannel, code: str) -> str:
    if code == "throw":
        raise LookupError("in the page")
    return f"opened with {code}"


def test_the_parameters_and_defaults_are_those_of_the_reference() -> None:
    def parameters(function: Any) -> str:
        names = inspect.signature(function).parameters.values()
        return ", ".join(str(name.replace(annotation=inspect.Parameter.empty)) for name in names)

    assert parameters(Channel) == "server, code"
    assert parameters(Channel.open) == parameters(Channel.close) == "self, timeout=3"
    assert parameters(Channel.echo) == "self, *args, timeout=3"
    assert parameters(Channel.call) == "self, name, *args, timeout=3"
    assert Channel(Server(), CODE).context_timeout == 3
    assert Channel(Server(), CODE).handler is None


def test_a_call_gives_a_task_of_the_running_loop() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            task = channel.call("add", 2, 3)
            assert isinstance(task, asyncio.Task)
            assert task.get_loop() is asyncio.get_running_loop()
            assert task.get_name() == "channel.call('add')"
            assert await task == 5

    asyncio.run(program())


def test_many_calls_at_once_are_answered() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            values = await asyncio.gather(*[channel.call("add", number, 1, timeout=TIMEOUT) for number in range(2_000)])
            assert values == list(range(1, 2_001))

    asyncio.run(program())


def test_a_call_leaves_without_being_awaited() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            task = channel.call("hang")
            assert peer.page.hanging.wait(TIMEOUT)  # The loop is blocked meanwhile.
            task.cancel()

    asyncio.run(program())


def test_arguments_are_taken_when_the_method_is_called() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            value = {"x": [1]}
            calling, echoing = channel.call("record", value), channel.echo(value)
            value["x"].append(2)
            await calling
            assert peer.page.received == [{"x": [1]}]
            assert await echoing == [{"x": [1]}]

    asyncio.run(program())


def test_an_echo_gives_the_arguments_back() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            assert await channel.echo(1, "two", b"three", None) == [1, "two", b"three", None]

    asyncio.run(program())


def test_what_cannot_be_sent_is_an_error_of_the_call_itself() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            with pytest.raises(ValueError, match=r"args\[0\]\['x'\]"):
                channel.call("record", {"x": float("nan")})
            with pytest.raises(TypeError, match=r"args\[1\]"):
                channel.echo(1, object())
            with pytest.raises(TypeError, match="name"):
                channel.call(3)  # type: ignore[arg-type]
            assert await channel.call("add", 2, 3) == 5
            assert peer.page.received == []

    asyncio.run(program())


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("3", TypeError)])
def test_a_timeout_that_is_none_is_an_error_of_the_call_itself(timeout: Any, error: type[Exception]) -> None:
    async def program() -> None:
        channel = Channel(Server(), CODE)
        with pytest.raises(error, match="timeout"):
            channel.open(timeout)
        with pytest.raises(error, match="timeout"):
            channel.close(timeout)
        with pytest.raises(error, match="timeout"):
            channel.call("add", timeout=timeout)
        with pytest.raises(error, match="timeout"):
            channel.echo(timeout=timeout)
        with pytest.raises(error, match="timeout"):
            channel.context_timeout = timeout
        assert channel.context_timeout == 3

    asyncio.run(program())


def test_without_a_loop_every_method_points_to_the_blocking_facade() -> None:
    channel = Channel(Server(), CODE)
    for method in (channel.open, channel.close, channel.echo):
        with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
            method()
    with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
        channel.call("add", object())


def test_a_channel_needs_a_server_and_code() -> None:
    with pytest.raises(TypeError, match=r"jchannel\.start"):
        Channel("http://localhost", CODE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="code"):
        Channel(Server(), 3)  # type: ignore[arg-type]


def test_an_error_in_the_page_is_a_frontend_error() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            with pytest.raises(FrontendError, match="LookupError: not in the page"):
                await channel.call("fail")
            with pytest.raises(FrontendError, match="missing"):
                await channel.call("missing")
            assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_a_time_that_runs_out_is_a_timeout_error_and_cancels_the_call() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            with pytest.raises(TimeoutError, match=r"call of 'hang' was not answered within 0\.05 s"):
                await channel.call("hang", timeout=0.05)
            assert await asyncio.to_thread(peer.page.ended.wait, TIMEOUT)

    asyncio.run(program())


def test_cancelling_the_task_cancels_the_call() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            task = channel.call("hang", timeout=None)
            await asyncio.to_thread(peer.page.hanging.wait, TIMEOUT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert peer.page.ended.is_set()
            assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_opening_gives_what_the_initialization_function_returned() -> None:
    async def program() -> None:
        async with connected() as (server, _):
            channel = Channel(server, "code")
            task = channel.open()
            assert task.get_name() == "channel.open"
            assert await task == "opened with code"
            await channel.close()

    asyncio.run(program())


def test_an_opening_that_fails_can_be_tried_again() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            channel = Channel(server, CODE)
            with pytest.raises(TimeoutError, match="no page is connected"):
                await channel.open(timeout=0)
            with PeerThread(server.page_url):
                await channel.open()
                assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_code_that_throws_is_a_frontend_error() -> None:
    async def program() -> None:
        async with connected() as (server, _):
            with pytest.raises(FrontendError, match="LookupError: in the page"):
                await server.open("throw")
            assert server.statistics().channels == 0

    asyncio.run(program())


def test_code_larger_than_the_connection_takes_is_refused_and_leaves_nothing() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0, limits=jchannel.Limits(frame_bytes=5_000)) as server:
            with PeerThread(server.page_url):
                await server.wait_page()
                with pytest.raises(ValueError, match="larger than the connection takes"):
                    await server.open("x" * 6_000)
                assert server.statistics().channels == 0
                await in_task(TaskJob(server._handle.portal, trio.testing.wait_all_tasks_blocked), "")
                assert not server.tree().channels
                assert await (await server.open(CODE)).echo(1) == [1]

    asyncio.run(program())


@pytest.mark.parametrize("opens", [True, False])
def test_an_opening_that_is_cancelled_when_it_has_succeeded_is_undone(*, opens: bool) -> None:
    async def program() -> None:
        async with connected() as (server, _):
            channel = Channel(server, CODE)
            if not opens:
                await channel.open()
            channel.context_timeout = TIMEOUT
            task = asyncio.create_task(channel.__aenter__())
            await asyncio.sleep(0)
            # The loop is blocked, so that the Task does not know yet that it has succeeded.
            while not server.statistics().channels:
                wait_blocking(TaskJob(server._handle.portal, trio.testing.wait_all_tasks_blocked))
            assert channel.sync.echo(1) == [1]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # What was open before stays open.
            assert server.statistics().channels == (0 if opens else 1)

    asyncio.run(program())


def test_a_channel_is_opened_once() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            with pytest.raises(StateError, match="open already"):
                await channel.open()
            assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_a_context_opens_and_closes_the_channel_with_its_timeout() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            channel = Channel(server, CODE)
            channel.context_timeout = 0
            with pytest.raises(TimeoutError, match="not opened within 0 s"):
                await channel.__aenter__()
            channel.context_timeout = None
            with PeerThread(server.page_url):
                async with channel as entered:
                    assert entered is channel
                    assert await channel.call("add", 2, 3) == 5
                with pytest.raises(ClosedError, match="closed"):
                    await channel.call("add", 2, 3)

    asyncio.run(program())


def test_a_channel_can_be_opened_again_after_it_was_closed() -> None:
    async def program() -> None:
        async with opened() as (channel, _):
            await channel.close()
            await channel.close()
            await channel.open()
            assert await channel.call("add", 2, 3) == 5

    asyncio.run(program())


def test_closing_ends_the_calls_under_way() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            task = channel.call("hang")
            await asyncio.to_thread(peer.page.hanging.wait, TIMEOUT)
            await channel.close()
            with pytest.raises(ClosedError, match=r"close\(\) was called"):
                await task

    asyncio.run(program())


def test_a_closing_that_is_cancelled_before_trio_hears_of_it_closes_the_channel_all_the_same() -> None:
    async def program() -> None:
        go_on = threading.Event()
        async with opened() as (channel, _):
            open_thread_portal().post(partial(go_on.wait, TIMEOUT))
            closing = channel.close()
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await closing
            with pytest.raises(ClosedError, match=r"close\(\) was called"):
                await channel.echo()

    asyncio.run(program())


def test_a_channel_that_was_never_opened_says_so() -> None:
    async def program() -> None:
        async with connected() as (server, _):
            channel = Channel(server, CODE)
            with pytest.raises(ClosedError, match="has not been opened"):
                await channel.call("add", 2, 3)
            await channel.close()

    asyncio.run(program())


def test_a_channel_of_a_server_that_is_not_started_says_so() -> None:
    async def program() -> None:
        channel = Channel(Server(port=0), CODE)
        with pytest.raises(ClosedError, match="server is not started"):
            await channel.open()
        await channel.close()

    asyncio.run(program())


def test_stopping_the_server_ends_its_channels() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url) as peer:
                channel = await server.open(CODE)
                task = channel.call("hang")
                await asyncio.to_thread(peer.page.hanging.wait, TIMEOUT)
                await server.stop()
                with pytest.raises(ClosedError, match="server was closed"):
                    await task
                with pytest.raises(ClosedError, match="server was closed"):
                    await channel.call("add", 2, 3)
                await channel.close()

    asyncio.run(program())


def test_a_page_that_is_lost_ends_its_calls_and_the_next_page_goes_on() -> None:
    async def program() -> None:
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url) as peer:
                channel = await server.open(CODE)
                task = channel.call("hang")
                await asyncio.to_thread(peer.page.hanging.wait, TIMEOUT)
            with pytest.raises(PageLostError):
                await task
            waiting = channel.call("add", 2, 3, timeout=TIMEOUT)
            with PeerThread(server.page_url):
                assert await waiting == 5

    asyncio.run(program())


@pytest.mark.parametrize("name", ["double", "double_later"])
def test_the_page_calls_methods_of_the_handler(name: str) -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            channel.handler = Handler()
            assert await asyncio.to_thread(peer.call, name, 4) == 8

    asyncio.run(program())


def test_a_handler_may_be_set_before_opening() -> None:
    async def program() -> None:
        async with connected() as (server, peer):
            channel = Channel(server, CODE)
            channel.handler = handler = Handler()
            assert channel.handler is handler
            async with channel:
                assert await asyncio.to_thread(peer.call, "double", 4) == 8

    asyncio.run(program())


def test_a_handler_that_is_set_while_the_channel_is_being_opened_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        async with connected() as (server, peer):
            channel = Channel(server, CODE)

            def make(*args: Any, **options: Any) -> ServerChannel:
                made = ServerChannel(*args, **options)
                channel.handler = Handler()  # As the loop's thread may set it at this moment.
                return made

            monkeypatch.setattr(handles, "ServerChannel", make)
            await channel.open()
            assert await asyncio.to_thread(peer.call, "double", 4) == 8

    asyncio.run(program())


def test_the_page_gets_the_handlers_errors() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            with pytest.raises(KernelError, match="no handler"):
                await asyncio.to_thread(peer.call, "double", 4)
            channel.handler = Handler()
            with pytest.raises(KernelError, match="LookupError: in Python"):
                await asyncio.to_thread(peer.call, "fail")

    asyncio.run(program())


@pytest.mark.parametrize("method", ["unsendable", "too_large"])
def test_a_result_that_cannot_be_sent_is_an_error_for_the_page(method: str) -> None:
    class Unsendable:
        def unsendable(self) -> object:
            return object()

        def too_large(self) -> str:
            return "x" * 64 * 2**20

    async def program() -> None:
        async with opened() as (channel, peer):
            channel.handler = Unsendable()
            with pytest.raises(KernelError, match=r"result|larger than"):
                await asyncio.to_thread(peer.call, method)

    asyncio.run(program())


def test_a_call_that_the_page_cancels_cancels_the_method() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            channel.handler = handler = Handler()
            await asyncio.to_thread(peer.abort_call, "hang", handler.hanging)
            assert handler.ended.is_set()

    asyncio.run(program())


def test_closing_the_channel_cancels_the_methods_and_waits_for_them() -> None:
    async def program() -> None:
        async with opened() as (channel, peer):
            channel.handler = handler = Handler()
            calling = asyncio.create_task(asyncio.to_thread(peer.call, "hang"))
            await asyncio.to_thread(handler.hanging.wait, TIMEOUT)
            await channel.close()
            assert handler.ended.is_set()
            with pytest.raises(ClosedError):
                await calling

    asyncio.run(program())


def test_a_handler_whose_loop_is_closed_is_an_error_for_the_page() -> None:
    async def start() -> tuple[Server, PeerThread]:
        server = await jchannel.start(port=0)
        peer = PeerThread(server.page_url).__enter__()
        channel = await server.open(CODE)
        channel.handler = Handler()
        return server, peer

    server, peer = asyncio.run(start())
    with pytest.raises(KernelError, match="asyncio loop in which the channel was opened is closed"):
        peer.call("double", 4)
    peer.leave()
    asyncio.run(_stop(server))


async def _stop(server: Server) -> None:
    await server.stop()


def test_the_repr_says_the_state_and_no_secret() -> None:
    async def program() -> None:
        async with connected() as (server, _):
            channel = Channel(server, CODE)
            assert repr(channel) == f"<jchannel.channel.Channel closed, server at {server.url}, page connected>"
            async with channel:
                assert repr(channel) == f"<jchannel.channel.Channel open, server at {server.url}, page connected>"
            assert repr(channel).startswith("<jchannel.channel.Channel closed")

    asyncio.run(program())


def test_what_is_asked_while_the_server_starts_waits_for_it() -> None:
    async def program() -> None:
        server = Server(port=0)
        starting = server.start()
        channel = Channel(server, CODE)
        closing, calling = channel.close(), channel.call("add", 2, 3)
        opening = channel.open(timeout=TIMEOUT)
        await starting
        with PeerThread(server.page_url):
            await opening
            assert await channel.call("add", 2, 3) == 5
        await closing
        with pytest.raises(ClosedError, match="has not been opened"):
            await calling
        await server.stop()

    asyncio.run(program())


def test_statistics_and_the_tree_can_be_asked_from_a_busy_cell() -> None:
    async def program() -> None:
        async with connected() as (server, peer):
            channel = Channel(server, CODE)
            for ask in (channel.statistics, channel.tree):
                with pytest.raises(ClosedError, match="has not been opened"):
                    ask()
            await channel.open()
            task = channel.call("hang", timeout=None)
            assert peer.page.hanging.wait(TIMEOUT)
            # The loop has not run since the call.
            assert channel.statistics().pending_requests == server.statistics().pending_requests == 1
            (call,) = channel.tree().calls_made
            assert (call.what, call.state) == ("call of 'hang'", "sent")
            assert "call of 'hang'" in str(server.tree())
            task.cancel()
            await asyncio.wait([task])
            assert channel.statistics().calls_made.cancelled == 1
            await channel.close()
            assert str(channel.tree()) == "channel, closed: close() was called, and open() opens it again"

    asyncio.run(program())


def test_what_a_method_has_been_called_with_is_kept_by_nobody() -> None:
    class Handler:
        def __init__(self) -> None:
            self.begun = asyncio.Event()

        def keep_nothing(self, value: object) -> None:
            pass

        async def hang(self) -> None:
            self.begun.set()
            await asyncio.Event().wait()

    async def program() -> None:
        async with AsyncioKit() as kit:
            channel, page = await kit.open_pair(None, handler=(handler := Handler()))
            await page.call("keep_nothing", bytes(1000))
            hanging = page.call("hang")
            await handler.begun.wait()
            await wait_in_loop(TaskJob(channel._handle.portal, trio.testing.wait_all_tasks_blocked))
            gc.collect()
            kept = [thing for thing in gc.get_objects() if isinstance(thing, LoopInvocation) and thing.answered]
            # What other tests have left may be half made.
            assert all(getattr(invocation, "name", "") != "keep_nothing" for invocation in kept)
            hanging.cancel()
            await asyncio.wait([hanging])

    asyncio.run(program())
