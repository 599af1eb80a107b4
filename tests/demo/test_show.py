"""The demo from beginning to end, with the Python peer in the place of every page."""

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from jchannel.demo import show
from jchannel.demo.devtools import BrowserError
from jchannel.demo.handlers import read_code
from jchannel.demo.latency import WrongAnswerError
from jchannel.demo.show import Options, run_demo
from jchannel.demo.stand_in import make_stand_in
from jchannel.trio import PeerChannel, Server, open_peer, open_server

Capture = pytest.CaptureFixture[str]


class Picture:
    """Takes the part of the chart in a page, and has a picture."""

    def draw(self) -> dict[str, bytes]:
        return {"png": b"PNG of the chart"}


def make_page(live: object = None) -> Callable[[PeerChannel, str], None]:
    """Makes what opens the channels of a page. ``live`` is the handler that measures; ``None`` for the stand-in's."""
    stand_in = make_stand_in(read_code("chart.js"))

    def on_open(channel: PeerChannel, code: str) -> None:
        stand_in(channel, code)
        if code == read_code("chart.js"):
            channel.handler = Picture()
        elif live is not None:
            channel.handler = live

    return on_open


class FakeChromiumPage:
    """Takes the part of the page that Chromium has opened: the Python peer connects in its place."""

    product = "Fake 1.2"

    def __init__(self, nursery: trio.Nursery, live: object) -> None:
        self._nursery = nursery
        self._live = live
        self.closed = trio.Event()

    async def go_to(self, url: str) -> None:
        self._nursery.start_soon(self._connect, url)

    async def take_screenshot(self) -> bytes:
        return b"PNG of the page"

    async def _connect(self, url: str) -> None:
        async with open_peer(url, on_open=make_page(self._live)):
            await self.closed.wait()


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "IN_TURN", 3)
    monkeypatch.setattr(show, "LIVE_IN_TURN", 3)
    monkeypatch.setattr(show, "AT_ONCE", 10)
    monkeypatch.setattr(show, "LIVE_PAUSE", 0)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(output=tmp_path / "pictures", port=0)


def use_chromium(monkeypatch: pytest.MonkeyPatch, live: object = None) -> None:
    """Lets the demo find a Chromium, in whose page the peer is."""

    @asynccontextmanager
    async def open_chromium(executable: Path, *, scale: float) -> AsyncIterator[FakeChromiumPage]:
        assert (executable, scale) == (Path("/bin/chromium"), 2)
        async with trio.open_nursery() as nursery:
            page = FakeChromiumPage(nursery, live)
            try:
                yield page
            finally:
                page.closed.set()

    monkeypatch.setattr(show, "find_chromium", lambda _asked: Path("/bin/chromium"))
    monkeypatch.setattr(show, "open_chromium", open_chromium)


def use_window(monkeypatch: pytest.MonkeyPatch, browse: Callable[[Server], Awaitable[None]]) -> None:
    """Lets the demo open a browser on a display, which does what ``browse`` does."""

    @asynccontextmanager
    async def open_browsed_server(port: int | None, *, open_browser: bool) -> AsyncIterator[Server]:
        assert open_browser
        async with open_server(port=port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(browse, server)
            yield server

    monkeypatch.setattr(show, "open_server", open_browsed_server)
    monkeypatch.setattr(show, "can_show_window", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


class LeavingPage:
    """Measures as the stand-in does, and leaves after some rounds."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.left = trio.Event()

    def ping(self, number: int) -> int:
        return number

    def measure(self, count: int) -> list[float]:
        return [1.0] * count

    def burst(self, _count: int) -> float:
        return 1.0

    def show(self, figures: dict[str, Any]) -> None:
        assert figures["atOnce"] == 10
        self._rounds -= 1
        if self._rounds == 0:
            self.left.set()


async def browse_for(server: Server, rounds: int) -> None:
    page = LeavingPage(rounds)
    async with open_peer(server.page_url, on_open=make_page(page)):
        await page.left.wait()


def test_chromium_draws_measures_and_is_shown(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    use_chromium(monkeypatch)
    assert run_demo(options) == 0
    assert (options.output / "chart.png").read_bytes() == b"PNG of the chart"
    assert (options.output / "screenshot.png").read_bytes() == b"PNG of the page"
    out, err = capsys.readouterr()
    assert err == ""
    assert "1,461 rows, 4 columns of numbers" in out
    assert "Fake 1.2, /bin/chromium" in out
    assert "10 calls at once" in out
    assert out.splitlines()[-1].split()[0] == "close"


def test_the_peer_is_used_where_it_is_asked_for(options: Options, capsys: Capture) -> None:
    assert run_demo(Options(no_browser=True, port=0, output=options.output)) == 0
    assert "connect the peer" in capsys.readouterr().out
    assert not options.output.exists()


def test_the_peer_is_used_and_an_installation_named_where_there_is_no_browser(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    monkeypatch.setattr(show, "find_chromium", lambda _asked: None)
    monkeypatch.setattr(show, "how_to_install", lambda: "sudo apt install chromium")
    assert run_demo(options) == 0
    out = capsys.readouterr().out
    assert "To install one: sudo apt install chromium" in out
    assert "page to Python" in out


def test_columns_that_are_not_drawn_are_named(options: Options, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a,name\n5,x\n", encoding="utf-8")
    assert run_demo(Options(file=file, no_browser=True, port=0, output=options.output)) == 0
    assert "not drawn: name" in capsys.readouterr().out


def test_a_window_shows_live_figures_until_its_page_is_closed(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    monkeypatch.setattr(show, "RETURN_SECONDS", 0.01)
    use_window(monkeypatch, partial(browse_for, rounds=3))
    assert run_demo(options) == 0
    out = capsys.readouterr().out
    assert "If your browser shows no page, open http://localhost:" in out
    assert "The page was closed." in out
    assert not (options.output / "screenshot.png").exists()


def test_a_page_that_comes_back_gets_figures_again(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    async def browse(server: Server) -> None:
        await browse_for(server, rounds=2)
        page = LeavingPage(rounds=2)
        async with open_peer(server.page_url, on_open=make_page(page)):
            await page.left.wait()
            monkeypatch.setattr(show, "RETURN_SECONDS", 0.01)

    monkeypatch.setattr(show, "RETURN_SECONDS", 1_000)
    use_window(monkeypatch, browse)
    assert run_demo(options) == 0
    assert "The page was closed." in capsys.readouterr().out


def test_a_window_is_not_opened_where_the_output_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    monkeypatch.setattr(show, "can_show_window", lambda: True)
    use_chromium(monkeypatch)
    assert run_demo(options) == 0
    assert "Fake 1.2" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"headless": True}, {"browser": "mine"}])
def test_a_window_is_not_opened_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, options: Options, changes: dict[str, Any], capsys: Capture
) -> None:
    monkeypatch.setattr(show, "can_show_window", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    use_chromium(monkeypatch)
    assert run_demo(Options(output=options.output, port=0, **changes)) == 0
    assert "Fake 1.2" in capsys.readouterr().out


def test_ctrl_c_ends_the_live_figures_as_it_should(monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    async def browse(server: Server) -> None:
        await browse_for(server, rounds=2)
        signal.raise_signal(signal.SIGINT)

    use_window(monkeypatch, browse)
    monkeypatch.setattr(show, "RETURN_SECONDS", 1_000)
    assert run_demo(options) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_demo_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, options: Options, number: signal.Signals, status: int, capsys: Capture
) -> None:
    async def browse(_server: Server) -> None:
        signal.raise_signal(number)

    use_window(monkeypatch, browse)
    assert run_demo(options) == status
    assert capsys.readouterr().err == f"jchannel demo: ended by {number.name}\n"


def test_ctrl_c_while_reading_ends_the_demo(monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    def read(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "read_table", read)
    assert run_demo(options) == 130


def test_bad_data_is_bad_input(options: Options, tmp_path: Path, capsys: Capture) -> None:
    assert run_demo(Options(file=tmp_path / "nothing.csv", output=options.output)) == 2
    assert capsys.readouterr().err == f"jchannel demo: there is no file {tmp_path / 'nothing.csv'}\n"


def test_a_browser_that_is_not_there_is_bad_input(options: Options, tmp_path: Path, capsys: Capture) -> None:
    assert run_demo(Options(browser=str(tmp_path / "nothing"), output=options.output)) == 2
    assert "there is no browser that can be run at" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    use_chromium(monkeypatch)
    file = tmp_path / "file"
    file.touch()
    assert run_demo(Options(output=file)) == 2
    assert f"the folder {file} for the pictures cannot be made: File exists" in capsys.readouterr().err


def test_a_taken_port_fails_and_is_named(options: Options, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_demo(Options(no_browser=True, port=port, output=options.output)) == 1
    assert f"port {port} of localhost is taken" in capsys.readouterr().err


def test_a_page_that_fails_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    use_chromium(monkeypatch, live=Picture())
    assert run_demo(options) == 1
    assert "jchannel demo: the page answered with an error: cannot call 'ping'" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [BrowserError, OSError, WrongAnswerError, trio.TooSlowError])
def test_what_goes_wrong_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, options: Options, failure: type[Exception], capsys: Capture
) -> None:
    async def browse(_server: Server) -> None:
        raise ExceptionGroup("several", [failure("this went wrong"), failure("that, too")])

    use_window(monkeypatch, browse)
    assert run_demo(options) == 1
    assert capsys.readouterr().err == "jchannel demo: this went wrong\n"


def test_a_fault_of_the_demo_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    def read(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(show, "read_table", read)
    with pytest.raises(ZeroDivisionError):
        run_demo(options)


def test_output_that_nobody_reads_ends_the_demo_quietly(
    monkeypatch: pytest.MonkeyPatch, options: Options, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as out:

        def read(*_arguments: object) -> None:
            raise BrokenPipeError

        monkeypatch.setattr(show, "read_table", read)
        monkeypatch.setattr(sys, "stdout", out)
        assert run_demo(options) == 1
        assert os.fstat(out.fileno()).st_rdev == Path(os.devnull).stat().st_rdev
