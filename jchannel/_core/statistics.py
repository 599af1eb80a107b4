"""Statistics: how much is under way, and how much there was.

The tallies are kept in trio's thread, as plain integers. They are read in any thread, without a lock and without
waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """How the requests of one direction have ended: calls, echoes and pipes.

    Attributes:
        answered: Those that were answered with a value or a stream.
        failed: Those that ended with an error: of the method, of the connection, or because the channel was closed.
        cancelled: Those that were cancelled, by their sender or with what they belong to, and those whose time was
            over.
    """

    answered: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class SocketTotals:
    """What has gone over the sockets of the page's connections, streams of bytes beside them left out.

    Attributes:
        messages_sent: Messages to the page. Several may leave in one frame.
        messages_received: Messages of the page.
        frames_sent: Frames to the page.
        frames_received: Frames of the page.
        bytes_sent: The bytes of these frames, without what the WebSocket adds.
        bytes_received: As above.
    """

    messages_sent: int
    messages_received: int
    frames_sent: int
    frames_received: int
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """What one channel has under way, and what it had since it was made. In the facades, that is since it was opened.

    For the Python peer, read "the server" where it says "the page".

    Attributes:
        waiting_requests: Requests to the page that wait to be sent: for a page, or in line.
        pending_requests: Requests to the page that were sent and have no answer yet.
        running_requests: Requests of the page that are being answered.
        outgoing_streams: Streams to the page that have not ended.
        incoming_streams: Streams from the page that have not ended.
        calls_made: How its requests to the page have ended.
        calls_served: How the page's requests have ended.
        stream_bytes_sent: Bytes of streams to the page. Short streams, which travel inside messages, do not count.
        stream_bytes_received: Bytes of streams from the page, as above.
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
        """Streams, of both directions, that have not ended."""
        return self.outgoing_streams + self.incoming_streams

    @property
    def idle(self) -> bool:
        """Whether no request and no stream is under way."""
        return not (self.waiting_requests or self.pending_requests or self.running_requests or self.streams)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics(ChannelStatistics):
    """What a server has under way, and what it had since it was started: of all its channels, and of itself.

    Attributes:
        page_connected: Whether a page is connected.
        page: The name of the page's client; empty without a page. A page that comes back has the same one.
        connected_seconds: How long the page has been connected, in seconds; ``None`` without a page.
        round_trip: The seconds from the heartbeat's last ping to the page's answer; ``None`` without a page, and before
            its first answer, which comes a fifth of a second after connecting.
        connections: TCP connections, the page's WebSocket included.
        channels: Channels that are open or being opened.
        socket: What has gone over the sockets of all pages so far.
    """

    page_connected: bool
    page: str
    connected_seconds: float | None
    round_trip: float | None
    connections: int
    channels: int
    socket: SocketTotals


class SocketTally:
    """Counts what goes over the sockets of one server or peer."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "frames_received",
        "frames_sent",
        "messages_received",
        "messages_sent",
    )

    def __init__(self) -> None:
        self.messages_sent = self.messages_received = 0
        self.frames_sent = self.frames_received = 0
        self.bytes_sent = self.bytes_received = 0

    def count_sent(self, frame: str | bytes) -> None:
        """Counts a frame that has left."""
        self.frames_sent += 1
        self.bytes_sent += _size(frame)

    def count_received(self, frame: str | bytes, messages: int) -> None:
        """Counts a frame that has arrived, and its messages."""
        self.frames_received += 1
        self.messages_received += messages
        self.bytes_received += _size(frame)

    def totals(self) -> SocketTotals:
        """What was counted so far."""
        return SocketTotals(
            self.messages_sent,
            self.messages_received,
            self.frames_sent,
            self.frames_received,
            self.bytes_sent,
            self.bytes_received,
        )


class CallTally:
    """Counts how requests of one direction end.

    Args:
        above: Counts the same, for what is above.
    """

    __slots__ = ("_above", "_answered", "_cancelled", "_failed")

    def __init__(self, above: CallTally | None = None) -> None:
        self._above = above
        self._answered = self._failed = self._cancelled = 0

    def count_answered(self) -> None:
        """Counts one that was answered."""
        self._answered += 1
        if self._above is not None:
            self._above.count_answered()

    def count_failed(self) -> None:
        """Counts one that ended with an error."""
        self._failed += 1
        if self._above is not None:
            self._above.count_failed()

    def count_cancelled(self) -> None:
        """Counts one that was cancelled, or whose time was over."""
        self._cancelled += 1
        if self._above is not None:
            self._above.count_cancelled()

    def totals(self) -> CallTotals:
        """What was counted so far."""
        return CallTotals(self._answered, self._failed, self._cancelled)


class ChannelTally:
    """Counts what the requests and streams of a channel come to.

    Args:
        above: The tally of what the channel belongs to, which counts the same.

    Attributes:
        made: Counts this side's requests.
        served: Counts the far side's.
        stream_bytes_sent: Bytes of streams that were taken along, but for those inside messages.
        stream_bytes_received: Bytes of streams that were brought.
    """

    __slots__ = ("_above", "made", "served", "stream_bytes_received", "stream_bytes_sent")

    def __init__(self, above: ChannelTally | None = None) -> None:
        self._above = above
        self.made: CallTally = CallTally(None if above is None else above.made)
        self.served: CallTally = CallTally(None if above is None else above.served)
        self.stream_bytes_sent = self.stream_bytes_received = 0

    def count_stream_sent(self, size: int) -> None:
        """Counts bytes that were taken along."""
        self.stream_bytes_sent += size
        if self._above is not None:
            self._above.count_stream_sent(size)

    def count_stream_received(self, size: int) -> None:
        """Counts bytes that were brought."""
        self.stream_bytes_received += size
        if self._above is not None:
            self._above.count_stream_received(size)


def _size(frame: str | bytes) -> int:
    """The bytes of a frame. A text knows whether it is ASCII: nothing is encoded for that."""
    return len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode())
