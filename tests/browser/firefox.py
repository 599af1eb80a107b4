"""Firefox, as Debian packages it, for `BrowserThread`.

It speaks WebDriver BiDi by itself, which is messages of JSON on a WebSocket. Selenium needs geckodriver between, which
Debian does not have, and Playwright asks Firefox for more than one with extended support knows.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import websockets.asyncio.client as websocket
from websockets.exceptions import ConnectionClosed

TIMEOUT = 60.0
"""Seconds that Firefox has to start."""

_LOOK_AGAIN = 0.02
"""Seconds between two looks for what tells no event: the file that says where Firefox listens."""

_EVALUATE = """async () => {
    const value = await (EXPRESSION);
    return JSON.stringify(typeof value === 'function' ? await value() : value);
}"""

_WAIT_FOR = """async () => {
    for (;;) {
        const value = await (CONDITION);
        if (value) return JSON.stringify(value);
        await new Promise((resolve) => { requestAnimationFrame(resolve); });
    }
}"""


class FirefoxMissingError(Exception):
    """There is no Firefox on this machine."""

    def __init__(self) -> None:
        super().__init__("there is no command `firefox-esr` on this machine: scripts/setup installs it")


class FirefoxError(Exception):
    """Firefox could not do what was asked of it, or the page's JavaScript has thrown."""


def find_firefox() -> str:
    """Return the path of Firefox.

    Raises:
        FirefoxMissingError: There is none on this machine.
    """
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    if found is None:
        raise FirefoxMissingError
    return found


@contextlib.asynccontextmanager
async def run_firefox() -> AsyncGenerator["FirefoxEngine"]:
    """Run a headless Firefox."""
    executable = find_firefox()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with _start(executable, folder) as process:
            try:
                address = await _find_address(folder, process)
                # It answers no pings while a page computes, and no limit fits a screenshot.
                async with websocket.connect(
                    f"{address}/session", ping_interval=None, max_size=None, compression=None
                ) as socket:
                    connection = _Connection(socket)
                    reading = asyncio.create_task(connection.read())
                    prompts = {"unhandledPromptBehavior": {"default": "accept"}}
                    await connection.ask("session.new", capabilities={"alwaysMatch": prompts})
                    await connection.ask("session.subscribe", events=["log.entryAdded"])
                    yield FirefoxEngine(connection)
                    await connection.ask("browser.close")
                    await reading
                    await asyncio.to_thread(process.wait, TIMEOUT)
            finally:
                process.kill()


def _start(executable: str, folder: str) -> "subprocess.Popen[bytes]":
    arguments = [executable, "--headless", "--remote-debugging-port=0", "--profile", folder]
    environment = {**os.environ, "HOME": folder, "MOZ_CRASHREPORTER_DISABLE": "1"}
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(arguments, env=environment, stdout=nowhere, stderr=nowhere)


async def _find_address(folder: str, process: "subprocess.Popen[bytes]") -> str:
    while process.poll() is None:
        if (address := _read_address(folder)) is not None:
            return address
        await asyncio.sleep(_LOOK_AGAIN)
    raise FirefoxError(f"Firefox has ended with the code {process.returncode}")


def _read_address(folder: str) -> str | None:
    try:
        server = json.loads(Path(folder, "WebDriverBiDiServer.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return f"ws://{server['ws_host']}:{server['ws_port']}"


class _Connection:
    """Commands, their answers, and events."""

    def __init__(self, socket: websocket.ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.on_entry: Callable[[dict[str, Any]], None] = lambda _: None
        """Called with each entry of a console."""

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result.

        Raises:
            FirefoxError: It has failed.
        """
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
            answer = await self._answers[number]
        finally:
            del self._answers[number]
        if answer["type"] == "error":
            raise FirefoxError(f"{answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def read(self) -> None:
        """Read until Firefox ends."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "event":
                    self.on_entry(message["params"])
                elif (answer := self._answers.get(message["id"])) is not None and not answer.done():
                    answer.set_result(message)
        for answer in self._answers.values():
            answer.set_exception(FirefoxError("Firefox has ended"))


class FirefoxEngine:
    """A Firefox: each page has a user context of its own."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._users: set[str] = set()
        self._pages: dict[str, FirefoxPage] = {}
        connection.on_entry = self._on_entry

    async def open_page(self, *, trusts_all: bool) -> "FirefoxPage":
        """Opens an empty page."""
        user = (await self.ask("browser.createUserContext", acceptInsecureCerts=trusts_all))["userContext"]
        self._users.add(user)
        context = (await self.ask("browsingContext.create", type="window", userContext=user))["context"]
        page = self._pages[context] = FirefoxPage(self, context)
        return page

    async def close_pages(self) -> None:
        """Closes every page that is open."""
        self._pages.clear()
        while self._users:
            await self.ask("browser.removeUserContext", userContext=self._users.pop())

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        return await self._connection.ask(method, **parameters)

    def _on_entry(self, event: dict[str, Any]) -> None:
        if (page := self._pages.get(event["source"].get("context"))) is not None and event["level"] == "error":
            kind = "console error" if event["type"] == "console" else "page error"
            page.complaints.append(f"{kind}: {event['text']}")


class FirefoxPage:
    """A page in Firefox. Its coroutines run in the loop's thread only."""

    def __init__(self, engine: FirefoxEngine, context: str) -> None:
        self.complaints: list[str] = []
        self._engine = engine
        self._context = context

    async def go_to(self, url: str) -> None:
        await self._ask("browsingContext.navigate", url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        return await self._call(_EVALUATE.replace("EXPRESSION", expression))

    async def wait_for(self, condition: str) -> Any:
        while True:
            try:
                return await self._call(_WAIT_FOR.replace("CONDITION", condition))
            except FirefoxError as error:
                # The page may be loaded again meanwhile.
                if "unknown error" not in str(error) and "no such frame" not in str(error):
                    raise

    async def reload(self) -> None:
        await self._ask("browsingContext.reload", wait="complete")

    async def go_back(self) -> None:
        await self._ask("browsingContext.traverseHistory", delta=-1)

    async def open_popup(self, url: str) -> "FirefoxPage":
        raise NotImplementedError("no test needs a popup in Firefox")

    async def screenshot(self, path: Path) -> None:
        picture = b64decode((await self._ask("browsingContext.captureScreenshot"))["data"])
        await asyncio.to_thread(path.write_bytes, picture)

    async def set_offline(self, *, offline: bool) -> None:
        conditions = {"type": "offline"} if offline else None
        await self._engine.ask("emulation.setNetworkConditions", networkConditions=conditions, contexts=[self._context])

    async def close(self) -> None:
        with contextlib.suppress(FirefoxError):
            await self._ask("browsingContext.close")

    async def _call(self, function: str) -> Any:
        target = {"context": self._context}
        answer = await self._engine.ask(
            "script.callFunction", functionDeclaration=function, awaitPromise=True, target=target, userActivation=True
        )
        if answer["type"] == "exception":
            raise FirefoxError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"].get("value", "null"))

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._engine.ask(method, context=self._context, **parameters)
