"""What the machine offers: a display with a browser, or a Chromium that runs without one."""

from __future__ import annotations

import os
import shutil
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["can_show_window", "find_chromium", "how_to_install"]

_COMMANDS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def can_show_window() -> bool:
    """Return whether there is a display, and a browser on it."""
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    with suppress(webbrowser.Error):
        webbrowser.get()
        return True
    return False


def find_chromium() -> Path | None:
    """Return Chromium, or a browser built from it; ``None`` where there is none."""
    return next((Path(found) for found in map(shutil.which, _COMMANDS) if found is not None), None)


def how_to_install() -> str:
    """Return a command that installs a browser that ``find_chromium`` finds."""
    commands = {"darwin": "brew install --cask chromium", "win32": "winget install Google.Chrome"}
    return commands.get(sys.platform, "sudo apt install chromium")
