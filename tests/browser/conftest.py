"""What the browser tests share: one headless Chromium for the whole run, and clean pages for each test."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import jchannel.channel
import jchannel.sync
import jchannel.trio
from tests.browser.chromium import UNUSUAL_FLAGS, BrowserThread, ChromiumMissingError


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


@pytest.fixture(scope="session")
def browser_thread() -> Iterator[BrowserThread]:
    """The Chromium of the whole run. Tests use `browser`."""
    try:
        with BrowserThread() as thread:
            yield thread
    except ChromiumMissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def usual_browser_thread() -> Iterator[BrowserThread]:
    """The Chromium of `usual_browser`."""
    with BrowserThread(UNUSUAL_FLAGS) as thread:
        yield thread


@pytest.fixture
def usual_browser(usual_browser_thread: BrowserThread) -> Iterator[BrowserThread]:
    """As `browser`, with what users' browsers have and Playwright switches off, such as the back/forward cache."""
    yield usual_browser_thread
    usual_browser_thread.sync.close_pages()


@pytest.fixture
def browser(browser_thread: BrowserThread) -> Iterator[BrowserThread]:
    """Headless Chromium. The pages that a test opens are closed after it."""
    yield browser_thread
    browser_thread.sync.close_pages()
