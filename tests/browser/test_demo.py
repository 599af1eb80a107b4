"""The demo in headless Chromium: what it saves, and what its page shows."""

import math
import shutil
import struct
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from jchannel.demo.handlers import ChartHandler, LiveHandler
from jchannel.demo.latency import measure
from jchannel.demo.show import DATA, PAGE, Options, read_code, run_demo
from jchannel.demo.table import Kind, Table, read_table
from jchannel.trio import Channel, open_server
from tests.browser.chromium import BrowserThread, PageHandle, PlaywrightPage

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> tuple[int, int]:
    """The width and the height of a PNG file."""
    assert png.startswith(PNG)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@asynccontextmanager
async def open_demo(browser: BrowserThread, table: Table) -> AsyncIterator[tuple[Channel, Channel, PageHandle]]:
    """Let the page draw a table and show figures, with which it is loaded. Yields its two channels and the page."""
    pages: list[PageHandle] = []
    loaded = trio.Event()

    async def open_page(url: str) -> None:
        pages.append(await browser.open(url))
        loaded.set()

    async with (
        open_server(port=0, static=PAGE) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(open_page, server.page_url)
        async with (
            server.open_channel(read_code("chart.js"), handler=ChartHandler(table), timeout=60) as chart,
            server.open_channel(read_code("live.js"), handler=LiveHandler(), timeout=60) as live,
        ):
            await live.call("show", await measure(live, 3, 20), 20)
            await loaded.wait()
            yield chart, live, pages[0]


def test_the_demo_saves_the_chart_and_a_screenshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(Options(output=tmp_path, browser=shutil.which("chromium"), port=0)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "20 calls to Python while drawing" in out
    assert "2,000 at once" in out
    assert size_of((tmp_path / "screenshot.png").read_bytes()) == (2560, 1600)
    width, _ = size_of((tmp_path / "chart.png").read_bytes())
    assert width > 1000


async def test_the_page_draws_measures_and_shows_the_figures(browser: BrowserThread) -> None:
    async with open_demo(browser, read_table(DATA)) as (chart, live, page):
        picture = await chart.call("draw", timeout=60)
        figures = await measure(live, 4, 30)
        await live.call("show", figures, 30)
        shown = await page.evaluate("document.querySelector('#live').textContent")
        label = await page.evaluate("document.querySelector('canvas').ariaLabel")
        assert page.console == []
    assert picture.startswith(PNG)
    assert label.startswith("Seattle weather: maximum temperature (°C), ")
    assert "4 in turn" in shown
    assert "30 calls at once" in shown
    assert f"{round(figures[0]['rate']):,}" in shown


async def test_the_chart_is_drawn_again_after_a_reload(browser: BrowserThread) -> None:
    async with open_demo(browser, read_table(DATA)) as (_, _, page):
        await page.evaluate("(document.title = 'old', location.reload())")
        await page.wait_for("document.title !== 'old' && document.querySelector('canvas')?.ariaLabel")
        assert page.console == []


NAN = math.nan


@pytest.mark.parametrize(
    ("kind", "positions", "values"),
    [
        ("row", [1], [5]),
        ("row", [1, 2, 3, 4], [0, 0, 0, 0]),
        ("number", [0.25, 0.5, 1e9], [1, NAN, 1e-9]),
        ("time", [0], [-1e12]),
        ("time", [0, 3_600_000, 7_200_000], [NAN, 1, NAN]),
    ],
)
async def test_the_page_draws_tables_of_every_kind(
    browser: BrowserThread, kind: Kind, positions: list[float], values: list[float]
) -> None:
    table = Table("t.csv", kind, "axis", array("d", positions), {"a": array("d", values)})
    async with open_demo(browser, table) as (chart, _, page):
        assert (await chart.call("draw", timeout=60)).startswith(PNG)
        assert page.console == []


HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ("numberTicks(0, 1, 4)", ["0", "0.5", "1"]),
        ("numberTicks(-0.3, 0.3, 4)", ["\N{MINUS SIGN}0.2", "0", "0.2"]),
        ("numberTicks(1990, 2010, 4)", ["1990", "1995", "2000", "2005", "2010"]),
        ("numberTicks(1, 3, 9, 1)", ["1", "2", "3"]),
        ("numberTicks(0, 2.5e6, 5)", ["0", "500,000", "1M", "1.5M", "2M", "2.5M"]),
        ("timeTicks(0, 4000, 4)", ["Jan 1", "00:00:01", "00:00:02", "00:00:03", "00:00:04"]),
        (f"timeTicks(0, {DAY}, 4)", ["Jan 1", "06:00", "12:00", "18:00", "Jan 2"]),
        (f"timeTicks({DAY}, {14 * DAY}, 2)", ["Jan 8", "Jan 15"]),
        (f"timeTicks({DAY}, {120 * DAY}, 4)", ["Feb", "Mar", "Apr", "May"]),
        ("timeTicks(Date.UTC(2012, 0, 1), Date.UTC(2013, 6, 1), 4)", ["2012", "Jul", "2013", "Jul"]),
        ("timeTicks(Date.UTC(1901, 0, 1), Date.UTC(2013, 6, 1), 3)", ["1950", "2000"]),
    ],
)
async def test_the_marks_of_an_axis_are_round(browser: BrowserThread, ticks: str, labels: list[str]) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        code = (PAGE / "ticks.js").read_text(encoding="utf-8")
        assert await page.evaluate(f"(() => {{ {code} return {ticks}.map(({{ label }}) => label); }})()") == labels


async def test_the_page_fits_a_phone(browser: BrowserThread) -> None:
    async with open_demo(browser, read_table(DATA)) as (_, _, page):
        assert isinstance(page._page, PlaywrightPage)
        await page._loop_thread.wait_in_trio(page._page._page.set_viewport_size({"width": 375, "height": 800}))
        assert await page.wait_for("document.querySelector('canvas').clientWidth < 375")
        assert await page.evaluate("document.documentElement.scrollWidth") == 375
