"""Stands in for the page where there is no browser: makes the calls that the page makes, and draws nothing.

It runs on the Python peer, so the calls and their figures are real: they go through sockets.
"""

from __future__ import annotations

from array import array

import trio

from jchannel.demo.latency import call_at_once, call_in_turn
from jchannel.trio import PeerChannel

__all__ = ["StandIn", "stand_in"]


def stand_in(channel: PeerChannel, _code: str) -> None:
    """Give a channel the methods that its code would give it in a page. For ``open_peer(on_open=stand_in)``."""
    channel.handler = StandIn(channel)


class StandIn:
    """Has the methods of ``chart.js`` and of ``live.js``."""

    def __init__(self, channel: PeerChannel) -> None:
        self._channel = channel

    async def draw(self) -> None:
        """Ask Python for all that a chart needs. There is no picture."""
        call = self._channel.call
        table = await call("describe")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "positions", 0, table["rows"])
            for column in range(len(table["columns"])):
                nursery.start_soon(call, "values", column, 0, table["rows"])
                nursery.start_soon(call, "smooth", column, 33)

    def ping(self, number: int) -> int:
        """Return the number."""
        return number

    async def measure(self, count: int) -> array[float]:
        """Make calls one after the other, and return the milliseconds that each took."""
        return await call_in_turn(self._channel, count)

    async def burst(self, count: int) -> float:
        """Make calls at once, and return the seconds that all of them took."""
        return await call_at_once(self._channel, count)

    def show(self, figures: object, at_once: int) -> None:
        """Do nothing: the terminal shows the figures."""
