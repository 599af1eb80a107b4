"""The streams of a session that travel as pieces on its link, behind the messages and never in front of them.

Each stream may send as many bytes as its reader has given it credit for, so none waits for another's reader. Those
that have something to send take turns, a piece each. The connection bounds what is under way of all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream, SourceFailedError
from jchannel._protocol.connection import Connection
from jchannel._protocol.messages import Ack, Credit, End, Message, Piece
from jchannel._protocol.window import PIECE_LIMIT
from jchannel.errors import ProtocolError

__all__ = ["CREDIT_BYTES", "Pieces"]

#: How many bytes of a stream the far side may send as pieces before its reader has taken any: what waits here at most.
CREDIT_BYTES: Final = 512 * 2**10


class Pieces:
    """Sends and receives the pieces of one session.

    Args:
        connection: The session's protocol.
        tell: Sends a message.
        wake: Called when ``next_frame`` may have a frame.
    """

    def __init__(self, connection: Connection, tell: Callable[[Message], None], wake: Callable[[], None]) -> None:
        self._connection = connection
        self._tell = tell
        self._wake = wake
        # Those whose turn comes, in its order.
        self.line: dict[OutgoingStream, None] = {}

    # Streams of this side

    def begin(self, stream: OutgoingStream, size: int) -> None:
        """Begin to send a stream as pieces, which its reader gives credit for so many bytes."""
        stream.carry_in_pieces()
        stream.watch(partial(self._enter_line, stream))
        stream.credit = size
        self._enter_line(stream)

    def allow(self, stream: OutgoingStream, size: int) -> None:
        """Let a stream send so many more bytes. One with a ticket begins with that, if nobody has used the ticket.

        Raises:
            ProtocolError: It travels over HTTP, or has not been asked for.
        """
        if stream.in_pieces:
            stream.credit += size
            self._enter_line(stream)
        elif stream.ticket is not None and not stream.over_http:
            self.begin(stream, size)
        else:
            raise ProtocolError("credit was given to a stream that does not travel as pieces")

    def go_on(self) -> None:
        """Go on with the pieces that wait, because others have arrived."""
        if self.line:
            self._wake()

    def next_frame(self) -> str | bytes | None:
        """Return a frame with the next pieces, if there are any that may leave. Called when no message waits."""
        while self.line and self._connection.waiting_bytes < PIECE_LIMIT and (room := self._connection.piece_room):
            stream = next(iter(self.line))
            del self.line[stream]
            if stream.ready:
                self._send_piece(stream, min(room, stream.credit))
        return self._connection.next_frame()

    def _enter_line(self, stream: OutgoingStream) -> None:
        if stream not in self.line and stream.ready:
            self.line[stream] = None
            self._wake()

    def _send_piece(self, stream: OutgoingStream, limit: int) -> None:
        assert stream.place is not None
        _, number = stream.place
        try:
            data = stream.take_piece(limit)
        except SourceFailedError:
            assert stream.error is not None
            stream.break_off(stream.error)
            return
        if data:
            stream.credit -= len(data)
            self._tell(Piece(number, data))
            self._enter_line(stream)
        else:
            self._tell(End(number))

    # Streams of the far side

    def expect(self, stream: IncomingStream) -> None:
        """Expect the first pieces of a stream. Its source is told of ``CREDIT_BYTES``."""
        stream.credit = CREDIT_BYTES

    def receive(self, stream: IncomingStream | None, message: Piece | End) -> None:
        """Receive a piece or the end of a stream, or of one that has ended.

        Raises:
            ProtocolError: There was no credit for it.
        """
        acknowledged = self._connection.ack_due
        if acknowledged:
            self._tell(Ack(acknowledged))
        if stream is None:
            return
        if stream.over_http or not stream.begun:
            raise ProtocolError(f"nobody has asked for the stream {message.stream} in pieces")
        if isinstance(message, End):
            stream.finish()
            return
        size = len(message.data)
        if size > stream.credit:
            raise ProtocolError(f"{size} bytes of the stream {message.stream} came, with credit for {stream.credit}")
        if not stream.in_pieces:
            stream.in_pieces = True
            stream.watch(partial(self._renew, stream))
        stream.credit -= size
        stream.feed_piece(message.data)
        if acknowledged:  # In the same frame: a message of its own costs more than the piece.
            self._renew(stream, CREDIT_BYTES // 4)

    def _renew(self, stream: IncomingStream, least: int = CREDIT_BYTES // 2) -> None:
        """Give new credit when enough of it has been used and read."""
        used = CREDIT_BYTES - stream.credit - stream.buffered
        if used >= least:
            stream.credit += used
            self._tell(Credit(stream.info.id, used))
