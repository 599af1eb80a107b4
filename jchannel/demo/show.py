"""The demo's story: reads the file, finds a page, has it draw and measure, and tells each step."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import trio

from jchannel._core.nursery import open_flat_nursery
from jchannel.demo.chromium import ChromiumPage, open_chromium
from jchannel.demo.csv_file import DataError, read_table
from jchannel.demo.devtools import BrowserError
from jchannel.demo.handlers import ChartHandler, LiveHandler, read_code
from jchannel.demo.latency import WrongAnswerError, measure, summarize
from jchannel.demo.report import describe_file, print_figures, print_note, report_step
from jchannel.demo.stand_in import make_stand_in
from jchannel.demo.surroundings import NoSuchBrowserError, can_show_window, find_chromium, how_to_install
from jchannel.demo.table import Table
from jchannel.demo.ticks import count_things
from jchannel.errors import PageLostError, RemoteError, StateError
from jchannel.trio import Channel, Server, open_peer, open_server

__all__ = ["DATA", "Options", "run_demo"]

#: The file that is drawn when none is named.
DATA: Final = Path(__file__).parent / "data" / "seattle-weather.csv"

IN_TURN: Final = 200
AT_ONCE: Final = 2_000

# In a window the figures are shown again and again; a round then is shorter.
LIVE_IN_TURN: Final = 50
LIVE_PAUSE: Final = 1.0

#: How long a browser may take to open the page, in seconds.
OPEN_SECONDS: Final = 60.0

#: How long a page that has gone may take to come back, as it does when it is reloaded.
RETURN_SECONDS: Final = 5.0

_DRAW_SECONDS: Final = 60.0
_SCALE: Final = 2.0

_BAD_INPUT: Final = 2
_FAILED: Final = 1
_SIGNALLED: Final = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asks for.

    Attributes:
        file: The CSV file.
        encoding: Its encoding; ``None`` to find out.
        output: The folder for the pictures.
        headless: Whether to run Chromium without a window even where there is a display.
        browser: The Chromium to run without a window; ``None`` to look for one.
        no_browser: Whether to use the Python peer in place of any browser.
        port: The server's port; 0 for any free one; ``None`` for the default.
    """

    file: Path = DATA
    encoding: str | None = None
    output: Path = Path("demo-output")
    headless: bool = False
    browser: str | None = None
    no_browser: bool = False
    port: int | None = None


def run_demo(options: Options) -> int:
    """Runs the demo, and prints what happens.

    Args:
        options: What the command line asks for.

    Returns:
        The exit status: 0; 2 for bad input; 1 for what went wrong later; 130 when it was interrupted by Ctrl+C and 143
        when it was asked to end, but 0 when it was showing figures in a window, which goes on until then.
    """
    try:
        print(f"jchannel demo: {options.file.name}", flush=True)
        table = _read(options)
        face = _choose_face(options)
        if face.pictures:
            _make_folder(options.output)
        return trio.run(_run_until_signal, _Demo(options, table, face))
    except (DataError, NoSuchBrowserError, _OutputError) as error:
        return _fail(str(error), _BAD_INPUT)
    except BrokenPipeError:
        # Whoever reads the output has left, as `head` does. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        return _report_signal(signal.SIGINT)
    except Exception as error:
        failure = _first_leaf(error)
        if isinstance(failure, RemoteError):
            return _fail(f"the page answered with an error: {failure}", _FAILED)
        if isinstance(failure, BrowserError | OSError | StateError | WrongAnswerError | trio.TooSlowError):
            return _fail(str(failure), _FAILED)
        raise


class _OutputError(Exception):
    """The folder for the pictures cannot be made."""


@dataclass(frozen=True, slots=True)
class _Face:
    """What takes the page's part: a window of the user's browser, Chromium without a window, or the Python peer."""

    kind: Literal["window", "chromium", "peer"]
    chromium: Path | None = None

    @property
    def pictures(self) -> bool:
        return self.kind != "peer"


def _read(options: Options) -> Table:
    with report_step("read the data") as step:
        table = read_table(options.file, options.encoding)
        rows, columns = count_things(len(table.positions), "row"), count_things(len(table.columns), "column")
        step.detail = f"{rows}, {columns} of numbers"
    if table.left_out:
        print_note(f"not drawn: {', '.join(table.left_out)}")
    return table


def _choose_face(options: Options) -> _Face:
    if options.no_browser:
        return _Face("peer")
    if not options.headless and options.browser is None and sys.stdout.isatty() and can_show_window():
        return _Face("window")
    chromium = find_chromium(options.browser)
    if chromium is not None:
        return _Face("chromium", chromium)
    print_note("There is no Chromium here that can run without a window, so the Python peer takes the page's part.")
    print_note(f"To install one: {how_to_install()}")
    return _Face("peer")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _OutputError(f"the folder {folder} for the pictures cannot be made: {error.strerror}") from error


async def _run_until_signal(demo: _Demo) -> int:
    """Runs the demo until its end or until a signal ends it; gives the exit status."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        received: list[int] = []

        async def watch(scope: trio.CancelScope) -> None:
            async for number in signals:
                received.append(number)
                scope.cancel()

        async with open_flat_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            await demo.run()
            nursery.cancel_scope.cancel()
    if not received or demo.live:
        return 0
    return _report_signal(received[0])


class _Demo:
    """One run of the demo.

    Attributes:
        live: Whether it has told all, and goes on only to show live figures.
    """

    def __init__(self, options: Options, table: Table, face: _Face) -> None:
        self.live = False
        self._options = options
        self._handler = ChartHandler(table)
        self._face = face
        self._chart_code = read_code("chart.js")

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            with report_step("open the server") as step:
                window = self._face.kind == "window"
                server = await stack.enter_async_context(open_server(port=self._options.port, open_browser=window))
                step.detail = server.url
            page = await self._await_page(stack, server)
            with report_step("open two channels") as step:
                open_chart = server.open_channel(self._chart_code, handler=self._handler)
                chart = await stack.enter_async_context(open_chart)
                live = await stack.enter_async_context(server.open_channel(read_code("live.js"), handler=LiveHandler()))
                step.detail = "one to draw, one to measure"
            await self._draw(chart)
            figures = await measure(live, IN_TURN, AT_ONCE)
            await live.call("show", summarize(figures))
            print_figures(figures)
            if page is not None:
                with report_step("take a screenshot") as step:
                    step.detail = await self._save("screenshot.png", await page.take_screenshot())
            if window:
                await self._go_on(server, live)
            with report_step("close") as step:
                step.detail = "channels, page and server"
                await stack.aclose()

    async def _await_page(self, stack: AsyncExitStack, server: Server) -> ChromiumPage | None:
        """Has a page connect to the server. Gives the page where it can be asked for a screenshot."""
        page = None
        if self._face.kind == "peer":
            on_open = make_stand_in(self._chart_code)
            with report_step("connect the peer"):
                await stack.enter_async_context(open_peer(server.page_url, on_open=on_open))
            return None
        if self._face.kind == "window":
            print_note(f"If your browser shows no page, open {server.page_url}")
        else:
            assert self._face.chromium is not None
            with report_step("start the browser") as step:
                page = await stack.enter_async_context(open_chromium(self._face.chromium, scale=_SCALE))
                step.detail = f"{page.product}, {self._face.chromium}"
        with report_step("connect the page"):
            if page is not None:
                await page.go_to(server.page_url)
            await server.wait_page(OPEN_SECONDS)
        return page

    async def _draw(self, chart: Channel) -> None:
        with report_step("draw the chart") as step:
            picture = await chart.call("draw", timeout=_DRAW_SECONDS)
            step.detail = f"{self._handler.calls} calls to Python while drawing"
        if picture["png"] is not None:
            with report_step("save the picture") as step:
                step.detail = await self._save("chart.png", picture["png"])

    async def _save(self, name: str, png: bytes) -> str:
        path = self._options.output / name
        await trio.Path(path).write_bytes(png)
        return describe_file(path, len(png))

    async def _go_on(self, server: Server, live: Channel) -> None:
        """Shows new figures in the page until it is closed."""
        self.live = True
        print_note("The figures in the page go on. To end: close the page, or press Ctrl+C.")
        while True:
            try:
                await server.wait_page(RETURN_SECONDS)
            except trio.TooSlowError:
                print_note("The page was closed.")
                return
            # A page that goes meanwhile may come back: it may have been reloaded.
            with suppress(PageLostError, trio.TooSlowError):
                await live.call("show", summarize(await measure(live, LIVE_IN_TURN, AT_ONCE)))
                await trio.sleep(LIVE_PAUSE)


def _first_leaf(error: Exception) -> Exception:
    """The first of several failures."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _fail(message: str, status: int) -> int:
    print(f"jchannel demo: {message}", file=sys.stderr, flush=True)
    return status


def _report_signal(number: int) -> int:
    return _fail(f"ended by {signal.Signals(number).name}", _SIGNALLED + number)
