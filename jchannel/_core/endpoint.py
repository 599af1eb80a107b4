"""One side of a channel: it calls the far side's handler, and runs its own handler's methods for the far side.

What is the same for the server's channels and the Python peer's is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, ClassVar, cast

import trio

from jchannel._core.arguments import check_timeout
from jchannel._core.channel_streams import ChannelStreams, Give, give
from jchannel._core.dispatcher import Service
from jchannel._core.handlers import Invoke, invoke
from jchannel._core.outbox import Requests
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelStatistics, ChannelTally
from jchannel._core.tree import ChannelTree
from jchannel._protocol.messages import Call, Echo, Pipe, Request, StreamInfo
from jchannel._protocol.values import Packed, pack
from jchannel._streams.progress import Progress, check_progress
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import check_source
from jchannel.errors import ClosedError

__all__ = ["Endpoint"]


class Endpoint(ABC):
    """One side of a channel.

    Attributes:
        handler: The object that handles calls from the far side, or ``None``. Its public methods can be called, sync
            and async ones. It may be set at any time, and counts from the next call on. An exception that a method
            raises is the answer to its call, and ends nothing else. What is no ``Exception``, such as
            ``KeyboardInterrupt`` and ``SystemExit``, is meant for the program: it comes out of the block that owns the
            channel.
    """

    #: What the far side is called in the tree.
    _far_side: ClassVar[str]

    def __init__(
        self,
        nursery: trio.Nursery,
        handler: object,
        *,
        tracebacks: bool,
        run_method: Invoke = invoke,
        give_stream: Give = give,
        tally: ChannelTally | None = None,
    ) -> None:
        self.handler = handler
        self._nursery = nursery
        self._clock = trio.lowlevel.current_clock()
        self._tally = ChannelTally(tally)
        self._streams = ChannelStreams(nursery, self._tally)
        self._requests = Requests(self, self._streams, give_stream, self._tally.made)
        self._service = Service(
            nursery,
            self._streams,
            lambda: self.handler,
            run_method,
            give_stream,
            tally=self._tally.served,
            tracebacks=tracebacks,
        )

    def statistics(self) -> ChannelStatistics:
        """What the channel has under way, and what it had so far. It can be asked in any thread, and never waits."""
        return ChannelStatistics(
            waiting_requests=self._requests.waiting,
            pending_requests=self._requests.pending,
            running_requests=self._service.running,
            outgoing_streams=self._streams.outgoing,
            incoming_streams=self._streams.incoming,
            calls_made=self._tally.made.totals(),
            calls_served=self._tally.served.totals(),
            stream_bytes_sent=self._tally.stream_bytes_sent,
            stream_bytes_received=self._tally.stream_bytes_received,
        )

    def tree(self) -> ChannelTree:
        """What the channel has under way, each call and stream. Its ``str`` is text for people.

        It can be asked in any thread, and never waits.
        """
        now = self._clock.current_time()
        number, state = self._describe()
        return ChannelTree(
            number=number,
            state=state,
            far_side=self._far_side,
            calls_made=self._requests.describe(now),
            calls_served=self._service.describe(now),
            streams=self._streams.describe(now),
        )

    async def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Calls a method of the far side's handler.

        Args:
            name: The method's name.
            *args: The arguments: JSON values, with bytes and arrays anywhere inside.
            timeout: Seconds for the whole request, waiting for the far side included; ``None`` for no limit.

        Returns:
            What the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            trio.TooSlowError: The time ran out. The message says what was waited for.
            TypeError, ValueError: An argument cannot be sent as it is, or the timeout is not one. Nothing was sent.
            RemoteError: The method raised, or there is no such method: ``FrontendError`` where the far side is a page.
            ClosedError: The channel is closed, or was closed meanwhile, on either side.
            PageLostError: The connection was lost after the request had been sent. It may have run.
            RemoteCancelledError: The far side's own program cancelled what was to answer.

        The far side knows the time left: that of ``timeout``, or of a cancel scope round the call where that is less. A
        call that a handler method makes is part of the call that the method answers, and has no later deadline.

        Cancelling it, and a time that runs out, cancel the call on the far side, and wait until it has ended there, at
        most ``Limits.cancel_seconds``.
        """
        return await self.begin_call(name, pack_args(args), timeout)

    def begin_call(self, name: str, args: Packed, timeout: float | None) -> Awaitable[Any]:
        """As ``call``, with arguments that were packed before: for those who make requests in another thread.

        The call is made now: it leaves before every call and echo that is made later. What is given must be awaited
        at once; it does the waiting.
        """
        limit = check_timeout(timeout)
        check_name(name)
        return self._requests.begin(
            lambda id_, channel, _, timeout, parent: Call(id_, channel, name, args, None, timeout, parent),
            limit,
            f"the call of {name!r}",
        )

    async def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3, progress: Progress | None = None
    ) -> Any:
        """Calls a method of the far side's handler with a byte stream as its first argument.

        Args:
            name: The method's name. The method receives the stream as a ``MetaGenerator``.
            stream: The source of the stream: an async iterable of bytes-like objects, such as an async generator or a
                trio receive stream; bytes; a sync iterable of bytes-like objects, a binary file or a ``pathlib.Path``,
                which are read in a worker thread. It is closed in the end, but for a file that was open already.
            *args: The other arguments, as those of ``call``.
            timeout: Seconds without progress: in which no part of the stream is taken and no answer comes; ``None`` for
                no limit.
            progress: Called with the number of bytes read of the source, and the total or ``None``.

        Returns:
            What the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            TypeError: The stream is none of these. Nothing was sent.
            OSError: It is a path that cannot be opened. Nothing was sent.

        The rest is as with ``call``. A source that raises gives its reader the error, and fails no call by itself.
        """
        return await self.begin_call_with_stream(name, check_source(stream), pack_args(args), timeout, progress)

    def begin_call_with_stream(
        self, name: str, stream: object, args: Packed, timeout: float | None, progress: Progress | None
    ) -> Awaitable[Any]:
        """As ``call_with_stream``, with a source that was checked and arguments that were packed before."""
        limit = check_timeout(timeout)
        check_name(name)
        check_progress(progress)
        return self._requests.ask_with_stream(
            lambda id_, channel, info, timeout, parent: Call(id_, channel, name, args, info, timeout, parent),
            stream,
            progress,
            limit,
            f"the call of {name!r}",
        )

    async def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """Sends arguments to the far side and receives them back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call``.

        Returns:
            The arguments, as a list.
        """
        return await self.begin_echo(pack_args(args), timeout)

    def begin_echo(self, args: Packed, timeout: float | None) -> Awaitable[list[Any]]:
        """As ``echo``, with arguments that were packed before, and made now as by ``begin_call``."""
        limit = check_timeout(timeout)
        return self._requests.begin(lambda id_, channel, *_: Echo(id_, channel, args), limit, "the echo")

    async def pipe(
        self, stream: object, timeout: float | None = 3, *, progress: Progress | None = None
    ) -> MetaGenerator:
        """Sends a byte stream to the far side and receives it back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call_with_stream``.

        Returns:
            The same bytes, as a ``MetaGenerator``. ``async with`` closes it where it is not read to its end.
        """
        return await self.begin_pipe(check_source(stream), timeout, progress)

    def begin_pipe(self, stream: object, timeout: float | None, progress: Progress | None) -> Awaitable[MetaGenerator]:
        """As ``pipe``, with a source that was checked before."""
        limit = check_timeout(timeout)
        check_progress(progress)
        return self._requests.ask_with_stream(
            lambda id_, channel, info, timeout, parent: Pipe(id_, channel, cast("StreamInfo", info), timeout, parent),
            stream,
            progress,
            limit,
            "the pipe",
        )

    def serve(self, session: Session, request: Request) -> None:
        """Starts what answers a request of the far side. Called by the session; it does not wait."""
        self._service.serve(session, request)

    @abstractmethod
    def find_session(self) -> tuple[Session, int] | None:
        """As ``requests.Way.find_session``."""

    @abstractmethod
    async def wait_session(self) -> tuple[Session, int]:
        """As ``requests.Way.wait_session``."""

    @abstractmethod
    def explain_wait(self) -> str:
        """As ``requests.Way.explain_wait``."""

    @abstractmethod
    def _describe(self) -> tuple[int | None, str]:
        """The channel's number, ``None`` when it is closed, and its state, for the tree. Safe in any thread."""

    def _end_all(self, why: str, cause: Exception | None = None) -> None:
        """Ends what is under way in both directions, because the channel is closing."""
        error = ClosedError(why)
        error.__cause__ = cause
        self._requests.end(error)
        self._streams.end(why)
        self._service.end()


def pack_args(args: tuple[object, ...]) -> Packed:
    """Checks and encodes a call's arguments.

    Raises:
        TypeError, ValueError: One of them cannot be sent as it is. The message names its place, as in ``args[0]['x']``.
    """
    return pack(args, field_name="args", shown_as="args")


def check_name(name: object) -> None:
    """Refuses what cannot be a method's name.

    Raises:
        TypeError: It is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a method must be a str, and not {name!r}")
