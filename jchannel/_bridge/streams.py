"""How streams go between trio and a facade: what the user gets of one that comes, and what trio gets of the user's."""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable

from jchannel._bridge.crossing import running_loop
from jchannel._bridge.incoming import Arrivals, give_to_loop, give_to_threads
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.outgoing import LoopSource
from jchannel._bridge.portal import Portal
from jchannel._bridge.progress import LoopProgress, ThreadProgress
from jchannel._streams.blocking import ByteStream
from jchannel._streams.progress import Progress
from jchannel._streams.sources import check_source

__all__ = ["LoopStreams", "Streams", "ThreadStreams"]


class Streams(ABC):
    """The way of streams between trio and one facade."""

    @abstractmethod
    def give(self, arrivals: Arrivals) -> object:
        """Makes what the user gets of an incoming stream. Called in trio."""

    @abstractmethod
    def carry_source(self, stream: object, portal: Portal) -> object:
        """Checks what the user wants to send, and gives what trio reads. Called where the user has called.

        Raises:
            TypeError, ValueError: It cannot be sent.
        """

    @abstractmethod
    def carry_progress(self, progress: Progress, portal: Portal) -> Progress:
        """Gives what trio tells of the progress of a stream. Called where the user has called."""


class LoopStreams(Streams):
    """The way of the asyncio facade's streams: the user's code runs on the loop from which it was given."""

    def give(self, arrivals: Arrivals) -> object:
        """As the base class's."""
        return give_to_loop(arrivals)

    def carry_source(self, stream: object, portal: Portal) -> object:
        """As the base class's. What blocks is left to trio's worker threads."""
        source = check_source(stream)
        if not isinstance(source, AsyncIterable):
            return source
        return LoopSource(source, LoopMailbox.of(running_loop()), portal, contextvars.copy_context())

    def carry_progress(self, progress: Progress, portal: Portal) -> Progress:
        """As the base class's."""
        return LoopProgress(progress, portal, LoopMailbox.of(running_loop()))


class ThreadStreams(Streams):
    """The way of the blocking facade's streams: the user's code runs in worker threads."""

    def give(self, arrivals: Arrivals) -> object:
        """As the base class's."""
        return give_to_threads(arrivals)

    def carry_source(self, stream: object, portal: Portal) -> object:  # noqa: ARG002 (a parameter of the other's)
        """As the base class's. A stream of a channel is read where it comes from, in trio."""
        if isinstance(stream, ByteStream):
            return stream.give_away()
        source = check_source(stream)
        if isinstance(source, AsyncIterable):
            raise TypeError(
                f"a call that waits has no loop to read an async iterable in: give it an iterable, and not {stream!r}"
            )
        return source

    def carry_progress(self, progress: Progress, portal: Portal) -> Progress:
        """As the base class's."""
        return ThreadProgress(progress, portal)
