"""Headless Chromium, or another engine, for tests, whatever loop the test runs on.

Playwright runs on an asyncio loop in a thread of its own, so that neither `trio.run` nor `asyncio.run` in the test's
thread meets it. Trio tests await the methods of `BrowserThread` and `PageHandle`; all others use the same methods,
blocking, under `sync`: directly in a plain test, and through `asyncio.to_thread` in an asyncio program.

Nothing here can hang: whatever is asked of the browser gets `TIMEOUT` seconds.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.browser.engine import Engine, EnginePage
from tests.browser.loop_thread import LoopThread

TIMEOUT = 60.0
"""Seconds that Chromium has for whatever is asked of it."""

FLAGS = (
    "--no-sandbox",  # Chromium refuses to run as root without it.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


UNUSUAL_FLAGS = (
    "--disable-back-forward-cache",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-hang-monitor",
    "--disable-ipc-flooding-protection",
    "--disable-popup-blocking",
    "--disable-renderer-backgrounding",
)
"""What Playwright starts Chromium with and users do not."""


class ChromiumMissingError(Exception):
    """There is no Chromium on this machine."""

    def __init__(self) -> None:
        super().__init__("there is no command `chromium` on this machine: scripts/setup installs it")


def find_chromium(*, whole: bool = False) -> str:
    """Return the path of Chromium.

    Args:
        whole: The browser that users have. Otherwise, where the machine has it, Debian's `chromium-headless-shell`: the
            same engine without tabs, menus and what else a window shows, which takes half as much CPU for a notebook
            (1.1 s for NbClassic instead of 2.2 s, 2.5 s for JupyterLab instead of 3.8 s).

    Raises:
        ChromiumMissingError: There is none on this machine.
    """
    found = None if whole else shutil.which("chromium-headless-shell")
    found = found or shutil.which("chromium")
    if found is None:
        raise ChromiumMissingError
    return found


class BrowserThread:
    """A headless browser and the thread that drives it.

    A context manager: the browser runs and answers between entering and leaving, which closes it and ends the thread.

    Args:
        left_out: Flags of Playwright's that Chromium does not get.
        flags: Flags that it gets in addition.
        run: Runs a browser of another engine in place of Chromium.

    Attributes:
        sync: The blocking form of the methods.
    """

    def __init__(
        self,
        left_out: Sequence[str] = (),
        flags: Sequence[str] = (),
        *,
        run: Callable[[], AbstractAsyncContextManager[Engine]] | None = None,
    ) -> None:
        run = run or partial(_run_chromium, left_out, flags)
        self._loop_thread = LoopThread(run, name="browser", timeout=TIMEOUT)
        self._engine: Engine
        self.sync = SyncBrowser(self)

    def __enter__(self) -> Self:
        """Starts the browser.

        Raises:
            ChromiumMissingError: There is no Chromium on this machine.
        """
        self._engine = self._loop_thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop_thread.stop()

    async def open(self, url: str, *, trusts_all: bool = False) -> "PageHandle":
        """Opens a page that shares nothing (cookies, storage, cache) with any other, and waits until it has loaded.

        Args:
            url: Where to go.
            trusts_all: Whether every certificate is trusted, as one is that its user has accepted.

        Returns:
            The page.

        Raises:
            PlaywrightError: The address could not be opened.
            TimeoutError: It has not loaded within `TIMEOUT` seconds.

        Cancelling it gives up waiting; `close_pages` closes what has been opened.
        """
        return await self._loop_thread.wait_in_trio(self._open(url, trusts_all=trusts_all))

    async def close_pages(self) -> None:
        """Closes every page that is open. Cancelling it may leave some open."""
        await self._loop_thread.wait_in_trio(self._engine.close_pages())

    async def find_renderers(self) -> list[int]:
        """The ids of the processes that run the pages' JavaScript, in Chromium. Cancelling it gives up waiting."""
        assert isinstance(self._engine, PlaywrightEngine)
        return await self._loop_thread.wait_in_trio(self._engine.find_renderers())

    async def _open(self, url: str, *, trusts_all: bool = False) -> "PageHandle":
        page = await self._engine.open_page(trusts_all=trusts_all)
        await page.go_to(url)
        return PageHandle(page, self._loop_thread)


class PlaywrightEngine:
    """A browser that Playwright drives: each page has a browser context of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: set[BrowserContext] = set()

    async def open_page(self, *, trusts_all: bool) -> "PlaywrightPage":
        """Opens an empty page."""
        context = await self._browser.new_context(ignore_https_errors=trusts_all)
        self._contexts.add(context)
        context.set_default_timeout(TIMEOUT * 1000)
        return PlaywrightPage(await context.new_page())

    async def close_pages(self) -> None:
        """Closes every page that is open."""
        while self._contexts:
            await self._contexts.pop().close()

    async def find_renderers(self) -> list[int]:
        """As `BrowserThread.find_renderers`."""
        session = await self._browser.new_browser_cdp_session()
        processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
        await session.detach()
        return [process["id"] for process in processes if process["type"] == "renderer"]


@contextlib.asynccontextmanager
async def _run_chromium(left_out: Sequence[str], flags: Sequence[str]) -> AsyncGenerator[PlaywrightEngine]:
    # Whoever leaves flags out wants what users have.
    executable = find_chromium(whole=bool(left_out))
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            executable_path=executable, args=[*FLAGS, *flags], ignore_default_args=list(left_out)
        ) as browser,
    ):
        yield PlaywrightEngine(browser)


class SyncBrowser:
    """The methods of `BrowserThread`, blocking."""

    def __init__(self, browser: BrowserThread) -> None:
        self._browser = browser

    def open(self, url: str) -> "PageHandle":
        """As `BrowserThread.open`."""
        return self._browser._loop_thread.wait_blocking(self._browser._open(url))

    def close_pages(self) -> None:
        """As `BrowserThread.close_pages`."""
        self._browser._loop_thread.wait_blocking(self._browser._engine.close_pages())


class PageHandle:
    """A page in a browser context of its own.

    Every method raises an error when the browser reports a failure, `PlaywrightError` in Chromium, and `TimeoutError`
    after `TIMEOUT` seconds. Cancelling one gives up waiting; what has been asked of the browser may still happen.

    Attributes:
        sync: The blocking form of the methods.
    """

    def __init__(self, page: EnginePage, loop_thread: LoopThread[Engine]) -> None:
        self._page = page
        self._loop_thread = loop_thread
        self.sync = SyncPageHandle(page, loop_thread)

    @property
    def console(self) -> list[str]:
        """What the page has complained about so far: `console error: …` and, uncaught exceptions, `page error: …`."""
        return list(self._page.complaints)

    async def evaluate(self, expression: str) -> Any:
        """Evaluates JavaScript in the page, awaits it when it is a promise, and returns its value, a JSON value."""
        return await self._loop_thread.wait_in_trio(self._page.evaluate(expression))

    async def wait_for(self, condition: str) -> Any:
        """Waits until a JavaScript expression is true, looking at each animation frame, and returns its value."""
        return await self._loop_thread.wait_in_trio(self._page.wait_for(condition))

    async def reload(self) -> None:
        """Loads the page again, as F5 does, and waits until it has loaded."""
        await self._loop_thread.wait_in_trio(self._page.reload())

    async def go_to(self, url: str) -> None:
        """Follows a link to somewhere else, and waits until it has loaded."""
        await self._loop_thread.wait_in_trio(self._page.go_to(url))

    async def go_back(self) -> None:
        """Goes back to where the page was before, as the browser's button does."""
        await self._loop_thread.wait_in_trio(self._page.go_back())

    async def open_popup(self, url: str) -> "PageHandle":
        """Opens a popup, as the page's own code does, and waits until it has loaded."""
        popup = await self._loop_thread.wait_in_trio(self._page.open_popup(url))
        return PageHandle(popup, self._loop_thread)

    async def set_permission(self, origin: str, name: str, setting: str) -> None:
        """Answers for the user, in Chromium, what pages of an origin ask for: `granted`, `denied`, or `prompt`.

        An origin has no slash at its end.

        Without a window nobody can be asked, so that `prompt` keeps its name and refuses.
        """
        assert isinstance(self._page, PlaywrightPage)
        await self._loop_thread.wait_in_trio(self._page.set_permission(origin, name, setting))

    async def screenshot(self, path: Path) -> None:
        """Saves what the page shows as a PNG file."""
        await self._loop_thread.wait_in_trio(self._page.screenshot(path))

    async def go_offline(self) -> None:
        """Takes the page's network away: new requests fail, and an open WebSocket stalls but stays open."""
        await self._loop_thread.wait_in_trio(self._page.set_offline(offline=True))

    async def go_online(self) -> None:
        """Gives the page its network back."""
        await self._loop_thread.wait_in_trio(self._page.set_offline(offline=False))

    async def close(self) -> None:
        """Closes the page. Nothing happens when it is closed already."""
        await self._loop_thread.wait_in_trio(self._page.close())


class SyncPageHandle:
    """The methods of `PageHandle`, blocking."""

    def __init__(self, page: EnginePage, loop_thread: LoopThread[Engine]) -> None:
        self._page = page
        self._loop_thread = loop_thread

    def evaluate(self, expression: str) -> Any:
        """As `PageHandle.evaluate`."""
        return self._loop_thread.wait_blocking(self._page.evaluate(expression))

    def wait_for(self, condition: str) -> Any:
        """As `PageHandle.wait_for`."""
        return self._loop_thread.wait_blocking(self._page.wait_for(condition))

    def go_to(self, url: str) -> None:
        """As `PageHandle.go_to`."""
        self._loop_thread.wait_blocking(self._page.go_to(url))

    def reload(self) -> None:
        """As `PageHandle.reload`."""
        self._loop_thread.wait_blocking(self._page.reload())

    def screenshot(self, path: Path) -> None:
        """As `PageHandle.screenshot`."""
        self._loop_thread.wait_blocking(self._page.screenshot(path))

    def go_offline(self) -> None:
        """As `PageHandle.go_offline`."""
        self._loop_thread.wait_blocking(self._page.set_offline(offline=True))

    def go_online(self) -> None:
        """As `PageHandle.go_online`."""
        self._loop_thread.wait_blocking(self._page.set_offline(offline=False))

    def close(self) -> None:
        """As `PageHandle.close`."""
        self._loop_thread.wait_blocking(self._page.close())


class PlaywrightPage:
    """A Playwright page and its context. Its coroutines run in the loop's thread only."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)

    async def go_to(self, url: str) -> None:
        await self._page.goto(url)

    async def evaluate(self, expression: str) -> Any:
        return await self._page.evaluate(expression)

    async def wait_for(self, condition: str) -> Any:
        try:
            handle = await self._page.wait_for_function(condition)
            return await handle.json_value()
        except (PlaywrightError, asyncio.CancelledError) as error:
            error.add_note(f"waiting for {condition!r}; the page's console: {self.complaints}")
            raise

    async def reload(self) -> None:
        await self._page.reload()

    async def go_back(self) -> None:
        # Playwright does not see a page load that comes out of the browser's cache.
        await self._page.go_back(wait_until="commit")

    async def open_popup(self, url: str) -> "PlaywrightPage":
        async with self._page.expect_popup() as opened:
            await self._page.evaluate("url => { window.open(url); }", url)
        popup = await opened.value
        await popup.wait_for_load_state()
        return PlaywrightPage(popup)

    async def screenshot(self, path: Path) -> None:
        await self._page.screenshot(path=path)

    async def set_permission(self, origin: str, name: str, setting: str) -> None:
        # Playwright grants permissions, and denies none. What a session has set ends with it, so it stays.
        session = await self._page.context.new_cdp_session(self._page)
        target = (await session.send("Target.getTargetInfo"))["targetInfo"]
        await session.send(
            "Browser.setPermission",
            {
                "origin": origin,
                "permission": {"name": name},
                "setting": setting,
                "browserContextId": target["browserContextId"],
            },
        )

    async def set_offline(self, *, offline: bool) -> None:
        await self._page.context.set_offline(offline)

    async def close(self) -> None:
        await self._page.context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console error: {message.text}")

    def _on_page_error(self, error: PlaywrightError) -> None:
        self.complaints.append(f"page error: {error.stack or error.message}")
