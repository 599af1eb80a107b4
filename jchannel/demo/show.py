"""The demo's story: read the file, find a page, let it draw and measure, and tell each step."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from jchannel._page.chromium import find_chromium, how_to_install
from jchannel.demo.chromium import BrowserError, run_chromium
from jchannel.demo.handlers import ChartHandler, LiveHandler
from jchannel.demo.latency import WrongAnswerError, measure
from jchannel.demo.report import print_figures, report_step
from jchannel.demo.stand_in import stand_in
from jchannel.demo.surroundings import can_show_window
from jchannel.demo.table import DataError, read_table
from jchannel.errors import PageLostError, RemoteError, StateError
from jchannel.trio import Channel, Server, open_peer, open_server

__all__ = ["DATA", "PAGE", "Options", "read_code", "run_demo"]

#: The file that is drawn when none is named.
DATA: Final = Path(__file__).parent / "data" / "seattle-weather.csv"

#: The folder of the page and of the code of its channels.
PAGE: Final = Path(__file__).parent / "page"

IN_TURN: Final = 200
AT_ONCE: Final = 2_000

# In a window the figures are shown again and again; a round then is shorter.
LIVE_IN_TURN: Final = 50
LIVE_PAUSE: Final = 1.0

#: How long a page that has gone may take to come back, as it does when it is reloaded, in seconds.
RETURN_SECONDS: Final = 5.0

_OPEN_SECONDS: Final = 60.0
_DRAW_SECONDS: Final = 60.0

_INTERRUPTED: Final = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asks for.

    Attributes:
        file: The CSV file.
        encoding: Its encoding.
        output: The folder for the pictures.
        headless: Whether to run Chromium without a window even where there is a display.
        browser: The Chromium to run without a window; ``None`` to look for one.
        no_browser: Whether to use the Python peer in place of any browser.
        port: The server's port; 0 for any free one; ``None`` for the default.
    """

    file: Path = DATA
    encoding: str = "utf-8-sig"
    output: Path = Path("demo-output")
    headless: bool = False
    browser: str | None = None
    no_browser: bool = False
    port: int | None = None


def read_code(name: str) -> str:
    """Return the code of a channel, a file of the folder ``page``."""
    return (PAGE / name).read_text(encoding="utf-8")


def run_demo(options: Options) -> int:
    """Run the demo, and print what happens.

    Returns:
        The exit status: 0; 1 when something went wrong; 130 when it was interrupted.
    """
    status = 0
    try:
        trio.run(_run, options)
    except* KeyboardInterrupt:
        status = _INTERRUPTED
    except* (
        BrowserError,
        DataError,
        OSError,
        RemoteError,
        StateError,
        WrongAnswerError,
        trio.TooSlowError,
    ) as errors:
        error: Exception = errors
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        print(f"jchannel demo: {error}", file=sys.stderr)
        status = 1
    return status


async def _run(options: Options) -> None:
    with report_step("read the data") as step:
        table = read_table(options.file, options.encoding)
        step.detail = f"{len(table.positions):,} rows, {len(table.columns)} columns to draw"
    handler = ChartHandler(table)
    chromium = options.browser or find_chromium()
    window = (
        not (options.no_browser or options.headless or options.browser) and sys.stdout.isatty() and can_show_window()
    )
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server(port=options.port, static=PAGE, open_browser=window))
        if window:
            print(f"  If your browser shows no page, open {server.page_url}")
        elif chromium is not None and not options.no_browser:
            await stack.enter_async_context(_open_chromium(str(chromium), server, options.output))
        else:
            if not options.no_browser:
                print("  There is no Chromium here, so a Python peer makes the page's calls. To install it:")
                print(f"  {how_to_install()}")
            await stack.enter_async_context(open_peer(server.page_url, on_open=stand_in))
        with report_step("connect the page") as step:
            await server.wait_page(_OPEN_SECONDS)
            step.detail = server.url
        async with (
            server.open_channel(read_code("chart.js"), handler=handler) as chart,
            server.open_channel(read_code("live.js"), handler=LiveHandler()) as live,
        ):
            with report_step("draw the chart") as step:
                picture = await chart.call("draw", timeout=_DRAW_SECONDS)
                step.detail = f"{handler.calls} calls to Python while drawing"
            if picture is not None:
                await _save(picture, trio.Path(options.output) / "chart.png")
            figures = await measure(live, IN_TURN, AT_ONCE)
            await live.call("show", figures, AT_ONCE)
            print_figures(figures, AT_ONCE)
            if window:
                await _go_on(server, live)


@asynccontextmanager
async def _open_chromium(executable: str, server: Server, folder: Path) -> AsyncIterator[None]:
    """Show the page in Chromium, and wait for the screenshot at the end of the block."""
    await trio.Path(folder).mkdir(parents=True, exist_ok=True)
    screenshot = folder / "screenshot.png"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_chromium, executable, server.issue_browser_url(), screenshot)
        yield
    print(f"  The page's screenshot is {screenshot}")


async def _save(picture: bytes, path: trio.Path) -> None:
    with report_step("save the picture") as step:
        await path.parent.mkdir(parents=True, exist_ok=True)
        await path.write_bytes(picture)
        step.detail = f"{path}, {len(picture) // 1024:,} KiB"


async def _go_on(server: Server, live: Channel) -> None:
    """Show new figures in the page until it is closed."""
    print("  The figures in the page go on. To end: close the page, or press Ctrl+C.")
    with suppress(trio.TooSlowError):
        while True:
            await server.wait_page(RETURN_SECONDS)
            try:
                await live.call("show", await measure(live, LIVE_IN_TURN, AT_ONCE), AT_ONCE)
                await trio.sleep(LIVE_PAUSE)
            except* PageLostError:
                pass  # It may come back: it may have been reloaded.
    print("  The page was closed.")
