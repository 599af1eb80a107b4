"""How long calls take, in both directions: one after the other, and many at once."""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import trio

from jchannel._core.endpoint import Endpoint

__all__ = ["Figures", "WrongAnswerError", "call_at_once", "call_in_turn", "measure", "percentile", "summarize"]

# A round takes a fraction of a second; a page in the background of a busy machine may need much longer.
_ROUND_SECONDS = 60


class WrongAnswerError(Exception):
    """A call was answered with what belongs to another one."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one round of measuring gave.

    Attributes:
        to_page: Milliseconds that each call from Python to the page took, one after the other.
        to_python: The same for calls from the page to Python.
        at_once: How many calls were made at once.
        rate_to_page: Calls per second from Python to the page, made at once.
        rate_to_python: The same for calls from the page to Python.
    """

    to_page: Sequence[float]
    to_python: Sequence[float]
    at_once: int
    rate_to_page: float
    rate_to_python: float


async def measure(channel: Endpoint, in_turn: int, at_once: int) -> Figures:
    """Measures one round.

    Args:
        channel: A channel to ``page/live.js``, or to what stands in for it.
        in_turn: How many calls to make one after the other, in each direction.
        at_once: How many to make at once, in each direction.

    Raises:
        WrongAnswerError: An answer was not the right one.
        Whatever ``Endpoint.call`` raises.

    Cancelling it cancels the calls.
    """
    to_page = await call_in_turn(channel, in_turn)
    to_python = await channel.call("measure", in_turn, timeout=_ROUND_SECONDS)
    seconds_to_page = await call_at_once(channel, at_once)
    seconds_to_python = await channel.call("burst", at_once, timeout=_ROUND_SECONDS)
    return Figures(
        to_page, [float(time) for time in to_python], at_once, at_once / seconds_to_page, at_once / seconds_to_python
    )


async def call_in_turn(channel: Endpoint, count: int) -> list[float]:
    """Makes calls one after the other, and gives the milliseconds that each took. Raises what ``measure`` raises."""
    times = []
    for number in range(count):
        start = perf_counter()
        await _ping(channel, number)
        times.append((perf_counter() - start) * 1000)
    return times


async def call_at_once(channel: Endpoint, count: int) -> float:
    """Makes calls at once, and gives the seconds that all of them took. Raises what ``measure`` raises."""
    failures: list[Exception] = []

    async def ping(number: int) -> None:
        try:
            await _ping(channel, number)
        except Exception as error:  # noqa: BLE001 -- One of them is raised below: a lost page fails all at the same time.
            failures.append(error)
            nursery.cancel_scope.cancel()

    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(ping, number)
    if failures:
        raise failures[0]
    return perf_counter() - start


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def summarize(figures: Figures) -> dict[str, Any]:
    """The figures as the page shows them."""
    return {
        "toPage": _summarize(figures.to_page),
        "toPython": _summarize(figures.to_python),
        "atOnce": figures.at_once,
        "rateToPage": figures.rate_to_page,
        "rateToPython": figures.rate_to_python,
    }


def _summarize(times: Sequence[float]) -> dict[str, Any]:
    return {"times": array("d", times), "median": statistics.median(times), "p95": percentile(times, 95)}


async def _ping(channel: Endpoint, number: int) -> None:
    answer = await channel.call("ping", number, timeout=_ROUND_SECONDS)
    if answer != number:
        raise WrongAnswerError(f"the call of ping with {number} was answered with {answer!r}")
