"""Measuring calls, over a server and the page's stand-in, and what is printed of it."""

from array import array
from collections.abc import AsyncIterator

import pytest
import trio

from jchannel.demo.handlers import ChartHandler, LiveHandler
from jchannel.demo.latency import WrongAnswerError, call_at_once, measure
from jchannel.demo.stand_in import stand_in
from jchannel.demo.table import Table
from jchannel.trio import Channel, Server, open_peer, open_server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server to which the stand-in for the page is connected."""
    async with open_server(port=0) as server, open_peer(server.page_url, on_open=stand_in):
        yield server


@pytest.fixture
async def live(server: Server) -> AsyncIterator[Channel]:
    async with server.open_channel("", handler=LiveHandler()) as channel:
        yield channel


async def test_a_round_measures_both_directions(live: Channel) -> None:
    for figures, name in zip(await measure(live, 5, 20), ("Python to page", "Page to Python"), strict=True):
        assert figures["name"] == name
        assert isinstance(figures["times"], array)
        assert len(figures["times"]) == 5
        assert 0 < min(figures["times"]) <= figures["median"] <= figures["p95"] <= max(figures["times"])
        assert figures["rate"] > 0


async def test_the_stand_in_takes_the_figures_as_the_page_does(live: Channel) -> None:
    assert await live.call("show", await measure(live, 2, 2), 2) is None


async def test_the_stand_in_makes_the_calls_that_a_chart_needs(server: Server, table: Table) -> None:
    handler = ChartHandler(table)
    async with server.open_channel("", handler=handler) as chart:
        assert await chart.call("draw") is None
    assert handler.calls == 4


class _Liar:
    def ping(self, number: int) -> int:
        return number + (number == 1)


async def test_a_wrong_answer_is_an_error() -> None:
    async with (
        open_server(port=0) as server,
        open_peer(server.page_url, _Liar()),
        server.open_channel("") as channel,
    ):
        with pytest.RaisesGroup(pytest.RaisesExc(WrongAnswerError, match=r"ping\(1\) returned 2")):
            await call_at_once(channel, 3)


async def test_cancelling_many_calls_ends_them(live: Channel) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await call_at_once(live, 10)
    assert scope.cancelled_caught
