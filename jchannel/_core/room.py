"""The room to send in one session: who waits for it, and whose turn it is when there is some again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from jchannel._core.limits import Limits
from jchannel._protocol.connection import Connection

if TYPE_CHECKING:
    from jchannel._core.dispatcher import Dispatcher
    from jchannel._core.outbox import Outbox

__all__ = ["UNASKED_FACTOR", "Room"]

#: How many times ``Limits.send_buffer_bytes`` may be taken by messages that do not wait for room before nothing more is
#: received. Two sides that both waited for the other to read would do so until a beat finds it. So it is far more than
#: sides come to that take what they are sent: some 40,000 errors.
UNASKED_FACTOR: Final = 4

#: How many of the answers that wait for room are looked at together: each takes some of it.
_WOKEN: Final = 64


#: What has something to send when there is room.
_Waiting: TypeAlias = "Outbox | Dispatcher"


class Room:
    """The room to send in one session.

    Args:
        connection: The session's connection, which knows how much waits to be sent.
        limits: The limits of what the far side controls.

    Attributes:
        waited_for: Whether somebody waits for room, or for less to be said: then ``go_on`` is to be called.
        woken: Whether tasks were woken that take the room in their next step: nobody else has a turn before that.
        most_unasked: From how many more bytes on that are said without waiting for room nothing more is received.
    """

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.waited_for: bool = False
        self.woken: bool = False
        self._connection = connection
        self._limits = limits
        self.most_unasked: float = UNASKED_FACTOR * limits.send_buffer_bytes
        self._ended = False
        self._answers = trio.lowlevel.ParkingLot()
        self._answers_turn = True
        self._waiting: dict[_Waiting, None] = {}
        self._having_turn: _Waiting | None = None
        self._reader = trio.lowlevel.ParkingLot()

    @property
    def free(self) -> bool:
        """Whether what waits to be sent is below the limit."""
        return self._connection.waiting_bytes <= self._limits.send_buffer_bytes

    @property
    def overfull(self) -> bool:
        """Whether so much is said without waiting for room that nothing more should be received."""
        return self._connection.waiting_unasked > self.most_unasked

    @property
    def holds_reader(self) -> bool:
        """Whether the session's reader waits until less is to be said."""
        return bool(self._reader)

    def has_turn(self, wanting: _Waiting) -> bool:
        """Return whether there is room for an outbox, and nobody else has waited for it."""
        waited_for = self.woken or self._answers or self._waiting
        return self.free and (not waited_for or self._having_turn is wanting)

    def flush_when_free(self, waiting: _Waiting) -> None:
        """Flush an outbox or a dispatcher when there is room, or the session has ended."""
        self._waiting[waiting] = None
        self.waited_for = True

    async def wait(self) -> None:
        """Wait until there is room, or the session has ended. It is no checkpoint where it need not wait.

        Cancelling it does nothing else.
        """
        while not self._ended and not self.free:
            self.waited_for = True
            await self._answers.park()

    async def wait_to_receive(self) -> None:
        """Wait until less is to be said, or the session has ended. Cancelling it does nothing else."""
        while self.overfull and not self._ended:
            self.waited_for = True
            await self._reader.park()

    def go_on(self) -> None:
        """Let what waits go on, if there is room: answers, calls and requests in turns.

        Each may take all the room. A program that always has more to request must not keep its answers, or the calls of
        the far side, from ever having a turn: what it waits for may wait for these.
        """
        self.woken = False
        while (self._answers or self._waiting) and not self.woken and self.free:
            if self._answers and (self._answers_turn or not self._waiting):
                self._answers_turn, self.woken = False, True
                self._answers.unpark(count=_WOKEN)
            else:
                self._answers_turn = True
                first = self._having_turn = next(iter(self._waiting))
                del self._waiting[first]  # Where it has to wait again, it is behind the others.
                self.woken = first.flush()
                self._having_turn = None
        if self._reader and not self.overfull:
            self._reader.unpark()
        self.waited_for = bool(self._answers or self._waiting or self._reader)

    def end(self) -> None:
        """Let all go on that wait: the session has ended."""
        self._ended = True
        self._answers.unpark_all()
        self._reader.unpark_all()
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            one.flush()
