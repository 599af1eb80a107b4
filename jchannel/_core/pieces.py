"""The streams of a session that travel as pieces on its link, behind the messages and never in front of them.

All of a Python peer's do. A page may take those of the server over HTTP instead, and post its own: it decides for each,
as it sees how many of the browser's connections it holds. So a server offers it both.

Each stream may send as many bytes as its reader has given it credit for, so none waits for another's reader. Those
that have something to send take turns, a piece each. The connection bounds what is under way of all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.stream import Way
from jchannel._core.stream_registry import StreamRegistry
from jchannel._protocol.connection import PIECE_LIMIT, PIECES_UNDER_WAY, Connection
from jchannel._protocol.messages import Ack, Credit, End, Piece, Ticket
from jchannel.errors import ProtocolError, StateError

if TYPE_CHECKING:
    from jchannel._core.session import Session

__all__ = ["Pieces"]

#: How many bytes of a stream the far side may send as pieces before its reader has taken any: what waits here at most,
#: and less where ``Limits.stream_bytes`` are used up.
_CREDIT: Final = PIECES_UNDER_WAY


class Pieces:
    """Sends and receives the pieces of one session.

    Args:
        session: The session.
        connection: Its protocol.
        streams: Issues the tickets of a server's session.
    """

    def __init__(self, session: Session, connection: Connection, streams: StreamRegistry) -> None:
        self._session = session
        self._connection = connection
        self._streams = streams
        # Those whose turn comes, in its order.
        self.line: dict[OutgoingStream, None] = {}

    # Streams of this side

    def take_ticket(self, stream: OutgoingStream, ticket: Ticket) -> None:
        """Begin to send a stream that the server asks for: with its credit, and not with its ticket."""
        if ticket.credit is not None:
            self.begin(stream, ticket.credit)
            return
        stream.break_off(StateError("the stream cannot be sent: the server takes it over HTTP only"))

    def begin(self, stream: OutgoingStream, size: int) -> None:
        """Begin to send a stream as pieces, which its reader gives credit for so many bytes."""
        stream.carry_in_pieces()
        stream.pieces = self
        stream.credit = size
        self.enter_line(stream)

    def allow(self, stream: OutgoingStream, size: int) -> None:
        """Let a stream send so many more bytes. One with a ticket begins with that, if nobody has used the ticket.

        Raises:
            ProtocolError: It travels over HTTP, or has not been asked for.
        """
        if stream.way is Way.PIECES:
            stream.credit += size
            self.enter_line(stream)
        elif stream.ticket is not None and stream.way is Way.OPEN:
            self.begin(stream, size)
        else:
            raise ProtocolError("credit was given to a stream that does not travel as pieces")

    def go_on(self) -> None:
        """Go on with the pieces that wait, because others have arrived."""
        self._connection.window.note_time(trio.current_time())
        if self.line:
            self._session.rouse_writer()

    def queue_next(self) -> None:
        """Queue the next pieces that may leave, as many as make a frame. Called when no message waits."""
        while self.line and self._connection.waiting_bytes < PIECE_LIMIT and (room := self._connection.piece_room):
            stream = next(iter(self.line))
            del self.line[stream]
            if stream.place is not None:  # Or it has ended while it stood in line.
                self._send_piece(stream, stream.place[1], min(room, stream.credit))

    def enter_line(self, stream: OutgoingStream) -> None:
        """Let a stream send its next piece when its turn comes, if it has one and credit for it."""
        if stream not in self.line and stream.ready:
            self.line[stream] = None
            self._session.rouse_writer()

    def _send_piece(self, stream: OutgoingStream, number: int, limit: int) -> None:
        """Send the next piece of a stream, if there is one. The last one is followed by the stream's end at once."""
        data = stream.take_piece(limit)
        stream.credit -= len(data)
        over = stream.end_if_all_taken()
        if not over and stream.ready:
            self.line[stream] = None
        if data:
            self._session.queue(Piece(number, data))
        if over and stream.error is not None:
            stream.tell_broken(stream.error)
        elif over:
            self._session.queue(End(number))

    # Streams of the far side

    def request(self, stream: IncomingStream, *, near: bool) -> None:
        """Ask for a stream with the first credit; a server also with a ticket, with which a page may post it.

        Args:
            stream: The stream.
            near: Whether pieces are the faster way for it.
        """
        number, size = stream.info.id, self._most_of(stream, 0)
        stream.allow(size)
        if self._session.is_server:
            self._session.tell(Ticket(number, self._streams.issue_ticket(stream), size, near or None))
        else:
            self._session.tell(Credit(number, size))

    def receive(self, stream: IncomingStream | None, message: Piece | End) -> None:
        """Receive a piece or the end of a stream, or of one that has ended.

        Raises:
            ProtocolError: There was no credit for it.
        """
        acknowledged = 0 if isinstance(message, End) else self._connection.window.ack_due
        if acknowledged:
            self._session.tell(Ack(acknowledged))
        if stream is None:
            return
        if stream.way is Way.HTTP or not stream.begun:
            raise ProtocolError(f"nobody has asked for the stream {message.stream} in pieces")
        if isinstance(message, End):
            stream.finish()
            return
        size = len(message.data)
        if size > stream.credit:
            raise ProtocolError(f"{size} bytes of the stream {message.stream} came, with credit for {stream.credit}")
        if stream.way is Way.OPEN:
            stream.take_way(Way.PIECES)
            stream.pieces = self
        stream.feed_piece(message.data)
        if acknowledged:  # In the same frame: a message of its own costs more than the piece.
            self.renew(stream, stream.credit + stream.buffered, 4)

    def renew(self, stream: IncomingStream, held: int, part: int = 2) -> None:
        """Give new credit when enough of it has been used and read.

        Args:
            stream: The stream.
            held: How many bytes of it wait here or are under way.
            part: Enough is one of so many parts.
        """
        most = self._most_of(stream, held)
        used = most - held
        if used >= min(_CREDIT // part, most // 2):
            stream.allow(used)
            self._session.tell(Credit(stream.info.id, used))

    def _most_of(self, stream: IncomingStream, held: int) -> int:
        """Return how many bytes of a stream may wait here or be under way: a piece where its quota has no more room.

        Args:
            stream: The stream.
            held: How many do now.
        """
        room = _CREDIT if stream.quota is None else stream.quota.room
        return max(PIECE_LIMIT, min(_CREDIT, held + room))
