"""The registry of streams: every stream of a server or a peer, by its channel, its number in its session, its ticket.

A stream is entered here when it is opened or announced, and taken out when it has ended, and nowhere else.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.stream import Stream, StreamQuota
from jchannel._core.threads import TrioThreads
from jchannel._core.tree import StreamNode
from jchannel._protocol.messages import StreamInfo
from jchannel._secret import Secret
from jchannel._streams.progress import Progress
from jchannel._streams.sources import open_source

if TYPE_CHECKING:
    from jchannel._core.endpoint import Endpoint
    from jchannel._core.session import Session

__all__ = ["STOPPED_TICKETS", "StreamRegistry"]

#: How many tickets are remembered of streams whose reader has stopped. The oldest is forgotten then.
STOPPED_TICKETS: Final = 1_000


class StreamRegistry:
    """The streams of a server or a peer. A channel and a session are whatever objects they are entered with.

    Args:
        limits: The limits of the server or the peer.

    Attributes:
        threads: Where the blocking code of their sources and readers runs.
    """

    def __init__(self, limits: Limits) -> None:
        self.threads: TrioThreads = TrioThreads(limits)
        self._close_seconds = limits.cleanup_seconds
        self._by_channel: dict[object, dict[Stream, None]] = {}
        self._by_place: dict[tuple[object, bool, int], Stream] = {}
        self._by_ticket: dict[str, Stream] = {}
        self._stopped_tickets: deque[str] = deque(maxlen=STOPPED_TICKETS)

    @property
    def tickets(self) -> int:
        """The number of tickets that work."""
        return len(self._by_ticket)

    # Entering

    async def open(
        self,
        source: object,
        what: str,
        channel: Endpoint,
        progress: Progress | None = None,
        *,
        quota: StreamQuota | None = None,
    ) -> OutgoingStream:
        """Open a source, enter it as a stream of a channel, and begin to read it.

        Args:
            source: The source, as ``check_source`` has returned it.
            what: What the stream is called in the tree.
            channel: The channel, whose task reads it.
            progress: Called with what has been read of it.
            quota: What it is counted in, where the far side has caused it.

        Raises:
            OSError: It is a path that cannot be opened.

        Cancelling it leaves nothing open.
        """
        opened = await open_source(source, self.threads)
        stream = OutgoingStream(
            opened,
            what,
            channel.tallies,
            self,
            close_seconds=self._close_seconds,
            contains_exits=channel.dispatcher.methods.contains_exits,
            progress=progress,
        )
        if quota is not None:
            stream.use_quota(quota)
        self._enter(stream, channel)
        channel.start_soon(stream.run, name=f"source of a stream: {what}")
        return stream

    def accept(
        self, info: StreamInfo, what: str, channel: Endpoint, session: Session, quota: StreamQuota | None = None
    ) -> IncomingStream:
        """Enter a stream of the far side as one of a channel, unless it is whole already.

        Args:
            info: Its announcement.
            what: What the stream is called in the tree.
            channel: The channel.
            session: The session in which it was announced.
            quota: What it is counted in, where the far side has caused it.
        """
        stream = IncomingStream(info, session, what, channel.tallies, self)
        if info.data is None:
            if quota is not None:
                stream.use_quota(quota)
            self._enter(stream, channel)
            self.number(stream, session, info.id)
        return stream

    def _enter(self, stream: Stream, channel: object) -> None:
        stream.channel = channel
        self._by_channel.setdefault(channel, {})[stream] = None

    def number(self, stream: Stream, session: object, number: int) -> None:
        """Enter a stream with its number in a session. Each direction has numbers of its own."""
        stream.place = session, number
        self._by_place[session, isinstance(stream, OutgoingStream), number] = stream

    def issue_ticket(self, stream: Stream) -> str:
        """Return a new ticket of 128 random bits with which the stream's bytes can be fetched or posted."""
        stream.ticket = Secret(secrets.token_urlsafe(16))
        self._by_ticket[stream.ticket] = stream
        return stream.ticket

    # Finding

    def find_outgoing(self, session: object, number: int) -> OutgoingStream | None:
        """Return the stream that this side has announced with a number, unless it has ended."""
        stream = self._by_place.get((session, True, number))
        return stream if isinstance(stream, OutgoingStream) else None

    def find_incoming(self, session: object, number: int) -> IncomingStream | None:
        """Return the stream that the far side has announced with a number, unless it has ended."""
        stream = self._by_place.get((session, False, number))
        return stream if isinstance(stream, IncomingStream) else None

    def find_ticket(self, ticket: str) -> Stream | None:
        """Return the stream of a ticket that works."""
        return self._by_ticket.get(ticket)

    def was_stopped(self, ticket: str) -> bool:
        """Return whether a ticket is that of a stream whose reader has stopped in a session that goes on."""
        return ticket in self._stopped_tickets

    def of_session(self, session: object) -> list[Stream]:
        """Return the streams that have a number in a session."""
        return [stream for (of, _, _), stream in self._by_place.items() if of is session]

    def of_channel(self, channel: object) -> list[Stream]:
        """Return the streams of a channel. Safe in any thread."""
        # A copy is made in one step. Walking through what another thread changes would raise.
        return list(self._by_channel.get(channel, ()))

    def count(self, channel: object) -> tuple[int, int]:
        """Return the numbers of a channel's outgoing and incoming streams. Safe in any thread."""
        streams = self.of_channel(channel)
        outgoing = sum(isinstance(stream, OutgoingStream) for stream in streams)
        return outgoing, len(streams) - outgoing

    def describe(self, channel: object, now: float) -> tuple[StreamNode, ...]:
        """Return what the tree shows of a channel's streams, the outgoing ones first. Safe in any thread."""
        nodes = [stream.describe(now) for stream in self.of_channel(channel)]
        return tuple(sorted(nodes, key=lambda node: not node.outgoing))

    # Taking out

    def revoke_ticket(self, stream: Stream) -> None:
        """Take a stream's ticket back, unless it has none."""
        if stream.ticket is not None:
            del self._by_ticket[stream.ticket]
            stream.ticket = None

    def remember_ticket(self, stream: Stream) -> None:
        """Remember the ticket of a stream whose reader stops: a part of it may be on its way, and is no stranger's."""
        if stream.ticket is not None:
            self._stopped_tickets.append(stream.ticket)

    def forget_tickets(self) -> None:
        """Forget the tickets of streams whose reader has stopped, as the session ends: there is one at a time."""
        self._stopped_tickets.clear()

    def retire(self, stream: Stream) -> None:
        """Take a stream's number and ticket back: nobody can begin to carry it any more, and its pieces have ended."""
        if stream.ticket is not None:
            self.revoke_ticket(stream)
        if stream.place is not None:
            session, number = stream.place
            del self._by_place[session, isinstance(stream, OutgoingStream), number]
            stream.place = stream.pieces = None

    def forget(self, stream: Stream) -> None:
        """Take a stream out, which has ended."""
        if stream.place is not None or stream.ticket is not None:
            self.retire(stream)
        if stream.channel is not None:
            streams = self._by_channel[stream.channel]
            del streams[stream]
            if not streams:
                del self._by_channel[stream.channel]
            stream.channel = None
            stream.leave_quota(expected=isinstance(stream, OutgoingStream))
