"""The registry of streams: where a stream is found while it lives, and that nothing of it stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelTally
from jchannel._core.stream import Stream, StreamQuota
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.threads import TrioThreads
from jchannel._protocol.messages import StreamInfo
from jchannel._streams.sources import open_source
from jchannel.errors import ClosedError


class Source:
    """The way to the sources of incoming streams."""

    def begin_stream(self, stream: IncomingStream) -> None:
        raise AssertionError

    def stop_stream(self, number: int) -> None:
        pass


@pytest.fixture
def registry() -> StreamRegistry:
    return StreamRegistry(Limits())


async def make_outgoing(registry: StreamRegistry, what: str = "outgoing") -> OutgoingStream:
    source = await open_source([b"x"], TrioThreads(Limits()))
    return OutgoingStream(source, what, [ChannelTally()], registry, close_seconds=5)


def make_incoming(registry: StreamRegistry, what: str = "incoming") -> IncomingStream:
    return IncomingStream(StreamInfo(1), cast("Session", Source()), what, [ChannelTally()], registry)


def is_empty(registry: StreamRegistry) -> bool:
    return not (registry._by_channel or registry._by_place or registry._by_ticket)


async def test_each_direction_and_each_session_has_numbers_of_its_own(registry: StreamRegistry) -> None:
    outgoing, incoming, other = await make_outgoing(registry), make_incoming(registry), make_incoming(registry)
    registry.number(outgoing, "session", 1)
    registry.number(incoming, "session", 1)
    registry.number(other, "other session", 1)
    assert registry.find_outgoing("session", 1) is outgoing
    assert registry.find_incoming("session", 1) is incoming
    assert registry.find_incoming("other session", 1) is other
    assert registry.find_outgoing("other session", 1) is None
    assert registry.find_incoming("session", 2) is None
    assert registry.of_session("session") == [outgoing, incoming]
    assert registry.of_session("third session") == []


async def test_the_streams_of_a_channel_are_counted_and_shown_outgoing_ones_first(registry: StreamRegistry) -> None:
    streams: list[Stream] = [make_incoming(registry, "a"), await make_outgoing(registry, "b")]
    streams += [make_incoming(registry, "c"), await make_outgoing(registry, "d")]
    for stream in streams:
        registry._enter(stream, "channel")
    registry._enter(make_incoming(registry), "other channel")
    assert registry.of_channel("channel") == streams
    assert registry.count("channel") == (2, 2)
    assert registry.count("other channel") == (0, 1)
    assert registry.count("third channel") == (0, 0)
    assert [node.what for node in registry.describe("channel", 0)] == ["b", "d", "a", "c"]


async def test_a_ticket_leads_to_its_stream_until_it_is_revoked(registry: StreamRegistry) -> None:
    stream, other = await make_outgoing(registry), make_incoming(registry)
    ticket, other_ticket = registry.issue_ticket(stream), registry.issue_ticket(other)
    assert len(ticket) == 22
    assert ticket != other_ticket
    assert (registry.find_ticket(ticket), registry.find_ticket(other_ticket)) == (stream, other)
    assert registry.tickets == 2
    registry.revoke_ticket(stream)
    registry.revoke_ticket(stream)
    assert (registry.find_ticket(ticket), registry.find_ticket(other_ticket)) == (None, other)
    assert registry.tickets == 1
    assert registry.find_ticket("unknown") is None


async def test_a_stream_that_is_retired_is_its_channels_still(registry: StreamRegistry) -> None:
    stream = await make_outgoing(registry)
    registry._enter(stream, "channel")
    registry.number(stream, "session", 5)
    ticket = registry.issue_ticket(stream)
    registry.retire(stream)
    registry.retire(stream)
    assert registry.find_outgoing("session", 5) is None
    assert registry.find_ticket(ticket) is None
    assert registry.of_channel("channel") == [stream]


@pytest.mark.parametrize("entered", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("ticketed", [True, False])
async def test_of_a_stream_that_is_forgotten_nothing_is_left(
    registry: StreamRegistry, *, entered: bool, numbered: bool, ticketed: bool
) -> None:
    stream = await make_outgoing(registry)
    if entered:
        registry._enter(stream, "channel")
    if numbered:
        registry.number(stream, "session", 1)
    if ticketed:
        registry.issue_ticket(stream)
    registry.forget(stream)
    assert is_empty(registry)
    registry.forget(stream)


async def test_forgetting_a_stream_leaves_the_others(registry: StreamRegistry) -> None:
    gone, stays = make_incoming(registry), make_incoming(registry)
    for number, stream in enumerate((gone, stays)):
        registry._enter(stream, "channel")
        registry.number(stream, "session", number)
    registry.forget(gone)
    assert registry.of_channel("channel") == registry.of_session("session") == [stays]
    assert registry.find_incoming("session", 1) is stays


async def test_a_stream_takes_itself_out_when_it_ends(registry: StreamRegistry) -> None:
    incoming, outgoing = make_incoming(registry), await make_outgoing(registry)
    for stream in (incoming, outgoing):
        registry._enter(stream, "channel")
        registry.number(stream, "session", 1)
        registry.issue_ticket(stream)
    incoming.fail(ClosedError("over"))
    assert registry.of_channel("channel") == [outgoing]
    outgoing.stop()
    # Its source has not been closed yet: it is its channel's, and nobody can ask for it any more.
    assert registry.of_channel("channel") == [outgoing]
    assert registry.of_session("session") == []
    assert registry.tickets == 0
    await outgoing.run()
    assert is_empty(registry)


async def test_what_a_source_gives_after_its_stream_was_stopped_is_dropped(registry: StreamRegistry) -> None:
    async def give_late() -> AsyncIterator[bytes]:
        yield bytes(1_000)
        stream.stop()
        yield bytes(50_000)

    quota = StreamQuota(Limits())
    source = await open_source(give_late(), TrioThreads(Limits()))
    stream = OutgoingStream(source, "outgoing", [ChannelTally()], registry, close_seconds=5)
    stream.use_quota(quota)
    registry._enter(stream, "channel")
    await stream.run()
    assert (quota.open, quota.held) == (0, 0)


async def test_a_stream_that_has_ended_is_told_of_no_more_room(registry: StreamRegistry) -> None:
    quota = StreamQuota(Limits(stream_bytes=1))
    stream = make_incoming(registry)
    stream.use_quota(quota)
    stream.feed_piece(b"x")
    registry._enter(stream, "channel")
    quota.watch(stream._buffer)
    registry.forget(stream)
    assert not quota._buffers
