"""One side of a channel: it makes requests of the far side, and answers the far side's.

What is the same for the server's channels and the Python peer's is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import trio

from jchannel._core.deadlines import Deadlines
from jchannel._core.dispatcher import Dispatcher
from jchannel._core.handlers import Methods
from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.nursery import copy_error
from jchannel._core.outbox import ConvertStream, Outbox
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.statistics import ChannelStatistics, ChannelTally
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.tree import ChannelTree
from jchannel._protocol.values import PLAIN, Conversion
from jchannel.errors import ClosedError

__all__ = ["Endpoint"]


class Endpoint(ABC):
    """One side of a channel.

    Args:
        handler: The object that handles calls from the far side, or ``None``.
        nursery: Owns its tasks; ``None`` where one will be set later.
        streams: Where its streams are entered.
        deadlines: Expires its requests.
        methods: Runs the handler's methods.
        convert_stream: Makes what the user gets of an incoming stream.
        tracebacks: Whether the far side gets the traceback of an exception.
        tally: Counts what the channel comes to, beside its own tally; ``None`` for nobody.
        conversion: What becomes of values that JSON has no form for.

    Attributes:
        handler: As above. It may be set at any time, and counts from the next call on.
        conversion: As above.
        nursery: As above. While it is ``None``, tasks wait to be started.
        outbox: Its requests.
        dispatcher: Answers the far side's requests.
        tallies: Count what it comes to: its own counters, and those of what it belongs to.
        face: What its user holds of it, where one object stands for it; ``None`` before there is one.
        start_soon: Starts a task that the channel owns, like that of a nursery: at once, or when it has a nursery.
        limits: The limits of what the far side controls. Those who inherit set them.
    """

    limits: Limits

    #: What the far side is called in the tree.
    _far_side: ClassVar[str]
    #: Whether the channel outlives a session.
    _reconnects: ClassVar[bool]

    def __init__(
        self,
        handler: object,
        *,
        nursery: trio.Nursery | None,
        streams: StreamRegistry,
        deadlines: Deadlines,
        methods: Methods,
        convert_stream: ConvertStream,
        tracebacks: bool,
        tally: ChannelTally | None = None,
        conversion: Conversion = PLAIN,
    ) -> None:
        self.handler = handler
        self.conversion = conversion
        self.face: object = None
        self.nursery = nursery
        self.start_soon: Callable[..., None] = self._keep_waiting if nursery is None else nursery.start_soon
        self._waiting_tasks: list[tuple[Callable[..., Any], tuple[object, ...], str | None]] = []
        self._clock = trio.lowlevel.current_clock()
        self.tallies: Sequence[ChannelTally] = [ChannelTally()] if tally is None else [ChannelTally(), tally]
        self._streams = streams
        self.outbox: Outbox = Outbox(
            self,
            convert_stream,
            streams,
            [tally.made for tally in self.tallies],
            deadlines,
            reconnects=self._reconnects,
        )
        self.dispatcher: Dispatcher = Dispatcher(
            self,
            methods,
            convert_stream,
            streams,
            deadlines,
            tallies=[tally.served for tally in self.tallies],
            tracebacks=tracebacks,
        )

    def statistics(self) -> ChannelStatistics:
        """Return what the channel has under way, and what it had so far. Safe in any thread; it never waits."""
        outgoing, incoming = self._streams.count(self)
        return ChannelStatistics(
            waiting_requests=self.outbox.waiting,
            pending_requests=self.outbox.pending,
            running_requests=self.dispatcher.running,
            outgoing_streams=outgoing,
            incoming_streams=incoming,
            calls_made=self.tallies[0].made.totals(),
            calls_served=self.tallies[0].served.totals(),
            stream_bytes_sent=self.tallies[0].stream_bytes_sent,
            stream_bytes_received=self.tallies[0].stream_bytes_received,
        )

    def tree(self) -> ChannelTree:
        """Return what the channel has under way, each call and stream. Safe in any thread; it never waits."""
        now = self._clock.current_time()
        number, state = self._describe()
        return ChannelTree(
            number=number,
            state=state,
            far_side=self._far_side,
            calls_made=self.outbox.describe(now),
            calls_served=self.dispatcher.describe(now),
            streams=self._streams.describe(self, now),
        )

    # Tasks

    @property
    def has_waiting_tasks(self) -> bool:
        """Whether tasks wait to be started."""
        return bool(self._waiting_tasks)

    def use_nursery(self, nursery: trio.Nursery) -> None:
        """Start the tasks that have waited for a nursery, and those to come, in this one."""
        self.nursery, self.start_soon = nursery, nursery.start_soon
        waiting, self._waiting_tasks = self._waiting_tasks, []
        for function, args, name in waiting:
            nursery.start_soon(function, *args, name=name)

    def leave_nursery(self, nursery: trio.Nursery) -> None:
        """Start no more tasks in a nursery, which is ending. Another one may be in use meanwhile."""
        if self.nursery is nursery:
            self.dispatcher.attend_all()
            self.nursery, self.start_soon = None, self._keep_waiting

    def _keep_waiting(self, function: Callable[..., Any], *args: object, name: str | None = None) -> None:
        self._waiting_tasks.append((function, args, name))

    # Of each kind of channel

    @abstractmethod
    def explain_wait(self) -> str:
        """Return what requests that have not been sent wait for, as a sentence."""

    @abstractmethod
    def annotate(self, error: Exception) -> None:
        """Add to an error of the far side's what this side knows about it."""

    @abstractmethod
    def _describe(self) -> tuple[int | None, str]:
        """Return the channel's number, ``None`` when it is closed, and its state, for the tree. Safe in any thread."""

    def _end_all(self, error: ClosedError) -> None:
        """End what is under way in both directions, because the channel is closing."""
        self.outbox.close(error)
        for stream in self._streams.of_channel(self):
            if isinstance(stream, OutgoingStream):
                stream.stop()
            else:
                assert isinstance(stream, IncomingStream)
                stream.fail(copy_error(error))
        self.dispatcher.end()
