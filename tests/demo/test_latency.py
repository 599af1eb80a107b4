"""Measuring calls, over a server and a peer."""

from array import array
from collections.abc import AsyncIterator

import pytest
import trio

from jchannel.demo.handlers import ChartHandler, LiveHandler, read_code
from jchannel.demo.latency import Figures, WrongAnswerError, call_at_once, measure, percentile, summarize
from jchannel.demo.stand_in import make_stand_in
from jchannel.demo.table import Table
from jchannel.errors import FrontendError
from jchannel.trio import Channel, Server, open_peer, open_server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server to which the stand-in for the page is connected."""
    async with (
        open_server(port=0) as server,
        open_peer(server.page_url, on_open=make_stand_in(read_code("chart.js"))),
    ):
        yield server


@pytest.fixture
async def live(server: Server) -> AsyncIterator[Channel]:
    async with server.open_channel(read_code("live.js"), handler=LiveHandler()) as channel:
        yield channel


async def test_a_round_measures_both_directions(live: Channel) -> None:
    figures = await measure(live, 5, 20)
    assert len(figures.to_page) == len(figures.to_python) == 5
    assert all(time > 0 for time in (*figures.to_page, *figures.to_python))
    assert figures.at_once == 20
    assert figures.rate_to_page > 0
    assert figures.rate_to_python > 0


async def test_the_stand_in_takes_the_figures_as_the_page_does(live: Channel) -> None:
    assert await live.call("show", summarize(await measure(live, 2, 2))) is None


async def test_the_stand_in_makes_the_calls_that_a_chart_needs(server: Server, table: Table) -> None:
    handler = ChartHandler(table)
    async with server.open_channel(read_code("chart.js"), handler=handler) as chart:
        assert await chart.call("draw") == {"png": None}
    assert handler.calls == 6


class _Liar:
    def ping(self, number: int) -> int:
        return number + (number == 1)


async def test_a_wrong_answer_is_an_error() -> None:
    async with (
        open_server(port=0) as server,
        open_peer(server.page_url, _Liar()),
        server.open_channel("") as channel,
    ):
        with pytest.raises(WrongAnswerError, match="the call of ping with 1 was answered with 2"):
            await call_at_once(channel, 3)


class _Broken:
    def ping(self, _number: int) -> int:
        raise ValueError("broken")


async def test_of_many_failures_one_is_raised() -> None:
    async with (
        open_server(port=0) as server,
        open_peer(server.page_url, _Broken()),
        server.open_channel("") as channel,
    ):
        with pytest.raises(FrontendError, match="ValueError: broken"):
            await call_at_once(channel, 10)


async def test_cancelling_many_calls_ends_them(live: Channel) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await call_at_once(live, 10)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("values", "percent", "expected"), [([5], 95, 5), ([3, 1, 2, 4], 50, 2), (range(1, 101), 95, 95), ([1, 2], 0, 1)]
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_figures_travel_to_the_page_as_arrays() -> None:
    figures = Figures(to_page=[1, 2, 3], to_python=[4], at_once=10, rate_to_page=5, rate_to_python=6)
    assert summarize(figures) == {
        "toPage": {"times": array("d", [1, 2, 3]), "median": 2, "p95": 3},
        "toPython": {"times": array("d", [4]), "median": 4, "p95": 4},
        "atOnce": 10,
        "rateToPage": 5,
        "rateToPython": 6,
    }
