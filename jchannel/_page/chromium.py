"""Chromium on this machine: where it is found, how it is installed, and what it is told to run without a window."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

__all__ = ["find_chromium", "headless_flags", "how_to_install"]

_COMMANDS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

_FLAGS: Final = (
    "--headless",
    "--window-size=1280,800",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # Containers have little of that memory.
    "--disable-background-networking",
    "--disable-extensions",
)
_ROOT_FLAGS: Final = ("--no-sandbox",)  # Chromium refuses to run as root with it.


def find_chromium() -> Path | None:
    """Return Chromium, or a browser built from it; ``None`` where there is none."""
    return next((Path(found) for found in map(shutil.which, _COMMANDS) if found is not None), None)


def how_to_install() -> str:
    """Return a command that installs a browser that ``find_chromium`` finds."""
    commands = {"darwin": "brew install --cask chromium", "win32": "winget install Google.Chrome"}
    return commands.get(sys.platform, "sudo apt install chromium")


def headless_flags() -> tuple[str, ...]:
    """Return the flags with which Chromium shows a page without a window, whoever runs it."""
    return (*_FLAGS, *_ROOT_FLAGS) if sys.platform != "win32" and os.geteuid() == 0 else _FLAGS
