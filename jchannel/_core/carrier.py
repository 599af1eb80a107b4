"""Carriers: what carries the bytes of streams over HTTP, beside the messages of a session.

Each stream over HTTP may hold one of a browser's six connections to the server for as long as it lasts. So the page,
which sees what it holds, decides for each whether it goes over HTTP, or as pieces on the session's link.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.stream import Stream
from jchannel._protocol.messages import Credit, Ticket
from jchannel.errors import StateError

__all__ = ["Carrier", "break_off"]


class Carrier(ABC):
    """Carries the bytes of a session's streams: by HTTP, as the server or as its client."""

    @abstractmethod
    def offer(self, stream: OutgoingStream) -> str | None:
        """Make a stream ready to be fetched. Return its ticket, if this side issues it."""

    @abstractmethod
    def request(self, stream: IncomingStream) -> Ticket | Credit | None:
        """Make a stream come. Return what its source has to be told, where it may come as pieces."""

    @abstractmethod
    def post(self, stream: OutgoingStream, ticket: Ticket) -> bool:
        """Post a stream, as its reader has asked with a ticket, unless it is to go as pieces. Return whether."""


def break_off(stream: Stream) -> None:
    """End a stream on both sides: an error of the library has ended its carrying, and nobody would go on with it."""
    error = StateError("the stream is broken: an error of jchannel has ended it")
    assert isinstance(stream, IncomingStream | OutgoingStream)
    stream.break_off(error)
    if isinstance(stream, OutgoingStream):
        stream.stop()
