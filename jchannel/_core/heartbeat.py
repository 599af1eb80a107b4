"""The heartbeat of a session: whether the far side lives, which answers beats, or sends them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jchannel._core.transport import Link
from jchannel._protocol.messages import Beat

if TYPE_CHECKING:
    from jchannel._core.session import Session

__all__ = ["ANSWER_PARTS", "FIRST_BEAT_SECONDS", "NEAR_SECONDS", "SILENT_BEATS", "Heartbeat"]

#: How long after connecting the round trip is measured for the first time, in seconds: soon, and not while the page has
#: its hands full with opening its channels.
FIRST_BEAT_SECONDS: Final = 0.2

#: For how many periods of its beats nothing may come from a far side that sends them.
SILENT_BEATS: Final = 3

#: In how many parts the time for an answer runs. A part ends at one wake-up of trio's, however late that comes, and one
#: that ends very late does not count: a page is not lost by a time in which the server's process stood still, unless it
#: takes the silent server for lost itself. A loop with steps of 3 ms once kept trio's thread waiting for 32 s, and then
#: a page was lost that had answered at once.
ANSWER_PARTS: Final = 3

#: Up to which round trip, in seconds, a page is told that pieces are faster than posts: 256 KiB of them, or more, go in
#: each. On one machine it is less than a millisecond, and no segment of 4 MiB keeps the page from its calls.
NEAR_SECONDS: Final = 0.005


class Heartbeat:
    """The heartbeat of one session. It loses the far side that does not live.

    Args:
        session: The session.
        link: Its link.
        period: As the session's ``heartbeat``.
        far_period: As the session's ``far_beat``.

    Attributes:
        round_trip: The seconds that the last beat and its answer took; ``None`` before the first has been answered.
        near: Whether the far side is so near that pieces are faster than posts, as far as is known: whether any round
            trip was short enough.
    """

    def __init__(self, session: Session, link: Link, period: float | None, far_period: float | None) -> None:
        self.round_trip: float | None = None
        self.near: bool = False
        self._session = session
        self._link = link
        self._period = period
        self._far_period = far_period
        self._answered = trio.Event()

    def start(self, nursery: trio.Nursery) -> None:
        """Start what sends beats, and what waits for those of the far side."""
        far_side = self._session.far_side
        if self._period is not None:
            nursery.start_soon(self._beat, self._period, name=f"heartbeat of {far_side}")
        if self._far_period is not None:
            nursery.start_soon(self._watch, self._far_period, name=f"watchdog of {far_side}")

    def receive(self, beat: Beat) -> None:
        """Receive a beat: an answer, or one to be answered."""
        self._answered.set()
        if self._period is None:
            self._session.ask_log()
            self._session.tell(beat)

    @trio.lowlevel.enable_ki_protection
    async def _beat(self, period: float) -> None:
        first = min(FIRST_BEAT_SECONDS, period / 2)
        try:
            await trio.sleep(first)
            await self._exchange_beats(period)
            await trio.sleep(period - first)
            while self._session.alive:
                await self._exchange_beats(period)
                await trio.sleep(period)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self._session.break_off(error)

    @trio.lowlevel.enable_ki_protection
    async def _watch(self, period: float) -> None:
        """Lose a far side that sends beats, and of which nothing has come for too long."""
        moved, silent = self._link.moved, 0
        while silent < SILENT_BEATS:
            await trio.sleep(period)
            silent = silent + 1 if moved == self._link.moved else 0
            moved = self._link.moved
        self._session.lose(f"nothing has come from it for {SILENT_BEATS * period:g} s")

    async def _exchange_beats(self, limit: float) -> None:
        """Send a beat, and wait for the answer. It is the far side's code that answers, and not its WebSocket."""
        began = trio.current_time()
        self._answered = trio.Event()
        moved: int | None = None
        # On a slow way a beat stands behind a large message, in either direction. That bytes of it move is a sign of
        # life, and the far side gets one beat in each period, whatever it is busy sending.
        while moved != self._link.moved:
            moved = self._link.moved
            self._session.ask_log()
            self._session.tell(Beat())
            if await self._wait_answer(limit / ANSWER_PARTS):
                self.round_trip = trio.current_time() - began
                self.near = self.near or self.round_trip <= NEAR_SECONDS
                return
        self._session.lose(f"it did not answer a beat within {limit:g} s")

    async def _wait_answer(self, seconds: float) -> bool:
        """Wait for the answer to a beat, for so many parts of so many seconds each. Return whether it has come."""
        parts = ANSWER_PARTS
        while parts and not self._answered.is_set():
            with trio.move_on_after(seconds) as scope:
                await self._answered.wait()
            if scope.cancelled_caught:
                # What has arrived is read in this pass, maybe after this.
                await trio.lowlevel.checkpoint()
                if trio.current_time() < scope.deadline + seconds:
                    parts -= 1
        return self._answered.is_set()
