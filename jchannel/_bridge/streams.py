"""The streams of a facade: what its user reads, and what trio reads of the user's sources."""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable

from jchannel._bridge.call import running_loop
from jchannel._bridge.loop_source import LoopSource
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.portal import Portal
from jchannel._bridge.progress import BridgedProgress
from jchannel._bridge.readers import BridgedStream, read_in_threads, read_on_loop
from jchannel._core.threads import TrioThreads
from jchannel._streams.blocking import ByteStream, give_away
from jchannel._streams.progress import Progress
from jchannel._streams.sources import check_source

__all__ = ["LoopStreams", "Streams", "ThreadStreams"]


class Streams(ABC):
    """The streams of one facade."""

    @abstractmethod
    def read(self, stream: BridgedStream) -> object:
        """Return what the user reads an incoming stream with. Called in trio."""

    @abstractmethod
    def check_source(self, stream: object, portal: Portal) -> object:
        """Check what the user wants to send, and return what trio reads. Called where the user has called.

        Raises:
            TypeError, ValueError: It cannot be sent.
        """

    @abstractmethod
    def report_progress(self, progress: Progress, portal: Portal, find_threads: Callable[[], TrioThreads]) -> Progress:
        """Return what trio calls with the progress of a stream. Called where the user has called."""


class LoopStreams(Streams):
    """The streams of the asyncio facade: the user's code runs on the loop from which it was passed."""

    def read(self, stream: BridgedStream) -> object:
        """Return a ``MetaGenerator`` that is awaited on a loop."""
        return read_on_loop(stream)

    def check_source(self, stream: object, portal: Portal) -> object:
        """Return what trio reads: an async iterable through its loop. What blocks is left to trio's worker threads."""
        source = check_source(stream)
        if not isinstance(source, AsyncIterable):
            return source
        return LoopSource(source, LoopMailbox.of(running_loop()), portal, contextvars.copy_context())

    def report_progress(self, progress: Progress, portal: Portal, find_threads: Callable[[], TrioThreads]) -> Progress:
        """Return what calls the user's progress on the present loop."""
        return BridgedProgress(progress, portal, LoopMailbox.of(running_loop()), find_threads)


class ThreadStreams(Streams):
    """The streams of the blocking facade: the user's code runs in worker threads."""

    def read(self, stream: BridgedStream) -> object:
        """Return a ``ByteStream``."""
        return read_in_threads(stream)

    def check_source(self, stream: object, portal: Portal) -> object:  # noqa: ARG002 (a parameter of the other's)
        """Return what trio reads. A stream of a channel is read where it comes from, in trio."""
        if isinstance(stream, ByteStream):
            return give_away(stream)
        source = check_source(stream)
        if isinstance(source, AsyncIterable):
            raise TypeError(
                f"a call that waits has no loop to read an async iterable in: give it an iterable, and not {stream!r}"
            )
        return source

    def report_progress(self, progress: Progress, portal: Portal, find_threads: Callable[[], TrioThreads]) -> Progress:
        """Return what calls the user's progress in worker threads."""
        return BridgedProgress(progress, portal, None, find_threads)
