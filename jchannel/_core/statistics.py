"""Statistics of the current and past requests, streams and connections.

The counters are plain integers that only trio's thread modifies. Any thread may read them, without a lock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

__all__ = [
    "CallTally",
    "CallTotals",
    "ChannelStatistics",
    "ChannelTally",
    "ServerStatistics",
    "SocketTally",
    "SocketTotals",
]


@dataclass(frozen=True, slots=True)
class CallTotals:
    """The numbers of finished requests of one direction, by outcome: calls, echoes and pipes.

    Attributes:
        answered: The number of requests that were answered with a value or a stream.
        failed: The number of requests that ended with an error: of the method, of the connection, or because the
            channel was closed.
        cancelled: The number of requests that timed out or were cancelled, by their sender or with what they belong to.
    """

    answered: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class SocketTotals:
    """The traffic on the WebSockets of the page's connections. Byte streams over HTTP do not count.

    Attributes:
        messages_sent: The number of messages to the page. One frame may contain several.
        messages_received: The number of messages from the page.
        frames_sent: The number of frames to the page.
        frames_received: The number of frames from the page.
        bytes_sent: The number of bytes in the frames to the page, without the overhead of the WebSocket.
        bytes_received: The number of bytes in the frames from the page, without that overhead.
    """

    messages_sent: int
    messages_received: int
    frames_sent: int
    frames_received: int
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """The statistics of one channel since it was created. In the facades, that is since it was opened.

    For the Python peer, read "the server" for "the page".

    Attributes:
        waiting_requests: The number of requests to the page that wait to be sent: for a page, or in a queue.
        pending_requests: The number of requests to the page that were sent and have no answer yet.
        running_requests: The number of requests from the page that are being answered.
        outgoing_streams: The number of streams to the page that have not ended.
        incoming_streams: The number of streams from the page that have not ended.
        calls_made: The finished requests to the page.
        calls_served: The finished requests from the page.
        stream_bytes_sent: The number of bytes of streams to the page. Short streams, which are sent inside messages, do
            not count.
        stream_bytes_received: The number of bytes of streams from the page, counted in the same way.
    """

    waiting_requests: int
    pending_requests: int
    running_requests: int
    outgoing_streams: int
    incoming_streams: int
    calls_made: CallTotals
    calls_served: CallTotals
    stream_bytes_sent: int
    stream_bytes_received: int

    @property
    def streams(self) -> int:
        """The number of streams of both directions that have not ended."""
        return self.outgoing_streams + self.incoming_streams

    @property
    def idle(self) -> bool:
        """Whether no request and no stream is under way."""
        return not (self.waiting_requests or self.pending_requests or self.running_requests or self.streams)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics(ChannelStatistics):
    """The statistics of a server since it was started: of all its channels together, and of the server itself.

    Attributes:
        page_connected: Whether a page is connected.
        page: The name of the page's client; empty without a page. A page that reconnects keeps its name.
        door: The way by which a notebook's page is connected: ``port``, ``proxy`` (of the page's own origin) or
            ``comm`` (the kernel's own messages); empty without a page, and for a page that has only one way.
        door_reason: Why that page could use no better one, in its own words; otherwise empty.
        connected_seconds: How long the page has been connected, in seconds; ``None`` without a page.
        round_trip: The time from the last beat to the page's answer, in seconds; ``None`` without a page and
            before the first answer, which arrives a fifth of a second after connecting.
        connections: The number of TCP connections, the page's WebSocket included.
        channels: The number of channels that are open or being opened.
        socket: The traffic on the WebSockets of all pages so far.
    """

    page_connected: bool
    page: str
    door: str
    door_reason: str
    connected_seconds: float | None
    round_trip: float | None
    connections: int
    channels: int
    socket: SocketTotals


@dataclass(slots=True)
class SocketTally:
    """The counters of the traffic on the WebSockets of one server or peer, as ``SocketTotals`` names them."""

    messages_sent: int = 0
    messages_received: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def totals(self) -> SocketTotals:
        """Return the counts so far."""
        return SocketTotals(**asdict(self))


@dataclass(slots=True)
class CallTally:
    """The counters of the finished requests of one direction, as ``CallTotals`` names them. Who ends one counts it."""

    answered: int = 0
    failed: int = 0
    cancelled: int = 0

    def totals(self) -> CallTotals:
        """Return the counts so far."""
        return CallTotals(**asdict(self))


@dataclass(slots=True)
class ChannelTally:
    """The counters of the requests and streams of a channel, or of all channels of a server.

    Attributes:
        made: The counters of this side's requests.
        served: The counters of the far side's requests.
        stream_bytes_sent: The number of bytes of outgoing streams, without those inside messages.
        stream_bytes_received: The number of bytes of incoming streams, without those inside messages.
    """

    made: CallTally = field(default_factory=CallTally)
    served: CallTally = field(default_factory=CallTally)
    stream_bytes_sent: int = 0
    stream_bytes_received: int = 0
