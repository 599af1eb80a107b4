"""The window of a connection's pieces: how many bytes of streams may be under way on it, in each direction.

What one stream may send before its reader has read any is its credit: ``CREDIT_BYTES`` in ``_core.pieces``.
"""

from __future__ import annotations

from typing import Final

from jchannel._protocol.messages import Ack, Piece
from jchannel.errors import ProtocolError

__all__ = ["PIECES_UNDER_WAY", "PIECE_LIMIT", "Window"]

#: The most bytes that one piece of a stream has.
PIECE_LIMIT: Final = 64 * 2**10

#: The most bytes of pieces that are under way to the far side, of all streams together: what a message may have to wait
#: for. It bounds the rate, too, to so much in a round trip.
PIECES_UNDER_WAY: Final = 256 * 2**10

# From how many bytes on they are acknowledged: so there is always room for a piece when all have arrived.
_ACK_FROM: Final = PIECES_UNDER_WAY // 2


class Window:
    """Counts the pieces of one side of a connection.

    Attributes:
        open: Whether a piece may be sent now. Otherwise those under way must arrive first.
        ack_due: The bytes that are to be acknowledged now; 0 for none yet.
    """

    def __init__(self) -> None:
        self.open: bool = True
        self.ack_due: int = 0
        self._under_way = 0
        self._unacknowledged = 0

    def send(self, message: Piece | Ack) -> None:
        """Count a message of this side."""
        if isinstance(message, Piece):
            self._count_under_way(len(message.data))
        else:
            self._count_unacknowledged(-message.bytes)

    def receive(self, message: Piece | Ack) -> None:
        """Count a message of the far side.

        Raises:
            ProtocolError: It sends more than may be under way, or acknowledges more than was sent.
        """
        if isinstance(message, Piece):
            self._count_unacknowledged(len(message.data))
            if self._unacknowledged > PIECES_UNDER_WAY:
                raise ProtocolError(f"more than {PIECES_UNDER_WAY:,} bytes of pieces are under way")
        else:
            if message.bytes > self._under_way:
                raise ProtocolError(f"{message.bytes} bytes are acknowledged, and {self._under_way} are under way")
            self._count_under_way(-message.bytes)

    def _count_under_way(self, change: int) -> None:
        self._under_way += change
        self.open = self._under_way + PIECE_LIMIT <= PIECES_UNDER_WAY

    def _count_unacknowledged(self, change: int) -> None:
        self._unacknowledged += change
        self.ack_due = self._unacknowledged if self._unacknowledged >= _ACK_FROM else 0
