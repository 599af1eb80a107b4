"""The tree of what runs now: what it shows, from where it can be asked, and what the end of a node ends."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from jchannel._core.heartbeat import Heartbeat
from jchannel._core.session import Session
from jchannel._protocol.messages import Hello, Open
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, FrontendError, PageLostError
from jchannel.trio import Channel, Limits, Server
from tests.core.http_streams import carry_over_http
from tests.core.internals import (
    block_writing,
    channel_core,
    child_tasks,
    close_server,
    flush,
    server_core,
    session_of,
)
from tests.core.memory import MemoryServer, open_memory_server

DOCS = Path(__file__).parents[2] / "docs" / "what-runs.md"


class Handler:
    """The handler of either side."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.may_end = trio.Event()

    async def ask(self) -> None:
        self.begun.set()
        await trio.sleep_forever()

    async def clean_up(self) -> None:
        try:
            await self.ask()
        finally:
            with trio.CancelScope(shield=True):
                await self.may_end.wait()

    async def read(self, stream: MetaGenerator, _: object = None) -> None:
        self.begun.set()
        async for _ in stream:
            await trio.sleep_forever()

    async def give(self) -> AsyncIterator[bytes]:
        yield bytes(40_000)
        await trio.sleep_forever()

    async def give_whole(self) -> AsyncIterator[bytes]:
        yield bytes(40_000)

    async def fail_in_a_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)
            self.begun.set()

    async def fail_in_a_stream(self) -> AsyncIterator[bytes]:
        yield bytes(40_000)
        await self.fail_in_a_nursery()

    async def fail_in_a_group(self) -> AsyncIterator[bytes]:
        yield bytes(40_000)
        raise ExceptionGroup("two", [ValueError(), KeyError()])

    def exit(self) -> None:
        raise SystemExit(3)

    async def exit_in_a_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise SystemExit(3)


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise LookupError("while it was cancelled")


async def ignore_end(ask: Callable[..., Awaitable[object]], *args: object) -> None:
    """Asks for something that will not be answered."""
    with pytest.raises((ClosedError, PageLostError)):
        await ask(*args, timeout=None)


class TestItShows:
    async def test_what_the_documentation_says(self, autojump_clock: trio.testing.MockClock) -> None:
        here, there = Handler(), Handler()
        async with open_memory_server() as memory, memory.open_peer(there, client="tab-1") as peer:
            carry_over_http(peer, memory.server.url, memory.connect)  # As a browser's page does.
            async with memory.server.open_channel("code", handler=here) as channel, trio.open_nursery() as nursery:
                far = await peer.wait_channel()

                async def ask_back() -> None:
                    await far.call("ask", timeout=None)

                there.ask_back = ask_back  # type: ignore[attr-defined]
                await trio.sleep(1)
                nursery.start_soon(lambda: channel.call("ask_back", timeout=5))
                await here.begun.wait()
                await trio.sleep(1.5)
                stream = await channel.call("give")
                nursery.start_soon(lambda: channel.call_with_stream("read", bytes(3_000_000), timeout=None))
                await trio.sleep(0.5)
                session = session_of(memory.server)
                assert session is not None
                session.heartbeat.round_trip = 0.0009  # The clock of the test does not run.
                text = str(memory.server.tree())
                await stream.aclose()
                nursery.cancel_scope.cancel()
        (example,) = re.findall(r"```text\n(.*?)\n```", DOCS.read_text(), re.DOTALL)
        assert text == example

    async def test_calls_that_wait_for_a_page_and_are_in_line(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server(limits=Limits(send_buffer_bytes=10)) as memory:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                assert str(channel.tree()) == "channel, closed: it has not been opened: call open() first"
                nursery.start_soon(channel.open, None)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(lambda: channel.echo("x" * 100, timeout=None))
                await trio.sleep(100)
                tree = memory.server.tree()
                assert str(tree).splitlines() == [
                    "server at http://localhost:8889, 0 connections",
                    "  no page is connected",
                    f"  channel 1, being opened: {server_core(memory.server).explain_wait()}",
                    "    to the page",
                    "      echo, for 100 s: waits for a page",
                ]
                async with memory.open_peer() as peer:
                    await peer.wait_channel()
                    await trio.testing.wait_all_tasks_blocked()
                    session = session_of(memory.server)
                    assert session is not None
                    block_writing(session)
                    for _ in range(2):
                        nursery.start_soon(lambda: channel.echo("x" * 100, timeout=None))
                        await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(lambda: channel.echo("x" * 100, timeout=None))
                    await trio.testing.wait_all_tasks_blocked()
                    assert [call.state for call in channel.tree().calls_made] == ["sent", "sent", "in line"]
                    page = memory.server.tree().page
                    assert page is not None
                    assert page.waiting_bytes > 100
                    assert f"{page.waiting_bytes:,} bytes wait to be sent: connected" in str(memory.server.tree())
                    nursery.cancel_scope.cancel()

    async def test_a_channel_that_the_page_has_not_opened_yet(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("code") as channel:
                nursery.start_soon(channel.open, None)
                await page.expect(Open)
                assert str(channel.tree()) == "channel 1, being opened: the page has not opened the channel yet"
                nursery.cancel_scope.cancel()

    async def test_what_was_cancelled_and_has_not_ended(self, autojump_clock: trio.testing.MockClock) -> None:
        handler = Handler()
        async with open_memory_server() as memory, memory.open_peer(handler) as peer:
            async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
                far = await peer.wait_channel()
                nursery.start_soon(lambda: channel.call("clean_up", timeout=None))
                await handler.begun.wait()
                assert [call.state for call in far.tree().calls_served] == ["running"]
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                assert [call.state for call in channel.tree().calls_made] == ["cancelling"]
                assert [call.state for call in far.tree().calls_served] == ["cancelled, has not ended yet"]
                handler.may_end.set()
            assert str(channel.tree()) == "channel, closed: its block was left"
            assert str(far.tree()).startswith("channel, closed: the channel is closed: the server has closed it")

    async def test_a_channel_whose_method_holds_up_its_closing(self, autojump_clock: trio.testing.MockClock) -> None:
        handler = Handler()
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with trio.open_nursery() as nursery, memory.server.hold_channel("code", handler=handler) as channel:
                await channel.open()
                far = await peer.wait_channel()
                nursery.start_soon(ignore_end, far.call, "clean_up")
                await handler.begun.wait()
                with pytest.raises(trio.TooSlowError):
                    await channel.close(1)
                (branch,) = memory.server.tree().channels
                assert branch.number is None
                assert [call.state for call in branch.calls_served] == ["cancelled, has not ended yet"]
                assert memory.server.statistics().running_requests == 1
                handler.may_end.set()
            assert memory.server.tree().channels == ()

    async def test_a_connection_that_is_ending(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page("tab"):
            session = session_of(memory.server)
            assert session is not None
            block_writing(session)
            session.end("closed", "enough")
            assert "bytes wait to be sent: its connection is ending: enough" in str(memory.server.tree())
            await session.wait_ended()
            assert memory.server.tree().page is None

    async def test_streams_and_what_they_wait_for(self, autojump_clock: trio.testing.MockClock) -> None:
        opened, close = trio.Event(), trio.Event()

        async def source() -> AsyncIterator[bytes]:
            try:
                yield bytes(40_000)
                opened.set()
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await close.wait()

        async with open_memory_server() as memory, memory.open_peer(Handler()) as peer:
            async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
                await peer.wait_channel()
                stream = await channel.call("give")
                assert [node.state for node in channel.tree().streams] == ["nobody has begun to read it"]
                await anext(stream)
                with trio.move_on_after(1):
                    await anext(stream)
                assert [node.state for node in channel.tree().streams] == ["waits for its source"]
                await stream.aclose()
                nursery.start_soon(lambda: channel.call_with_stream("read", source(), timeout=None))
                await opened.wait()
                await trio.sleep(1)
                assert [node.state for node in channel.tree().streams] == ["waits for its source"]
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                assert [node.state for node in channel.tree().streams] == ["its source is being closed"]
                close.set()

    async def test_a_stream_that_is_read_ahead_to_its_end_until_its_reader_has_it(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Handler()
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=handler) as channel:
                far = await peer.wait_channel()
                stream = await far.call("give_whole")
                await trio.sleep(1)
                (node,) = channel.tree().streams
                assert (node.what, node.outgoing) == ("result of the call of 'give_whole'", True)
                assert node.state == "waits for its reader"
                assert len(await stream.join()) == 40_000
                await trio.testing.wait_all_tasks_blocked()
                assert channel.tree().streams == ()

    async def test_no_secret(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(Handler()) as peer:
            async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
                await peer.wait_channel()
                nursery.start_soon(lambda: channel.call_with_stream("read", endless(), "an argument", timeout=None))
                await trio.testing.wait_all_tasks_blocked()
                shown = str(memory.server.tree()) + repr(memory.server.tree()) + repr(memory.server.statistics())
                assert "read" in shown
                assert "an argument" not in shown
                assert memory.server.token not in shown
                nursery.cancel_scope.cancel()

    async def test_tasks_by_their_names(self, autojump_clock: trio.testing.MockClock) -> None:
        handler = Handler()
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
                far = await peer.wait_channel()
                nursery.start_soon(ignore_end, far.call, "ask")
                stream = await far.call("give")
                await handler.begun.wait()
                names = {task.name for task in child_tasks(channel)}
                assert names == {"call of 'ask' from the page", "source of a stream: result of the call of 'give'"}
                await stream.aclose()
                await channel.close()


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(100_000)
        await trio.lowlevel.checkpoint()


async def test_it_can_be_asked_in_any_thread_while_everything_changes() -> None:
    """Real threads: no clock jumps here."""
    begun, stop = threading.Event(), threading.Event()

    def ask(server: Server) -> None:
        while not stop.is_set():
            assert str(server.tree()).startswith("server at")
            assert server.statistics().connections >= 0
            begun.set()

    class Quick:
        def add(self, a: int, b: int) -> int:
            return a + b

        async def count(self, stream: MetaGenerator) -> int:
            return len(await stream.join())

    async with open_memory_server() as memory, memory.open_peer(Quick()):
        async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, ask, memory.server)
            await trio.to_thread.run_sync(begun.wait)

            async def work() -> None:
                for number in range(100):
                    assert await channel.call("add", number, 1, timeout=None) == number + 1
                    assert await channel.call_with_stream("count", bytes(40_000), timeout=None) == 40_000

            async with trio.open_nursery() as workers:
                for _ in range(5):
                    workers.start_soon(work)
            stop.set()


class TestTheEndOf:
    """Each kind of request is under way when a node ends: nothing of them may be left, in numbers and in tasks."""

    async def begin(self, memory: MemoryServer, channel: Channel, nursery: trio.Nursery, there: Handler) -> None:
        for ask, name in ((channel.call, "ask"), (channel.call, "clean_up")):
            nursery.start_soon(ignore_end, ask, name)
        nursery.start_soon(ignore_end, channel.call_with_stream, "read", endless())
        await there.begun.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not memory.server.statistics().idle

    @pytest.mark.parametrize("node", ["channel", "page", "server"])
    async def test_a_node_ends_and_awaits_what_is_under_it(
        self, autojump_clock: trio.testing.MockClock, node: str
    ) -> None:
        there = Handler()
        there.may_end.set()
        async with trio.open_nursery() as nursery:
            async with open_memory_server() as memory:
                await nursery.start(memory.hold_peer, there)
                async with memory.server.hold_channel("code") as channel:
                    await channel.open()
                    await self.begin(memory, channel, nursery, there)
                    if node == "channel":
                        await channel.close()
                    elif node == "page":
                        session = session_of(memory.server)
                        assert session is not None
                        session.end("closed", "it has to go")
                        await session.wait_ended()
                    else:
                        await close_server(memory.server)
                    await trio.testing.wait_all_tasks_blocked()
                    assert memory.server.statistics().idle
                    assert not child_tasks(channel)
                assert memory.server.tree().channels == ()
            nursery.cancel_scope.cancel()

    async def test_a_call_ends_what_is_under_it_and_no_other(self, autojump_clock: trio.testing.MockClock) -> None:
        there = Handler()
        async with open_memory_server() as memory, memory.open_peer(there) as peer:
            async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
                far = await peer.wait_channel()
                nursery.start_soon(ignore_end, channel.call, "ask")
                await there.begun.wait()
                with trio.move_on_after(1):
                    await channel.call_with_stream("read", endless(), timeout=None)
                await trio.testing.wait_all_tasks_blocked()
                assert [call.what for call in far.tree().calls_served] == ["call of 'ask'"]
                assert channel.statistics().streams == far.statistics().streams == 0
                await channel.close()

    async def test_a_pipe_ends_its_source(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer():
            async with memory.server.open_channel("code") as channel:
                async with await channel.pipe(endless()) as chunks:
                    await anext(chunks)
                await trio.testing.wait_all_tasks_blocked()
                assert memory.server.statistics().idle
                assert not child_tasks(channel)

    async def test_a_request_that_could_leave_in_the_moment_of_its_cancellation_does_not(
        self, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = Handler()
        async with open_memory_server() as memory, memory.open_peer(there):
            async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
                with monkeypatch.context() as patch:
                    patch.setattr(channel_core(channel).outbox, "session", None)
                    nursery.start_soon(lambda: channel.call("ask", timeout=None))
                    await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
                flush(channel)
                assert channel.statistics().pending_requests == 0
            await trio.testing.wait_all_tasks_blocked()
            assert not there.begun.is_set()
            assert memory.server.statistics().idle
            assert channel.statistics().calls_made.cancelled == 1


class TestAnErrorOfTheLibrary:
    """It is raised by patching: the real thing cannot be made to fail."""

    @pytest.mark.parametrize(
        ("owner", "part"), [(Session, "_write"), (Heartbeat, "_exchange_beats"), (Session, "_read")]
    )
    async def test_in_a_session_ends_that_session_and_nothing_else(
        self,
        autojump_clock: trio.testing.MockClock,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        owner: type,
        part: str,
    ) -> None:
        error = ZeroDivisionError()

        async def fail(*_: object) -> None:
            raise error

        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            with monkeypatch.context() as patch:
                patch.setattr(owner, part, fail)
                async with memory.open_page(hello=False) as page:
                    await page.send(Hello("page"))
                    await page.expect_lost()
            (record,) = caplog.records
            assert "an error of jchannel has ended the session" in record.getMessage()
            assert record.exc_info is not None
            assert record.exc_info[1] is error
            assert not memory.server.statistics().page_connected
            async with memory.open_peer(Handler()):
                await channel.open()
                assert await channel.echo(1) == [1]


class TestAnErrorOfAHandler:
    """The errors of plain methods and of sources are in ``test_channel`` and ``test_streams``."""

    async def test_in_a_nursery_that_is_cancelled_ends_nothing_but_its_call(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler = Handler()
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=handler) as channel:
                far = await peer.wait_channel()
                with pytest.raises(trio.TooSlowError):
                    await far.call("fail_in_a_nursery", timeout=1)
                assert channel.statistics().calls_served.cancelled == 1
                assert await far.echo(1) == [1]
        assert "the handler method 'fail_in_a_nursery' raised when it was cancelled" in caplog.text
        assert "LookupError: while it was cancelled" in caplog.text

    @pytest.mark.parametrize("by", ["its reader", "its channel"])
    async def test_in_the_nursery_of_a_stream_that_is_cancelled_ends_nothing_but_the_stream(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, by: str
    ) -> None:
        handler = Handler()
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=handler):
                far = await peer.wait_channel()
                stream = await far.call("fail_in_a_stream")
                await anext(stream)
                await handler.begun.wait()
                if by == "its reader":
                    await stream.aclose()
                    await trio.testing.wait_all_tasks_blocked()
                    assert await far.echo(1) == [1]
        assert "the source of a stream raised when it was cancelled" in caplog.text

    async def test_in_a_stream_as_a_group_is_the_readers(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(Handler()):
            async with memory.server.open_channel("code") as channel:
                with pytest.raises(FrontendError, match="two"):
                    await (await channel.call("fail_in_a_group")).join()
                assert await channel.echo(1) == [1]

    @pytest.mark.parametrize("name", ["exit", "exit_in_a_nursery"])
    async def test_that_is_meant_for_the_program_comes_out_of_the_channels_block(
        self, autojump_clock: trio.testing.MockClock, name: str
    ) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            with pytest.raises(SystemExit) as caught:  # noqa: PT012 (it comes out of the block as a whole)
                async with memory.server.open_channel("code", handler=Handler()):
                    far = await peer.wait_channel()
                    with pytest.raises(ClosedError):
                        await far.call(name)
                    await trio.sleep_forever()
            assert caught.value.code == 3
            assert memory.server.statistics().page_connected
