"""What a facade sends without waiting for an answer: posts, and newest values. Their failures are reported once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import outcome
import trio

from jchannel._bridge.call import Call, running_loop
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.jobs import CANCELLED, Job, Running, TaskJob
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._core.arguments import check_name, check_timeout, pack_call
from jchannel._core.failures import Listener, OnFailure, call_on_failure, check_on_failure
from jchannel._core.latest import Latest, LatestValue
from jchannel._core.posts import PostRoom, UnheardRequest
from jchannel._core.request import Request
from jchannel._protocol import messages
from jchannel.errors import StateError

__all__ = ["LatestJobs", "Posts", "listen_in_threads", "listen_on_loop"]


class FacadeListener(Listener):
    """Tells the log of failures, as the facades call them: a time that ran out is the builtin ``TimeoutError``."""

    def hear(self, error: Exception) -> None:
        """Hear of a failure. Called in trio."""
        if isinstance(error, trio.TooSlowError):
            error = TimeoutError(*error.args)
        self.pass_on(error)

    def pass_on(self, error: Exception) -> None:
        """Tell the log."""
        super().hear(error)


class LoopListener(FacadeListener):
    """Calls the user's ``on_failure`` on the loop from which it was passed.

    Args:
        what: What may fail.
        on_failure: The user's function.
        mailbox: The way to the loop.
    """

    def __init__(self, what: str, on_failure: OnFailure, mailbox: LoopMailbox) -> None:
        super().__init__(what)
        self._on_failure = on_failure
        self._mailbox = mailbox

    def pass_on(self, error: Exception) -> None:
        """Call it soon. Where the loop is closed, the log is told."""
        try:
            self._mailbox.post(partial(self.context.copy().run, call_on_failure, self._on_failure, error))
        except LoopClosedError:
            super().pass_on(error)


class ThreadListener(FacadeListener):
    """Calls the user's ``on_failure`` in a worker thread.

    Args:
        what: What may fail.
        on_failure: The user's function.
        channel: The channel.
        portal: The way to its trio.
    """

    def __init__(self, what: str, on_failure: OnFailure, channel: ChannelHandle, portal: Portal) -> None:
        super().__init__(what)
        self._on_failure = on_failure
        self._channel = channel
        self._portal = portal

    def pass_on(self, error: Exception) -> None:
        """Call it soon. Where trio has ended, the log is told."""
        if self._portal.ended:
            super().pass_on(error)
        else:
            self._portal.start_soon(self._call, error)

    async def _call(self, error: Exception) -> None:
        try:
            threads = self._channel.channel.server.streams.threads
            await threads.run_waiting(_run_to_its_end, self._on_failure, error)
        except StateError:  # The channel was never opened, or there is no thread left for it.
            super().pass_on(error)


def _run_to_its_end(on_failure: OnFailure, error: Exception) -> None:
    with suppress(BaseException):  # In trio it would end more than the report.
        call_on_failure(on_failure, error)


class PostJob(Job[None]):
    """A post: its message goes in, and its outcome is heard of only where it has failed.

    Args:
        channel: The channel.
        portal: The way to its trio.
        message: The message, before it is numbered.
        limit: Seconds for the whole.
    """

    starts_anywhere = True
    _call: Call[None]

    def __init__(self, channel: ChannelHandle, portal: Portal, message: messages.Call, limit: float) -> None:
        self.portal = portal
        self._channel = channel
        self._message = message
        self._limit = limit

    def start(self, call: Call[None]) -> Running:
        """Make the request."""
        self._call = call
        outbox = (self._channel.core or self._channel.refuse_request()).outbox
        request = UnheardRequest(outbox, self._message, limit=self._limit, watcher=self)
        outbox.enter(request)
        return request

    def note_done(self, request: Request) -> None:
        """Give the outcome to the call."""
        result, call = request.outcome, self._call
        assert result is not None
        del self._call  # It leads back here: without it, no garbage collector is needed.
        call.finish(result)


class PostCall(Call[None]):
    """A post under way, for which nobody waits.

    Args:
        job: The post.
        listener: Hears of its failure.
        room: Where it has its room.
        size: How much.
    """

    def __init__(self, job: PostJob, listener: Listener, room: PostRoom, size: int) -> None:
        super().__init__(job)
        self._listener = listener
        self._room = room
        self._size = size

    def _notify(self) -> None:
        self._room.give_back(self._size)
        result = self._outcome
        if isinstance(result, outcome.Error) and result is not CANCELLED:
            assert isinstance(result.error, Exception)
            # Not here: this may be a step that another thread has borrowed, in which no code of the user's runs.
            self._portal.post(partial(self._listener.hear, result.error))


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


class Posts:
    """What one facade sends in a channel without waiting for an answer.

    Args:
        channel: The channel.
        listen: Returns what hears of failures. It is called where the user has called.
    """

    def __init__(
        self, channel: ChannelHandle, listen: Callable[[ChannelHandle, str, OnFailure | None], Listener]
    ) -> None:
        self._channel = channel
        self._listen = listen

    def post(self, name: str, args: tuple[object, ...], timeout: float | None, on_failure: OnFailure | None) -> None:
        """Send a call, checked and packed, after those that were made before."""
        limit = check_timeout(timeout)
        check_on_failure(on_failure)
        message = pack_call(name, args, self._channel.conversion)
        listener = self._listen(self._channel, f"channel.post({name!r})", on_failure)
        if self._channel.server.on_page_wanted is not None:
            self._channel.server.on_page_wanted()
        room = self._channel.post_room
        size = room.take(message, self._channel.limits)
        PostCall(PostJob(self._channel, _find_portal(self._channel), message, limit), listener, room, size).submit()

    def open_latest(self, name: str, timeout: float | None, on_failure: OnFailure | None) -> LatestJobs:
        """Return what is done with a newest value."""
        check_name(name)
        limit = check_timeout(timeout)
        check_on_failure(on_failure)
        listener = self._listen(self._channel, f"channel.open_latest({name!r})", on_failure)
        if self._channel.server.on_page_wanted is not None:
            self._channel.server.on_page_wanted()
        return LatestJobs(self._channel, _find_portal(self._channel), name, limit, listener)


def listen_on_loop(channel: ChannelHandle, what: str, on_failure: OnFailure | None) -> Listener:  # noqa: ARG001 (the other's)
    """Return what hears of failures in the asyncio facade: ``on_failure`` is called on the present loop.

    Raises:
        RuntimeError: No asyncio loop is running.
    """
    loop = running_loop()
    return FacadeListener(what) if on_failure is None else LoopListener(what, on_failure, LoopMailbox.of(loop))


def listen_in_threads(channel: ChannelHandle, what: str, on_failure: OnFailure | None) -> Listener:
    """Return what hears of failures in the blocking facade: ``on_failure`` is called in a worker thread."""
    if on_failure is None:
        return FacadeListener(what)
    return ThreadListener(what, on_failure, channel, _find_portal(channel))


def _find_portal(channel: ChannelHandle) -> Portal:
    return channel.server.current_portal or open_thread_portal()
