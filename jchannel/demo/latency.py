"""How long calls take, in both directions: one after the other, and many at once."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Sequence
from time import perf_counter
from typing import TypedDict

import trio

from jchannel.trio import Channel, PeerChannel

__all__ = ["Figures", "WrongAnswerError", "call_at_once", "call_in_turn", "measure"]

# A round takes a fraction of a second; a page in the background of a busy machine may need much longer.
_ROUND_SECONDS = 60


class WrongAnswerError(Exception):
    """A call was answered with what belongs to another one."""


class Figures(TypedDict):
    """What one round gave for one direction: milliseconds of calls in turn, and calls per second made at once."""

    name: str
    times: array[float]
    median: float
    p95: float
    rate: float


async def measure(channel: Channel, in_turn: int, at_once: int) -> list[Figures]:
    """Measure one round.

    Args:
        channel: A channel to ``page/live.js``, or to its stand-in.
        in_turn: How many calls to make one after the other, in each direction. At least 2.
        at_once: How many to make at once, in each direction.

    Raises:
        WrongAnswerError: An answer was not the right one.
        Whatever ``Channel.call`` raises, in groups.
    """
    to_page = await call_in_turn(channel, in_turn)
    to_python = await channel.call("measure", in_turn, timeout=_ROUND_SECONDS)
    seconds_to_page = await call_at_once(channel, at_once)
    seconds_to_python = await channel.call("burst", at_once, timeout=_ROUND_SECONDS)
    return [
        _summarize("Python to page", to_page, at_once / seconds_to_page),
        _summarize("Page to Python", to_python, at_once / seconds_to_python),
    ]


async def call_in_turn(channel: Channel | PeerChannel, count: int) -> array[float]:
    """Make calls one after the other, and return the milliseconds that each took."""
    times = array("d")
    for number in range(count):
        start = perf_counter()
        await _ping(channel, number)
        times.append((perf_counter() - start) * 1000)
    return times


async def call_at_once(channel: Channel | PeerChannel, count: int) -> float:
    """Make calls at once, and return the seconds that all of them took."""
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(_ping, channel, number)
    return perf_counter() - start


async def _ping(channel: Channel | PeerChannel, number: int) -> None:
    answer = await channel.call("ping", number, timeout=_ROUND_SECONDS)
    if answer != number:
        raise WrongAnswerError(f"ping({number}) returned {answer!r}")


def _summarize(name: str, times: Sequence[float], rate: float) -> Figures:
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return {"name": name, "times": array("d", times), "median": statistics.median(times), "p95": p95, "rate": rate}
