"""The demo from beginning to end, with the Python peer in the place of every page."""

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
from jchannel.demo.chromium import BrowserError
from jchannel.demo.latency import WrongAnswerError
from jchannel.demo.show import PAGE, Options, read_code, run_demo
from jchannel.demo.stand_in import StandIn
from jchannel.trio import PeerChannel, Server, open_peer, open_server

Capture = pytest.CaptureFixture[str]
Browse = Callable[[Server], Awaitable[None]]


class Page(StandIn):
    """A page with a picture, which is left when it has shown figures a number of times, or while it measures then."""

    def __init__(self, channel: PeerChannel, rounds: int, left: trio.Event, *, measuring: bool) -> None:
        super().__init__(channel)
        self._rounds = rounds
        self._left = left
        self._measuring = measuring

    async def draw(self) -> Any:
        await super().draw()
        return b"PNG of the chart"

    async def measure(self, count: int) -> Any:
        if self._rounds == 0:
            self._left.set()
            await trio.sleep_forever()
        return await super().measure(count)

    def show(self, figures: object, at_once: int) -> None:
        assert at_once == 10
        assert isinstance(figures, list)
        self._rounds -= 1
        if self._rounds == 0 and not self._measuring:
            self._left.set()


async def browse_for(
    server: Server, rounds: int, *, measuring: bool = False, leave: Callable[[], object] = bool
) -> None:
    """Be the page until figures have been shown so many times. ``leave`` is called before the page is left."""
    left = trio.Event()

    def on_open(channel: PeerChannel, _code: str) -> None:
        channel.handler = Page(channel, rounds, left, measuring=measuring)

    async with open_peer(server.page_url, on_open=on_open):
        await left.wait()
        leave()


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "IN_TURN", 3)
    monkeypatch.setattr(show, "LIVE_IN_TURN", 3)
    monkeypatch.setattr(show, "AT_ONCE", 10)
    monkeypatch.setattr(show, "LIVE_PAUSE", 0)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(output=tmp_path / "pictures", port=0)


def use_chromium(monkeypatch: pytest.MonkeyPatch, browse: Browse | None = None) -> None:
    """Let the demo find a Chromium, whose part ``browse`` takes."""
    servers: list[Server] = []

    @asynccontextmanager
    async def open_known_server(*, port: int, static: Path, open_browser: bool) -> AsyncIterator[Server]:
        assert (static, open_browser) == (PAGE, False)
        async with open_server(port=port) as server:
            servers.append(server)
            yield server

    async def run_chromium(executable: str, url: str, screenshot: Path) -> None:
        assert executable == "/bin/chromium"
        assert url.startswith(servers[0].url)
        assert "#" not in url  # The token would stand on the command line.
        await (browse_for(servers[0], rounds=1) if browse is None else browse(servers[0]))
        await trio.Path(screenshot).write_bytes(b"PNG of the page")

    monkeypatch.setattr(show, "open_server", open_known_server)
    monkeypatch.setattr(show, "run_chromium", run_chromium)
    monkeypatch.setattr(show, "find_chromium", lambda: Path("/bin/chromium"))


def use_window(monkeypatch: pytest.MonkeyPatch, browse: Browse) -> None:
    """Let the demo open a browser on a display, whose part ``browse`` takes."""

    @asynccontextmanager
    async def open_browsed_server(*, port: int, static: Path, open_browser: bool) -> AsyncIterator[Server]:
        assert (static, open_browser) == (PAGE, True)
        async with open_server(port=port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(browse, server)
            yield server

    monkeypatch.setattr(show, "open_server", open_browsed_server)
    monkeypatch.setattr(show, "can_show_window", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_chromium_draws_measures_and_is_shown(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    use_chromium(monkeypatch)
    assert run_demo(options) == 0
    assert (options.output / "chart.png").read_bytes() == b"PNG of the chart"
    assert (options.output / "screenshot.png").read_bytes() == b"PNG of the page"
    out, err = capsys.readouterr()
    assert err == ""
    assert "1,461 rows, 4 columns" in out
    assert "10 calls to Python while drawing" in out
    assert "10 at once" in out
    assert f"The page's screenshot is {options.output / 'screenshot.png'}" in out


def test_the_peer_is_used_where_it_is_asked_for(options: Options, capsys: Capture) -> None:
    assert run_demo(Options(no_browser=True, port=0, output=options.output)) == 0
    out = capsys.readouterr().out
    assert "Page to Python" in out
    assert "Chromium" not in out
    assert not options.output.exists()


def test_the_peer_is_used_and_an_installation_named_where_there_is_no_browser(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    monkeypatch.setattr(show, "find_chromium", lambda: None)
    monkeypatch.setattr(show, "how_to_install", lambda: "sudo apt install chromium")
    assert run_demo(options) == 0
    out = capsys.readouterr().out
    assert "sudo apt install chromium" in out
    assert "Page to Python" in out


def test_a_window_shows_live_figures_until_its_page_is_closed(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    monkeypatch.setattr(show, "RETURN_SECONDS", 0.01)
    use_window(monkeypatch, partial(browse_for, rounds=3))
    assert run_demo(options) == 0
    out = capsys.readouterr().out
    assert "If your browser shows no page, open http://localhost:" in out
    assert "The page was closed." in out
    assert (options.output / "chart.png").exists()
    assert not (options.output / "screenshot.png").exists()


def test_a_page_that_comes_back_gets_figures_again(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    async def browse(server: Server) -> None:
        await browse_for(server, rounds=2, measuring=True)
        await browse_for(server, rounds=2, leave=partial(monkeypatch.setattr, show, "RETURN_SECONDS", 0.01))

    monkeypatch.setattr(show, "RETURN_SECONDS", 1_000)
    use_window(monkeypatch, browse)
    assert run_demo(options) == 0
    assert "The page was closed." in capsys.readouterr().out


def test_a_window_is_not_opened_where_the_output_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    monkeypatch.setattr(show, "can_show_window", lambda: True)
    use_chromium(monkeypatch)
    assert run_demo(options) == 0
    assert (options.output / "screenshot.png").exists()


@pytest.mark.parametrize("changes", [{"headless": True}, {"browser": "/bin/chromium"}])
def test_a_window_is_not_opened_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, options: Options, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(show, "can_show_window", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    use_chromium(monkeypatch)
    assert run_demo(Options(output=options.output, port=0, **changes)) == 0
    assert (options.output / "screenshot.png").exists()


def test_ctrl_c_ends_the_demo(monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture) -> None:
    async def browse(server: Server) -> None:
        await browse_for(server, rounds=2)
        signal.raise_signal(signal.SIGINT)

    use_window(monkeypatch, browse)
    monkeypatch.setattr(show, "RETURN_SECONDS", 1_000)
    assert run_demo(options) == 130
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_read_is_named(options: Options, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "nothing.csv"
    assert run_demo(Options(file=file, output=options.output)) == 1
    assert capsys.readouterr().err == f"jchannel demo: {file} cannot be read: No such file or directory\n"


def test_a_browser_that_is_not_there_is_named(options: Options, tmp_path: Path, capsys: Capture) -> None:
    assert run_demo(Options(browser=str(tmp_path / "nothing"), port=0, output=options.output)) == 1
    assert f"No such file or directory: '{tmp_path}/nothing'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    use_chromium(monkeypatch)
    file = tmp_path / "file"
    file.touch()
    assert run_demo(Options(output=file, port=0)) == 1
    assert f"File exists: '{file}'" in capsys.readouterr().err


def test_a_taken_port_is_named(options: Options, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_demo(Options(no_browser=True, port=port, output=options.output)) == 1
    assert f"port {port} of localhost is taken" in capsys.readouterr().err


def test_a_page_that_fails_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, options: Options, capsys: Capture
) -> None:
    async def browse(server: Server) -> None:
        async with open_peer(server.page_url, object()):
            await trio.sleep_forever()

    use_chromium(monkeypatch, browse)
    assert run_demo(options) == 1
    assert "jchannel demo: cannot call 'draw'" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [BrowserError, OSError, WrongAnswerError, trio.TooSlowError])
def test_what_goes_wrong_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, options: Options, failure: type[Exception], capsys: Capture
) -> None:
    async def browse(_server: Server) -> None:
        raise ExceptionGroup("several", [failure("this went wrong"), failure("that, too")])

    use_chromium(monkeypatch, browse)
    assert run_demo(options) == 1
    assert capsys.readouterr().err == "jchannel demo: this went wrong\n"


def test_a_fault_of_the_demo_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    async def browse(_server: Server) -> None:
        raise ZeroDivisionError

    use_chromium(monkeypatch, browse)
    with pytest.raises(ZeroDivisionError):
        run_demo(options)


@pytest.mark.parametrize("name", ["chart.js", "live.js"])
def test_the_code_of_the_page_ships_with_the_package(name: str) -> None:
    assert "channel.handler = {" in read_code(name)
