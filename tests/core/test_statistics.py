"""Statistics: what is under way, and what there was."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from jchannel._protocol.frames import frame_size
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, FrontendError, KernelError
from jchannel.trio import CallTotals, Limits
from tests.core.internals import session_of
from tests.core.memory import open_memory_server

LARGE = 100_000


class Handler:
    """The handler of either side."""

    def __init__(self) -> None:
        self.begun = trio.Event()

    def add(self, a: int, b: int) -> int:
        return a + b

    def fail(self) -> None:
        raise LookupError

    def give_what_cannot_be_sent(self) -> object:
        return object()

    async def hang(self) -> None:
        self.begun.set()
        await trio.sleep_forever()

    async def give(self) -> AsyncIterator[bytes]:
        yield bytes(LARGE)

    async def count(self, stream: MetaGenerator) -> int:
        return len(await stream.join())


class TestWhatIsUnderWay:
    async def test_a_server_without_a_page_has_nothing(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory:
            statistics = memory.server.statistics()
            assert statistics.idle
            assert (statistics.page, statistics.connected_seconds, statistics.round_trip) == ("", None, None)
            assert statistics.calls_made == statistics.calls_served == CallTotals(0, 0, 0)

    async def test_a_page_has_a_name_a_time_and_soon_a_round_trip(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page("tab") as page:
            statistics = memory.server.statistics()
            assert (statistics.page, statistics.connected_seconds, statistics.round_trip) == ("tab", 0, None)
            with trio.move_on_after(1):
                await page.receive()
            statistics = memory.server.statistics()
            assert (statistics.connected_seconds, statistics.round_trip) == (1, 0)

    async def test_a_call_without_a_page_waits(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.open, None)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(lambda: channel.call("add", 1, 2, timeout=None))
                await trio.testing.wait_all_tasks_blocked()
                for statistics in (channel.statistics(), memory.server.statistics()):
                    assert (statistics.waiting_requests, statistics.pending_requests) == (1, 0)
                nursery.cancel_scope.cancel()
            assert channel.statistics().idle

    async def test_calls_and_streams_of_both_directions_are_counted(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        here, there = Handler(), Handler()
        async with open_memory_server() as memory, memory.open_peer(there) as peer:
            async with memory.server.open_channel("code", handler=here) as channel, trio.open_nursery() as nursery:
                far = await peer.wait_channel()
                nursery.start_soon(lambda: channel.call("hang", timeout=None))
                nursery.start_soon(lambda: far.call("hang", timeout=None))
                async with await channel.call("give"), await far.call("give"):
                    await here.begun.wait()
                    await there.begun.wait()
                    for statistics in (channel.statistics(), memory.server.statistics(), far.statistics()):
                        assert (statistics.pending_requests, statistics.running_requests) == (1, 1)
                        assert (statistics.outgoing_streams, statistics.incoming_streams) == (1, 1)
                        assert statistics.streams == 2
                        assert not statistics.idle
                nursery.cancel_scope.cancel()
            assert memory.server.statistics().idle


class TestTotals:
    async def test_outcomes_are_counted_on_both_sides(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(Handler()) as peer:
            async with memory.server.open_channel("code") as channel:
                await channel.call("add", 1, 2)
                await channel.echo(1)
                for name in ("fail", "missing", "give_what_cannot_be_sent"):
                    with pytest.raises(FrontendError):
                        await channel.call(name)
                with pytest.raises(trio.TooSlowError):
                    await channel.call("hang", timeout=1)
                with trio.move_on_after(1):
                    await channel.call("hang", timeout=None)
                far = await peer.wait_channel()
                assert channel.statistics().calls_made == CallTotals(answered=2, failed=3, cancelled=2)
                assert far.statistics().calls_served == CallTotals(answered=2, failed=3, cancelled=2)
            assert memory.server.statistics().calls_made == CallTotals(answered=2, failed=3, cancelled=2)
            with pytest.raises(ClosedError):
                await channel.call("add", 1, 2)
            assert memory.server.statistics().calls_made.failed == 4

    async def test_an_echo_that_cannot_be_answered_has_failed(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server(limits=Limits(frame_bytes=70_000)) as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code") as channel:
                far = await peer.wait_channel()
                session = session_of(memory.server)
                assert session is not None
                session._connection.frame_limit = 250
                with pytest.raises(KernelError):
                    await far.echo("x" * 300)
                assert channel.statistics().calls_served == CallTotals(answered=0, failed=1, cancelled=0)

    async def test_the_bytes_of_long_streams_are_counted(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(Handler()):
            async with memory.server.open_channel("code") as channel:
                assert await channel.call_with_stream("count", bytes(LARGE)) == LARGE
                assert len(await (await channel.call("give")).join()) == LARGE
                assert await channel.call_with_stream("count", b"short") == 5
                for statistics in (channel.statistics(), memory.server.statistics()):
                    assert (statistics.stream_bytes_sent, statistics.stream_bytes_received) == (LARGE, LARGE)

    async def test_what_goes_over_the_socket_is_counted_over_all_pages(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory:
            assert memory.server.statistics().socket.frames_sent == 0
            for number in (1, 2):
                async with memory.open_peer(Handler()) as peer, memory.server.open_channel("code") as channel:
                    before = memory.server.statistics().socket
                    assert await channel.echo("ä" * 100) == ["ä" * 100]
                    after = memory.server.statistics().socket
                    assert after.messages_sent == before.messages_sent + 1
                    assert after.messages_received == before.messages_received + 1
                    assert after.frames_sent == before.frames_sent + 1 >= number
                    assert after.frames_received == before.frames_received + 1
                    assert after.bytes_sent > before.bytes_sent + 200
                    assert after.bytes_received > before.bytes_received + 200
                    assert peer.connected

    def test_the_size_of_a_frame_is_that_of_its_bytes(self) -> None:
        assert [frame_size(frame) for frame in (b"four", "four", "fü")] == [4, 4, 3]
