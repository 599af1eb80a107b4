"""Carriers: what carries the bytes of streams beside the messages of a session."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream

__all__ = ["Carrier"]


class Carrier(ABC):
    """Carries the bytes of a session's streams: by HTTP, as the server or as its client."""

    @abstractmethod
    def offer(self, stream: OutgoingStream) -> str | None:
        """Make a stream ready to be fetched. Return its ticket, if this side issues it."""

    @abstractmethod
    def request(self, stream: IncomingStream) -> str | None:
        """Make a stream come. Return the ticket that its source has to know, if this side issues it."""

    @abstractmethod
    def post(self, stream: OutgoingStream, ticket: str) -> None:
        """Post a stream, as its reader has asked with a ticket."""
