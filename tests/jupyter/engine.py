"""Notebooks in Firefox and WebKit: what the front ends' drivers use of Playwright, which drives neither.

`tests/browser/engine.py` has the engines. Here stands only what a driver needs of a page, by Playwright's names.
"""

import json
from typing import Any, cast

from playwright.sync_api import BrowserContext, Locator

from tests.browser.chromium import BrowserThread, PageHandle


def as_context(browser: BrowserThread) -> BrowserContext:
    """Returns an engine as what a driver opens its page in."""
    return cast("BrowserContext", _Context(browser))


def wait_for_text(located: Locator, text: str) -> None:
    """Scrolls to what a driver has located in such a page, and waits until it shows a text."""
    elements = cast("_Elements", located)
    elements.scroll_into_view()
    try:
        elements.wait_for("element.textContent.includes(arg)", text)
    except TimeoutError as error:
        error.add_note(f"What is there: {elements.texts()!r}")
        raise


class _Context:
    def __init__(self, browser: BrowserThread) -> None:
        self._browser = browser

    def new_page(self) -> "_Page":
        return _Page(self._browser.sync.open("about:blank"))


class _Page:
    def __init__(self, page: PageHandle) -> None:
        self._page = page.sync

    def on(self, event: str, handler: Any) -> None:
        """Does nothing: both engines accept every dialog, and WebKit does not tell what a page complains about."""

    def goto(self, url: str) -> None:
        self._page.go_to(url)

    def reload(self) -> None:
        self._page.reload()

    def close(self) -> None:
        self._page.close()

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        return self._page.evaluate(_apply(expression, arg))

    def wait_for_function(self, expression: str, *, arg: Any = None, polling: float | None = None) -> None:
        # What it waits for may be an object of the front end's, which does not come out of the page. The engines look
        # at their own pace, whatever `polling` says.
        self._page.wait_for(f"Boolean({_apply(expression, arg)})")

    def locator(self, selector: str) -> "_Elements":
        return _Elements(self, "[document]").locator(selector)


class _Elements:
    """Elements of a page, as a JavaScript expression finds them: an array."""

    def __init__(self, page: _Page, found: str) -> None:
        self._page = page
        self._found = found

    def locator(self, selector: str) -> "_Elements":
        found = f"{self._found}.flatMap((element) => [...element.querySelectorAll({json.dumps(selector)})])"
        return _Elements(self._page, found)

    def nth(self, n: int) -> "_Elements":
        return _Elements(self._page, f"{self._found}.slice({n}, {n + 1})")

    def wait_for(self, condition: str, arg: Any = None) -> None:
        """Waits until one of them is there for which a JavaScript expression of `element` and `arg` is true."""
        self._page.wait_for_function(f"(arg) => {self._found}.some((element) => {condition})", arg=arg or "")

    def texts(self) -> list[str]:
        return list(self._page.evaluate(f"{self._found}.map((element) => element.textContent)"))

    def click(self) -> None:
        self.wait_for("(element.click(), true)")

    def scroll_into_view(self) -> None:
        self.wait_for("(element.scrollIntoView(), true)")


def _apply(function: str, arg: Any) -> str:
    return function if arg is None else f"({function})({json.dumps(arg)})"
