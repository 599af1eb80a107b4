"""What a facade sends without waiting for an answer: posts, and newest values. Their failures are reported once."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from functools import partial

import outcome
import trio

from jchannel._bridge.call import Call
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.jobs import Job, Running, TaskJob
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox
from jchannel._bridge.portal import Portal
from jchannel._core.failures import Listener, OnFailure, call_on_failure
from jchannel._core.latest import Latest, LatestValue
from jchannel._core.posts import find_error
from jchannel._core.request import Request
from jchannel._protocol import messages
from jchannel.errors import StateError

__all__ = ["FacadeListener", "LatestJobs", "PostJob"]


class FacadeListener(Listener):
    """Hears of failures as the facades call them: a time that ran out is the builtin ``TimeoutError``.

    It calls the user's ``on_failure``. Where there is none, or it cannot be called any more, the log is told.

    Args:
        what: What may fail.
        on_failure: The user's function, or ``None``.
        channel: The channel.
        portal: The way to its trio.
        mailbox: The way to the loop on which the function is called; ``None`` for worker threads.
    """

    def __init__(
        self,
        what: str,
        on_failure: OnFailure | None,
        channel: ChannelHandle,
        portal: Portal,
        mailbox: LoopMailbox | None,
    ) -> None:
        super().__init__(what)
        self._on_failure = on_failure
        self._channel = channel
        self._portal = portal
        self._mailbox = mailbox

    def hear(self, error: Exception) -> None:
        """Hear of a failure. Called in trio, or where that has ended."""
        if isinstance(error, trio.TooSlowError):
            error = TimeoutError(*error.args)
        if self._on_failure is None:
            super().hear(error)
        elif self._mailbox is not None:
            try:
                self._mailbox.post(partial(self.context.copy().run, call_on_failure, self._on_failure, error))
            except LoopClosedError:
                super().hear(error)
        elif self._portal.ended:
            super().hear(error)
        else:
            self._portal.start_soon(self._call_in_thread, self._on_failure, error)

    async def _call_in_thread(self, on_failure: OnFailure, error: Exception) -> None:
        try:
            threads = self._channel.channel.server.streams.threads
            await threads.run_waiting(_run_to_its_end, on_failure, error)
        except StateError:  # The channel was never opened, or there is no thread left for it.
            super().hear(error)


def _run_to_its_end(on_failure: OnFailure, error: Exception) -> None:
    with suppress(BaseException):  # In trio it would end more than the report.
        call_on_failure(on_failure, error)


class PostJob(Job[None]):
    """A post: its message goes in, and its outcome is heard of only where it has failed. It takes its room at once.

    Args:
        channel: The channel.
        portal: The way to its trio.
        message: The message, before it is numbered.
        limit: Seconds for the whole.
        listener: Hears of its failure.

    Raises:
        BufferFullError: There is no room left.
    """

    starts_anywhere = True
    _call: Call[None]

    def __init__(
        self, channel: ChannelHandle, portal: Portal, message: messages.Call, limit: float, listener: Listener
    ) -> None:
        self.portal = portal
        self._channel = channel
        self._message = message
        self._limit = limit
        self._listener = listener
        self._size = channel.post_room.take(message, channel.limits)

    def start(self, call: Call[None]) -> Running:
        """Make the request."""
        self._call = call
        outbox = (self._channel.core or self._channel.refuse_request()).outbox
        request = Request(outbox, self._message, limit=self._limit, watcher=self, is_awaited=False)
        outbox.enter(request)
        return request

    def note_done(self, request: Request) -> None:
        """Give the outcome to the call."""
        result, call = request.outcome, self._call
        assert result is not None
        del self._call  # It leads back here: without it, no garbage collector is needed.
        call.finish(result)

    def note_unheard(self, result: outcome.Outcome[None]) -> None:
        """Give its room back, and tell of its failure."""
        self._channel.post_room.give_back(self._size)
        error = find_error(result)
        if error is not None:
            # Not here: this may be a step that another thread has borrowed, in which no code of the user's runs.
            self.portal.post(partial(self._listener.hear, error))


class LatestJobs:
    """What a facade does in trio with a newest value, from its beginning to its end.

    Args:
        channel: The channel.
        portal: The way to its trio.
        name: The method's name.
        limit: Seconds for each call.
        listener: Hears of the calls that fail.
    """

    def __init__(self, channel: ChannelHandle, portal: Portal, name: str, limit: float, listener: Listener) -> None:
        self._channel = channel
        self._portal = portal
        self._name = name
        self._limit = limit
        self._listener = listener
        self._latest: LatestValue

    def begin(self) -> Job[Latest]:
        """Return the job that begins, and returns what the user sets values with."""
        return TaskJob(self._portal, self._begin, self._abandon)

    def finish(self) -> Job[None]:
        """Return the job that waits for the last value."""
        return TaskJob(self._portal, self._latest.finish)

    def abandon(self) -> Job[None]:
        """Return the job that ends it."""
        return TaskJob(self._portal, self._abandon, certain=True)

    def _begin(self) -> Awaitable[Latest]:
        core = self._channel.core or self._channel.refuse_request()
        self._latest = LatestValue(core.outbox, self._name, self._limit, self._listener)
        self._latest.begin()
        return _return(Latest.create(self._latest, self._channel.conversion))

    async def _abandon(self) -> None:
        await self._latest.abandon()


async def _return(value: Latest) -> Latest:
    return value
