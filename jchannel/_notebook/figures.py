"""The figures in the panels of servers and channels, from their statistics."""

from __future__ import annotations

from typing import Final

from jchannel._core.channel import ChannelState, ServerChannel
from jchannel._core.server import Server, ServerState
from jchannel._core.statistics import CallTotals, ChannelStatistics, ServerStatistics
from jchannel._notebook.panel import (
    NO_VALUE,
    Figure,
    Mood,
    Panel,
    format_bytes,
    format_count,
    format_latency,
    format_span,
)

__all__ = ["CHANNEL", "SERVER", "ChannelPanel", "ServerPanel", "describe_channel", "describe_server"]

#: The titles of panels.
SERVER: Final = "jchannel server"
CHANNEL: Final = "jchannel channel"


def describe_server(url: str, statistics: ServerStatistics, *, closed: bool) -> Panel:
    """Return the panel of a server.

    Args:
        url: The server's URL.
        statistics: The server's statistics.
        closed: Whether the server has ended.
    """
    state: str
    mood: Mood
    if closed:
        state, mood = "stopped", "off"
    elif statistics.page_connected:
        state, mood = "page connected", "good"
    else:
        state, mood = "no page connected", "busy"
    socket = statistics.socket
    figures = (
        Figure("connected", "Connected for", format_span(statistics.connected_seconds)),
        Figure("door", "Connected by", _describe_door(statistics)),
        Figure("round-trip", "Round trip", format_latency(statistics.round_trip)),
        Figure("channels", "Channels", format_count(statistics.channels)),
        *_describe_requests(statistics),
        Figure("sent", "Sent", format_bytes(socket.bytes_sent + statistics.stream_bytes_sent)),
        Figure("received", "Received", format_bytes(socket.bytes_received + statistics.stream_bytes_received)),
    )
    return Panel(SERVER, url, state, mood, figures)


def describe_channel(url: str, statistics: ChannelStatistics, state: str, mood: Mood) -> Panel:
    """Return the panel of a channel.

    Args:
        url: The URL of the channel's server.
        statistics: The channel's statistics.
        state: The channel's state, in a few words.
        mood: The state as a colour.
    """
    figures = (
        *_describe_requests(statistics),
        Figure("sent", "Streams sent", format_bytes(statistics.stream_bytes_sent)),
        Figure("received", "Streams received", format_bytes(statistics.stream_bytes_received)),
    )
    return Panel(CHANNEL, url, state, mood, figures)


class ServerPanel:
    """The subject of a server's panel. Whoever shows the panel keeps it.

    Args:
        server: The server.

    Attributes:
        server: As above.
    """

    def __init__(self, server: Server) -> None:
        self.server = server

    def panel(self) -> Panel:
        """Return the current contents of the panel. Safe in any thread."""
        server = self.server
        return describe_server(server.url, server.statistics(), closed=server.state is ServerState.CLOSED)


class ChannelPanel:
    """The subject of a channel's panel. Whoever shows the panel keeps it.

    Args:
        server: The channel's server.
        channel: The channel.
    """

    def __init__(self, server: Server, channel: ServerChannel) -> None:
        self._server = server
        self._channel = channel

    def panel(self) -> Panel:
        """Return the current contents of the panel. Safe in any thread."""
        state: str
        mood: Mood
        match self._channel.state:
            case ChannelState.CLOSED:
                state, mood = "closed", "off"
            case ChannelState.OPEN:
                state, mood = "open", "good"
            case _:
                state, mood = "being opened" if self._server.session else "waits for a page", "busy"
        return describe_channel(self._server.url, self._channel.statistics(), state, mood)


def _describe_requests(statistics: ChannelStatistics) -> tuple[Figure, ...]:
    return (
        Figure("under-way", "Under way", _describe_under_way(statistics)),
        Figure("calls-made", "Calls to the page", _describe_calls(statistics.calls_made)),
        Figure("calls-served", "Calls from the page", _describe_calls(statistics.calls_served)),
    )


def _describe_door(statistics: ServerStatistics) -> str:
    door, reason = statistics.door, statistics.door_reason
    if not door:
        return NO_VALUE
    return f"{door}: {reason}" if reason else door


def _describe_under_way(statistics: ChannelStatistics) -> str:
    calls = statistics.waiting_requests + statistics.pending_requests + statistics.running_requests
    parts = [
        *([format_count(calls, "call", "calls")] if calls else []),
        *([format_count(statistics.streams, "stream", "streams")] if statistics.streams else []),
    ]
    return ", ".join(parts) or "nothing"


def _describe_calls(totals: CallTotals) -> str:
    parts = [
        format_count(totals.answered + totals.failed + totals.cancelled),
        *([f"{format_count(totals.failed)} failed"] if totals.failed else []),
        *([f"{format_count(totals.cancelled)} cancelled"] if totals.cancelled else []),
    ]
    return ", ".join(parts)
