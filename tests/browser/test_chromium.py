"""The tests' own Chromium: it answers under trio, under asyncio and in plain functions, and reports what it should."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
from playwright.async_api import Error as PlaywrightError

from tests.browser.chromium import BrowserThread, ChromiumMissingError
from tests.conftest import FreshPython

PAGE = "data:text/html,<title>A page</title><p>Hello</p>"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


async def test_a_trio_test_evaluates_javascript(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    assert await page.evaluate("[document.title, 1 + 1, null]") == ["A page", 2, None]


def test_an_asyncio_program_evaluates_javascript(browser: BrowserThread) -> None:
    async def program() -> object:
        page = await asyncio.to_thread(browser.sync.open, PAGE)
        return await asyncio.to_thread(page.sync.evaluate, "document.title")

    assert asyncio.run(program()) == "A page"


def test_a_plain_test_evaluates_javascript(browser: BrowserThread) -> None:
    assert browser.sync.open(PAGE).sync.evaluate("document.title") == "A page"


async def test_two_trio_tasks_use_one_page_at_once(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(page.wait_for, "window.go")
        await page.evaluate("window.go = true")


async def test_a_promise_is_awaited(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    assert await page.evaluate("Promise.resolve('later')") == "later"


async def test_waiting_returns_the_value_of_the_condition(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    await page.evaluate("requestAnimationFrame(() => { window.answer = 42; })")
    assert await page.wait_for("window.answer") == 42


async def test_pages_share_no_storage(browser: BrowserThread, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(PAGE)
    first = await browser.open(file.as_uri())
    second = await browser.open(file.as_uri())
    await first.evaluate("localStorage.setItem('key', 'value')")
    assert await second.evaluate("localStorage.getItem('key')") is None


async def test_reloading_forgets_what_the_page_had_in_memory(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    await page.evaluate("window.mark = 1")
    await page.reload()
    assert await page.evaluate("[window.mark === undefined, document.title]") == [True, "A page"]


async def test_the_page_can_be_taken_offline_and_back(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    await page.go_offline()
    assert await page.evaluate("navigator.onLine") is False
    await page.go_online()
    assert await page.evaluate("navigator.onLine") is True


async def test_a_screenshot_is_a_png_file(browser: BrowserThread, tmp_path: Path) -> None:
    page = await browser.open(PAGE)
    await page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(PNG_SIGNATURE)


async def test_console_errors_and_uncaught_exceptions_are_collected(browser: BrowserThread) -> None:
    page = await browser.open("data:text/html,<script>console.log('fine'); console.error('bad'); null.worse</script>")
    first, second = page.console
    assert first == "console error: bad"
    assert second.startswith("page error: TypeError")


async def test_a_javascript_exception_is_raised(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    with pytest.raises(PlaywrightError, match="RangeError: too far"):
        await page.evaluate("(() => { throw new RangeError('too far'); })()")


async def test_a_closed_page_answers_no_more(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    await page.close()
    await page.close()
    with pytest.raises(PlaywrightError, match="closed"):
        await page.evaluate("1")


async def test_closing_all_pages_closes_each(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    await browser.close_pages()
    with pytest.raises(PlaywrightError, match="closed"):
        await page.evaluate("1")


async def test_cancelling_gives_up_at_once_and_the_page_goes_on(browser: BrowserThread) -> None:
    page = await browser.open(PAGE)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(page.evaluate, "new Promise(() => {})")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert await page.evaluate("1 + 1") == 2


def test_without_chromium_the_error_names_the_setup_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ChromiumMissingError, match="scripts/setup"), BrowserThread():
        pass


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="trio-asyncio does not import on Python 3.14")
def test_a_program_that_has_loaded_trio_asyncio_can_drive_chromium(fresh_python: FreshPython) -> None:
    program = """
import trio_asyncio
from tests.browser.chromium import BrowserThread
with BrowserThread() as browser:
    print(browser.sync.open("about:blank").sync.evaluate("1 + 1"))
"""
    assert fresh_python(program) == "2\n"
