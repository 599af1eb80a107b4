"""The streams of one channel: opening sources, what the user gets of an incoming stream, and the end of all with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import trio

from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.registry import combine
from jchannel._core.statistics import ChannelTally
from jchannel._core.tree import StreamNode
from jchannel._streams.progress import Progress
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import open_source
from jchannel.errors import ClosedError

__all__ = ["ChannelStreams", "Give", "give"]

#: Makes what the user gets of an incoming stream, which waits at most so many seconds for each part of it.
Give: TypeAlias = Callable[[IncomingStream, float], Any]


class ChannelStreams:
    """The streams of one channel.

    Args:
        nursery: The channel's nursery, which owns the reading of each source.
        tally: Counts their bytes.
    """

    def __init__(self, nursery: trio.Nursery, tally: ChannelTally) -> None:
        self._nursery = nursery
        self._tally = tally
        self._outgoing: dict[OutgoingStream, _Origin] = {}
        self._incoming: dict[IncomingStream, _Origin] = {}

    def __len__(self) -> int:
        return self.outgoing + self.incoming

    @property
    def outgoing(self) -> int:
        """The number of streams to the far side."""
        return len(self._outgoing)

    @property
    def incoming(self) -> int:
        """The number of streams from the far side."""
        return len(self._incoming)

    def describe(self, now: float) -> tuple[StreamNode, ...]:
        """The streams, for the tree. Safe in any thread."""
        # A copy is made in one step. Walking through what another thread changes would raise.
        return (
            *(origin.describe(stream, stream.taken, now) for stream, origin in self._outgoing.copy().items()),
            *(origin.describe(stream, stream.received, now) for stream, origin in self._incoming.copy().items()),
        )

    async def open(self, source: object, what: str, progress: Progress | None = None) -> OutgoingStream:
        """Opens a source and begins to read it.

        Args:
            source: The source.
            what: What the stream is called in the tree.
            progress: Told of what has been read of it.

        Raises:
            TypeError: It is not one.
            OSError: It is a path that cannot be opened.

        Cancelling it leaves nothing open.
        """
        stream = OutgoingStream(await open_source(source, trio.to_thread.run_sync), progress)
        stream.on_carried = self._tally.count_stream_sent
        # It is the channel's until its source is closed and its reader has all of it, whichever is later.
        self._outgoing[stream] = _Origin(what, trio.current_time())
        stream.on_end = lambda: self._drop(stream)
        self._nursery.start_soon(self._run, stream, name=f"source of a stream: {what}")
        return stream

    def own(self, stream: IncomingStream, what: str) -> IncomingStream:
        """Makes an incoming stream, called as in ``open``, one of the channel's."""
        if not stream.over:
            stream.on_carried = self._tally.count_stream_received
            self._incoming[stream] = _Origin(what, trio.current_time())
            stream.on_end = combine(stream.on_end, lambda: self._incoming.pop(stream, None))
        return stream

    def end(self, why: str) -> None:
        """Ends all streams, because the channel is closing."""
        for outgoing in list(self._outgoing):
            outgoing.stop()
        for incoming in list(self._incoming):
            incoming.fail(ClosedError(why))

    async def _run(self, stream: OutgoingStream) -> None:
        try:
            await stream.run()
        finally:
            self._drop(stream)

    def _drop(self, stream: OutgoingStream) -> None:
        if stream.over:
            self._outgoing.pop(stream, None)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a stream comes from: what it is called, and when it was opened, by trio's clock."""

    what: str
    since: float

    def describe(self, stream: OutgoingStream | IncomingStream, size: int, now: float) -> StreamNode:
        """The stream, for the tree."""
        outgoing = isinstance(stream, OutgoingStream)
        return StreamNode(self.what, outgoing, size, stream.total, now - self.since, stream.describe())


def give(stream: IncomingStream, limit: float) -> MetaGenerator:
    """What the user gets of an incoming stream. A read that waits longer than the limit, in seconds, raises."""
    token = trio.lowlevel.current_trio_token()

    async def receive() -> bytes:
        with trio.move_on_after(limit):
            return await stream.receive()
        raise trio.TooSlowError(f"no part of the stream arrived within {limit:g} s")

    def abandon() -> None:
        # The garbage collector calls it, in any thread, maybe after the end of everything.
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(stream.drop)

    return MetaGenerator(receive, stream.aclose, trio.to_thread.run_sync, stream.total, abandon=abandon)
