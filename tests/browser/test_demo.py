"""The demo in headless Chromium: what it saves, what its pages show, and that nothing of it stays."""

import shutil
import struct
from pathlib import Path

import pytest

from jchannel.demo.chromium import open_chromium
from jchannel.demo.csv_file import read_table
from jchannel.demo.devtools import BrowserError
from jchannel.demo.handlers import ChartHandler, LiveHandler, read_code
from jchannel.demo.latency import measure, summarize
from jchannel.demo.show import DATA, Options, run_demo
from jchannel.trio import open_server
from tests.browser.chromium import BrowserThread

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> tuple[int, int]:
    """The width and the height of a PNG file."""
    assert png.startswith(PNG)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def find_chromium() -> Path:
    found = shutil.which("chromium")
    assert found is not None
    return Path(found)


def test_the_demo_saves_the_chart_and_a_screenshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(Options(output=tmp_path, browser=str(find_chromium()), port=0)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "30 calls to Python while drawing" in out
    assert "2,000 calls at once" in out
    assert size_of((tmp_path / "screenshot.png").read_bytes()) == (2560, 1600)
    width, _ = size_of((tmp_path / "chart.png").read_bytes())
    assert width > 1000


async def test_the_page_draws_measures_and_shows_the_figures(browser: BrowserThread) -> None:
    handler = ChartHandler(read_table(DATA))
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        async with (
            server.open_channel(read_code("chart.js"), handler=handler) as chart,
            server.open_channel(read_code("live.js"), handler=LiveHandler()) as live,
        ):
            picture = await chart.call("draw", timeout=20)
            figures = await measure(live, 3, 20)
            await live.call("show", summarize(figures))
            shown = await page.wait_for("document.querySelector('.live').textContent")
        assert picture["png"].startswith(PNG)
        assert len(figures.to_python) == 3
        assert "20 calls at once" in shown
        assert f"{figures.rate_to_page:,.0f}" in shown
        assert page.console == []


async def test_the_chart_is_drawn_again_after_a_reload(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        async with server.open_channel(read_code("chart.js"), handler=ChartHandler(read_table(DATA))):
            await page.wait_for("document.querySelector('canvas')?.ariaLabel")
            await page.reload()
            label = await page.wait_for("document.querySelector('canvas')?.ariaLabel")
        assert label.startswith("Seattle weather: maximum temperature (°C), ")


async def test_a_chart_that_cannot_be_drawn_says_why_in_the_page(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        async with server.open_channel(read_code("chart.js"), handler=object()):
            text = await page.wait_for("document.querySelector('.chart p')?.textContent")
        assert text.startswith("The chart could not be drawn: cannot call 'describe'")


async def test_a_page_that_crashes_is_an_error() -> None:
    with pytest.raises(BrowserError, match="the page crashed"):
        async with open_chromium(find_chromium()) as page:
            await page._devtools.command("Page.crash", session=page._session)  # It is never answered.


async def test_an_address_that_nobody_serves_is_an_error() -> None:
    async with open_server(port=0) as server:
        url = server.url  # Nobody serves it any more when the server is closed.
    with pytest.raises(BrowserError, match="could not open the page: net::ERR_CONNECTION_REFUSED"):
        async with open_chromium(find_chromium()) as page:
            await page.go_to(url)


@pytest.mark.parametrize("dark", [False, True])
async def test_the_page_has_the_size_and_the_scheme_that_were_asked_for(*, dark: bool) -> None:
    code = "() => [innerWidth, innerHeight, devicePixelRatio, matchMedia('(prefers-color-scheme: dark)').matches]"
    async with (
        open_server(port=0) as server,
        open_chromium(find_chromium(), width=500, height=300, scale=3, dark=dark) as page,
    ):
        await page.go_to(server.page_url)
        await server.wait_page(20)
        async with server.hold_channel(code) as channel:
            assert await channel.open() == [500, 300, 3, dark]
        assert size_of(await page.take_screenshot()) == (1500, 900)
