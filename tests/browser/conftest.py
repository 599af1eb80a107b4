"""What the browser tests share: one browser of each engine for the whole run, and clean pages for each test.

Tests run in Chromium; those of `@pytest.mark.engines` run in each engine.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import jchannel.channel
import jchannel.sync
import jchannel.trio
from tests.browser.chromium import UNUSUAL_FLAGS, BrowserThread, ChromiumMissingError
from tests.browser.firefox import FirefoxMissingError, run_firefox
from tests.browser.webkit import WebKitMissingError, run_webkit

ENGINES = ("chromium", "firefox", "webkit")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the tests of `@pytest.mark.engines` in each engine."""
    if metafunc.definition.get_closest_marker("engines") is not None:
        metafunc.parametrize("engine", ENGINES, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder with `browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def _make_patient(owner: type, patch: pytest.MonkeyPatch) -> None:
    """Give the methods of a class whose `timeout` is 3 s by default a minute."""
    for method in map(inspect.unwrap, filter(inspect.isfunction, vars(owner).values())):
        parameters = inspect.signature(method).parameters
        if "timeout" not in parameters or parameters["timeout"].default != 3:
            continue
        if parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY:
            patch.setitem(method.__kwdefaults__, "timeout", 60)
        else:
            # It is the last of those that can be positional.
            patch.setattr(method, "__defaults__", (*method.__defaults__[:-1], 60))


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Give calls that name no timeout a minute: how long a browser takes on a busy machine is not what is tested here.

    The default of 3 s is tested where a test owns the clock.
    """
    with pytest.MonkeyPatch.context() as patch:
        for owner in (jchannel.trio.Channel, jchannel.trio.Server, jchannel.sync.Channel, jchannel.channel.Channel):
            for face in owner.__mro__:
                _make_patient(face, patch)
        yield


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The engine in which a test runs."""
    return str(getattr(request, "param", "chromium"))


@pytest.fixture(scope="session")
def chromium_thread() -> Iterator[BrowserThread]:
    """The Chromium of the whole run. Tests use `browser`."""
    try:
        # `NAME.example` is this machine, and the browser takes it for another one.
        with BrowserThread(flags=["--host-resolver-rules=MAP *.example 127.0.0.1"]) as thread:
            yield thread
    except ChromiumMissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def usual_chromium_thread() -> Iterator[BrowserThread]:
    """The Chromium of `usual_browser`."""
    with BrowserThread(UNUSUAL_FLAGS) as thread:
        yield thread


@pytest.fixture(scope="session")
def firefox_thread() -> Iterator[BrowserThread]:
    """The Firefox of the whole run. Tests use `browser`."""
    try:
        with BrowserThread(run=run_firefox) as thread:
            yield thread
    except FirefoxMissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def webkit_thread() -> Iterator[BrowserThread]:
    """The WebKit of the whole run. Tests use `browser`."""
    try:
        with BrowserThread(run=run_webkit) as thread:
            yield thread
    except WebKitMissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def usual_browser(engine: str, request: pytest.FixtureRequest) -> Iterator[BrowserThread]:
    """As `browser`, with what users' browsers have and Playwright switches off, such as the back/forward cache."""
    thread: BrowserThread = request.getfixturevalue(f"{'usual_' if engine == 'chromium' else ''}{engine}_thread")
    yield thread
    thread.sync.close_pages()


@pytest.fixture
def browser(engine: str, request: pytest.FixtureRequest) -> Iterator[BrowserThread]:
    """A headless browser. The pages that a test opens are closed after it."""
    thread: BrowserThread = request.getfixturevalue(f"{engine}_thread")
    yield thread
    thread.sync.close_pages()
