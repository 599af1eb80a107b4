"""WebKitGTK, as Debian packages it, for `BrowserThread`.

Its driver speaks WebDriver, which is JSON by HTTP. Selenium blocks a thread for each wait, and Playwright drives only a
WebKit of its own build.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
from base64 import b64decode
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

TIMEOUT = 60.0
"""Seconds that WebKit has for whatever is asked of it."""

_BROWSERS = "usr/lib/*/webkit2gtk-4.*/MiniBrowser"

_LOOK_AGAIN = 0.02
"""Seconds between two looks for what nothing tells: WebDriver answers one question at a time, and has no events."""

_EVALUATE = """
const done = arguments[arguments.length - 1];
(async () => {
    const value = await (EXPRESSION);
    return typeof value === 'function' ? value() : value;
})().then((value) => done({value: value ?? null}), (error) => done({error: String(error)}));
"""


class WebKitMissingError(Exception):
    """There is no WebKitGTK that can be driven on this machine."""

    def __init__(self) -> None:
        super().__init__("WebKitWebDriver, MiniBrowser or Xvfb is missing on this machine: scripts/setup installs them")


class WebKitError(Exception):
    """WebKit could not do what was asked of it, or the page's JavaScript has thrown."""


def find_webkit() -> tuple[str, str, str]:
    """Return the paths of WebKit's driver, of its browser, and of the X server that the browser needs.

    Raises:
        WebKitMissingError: One is missing on this machine.
    """
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browsers = sorted(str(path) for path in Path("/").glob(_BROWSERS))
    if driver is None or screen is None or not browsers:
        raise WebKitMissingError
    return driver, browsers[-1], screen


@contextlib.asynccontextmanager
async def run_webkit() -> AsyncGenerator["WebKitEngine"]:
    """Run a WebKit with a screen of its own, which nobody sees."""
    driver, browser, screen = find_webkit()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, _run_screen(screen) as display:
        environment = {
            **os.environ,
            "DISPLAY": display,
            "GDK_BACKEND": "x11",
            "GSETTINGS_BACKEND": "memory",
            "HOME": folder,
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "NO_AT_BRIDGE": "1",
        }
        port = _find_port()
        with _start(driver, port, environment) as process:
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as client:
                    await _wait_ready(client, process)
                    async with _open_session(client, browser) as session:
                        yield WebKitEngine(session, await session.ask("GET", "/window"))
            finally:
                process.terminate()


def _start(driver: str, port: int, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    nowhere = subprocess.DEVNULL
    return subprocess.Popen([driver, f"--port={port}"], env=environment, stdout=nowhere, stderr=nowhere)


@contextlib.contextmanager
def _run_screen(path: str) -> Iterator[str]:
    """Run an X server; yields the name of its display."""
    read, write = os.pipe()
    arguments = [path, "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(arguments, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        os.close(write)
        try:
            with os.fdopen(read) as pipe:
                yield f":{pipe.readline().strip()}"
        finally:
            server.terminate()


def _find_port() -> int:
    """Return a port that is free. The driver takes none that it chooses itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def _wait_ready(client: httpx.AsyncClient, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            await client.get("/status")
            return
        await asyncio.sleep(_LOOK_AGAIN)
    raise WebKitError("WebKitWebDriver has ended")


@contextlib.asynccontextmanager
async def _open_session(client: httpx.AsyncClient, browser: str) -> AsyncGenerator["_Session"]:
    limits = {"script": TIMEOUT * 1000, "pageLoad": TIMEOUT * 1000}
    capabilities = {
        "acceptInsecureCerts": True,  # It is all of its pages or none, and no test needs one that trusts none.
        "browserName": "MiniBrowser",
        "timeouts": limits,
        "unhandledPromptBehavior": "accept",
        "webkitgtk:browserOptions": {"binary": browser, "args": ["--automation"]},
    }
    made = await _ask(client, "POST", "/session", capabilities={"alwaysMatch": capabilities})
    session = _Session(client, made["sessionId"])
    try:
        yield session
    finally:
        await session.ask("DELETE", "")


async def _ask(client: httpx.AsyncClient, method: str, path: str, **parameters: Any) -> Any:
    content = json.dumps(parameters) if method == "POST" else None
    response = await client.request(method, path, content=content)
    value = response.json()["value"]
    if response.is_error:
        raise WebKitError(f"{value['error']}: {value['message']}")
    return value


class _Session:
    """Commands and their answers."""

    def __init__(self, client: httpx.AsyncClient, number: str) -> None:
        self._client = client
        self._path = f"/session/{number}"

    async def ask(self, method: str, command: str, **parameters: Any) -> Any:
        """Send a command, and return its result.

        Raises:
            WebKitError: It has failed.
        """
        return await _ask(self._client, method, f"{self._path}{command}", **parameters)


class WebKitEngine:
    """A WebKit: each page has a window of its own. They share what their origins store."""

    def __init__(self, session: _Session, window: str) -> None:
        self._session = session
        self._turn = asyncio.Lock()
        # New windows are asked for in one that is there. It stays empty.
        self._first = self._current = window
        self._windows: set[str] = set()

    async def open_page(self, *, trusts_all: bool) -> "WebKitPage":
        """Opens an empty page."""
        return self._add((await self.ask(self._first, "POST", "/window/new", type="window"))["handle"])

    async def close_pages(self) -> None:
        """Closes every page that is open."""
        while self._windows:
            with contextlib.suppress(WebKitError):
                await self.ask(self._windows.pop(), "DELETE", "/window")

    async def ask(self, window: str, method: str, command: str, **parameters: Any) -> Any:
        """Send a command to a window when it is our turn, and return its result."""
        async with self._turn:
            if window != self._current:
                await self._session.ask("POST", "/window", handle=window)
                self._current = window
            return await self._session.ask(method, command, **parameters)

    def _add(self, window: str) -> "WebKitPage":
        self._windows.add(window)
        return WebKitPage(self, window)


class WebKitPage:
    """A page in WebKit. Its coroutines run in the loop's thread only."""

    def __init__(self, engine: WebKitEngine, window: str) -> None:
        # WebDriver does not tell what pages complain about.
        self.complaints: list[str] = []
        self._engine = engine
        self._window = window

    async def go_to(self, url: str) -> None:
        await self._ask("POST", "/url", url=url)

    async def evaluate(self, expression: str) -> Any:
        script = _EVALUATE.replace("EXPRESSION", expression)
        result = await self._ask("POST", "/execute/async", script=script, args=[])
        if "error" in result:
            raise WebKitError(result["error"])
        return result["value"]

    async def wait_for(self, condition: str) -> Any:
        while True:
            # The page may be loaded again meanwhile.
            with contextlib.suppress(WebKitError):
                if value := await self.evaluate(condition):
                    return value
            await asyncio.sleep(_LOOK_AGAIN)

    async def reload(self) -> None:
        await self._ask("POST", "/refresh")

    async def go_back(self) -> None:
        await self._ask("POST", "/back")

    async def open_popup(self, url: str) -> "WebKitPage":
        raise NotImplementedError("WebKit opens no popup without a click")

    async def screenshot(self, path: Path) -> None:
        picture = b64decode(await self._ask("GET", "/screenshot"))
        await asyncio.to_thread(path.write_bytes, picture)

    async def set_offline(self, *, offline: bool) -> None:
        raise NotImplementedError("WebDriver cannot take the network of a page away")

    async def close(self) -> None:
        with contextlib.suppress(WebKitError):
            await self._ask("DELETE", "/window")

    async def _ask(self, method: str, command: str, **parameters: Any) -> Any:
        return await self._engine.ask(self._window, method, command, **parameters)
