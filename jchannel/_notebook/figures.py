"""Figures: what the panels of servers and channels say, made of their statistics."""

from __future__ import annotations

from typing import Final

from jchannel._core.statistics import CallTotals, ChannelStatistics, ServerStatistics
from jchannel._notebook.panel import (
    Figure,
    Mood,
    Panel,
    format_bytes,
    format_count,
    format_latency,
    format_span,
)

__all__ = ["CHANNEL", "SERVER", "describe_channel", "describe_server"]

#: The titles of panels.
SERVER: Final = "jchannel server"
CHANNEL: Final = "jchannel channel"


def describe_server(url: str, statistics: ServerStatistics, *, closed: bool) -> Panel:
    """The panel of a server.

    Args:
        url: Its URL.
        statistics: What it has under way, and what it had.
        closed: Whether it has ended.
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
        Figure("round-trip", "Round trip", format_latency(statistics.round_trip)),
        Figure("channels", "Channels", format_count(statistics.channels)),
        *_describe_requests(statistics),
        Figure("sent", "Sent", format_bytes(socket.bytes_sent + statistics.stream_bytes_sent)),
        Figure("received", "Received", format_bytes(socket.bytes_received + statistics.stream_bytes_received)),
    )
    return Panel(SERVER, url, state, mood, figures)


def describe_channel(url: str, statistics: ChannelStatistics, state: str, mood: Mood) -> Panel:
    """The panel of a channel.

    Args:
        url: Its server's URL.
        statistics: What it has under way, and what it had.
        state: Its state, in a few words.
        mood: The same as a colour.
    """
    figures = (
        *_describe_requests(statistics),
        Figure("sent", "Streams sent", format_bytes(statistics.stream_bytes_sent)),
        Figure("received", "Streams received", format_bytes(statistics.stream_bytes_received)),
    )
    return Panel(CHANNEL, url, state, mood, figures)


def _describe_requests(statistics: ChannelStatistics) -> tuple[Figure, ...]:
    return (
        Figure("under-way", "Under way", _describe_under_way(statistics)),
        Figure("calls-made", "Calls to the page", _describe_calls(statistics.calls_made)),
        Figure("calls-served", "Calls from the page", _describe_calls(statistics.calls_served)),
    )


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
