"""The tree of what runs now: a server, its page, its channels, and the calls and streams of each.

It is a snapshot, as data and, by ``str``, as text for a person who asks why something hangs. Nothing secret is in it:
no token, no arguments, no values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["CallNode", "ChannelTree", "PageNode", "ServerTree", "StreamNode"]


@dataclass(frozen=True, slots=True)
class CallNode:
    """A request that is under way: a call, an echo or a pipe.

    Attributes:
        what: What it is, as in ``call of 'add'``.
        number: Its number among the requests of its direction in this page; ``None`` before it is sent.
        seconds: How long it has been under way, in seconds.
        time_left: The seconds until its time is over, not below 0; infinity where there is no limit.
        parent: The number of the request of the other direction that it is part of, in the same page; or ``None``.
        state: Of a request to the page: ``opens its stream``, ``waits for a page``, ``in line`` (behind what the page
            does not take), ``sent`` or ``cancelling`` (the page has not confirmed it yet). Of a request of the page:
            ``running`` or ``cancelled, has not ended yet``.
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
        what: What it is, as in ``argument of the call of 'load'``.
        outgoing: Whether it is sent from here.
        bytes: The bytes that have come through so far.
        total: The bytes it has altogether; ``None`` where that is not known.
        seconds: How long it has been there, in seconds.
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
    """A channel and what it has under way. Its ``str`` is indented text.

    Attributes:
        number: Its number in the page; ``None`` while it is closed.
        state: ``open``, or why it is not.
        far_side: What its far side is called in the text.
        calls_made: The requests to the far side, in their order.
        calls_served: The requests of the far side, in their order.
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
        """The lines of its text."""
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
        round_trip: The seconds from the heartbeat's last ping to its answer; ``None`` before the first.
        waiting_bytes: The bytes of messages that wait to be sent to it.
    """

    name: str
    state: str
    seconds: float
    round_trip: float | None
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class ServerTree:
    """A server and what it has under way. Its ``str`` is indented text.

    Attributes:
        url: Its URL, without the token.
        connections: TCP connections, the page's WebSocket included.
        page: The page that is connected, or whose connection is ending; ``None`` without one.
        channels: Its channels, in the order in which they were made, and closed ones until they have ended.
    """

    url: str
    connections: int
    page: PageNode | None
    channels: tuple[ChannelTree, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The lines of its text."""
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


#: From how many seconds on tenths say nothing.
_WHOLE_SECONDS = 100
