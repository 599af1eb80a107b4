"""Stands in for the page where there is no browser: makes the calls that the page's code makes, and draws nothing.

It runs on the Python peer, so the calls and their figures are real: they go through sockets and the wire.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import trio

from jchannel.demo.latency import call_at_once, call_in_turn
from jchannel.trio import PeerChannel

__all__ = ["make_stand_in"]

_TICKS = 8
_CHUNK = 500


def make_stand_in(chart_code: str) -> Callable[[PeerChannel, str], None]:
    """Makes the function for ``open_peer`` that gives each channel the handler its code would have given it in a page.

    Args:
        chart_code: The code of the channel that draws; the other one measures.
    """

    def open_channel(channel: PeerChannel, code: str) -> None:
        channel.handler = _Chart(channel) if code == chart_code else _Live(channel)

    return open_channel


class _Chart:
    def __init__(self, channel: PeerChannel) -> None:
        self._channel = channel

    async def draw(self) -> dict[str, Any]:
        """Asks Python for all that a chart needs. There is no picture."""
        call = self._channel.call
        table = await call("describe")
        columns = range(len(table["columns"]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "horizontal_ticks", _TICKS)
            for start in range(0, table["rows"], _CHUNK):
                nursery.start_soon(call, "positions", start, _CHUNK)
                for column in columns:
                    nursery.start_soon(call, "values", column, start, _CHUNK)
            for column in columns:
                low, high = table["columns"][column]["range"]
                nursery.start_soon(call, "smooth", column, table["rows"] // _TICKS)
                nursery.start_soon(call, "vertical_ticks", low, high, _TICKS)
        return {"png": None}


class _Live:
    def __init__(self, channel: PeerChannel) -> None:
        self._channel = channel

    def ping(self, number: int) -> int:
        return number

    async def measure(self, count: int) -> array[float]:
        return array("d", await call_in_turn(self._channel, count))

    async def burst(self, count: int) -> float:
        return await call_at_once(self._channel, count)

    def show(self, figures: object) -> None:
        """The page shows the figures. Here the terminal does."""
