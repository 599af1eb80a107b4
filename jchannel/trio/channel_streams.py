"""The streams of one channel: opening sources, what the user gets of an incoming stream, and the end of all with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import trio

from jchannel.errors import ClosedError
from jchannel.metagenerator import MetaGenerator
from jchannel.progress import Progress
from jchannel.sources import open_source
from jchannel.trio.incoming import IncomingStream
from jchannel.trio.outgoing import OutgoingStream
from jchannel.trio.stream_table import combine

__all__ = ["ChannelStreams", "Give", "give"]

#: Makes what the user gets of an incoming stream, which waits at most so many seconds for each part of it.
Give: TypeAlias = Callable[[IncomingStream, float], Any]


class ChannelStreams:
    """The streams of one channel.

    Args:
        nursery: The channel's nursery, which owns the reading of each source.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._streams: set[OutgoingStream | IncomingStream] = set()

    def __len__(self) -> int:
        return len(self._streams)

    async def open(self, source: object, progress: Progress | None = None) -> OutgoingStream:
        """Opens a source and begins to read it.

        Raises:
            TypeError: It is not one.
            OSError: It is a path that cannot be opened.

        Cancelling it leaves nothing open.
        """
        stream = OutgoingStream(await open_source(source, trio.to_thread.run_sync), progress)
        self._streams.add(stream)
        self._nursery.start_soon(self._run, stream)
        return stream

    def own(self, stream: IncomingStream) -> IncomingStream:
        """Makes an incoming stream one of the channel's."""
        if not stream.over:
            self._streams.add(stream)
            stream.on_end = combine(stream.on_end, lambda: self._streams.discard(stream))
        return stream

    def end(self, why: str) -> None:
        """Ends all streams, because the channel is closing."""
        for stream in list(self._streams):
            if isinstance(stream, OutgoingStream):
                stream.stop()
            else:
                stream.fail(ClosedError(why))

    async def _run(self, stream: OutgoingStream) -> None:
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)


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
