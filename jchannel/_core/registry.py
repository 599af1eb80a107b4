"""The streams of one session, by their numbers: announcing them, and what the far side says of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from jchannel._core.cut import MAX_NAME, send_cut
from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.tickets import Tickets
from jchannel._protocol.messages import Broken, Message, Stop, StreamInfo, Ticket

__all__ = ["Carrier", "ServerCarrier", "StreamTable", "combine"]


class Carrier(ABC):
    """Carries the bytes of streams beside the messages: by HTTP, as the server or as its client."""

    @abstractmethod
    def offer(self, stream: OutgoingStream) -> str | None:
        """Makes a stream ready to be fetched. Gives its ticket, if it is this side that issues it."""

    @abstractmethod
    def request(self, stream: IncomingStream) -> str | None:
        """Makes a stream come. Gives the ticket that its source has to be told, if it is this side that issues it."""

    @abstractmethod
    def post(self, stream: OutgoingStream, ticket: str) -> None:
        """Posts a stream, as its reader has asked with a ticket."""


class ServerCarrier(Carrier):
    """The server's side: it issues tickets, and its HTTP server does the rest."""

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    def offer(self, stream: OutgoingStream) -> str | None:
        """As ``Carrier.offer``."""
        ticket, drop = self._tickets.issue_outgoing(stream)
        stream.on_end = combine(stream.on_end, drop)
        return ticket

    def request(self, stream: IncomingStream) -> str | None:
        """As ``Carrier.request``."""
        ticket, drop = self._tickets.issue_incoming(stream)
        stream.on_end = combine(stream.on_end, drop)
        return ticket

    def post(self, stream: OutgoingStream, ticket: str) -> None:  # noqa: ARG002 (it is never posted)
        """Never asked for: the protocol's table of states lets only a server issue tickets."""
        raise AssertionError(ticket)


class StreamTable:
    """The streams of one session.

    Args:
        send: Sends a message, if the session is alive.
        next_number: The number of this side's next stream.
        carrier: Carries the bytes.
        reader_error: Makes the error of a far source's failure from its name and message.
    """

    def __init__(
        self,
        send: Callable[[Message], None],
        next_number: Callable[[], int],
        carrier: Carrier,
        reader_error: Callable[[str, str], Exception],
    ) -> None:
        self._send = send
        self._next_number = next_number
        self._carrier = carrier
        self._reader_error = reader_error
        self._outgoing: dict[int, OutgoingStream] = {}
        self._incoming: dict[int, IncomingStream] = {}

    def __len__(self) -> int:
        return len(self._outgoing) + len(self._incoming)

    def announce(self, stream: OutgoingStream, data: bytes | None) -> StreamInfo:
        """Takes a stream of this side up. The message with the announcement must be sent next, and then ``announced``.

        Args:
            stream: The stream.
            data: The whole of it, where it is short and ready; it has ended then.
        """
        number = self._next_number()
        if data is not None:
            return StreamInfo(number, len(data), data)
        self._outgoing[number] = stream
        stream.on_end = combine(stream.on_end, lambda: self._outgoing.pop(number, None))
        return StreamInfo(number, stream.total, None, self._carrier.offer(stream))

    def announced(self, stream: OutgoingStream, info: StreamInfo) -> None:
        """Says that the announcement was sent. From now on the reader hears of a failure."""

        def fail(error: Exception) -> None:
            name, text = type(error).__name__[:MAX_NAME], str(error)
            send_cut(lambda most: self._send(Broken(info.id, name, text[:most])))
            if not stream.in_parts:
                stream.end()

        stream.on_failure = fail
        if stream.error is not None:
            fail(stream.error)

    def accept(self, info: StreamInfo) -> IncomingStream:
        """Takes a stream of the far side up."""
        stream = IncomingStream(info, begin=lambda: self._begin(stream), stop=lambda: self._send(Stop(info.id)))
        if not stream.over:
            self._incoming[info.id] = stream
            stream.on_end = combine(stream.on_end, lambda: self._incoming.pop(info.id, None))
        return stream

    def handle(self, message: Ticket | Stop | Broken) -> None:
        """What the far side says of a stream. One that has ended has crossed it."""
        if isinstance(message, Broken):
            incoming = self._incoming.get(message.stream)
            if incoming is not None:
                incoming.note_broken(self._reader_error(message.name, message.message))
            return
        outgoing = self._outgoing.get(message.stream)
        if outgoing is None:
            return
        if isinstance(message, Stop):
            outgoing.stop()
        else:
            self._carrier.post(outgoing, message.ticket)

    def end(self, error: Exception) -> None:
        """Ends all streams, because the session has ended."""
        for outgoing in list(self._outgoing.values()):
            outgoing.stop()
        for incoming in list(self._incoming.values()):
            incoming.fail(error)

    def _begin(self, stream: IncomingStream) -> None:
        ticket = self._carrier.request(stream)
        if ticket is not None:
            self._send(Ticket(stream.info.id, ticket))


def combine(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], None]:
    """One callback that calls two."""

    def call_both() -> None:
        first()
        second()

    return call_both
