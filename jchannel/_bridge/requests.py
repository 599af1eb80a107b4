"""The requests that a facade makes in a channel: checked at once, and data from then on."""

from __future__ import annotations

from typing import Any

import outcome
import trio

from jchannel._bridge.blocked import BlockedMethods, explain_busy
from jchannel._bridge.call import Call
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.jobs import Job, Running
from jchannel._bridge.portal import open_thread_portal
from jchannel._bridge.streams import BridgedStream, Streams
from jchannel._core.arguments import PIPE, check_timeout, pack_call, pack_echo
from jchannel._core.invocation import CURRENT
from jchannel._core.request import Request
from jchannel._core.threads import TrioThreads
from jchannel._protocol import messages
from jchannel._streams.progress import Progress, check_progress

__all__ = ["RequestJob", "Requests"]


class RequestJob(Job[Any]):
    """A request of the page: its message goes in, and its outcome comes out.

    Args:
        channel: The channel.
        message: The message, before it is numbered.
        limit: Seconds for the whole; with a stream, without progress.
        streams: The facade's streams.
        blocked: Collects the methods that cannot begin while the caller's thread waits; ``None`` where it does not.
        source: What trio reads as the request's stream; ``None`` without one.
        progress: Called in trio with what has been read of the source.
    """

    _call: Call[Any]
    needs_page = True

    def __init__(
        self,
        channel: ChannelHandle,
        message: messages.Request,
        limit: float,
        *,
        streams: Streams,
        blocked: BlockedMethods | None,
        source: object = None,
        progress: Progress | None = None,
    ) -> None:
        self.portal = channel.server.current_portal or open_thread_portal()
        self.hearing = channel.server.hearing
        self._channel = channel
        self._message = message
        self._limit = limit
        self._streams = streams
        self._blocked = blocked
        self._source = source
        self.starts_anywhere = source is None
        self._progress = progress
        self._parent = CURRENT.get()

    def start(self, call: Call[Any]) -> Running:
        """Make the request."""
        self._call = call
        core = self._channel.core or self._channel.refuse_request()
        if self._blocked is not None:
            self._channel.methods.watch(self._blocked)
        return core.outbox.start(
            self._message,
            self._limit,
            source=self._source,
            progress=self._progress,
            parent=self._parent,
            watcher=self,
        )

    def note_done(self, request: Request) -> None:
        """Give the outcome to the call, as the facade's caller gets it."""
        result = request.outcome
        assert result is not None
        blocked, methods = self._blocked, self._channel.methods
        if blocked is not None:
            methods.unwatch(blocked)
        if isinstance(result, outcome.Error) and isinstance(result.error, trio.TooSlowError):
            late = explain_busy(methods.find_late(request.since)) if blocked is None else blocked.explain()
            if late:
                result = outcome.Error(trio.TooSlowError(f"{result.error}{late}"))
        if isinstance(result, outcome.Value) and isinstance(result.value, BridgedStream):
            result = outcome.Value(self._streams.read(result.value))
        call = self._call
        del self._call  # It leads back here: without it, no garbage collector is needed.
        call.finish(result)


class Requests:
    """The requests of one facade in a channel.

    Args:
        channel: The channel.
        streams: The facade's streams.
        waits: Whether the facade's methods block their thread until the outcome is there.
    """

    def __init__(self, channel: ChannelHandle, streams: Streams, *, waits: bool) -> None:
        self._channel = channel
        self._streams = streams
        self._waits = waits

    def call(self, name: str, args: tuple[object, ...], timeout: float | None) -> RequestJob:
        """Return a call, checked and packed: its arguments may be changed afterwards."""
        limit = check_timeout(timeout)
        return self._make(pack_call(name, args, self._channel.conversion), limit)

    def call_with_stream(
        self, name: str, stream: object, args: tuple[object, ...], timeout: float | None, progress: Progress | None
    ) -> RequestJob:
        """Return a call with a stream, checked and packed."""
        limit = check_timeout(timeout)
        message = pack_call(name, args, self._channel.conversion)
        return self._make_with_stream(message, stream, limit, progress)

    def pipe(self, stream: object, timeout: float | None, progress: Progress | None) -> RequestJob:
        """Return a pipe, checked."""
        return self._make_with_stream(PIPE, stream, check_timeout(timeout), progress)

    def echo(self, args: tuple[object, ...], timeout: float | None) -> RequestJob:
        """Return an echo, checked and packed."""
        limit = check_timeout(timeout)
        return self._make(pack_echo(args, self._channel.conversion), limit)

    def _find_threads(self) -> TrioThreads:
        return self._channel.channel.server.streams.threads

    def _make(
        self, message: messages.Request, limit: float, source: object = None, progress: Progress | None = None
    ) -> RequestJob:
        channel = self._channel
        if channel.server.on_page_wanted is not None:
            channel.server.on_page_wanted()
        blocked = BlockedMethods() if self._waits else None
        return RequestJob(
            channel, message, limit, streams=self._streams, blocked=blocked, source=source, progress=progress
        )

    def _make_with_stream(
        self, message: messages.Request, stream: object, limit: float, progress: Progress | None
    ) -> RequestJob:
        portal = self._channel.server.current_portal or open_thread_portal()
        source = self._streams.check_source(stream, portal)
        if progress is not None:
            check_progress(progress)
            progress = self._streams.report_progress(progress, portal, self._find_threads)
        return self._make(message, limit, source, progress)
