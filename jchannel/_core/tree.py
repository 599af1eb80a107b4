"""The tree of current activity: a server, its page, its channels, and the calls and streams of each.

It is a snapshot, as data and, by ``str``, as text for debugging a hang. It contains nothing secret: no token, no
arguments, no values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["CallNode", "ChannelTree", "PageNode", "ServerTree", "StreamNode"]

#: From how many seconds on a time is shown without tenths.
_WHOLE_SECONDS: Final = 100


@dataclass(frozen=True, slots=True)
class CallNode:
    """A request that has not ended: a call, an echo or a pipe.

    Attributes:
        what: A description, such as ``call of 'add'``.
        number: Its number among the requests of its direction in this page; ``None`` before it is sent.
        seconds: How long it has been running, in seconds.
        time_left: The time until it times out, in seconds, at least 0; infinity without a timeout.
        parent: The number of the request of the other direction that it is part of, in the same page; or ``None``.
        state: For a request to the page: ``opens its stream``, ``waits for a page``, ``in line`` (queued because the
            page is slow to read), ``sent`` or ``cancelling`` (the page has not confirmed it yet). For a request from
            the page: ``running`` or ``cancelled, has not ended yet``.
    """

    what: str
    number: int | None
    seconds: float
    time_left: float
    parent: int | None
    state: str


@dataclass(frozen=True, slots=True)
class StreamNode:
    """A stream that has not ended.

    Attributes:
        what: A description, such as ``argument of the call of 'load'``.
        outgoing: Whether it is sent from this side.
        bytes: The number of bytes transferred so far.
        total: The total number of bytes; ``None`` if it is unknown.
        seconds: How long it has existed, in seconds.
        state: ``waits for its reader``, ``waits for its source``, ``nobody has begun to read it`` or ``its source is
            being closed``.
    """

    what: str
    outgoing: bool
    bytes: int
    total: int | None
    seconds: float
    state: str


@dataclass(frozen=True, slots=True)
class ChannelTree:
    """A channel with its current requests and streams. Its ``str`` is indented text.

    Attributes:
        number: Its number in the page; ``None`` while it is closed.
        state: ``open``, or why it is not open.
        far_side: The name of its far side in the text.
        calls_made: The requests to the far side, in order.
        calls_served: The requests from the far side, in order.
        streams: The streams of both directions.
    """

    number: int | None
    state: str
    far_side: str
    calls_made: tuple[CallNode, ...]
    calls_served: tuple[CallNode, ...]
    streams: tuple[StreamNode, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Return the lines of its text."""
        out, back = f"to {self.far_side}", f"from {self.far_side}"
        yield f"channel{'' if self.number is None else f' {self.number}'}, {self.state}"
        yield from _branch(out, [_describe_call(call, back) for call in self.calls_made])
        yield from _branch(back, [_describe_call(call, out) for call in self.calls_served])
        yield from _branch(
            "streams", [_describe_stream(stream, out if stream.outgoing else back) for stream in self.streams]
        )


@dataclass(frozen=True, slots=True)
class PageNode:
    """The page that is connected.

    Attributes:
        name: The name of its client.
        state: ``connected``, or why its connection is ending.
        seconds: How long it has been connected, in seconds.
        round_trip: The time from the last beat to the page's answer, in seconds; ``None`` before the first
            answer.
        waiting_bytes: The number of bytes of messages that wait to be sent to it.
    """

    name: str
    state: str
    seconds: float
    round_trip: float | None
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class ServerTree:
    """A server with its page and channels. Its ``str`` is indented text.

    Attributes:
        url: Its URL, without the token.
        connections: The number of TCP connections, the page's WebSocket included.
        page: The page that is connected, or whose connection is ending; ``None`` without one.
        channels: Its channels in the order of their creation. Closed ones are included until they have ended.
    """

    url: str
    connections: int
    page: PageNode | None
    channels: tuple[ChannelTree, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Return the lines of its text."""
        yield f"server at {self.url}, {self.connections} connection{'' if self.connections == 1 else 's'}"
        yield "  no page is connected" if self.page is None else f"  {_describe_page(self.page)}"
        for channel in self.channels:
            yield from (f"  {line}" for line in channel.lines())


def _branch(title: str, leaves: Sequence[str]) -> Iterator[str]:
    if leaves:
        yield f"  {title}"
        yield from (f"    {leaf}" for leaf in leaves)


def _describe_page(page: PageNode) -> str:
    parts = [f"page {page.name!r}", f"for {_seconds(page.seconds)}"]
    if page.round_trip is not None:
        parts.append(f"round trip {page.round_trip * 1000:.1f} ms")
    if page.waiting_bytes:
        parts.append(f"{page.waiting_bytes:,} bytes wait to be sent")
    return f"{', '.join(parts)}: {page.state}"


def _describe_call(call: CallNode, other_way: str) -> str:
    number = "" if call.number is None else f"[{call.number}] "
    parts = [f"{number}{call.what}", f"for {_seconds(call.seconds)}"]
    if call.time_left < math.inf:
        parts.append(f"{_seconds(call.time_left)} left")
    if call.parent is not None:
        parts.append(f"part of [{call.parent}] {other_way}")
    return f"{', '.join(parts)}: {call.state}"


def _describe_stream(stream: StreamNode, way: str) -> str:
    size = f"{stream.bytes:,}" if stream.total is None else f"{stream.bytes:,} of {stream.total:,}"
    return f"{way}, {stream.what}, for {_seconds(stream.seconds)}, {size} bytes: {stream.state}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _WHOLE_SECONDS else f"{seconds:,.0f} s"
