"""The requests that a facade makes in a channel: checked at once, and data from then on."""

from __future__ import annotations

from typing import Any

import outcome
import trio

from jchannel._bridge.blocked import BlockedMethods, explain_busy
from jchannel._bridge.call import Call, running_loop
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.jobs import Job, Running
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._bridge.posts import FacadeListener, LatestJobs, PostJob
from jchannel._bridge.progress import BridgedProgress
from jchannel._bridge.streams import (
    BridgedStream,
    check_loop_source,
    check_thread_source,
    read_in_threads,
    read_on_loop,
)
from jchannel._core.arguments import PIPE, check_name, check_timeout, pack_call, pack_echo
from jchannel._core.failures import Listener, OnFailure, check_on_failure
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
        blocked: BlockedMethods | None,
        source: object = None,
        progress: Progress | None = None,
    ) -> None:
        self.portal = channel.server.current_portal or open_thread_portal()
        self.hearing = channel.server.hearing
        self._channel = channel
        self._message = message
        self._limit = limit
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
            read = read_on_loop if blocked is None else read_in_threads
            result = outcome.Value(read(result.value))
        call = self._call
        del self._call  # It leads back here: without it, no garbage collector is needed.
        call.finish(result)


class Requests:
    """The requests of one facade in a channel.

    Args:
        channel: The channel.
        waits: Whether the facade's methods block their thread until the outcome is there. Then the user's code that
            they need meanwhile runs in worker threads, and otherwise on the loop that the method is called on.
    """

    def __init__(self, channel: ChannelHandle, *, waits: bool) -> None:
        self._channel = channel
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

    def post(self, name: str, args: tuple[object, ...], timeout: float | None, on_failure: OnFailure | None) -> None:
        """Send a call, checked and packed, after those that were made before. Nobody waits for it."""
        limit = check_timeout(timeout)
        check_on_failure(on_failure)
        message = pack_call(name, args, self._channel.conversion)
        listener = self._listen(f"channel.post({name!r})", on_failure)
        self._channel.server.want_page()
        Call(PostJob(self._channel, self._portal, message, limit, listener)).submit()

    def open_latest(self, name: str, timeout: float | None, on_failure: OnFailure | None) -> LatestJobs:
        """Return what is done with a newest value."""
        check_name(name)
        limit = check_timeout(timeout)
        check_on_failure(on_failure)
        listener = self._listen(f"channel.open_latest({name!r})", on_failure)
        self._channel.server.want_page()
        return LatestJobs(self._channel, self._portal, name, limit, listener)

    @property
    def _portal(self) -> Portal:
        return self._channel.server.current_portal or open_thread_portal()

    def _find_mailbox(self) -> LoopMailbox | None:
        """Return the way to the loop on which the user's code is called; ``None`` for worker threads.

        Raises:
            RuntimeError: No asyncio loop is running, in the facade of those.
        """
        return None if self._waits else LoopMailbox.of(running_loop())

    def _listen(self, what: str, on_failure: OnFailure | None) -> Listener:
        return FacadeListener(what, on_failure, self._channel, self._portal, self._find_mailbox())

    def _find_threads(self) -> TrioThreads:
        return self._channel.channel.server.streams.threads

    def _make(
        self, message: messages.Request, limit: float, source: object = None, progress: Progress | None = None
    ) -> RequestJob:
        channel = self._channel
        if channel.server.on_page_wanted is not None:
            channel.server.on_page_wanted()
        blocked = BlockedMethods() if self._waits else None
        return RequestJob(channel, message, limit, blocked=blocked, source=source, progress=progress)

    def _make_with_stream(
        self, message: messages.Request, stream: object, limit: float, progress: Progress | None
    ) -> RequestJob:
        portal = self._portal
        source = check_thread_source(stream) if self._waits else check_loop_source(stream, portal)
        if progress is not None:
            check_progress(progress)
            progress = BridgedProgress(progress, portal, self._find_mailbox(), self._find_threads)
        return self._make(message, limit, source, progress)
