"""Chromium without a window, which shows the page and takes a screenshot of it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

import trio

from jchannel._page.chromium import headless_flags

__all__ = ["BrowserError", "run_chromium"]

_FLAGS: Final = (
    "--timeout=120000",  # Milliseconds until it ends even if the page is never finished.
    "--force-device-scale-factor=2",
    "--hide-scrollbars",
)


class BrowserError(Exception):
    """The browser could not be run. The message ends with what it said."""


async def run_chromium(executable: str, url: str, screenshot: Path) -> None:
    """Show a page, and take a screenshot when it has loaded.

    Args:
        executable: Chromium, or a browser built from it.
        url: The page. Other users of the machine can read it.
        screenshot: The PNG file to write.

    Raises:
        BrowserError: Chromium failed.
        OSError: It could not be started.

    Cancelling it ends Chromium.
    """
    with tempfile.TemporaryDirectory(prefix="jchannel-demo-", ignore_cleanup_errors=True) as profile:
        files = [f"--user-data-dir={profile}", f"--screenshot={screenshot}"]
        result = await trio.run_process(
            [executable, *headless_flags(), *_FLAGS, *files, url],
            stdout=subprocess.DEVNULL,
            capture_stderr=True,
            check=False,
            start_new_session=True,  # Ctrl+C reaches Python alone, which then ends Chromium.
        )
    if result.returncode:
        words = result.stderr.decode(errors="replace").strip().splitlines()
        raise BrowserError(f"{executable} ended with the status {result.returncode}: {' '.join(words[-3:])}")
