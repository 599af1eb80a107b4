"""A headless Chromium for the time of a block: it ends with the block, whatever happens, and leaves nothing behind.

It is driven through pipes and not through a port: nobody else on the machine can reach it, it ends by itself when this
process is killed, and the page's address, which holds the server's token, stands on no command line.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from jchannel._core.nursery import open_flat_nursery
from jchannel.demo.devtools import BrowserError, DevTools
from jchannel.errors import StateError

__all__ = ["CLOSE_SECONDS", "DEATH_SECONDS", "KILL_SECONDS", "ChromiumPage", "open_chromium"]

#: How long the browser may take to close itself before it is killed.
CLOSE_SECONDS: Final = 5.0

#: How long killed processes may take to end.
KILL_SECONDS: Final = 5.0

#: How long the browser's death may be seen after the loss of its page.
DEATH_SECONDS: Final = 1.0

_FLAGS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-startup-window",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--mute-audio",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # Containers have little of that memory.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--password-store=basic",
)

# Chromium reads commands from descriptor 3 and writes answers to 4. The shell makes them from the two pipes that
# every process can be given.
_WITH_PIPES: Final = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null'

# On its standard error Chromium reports every service of a desktop that a machine without one lacks.
_NOISE: Final = "ERROR:dbus/"
_SHOWN_LINES: Final = 5
_KEPT_BYTES: Final = 16 * 2**10


class ChromiumPage:
    """The page that ``open_chromium`` has opened.

    Attributes:
        product: The browser's name and version.
    """

    def __init__(self, devtools: DevTools, session: str, product: str) -> None:
        self._devtools = devtools
        self._session = session
        self.product = product

    async def go_to(self, url: str) -> None:
        """Opens an address in the page, without waiting until it has loaded.

        Raises:
            BrowserError: The address could not be opened.

        Cancelling it gives up waiting for the browser.
        """
        answer = await self._devtools.command("Page.navigate", {"url": url}, self._session)
        if "errorText" in answer:
            raise BrowserError(f"the browser could not open the page: {answer['errorText']}")

    async def take_screenshot(self) -> bytes:
        """What the page shows, as a PNG file.

        Raises:
            BrowserError: The browser could not make it.

        Cancelling it gives up waiting for the browser.
        """
        params = {"format": "png", "optimizeForSpeed": False}
        answer = await self._devtools.command("Page.captureScreenshot", params, self._session)
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def open_chromium(
    executable: Path, *, width: int = 1280, height: int = 800, scale: float = 1, dark: bool = False
) -> AsyncIterator[ChromiumPage]:
    """Runs a headless Chromium for the time of an ``async with`` block, with one empty page.

    Args:
        executable: Chromium, or a browser built from it.
        width: The page's width, in CSS pixels.
        height: The page's height, in CSS pixels.
        scale: Pixels of a screenshot for each CSS pixel.
        dark: Whether the page is told that its user prefers a dark scheme.

    Raises:
        BrowserError: The browser could not be started, or ended by itself. Its own last words are in the message.

    Leaving the block closes the browser, and kills it after ``CLOSE_SECONDS``. Cancelling it does the same.
    """
    folder = _profile_parent(executable)
    with tempfile.TemporaryDirectory(prefix="jchannel-demo-", dir=folder, ignore_cleanup_errors=True) as profile:
        command = ["/bin/sh", "-c", _WITH_PIPES, str(executable), f"--user-data-dir={profile}", *_FLAGS]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium refuses to run as root with it.
        browser = await _Browser.start(command)
        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(browser.listen)
                nursery.start_soon(browser.watch)
                try:
                    session, product = await _open_page(browser.devtools, width, height, scale, dark=dark)
                    yield ChromiumPage(browser.devtools, session, product)
                except StateError:
                    # The browser's death may be why the page was lost, and then it is what has to be told.
                    await browser.await_death()
                    raise
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            await browser.close()


async def _open_page(devtools: DevTools, width: int, height: int, scale: float, *, dark: bool) -> tuple[str, str]:
    """Opens an empty page. Gives its session and the browser's name and version."""
    product: str = (await devtools.command("Browser.getVersion"))["product"]
    target = await devtools.command("Target.createTarget", {"url": "about:blank"})
    attached = await devtools.command("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
    session: str = attached["sessionId"]
    await devtools.command("Inspector.enable", session=session)  # It reports that the page has crashed.
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    await devtools.command("Emulation.setDeviceMetricsOverride", metrics, session)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    await devtools.command("Emulation.setEmulatedMedia", {"features": [scheme]}, session)
    return session, product.replace("/", " ")


class _Browser:
    """The browser's processes. They are one process group, and all of them hold its standard error."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._streams = (process.stdin, process.stdout, process.stderr)
        self._errors = process.stderr
        self._error_output = bytearray()
        self._disconnected = trio.Event()
        self._silent = trio.Event()
        self.devtools = DevTools(process.stdin, process.stdout)

    @classmethod
    async def start(cls, command: list[str]) -> _Browser:
        # A session of its own: Ctrl+C in the terminal reaches this process alone, which then closes the browser.
        pipe = subprocess.PIPE
        return cls(
            await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        )

    async def listen(self) -> None:
        """Reads the standard error until the last process has ended, so that none waits until it can write there."""
        async for data in self._errors:
            self._error_output += data
            del self._error_output[:-_KEPT_BYTES]
        self._silent.set()

    async def watch(self) -> None:
        """Receives what the browser answers, and raises ``BrowserError`` when it has ended by itself."""
        await self.devtools.run()
        self._disconnected.set()
        await self._wait_ended(CLOSE_SECONDS)
        raise BrowserError(f"the browser {_describe_end(self._process.poll())}{self._quote()}")

    async def await_death(self) -> None:
        """Waits for ``watch`` to find the browser dead, which cancels this. Ends where the browser lives."""
        with trio.move_on_after(DEATH_SECONDS):
            await self._disconnected.wait()
            await trio.sleep_forever()

    async def close(self) -> None:
        """Closes the browser, and kills what does not end in time. It cannot be cancelled."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                if not self._silent.is_set():
                    nursery.start_soon(self.listen)
                with trio.move_on_after(CLOSE_SECONDS):
                    await self.devtools.ask_to_close()
                await self._wait_ended(CLOSE_SECONDS)
                if self._process.poll() is None or not self._silent.is_set():
                    with suppress(ProcessLookupError):
                        os.killpg(self._process.pid, signal.SIGKILL)
                    await self._wait_ended(KILL_SECONDS)
                nursery.cancel_scope.cancel()
            for stream in self._streams:
                await trio.aclose_forcefully(stream)

    async def _wait_ended(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._process.wait()
            await self._silent.wait()

    def _quote(self) -> str:
        lines = self._error_output.decode(errors="replace").splitlines()
        telling = [line.strip() for line in lines if line.strip() and _NOISE not in line]
        if not telling:
            return ""
        return "; its error output ends with\n" + "\n".join(f"    {line}" for line in telling[-_SHOWN_LINES:])


def _describe_end(status: int | None) -> str:
    if status is None:
        return "closed its connection"
    if status < 0:
        return f"was ended by the signal {signal.Signals(-status).name}"
    return f"ended with the status {status}"


def _profile_parent(executable: Path) -> Path | None:
    """Where the browser's profile can be: ``None`` for where temporary files are.

    A snap has a folder of its own for those, which nobody else sees.
    """
    if executable.resolve().name != "snap":
        return None
    folder = Path.home() / "snap" / "chromium" / "common"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
