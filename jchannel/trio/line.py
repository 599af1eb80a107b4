"""A line in which tasks wait for their turns: trio runs tasks that become ready together in any order."""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["Line", "Place"]


class Line:
    """Lets its places to the front in the order in which they were taken."""

    def __init__(self) -> None:
        self._places: deque[Place] = deque()

    def take_place(self) -> Place:
        """Takes the place at the end of the line. It must be left, whatever happens."""
        place = Place(self._places)
        self._places.append(place)
        return place


class Place:
    """A place in a line. ``Line.take_place`` makes them."""

    def __init__(self, places: deque[Place]) -> None:
        self._places = places
        self._at_front = trio.Event()
        self._left = False

    async def reach_front(self) -> None:
        """Waits until this is the first place. Cancelling it does nothing else."""
        if self._places[0] is not self:
            await self._at_front.wait()
        # Whoever is at the front goes on at once, but not if it was cancelled.
        await trio.lowlevel.checkpoint_if_cancelled()

    def leave(self) -> None:
        """Leaves the line, at the front or before. Leaving again does nothing."""
        if self._left:
            return
        self._left = True
        self._places.remove(self)  # It is the first one, as a rule, and found at once.
        if self._places:
            self._places[0]._at_front.set()  # noqa: SLF001 (of the same class)
