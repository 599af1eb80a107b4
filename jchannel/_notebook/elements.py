"""The elements in which channels draw, and the cells of a notebook that show them.

A channel's code draws in ``channel.element``. The page puts that into the newest output that is a place for it. Where
the page has none it asks the desk for one, and the cell that has opened the channel shows it: so a channel that draws
nothing shows nothing. No output contains anything secret, or anything that was drawn.
"""

from __future__ import annotations

import html
import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

__all__ = ["Cell", "Elements", "Place"]

#: The text of a place until the page puts an element into it.
_EMPTY: Final = "jchannel: what was drawn here is not saved. Run the cells of this notebook to draw it again."

_STYLE: Final = "color: var(--jp-ui-font-color2, #767676); font-size: var(--jp-ui-font-size1, 13px);"


@dataclass(frozen=True, slots=True)
class Cell:
    """The run of a cell.

    Attributes:
        execution: The ID of this execution of the cell.
        publish: Shows a MIME bundle in the cell's output. May be called in any thread, also when the cell has ended.
        place: What is the same when the cell is run again: its ID, or its text where the front end does not tell that;
            empty where neither is known.
    """

    execution: str
    publish: Callable[[dict[str, Any]], None]
    place: str = ""


class _Numbered(Protocol):
    """A channel that is open, or not."""

    @property
    def number(self) -> int | None:
        """The number of the channel while it is open or opening."""


class Place:
    """A cell that may show elements. ``Elements`` makes it.

    Args:
        elements: The elements of its server.
        cell: The cell.
        order: How many places the server had before it.
    """

    def __init__(self, elements: Elements, cell: Cell, order: int) -> None:
        self.order = order
        self._elements = elements
        self._cell = cell
        self._shown: set[int] = set()

    def hold(self, channel: _Numbered) -> None:
        """Be the place of a channel that is open or opening, from now on. Whoever has opened it keeps this."""
        if channel.number is not None:
            self._elements.enter(channel.number, self)

    def show(self, channel: int) -> None:
        """Show a place for the element of a channel in the cell, unless it has one. May be called in any thread."""
        if channel not in self._shown:
            self._shown.add(channel)
            self._cell.publish({"text/html": self._elements.render(channel, self.order), "text/plain": _EMPTY})


class Elements:
    """The elements of the channels of one server.

    Args:
        server_id: The server's public name.
    """

    def __init__(self, server_id: str) -> None:
        self._server_id = server_id
        self._count = itertools.count()
        # The places of channels by their numbers. The channels keep them.
        self._places: weakref.WeakValueDictionary[int, Place] = weakref.WeakValueDictionary()
        self._newest: Place | None = None

    def make_place(self, cell: Cell) -> Place:
        """Return a new place: a cell that opens a channel or shows its element. May be called in any thread."""
        return Place(self, cell, next(self._count))

    def note_connecting(self, cell: Cell) -> None:
        """Note the newest cell whose output connects a page. The outputs before it may not be in that page."""
        self._newest = self.make_place(cell)

    def enter(self, channel: int, place: Place) -> None:
        """Let a channel have a place."""
        self._places[channel] = place

    def find_place(self, channel: int) -> Place | None:
        """Return the newest cell that may show the element of a channel; ``None`` if no cell is known."""
        places = (self._places.get(channel), self._newest)
        return max((place for place in places if place is not None), key=lambda place: place.order, default=None)

    def render(self, channel: int, order: int) -> str:
        """Return a place for the element of a channel as HTML. The page takes the place of the highest order."""
        name = html.escape(f"{self._server_id} {channel}")
        return (
            f'<div class="jchannel-element" data-jchannel-element="{name}" data-jchannel-order="{order}">'
            f'<span style="{_STYLE}">{html.escape(_EMPTY)}</span></div>'
        )
