"""What the browser tests share: one headless Chromium for the whole run, and clean pages for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import UNUSUAL_FLAGS, BrowserThread, ChromiumMissingError


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder with `browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


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
