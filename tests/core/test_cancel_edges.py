"""What cancelling at each step has brought to light, each by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from jchannel._core.limits import Limits
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.threads import TrioThreads
from jchannel._streams.sources import open_source
from jchannel.errors import ClosedError
from tests.core.internals import begin_open, make_outgoing
from tests.core.world import endless, open_world, slow_pieces


async def test_a_call_in_a_scope_that_is_cancelled_already_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        with trio.CancelScope() as scope:
            scope.cancel()
            await world.near.call("add", 1, 2)
        assert scope.cancelled_caught
        await world.check_wire()
        await world.check_nothing_pending()


async def test_a_channel_that_is_given_up_in_the_moment_it_is_opened_is_not_open_in_the_peer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        with trio.CancelScope() as scope:
            async with world.server.hold_channel("at once") as channel:
                opening = begin_open(channel, None)
                # `open`, `cancel` and `close` leave in one frame.
                scope.cancel()
                await opening
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.peer.channels) == 1


async def test_a_source_whose_reading_is_cancelled_never_looks_whole() -> None:
    stream = make_outgoing(await open_source(endless(), TrioThreads(Limits())))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run)
            assert await stream.take()
            scope.cancel()
    assert stream.stopped
    assert await stream.wait_short() is None


@pytest.mark.parametrize("fails", [True, False])
async def test_a_stream_that_was_stopped_stays_so_however_its_source_ends(*, fails: bool) -> None:
    """A worker thread, or a shielded part of it, goes on when it is cancelled, and may come to its end, or raise."""
    go = trio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        with trio.CancelScope(shield=True):
            await go.wait()
        if fails:
            raise ValueError("too late")

    stream = make_outgoing(await open_source(pieces(), TrioThreads(Limits())))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        await trio.testing.wait_all_tasks_blocked()
        stream.stop()
        go.set()
    assert stream.stopped
    assert stream.error is None
    assert await stream.wait_short() is None


@pytest.fixture
def stopped_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel's tasks are cancelled while a stream shows whether it is short."""

    async def stop(stream: OutgoingStream) -> None:
        await trio.lowlevel.checkpoint()
        stream.stop()

    monkeypatch.setattr(OutgoingStream, "wait_short", stop)


async def test_a_stream_that_is_stopped_before_its_call_could_be_sent_is_not_announced(
    stopped_early: None, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_world() as world:
        with pytest.raises(ClosedError, match="the stream was ended before it could be sent"):
            await world.near.call_with_stream("digest", slow_pieces())
        await world.check_nothing_pending()


async def test_a_stream_that_is_stopped_before_it_could_be_an_answer_is_not_announced(
    stopped_early: None, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_world() as world:
        with pytest.raises(ClosedError, match="the channel was closed while the request was running"):
            await world.near.call("give")
        await world.check_nothing_pending()
